/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The journal: what a replica must still know after a crash of its process. Append-only
 * records in a file mapped into memory; an append is a copy and a checksum, no system
 * call. The kernel keeps the mapping's pages when the process dies, so what was appended
 * is there. Loss of power, or of the machine, is not covered (nor does VR need it).
 *
 *   journal_format()     the one way to make a new journal: a missing file is a lost one
 *   journal_open()       holds the file until journal_close(): one process per replica
 *   journal_info()       whose it is, and whether it can be trusted (see struct)
 *   journal_replay()     what they come to              -> vr_restore_*()
 *   journal_append_*()   whole when it returns          <- VR_RECORD_*
 *   journal_reset()      not trusted: forget everything, begin anew with this view state
 *
 * The file is bounded: when it has grown to its limit it is written anew with the latest
 * snapshot, view state and epoch and the entries above the snapshot, and renamed over the
 * old one. The limit is that of the options or twice what was left, whichever is more.
 * The bytes in the file: replica/journal_record.h.
 *
 * Functions return 0 or -errno unless said otherwise. Those that fail leave the journal
 * as it was; one sentence for people is in `error`, or journal_error(). One thread.
 */
#ifndef PAXRACK_JOURNAL_H
#define PAXRACK_JOURNAL_H

#include "replica/ids.h"
#include "replica/vr.h"

#define JOURNAL_LIMIT_DEFAULT (64u << 20) /* bytes */
#define JOURNAL_SNAPSHOT_MAX (1u << 30)	  /* bytes of one snapshot */

struct journal;

struct journal_info {
	struct elec_ids ids; /* boot: of the machine's start at which it was last trusted */
	bool clean;	     /* nothing was appended after journal_mark_clean() */
	bool stale;	     /* not clean, and the machine has restarted since: not to be trusted */
	bool has_view;	     /* false: no view state was ever appended */
	struct vr_view_state view;		  /* the last one */
	uint32_t epoch;				  /* of the gate, the last one appended; 0: none */
	uint64_t base;				  /* op of the last snapshot; 0: none */
	uint64_t last;				  /* last op */
	uint64_t bytes;				  /* of the file in use */
	uint64_t compactions, compactions_failed; /* since journal_open() */
};

/*
 * Make a new journal at path whose only record is `first` (normal in view 0 for a new
 * replica, recovering for one that lost its file). It is there whole or not at all.
 * -EEXIST: there is a file; -EBUSY: another process is making it.
 */
int journal_format(const char *path, const struct elec_ids *ids, const struct vr_view_state *first,
		   char *error, size_t error_size);

/*
 * Open, lock and test every record. ids->cluster and ids->replica must be the file's;
 * ids->boot is the machine's of now. limit_bytes: 0: JOURNAL_LIMIT_DEFAULT. A clean
 * journal of an earlier boot is taken over into this one. Appends nothing: a clean
 * journal stays clean until the first append.
 *   -ENOENT           no file: the replica's memory is lost
 *   -EBUSY            another process has it
 *   -EXDEV            the journal of another cluster or replica
 *   -EPROTONOSUPPORT  of a version that this program does not know
 *   -EBADMSG          no journal, or a damaged one
 */
int journal_open(struct journal **j, const char *path, const struct elec_ids *ids,
		 uint64_t limit_bytes, char *error, size_t error_size);
/* Closes without a mark. NULL is allowed. */
void journal_close(struct journal *j);

/* Valid until the next call. */
const struct journal_info *journal_info(const struct journal *j);
const char *journal_error(const struct journal *j);

/*
 * What the records come to: the last snapshot, if there is one; the last view state; the
 * entries above the snapshot in order, those that were cut off left out. What they point to
 * is valid during the call. False: it does not fit what came before; -EBADMSG then.
 */
struct journal_reader {
	void *context;
	bool (*snapshot)(void *context, uint64_t op, const uint8_t *data, size_t len);
	bool (*view)(void *context, const struct vr_view_state *state);
	bool (*entry)(void *context, const struct entry *e);
};

int journal_replay(struct journal *j, const struct journal_reader *reader);

/*
 * Each is whole when it returned 0: it will be replayed whatever happens to the process.
 * -ENOSPC: the disk is full; nothing is lost, and it may be tried again.
 */
/* e->opnum is info.last + 1, e->op.len at most MESSAGE_LEN_MAX. */
int journal_append_entry(struct journal *j, const struct entry *e);
/* Forget the ops above `op`, which is at least info.base. */
int journal_append_truncate(struct journal *j, uint64_t op);
int journal_append_view(struct journal *j, const struct vr_view_state *state);
/*
 * The gate's next epoch, before the thaw that begins it. So after a crash the gate has
 * the file's epoch, or, frozen and drained, the one before it (modulo 2^30).
 */
int journal_append_epoch(struct journal *j, uint32_t epoch);
/*
 * In two steps, so that the state is written where it stays: room for len bytes (up to
 * JOURNAL_SNAPSHOT_MAX) in *at, then, filled, the op after which it is the state (at least
 * info.base). No other append in between; a room that is not used is forgotten by the next append.
 */
int journal_reserve_snapshot(struct journal *j, size_t len, uint8_t **at);
int journal_append_snapshot(struct journal *j, uint64_t op);

/* All forgotten: a new instance (that of ids) whose only record is `first`. */
int journal_reset(struct journal *j, const struct elec_ids *ids, const struct vr_view_state *first);

/*
 * The process stops in order: gate frozen, kernel log drained. Also written to the disk,
 * so that a clean journal outlives the machine.
 */
int journal_mark_clean(struct journal *j);

#endif
