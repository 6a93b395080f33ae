/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The bytes of a journal. Host byte order: it never leaves its machine.
 *
 *   0    struct journal_header     64 bytes
 *   64   record, record, ...       each at a multiple of 8
 *        a commit word of 0        the end; what lies behind it means nothing
 *
 * A record is a commit word, then `len` bytes: struct record_head and what its kind has.
 *
 *   commit   63..32 CRC-32C of the len bytes, going on from a CRC of `len` | 31..0 len
 *
 * How one is written: 0 to where the *next* commit word would stand; the bytes; then the
 * commit word, with release. A process may die between any two of these stores:
 * the record is there whole or the journal ends before it, whatever an earlier life left
 * behind the end. So a commit word that is not 0 and not right is never the trace of a crash: it
 * is damage, and ops that were acknowledged may be gone. Such a journal is refused.
 */
#ifndef PAXRACK_JOURNAL_RECORD_H
#define PAXRACK_JOURNAL_RECORD_H

#include "replica/ids.h"
#include "replica/vr.h"

#define JOURNAL_MAGIC "paxrack"
#define JOURNAL_VERSION 1
#define JOURNAL_OP_MAX INT64_MAX
#define JOURNAL_COMMIT_LEN 8
/* Bytes of the file that a record of len bytes takes, its commit word included. */
#define JOURNAL_RECORD_SPAN(len) (JOURNAL_COMMIT_LEN + (((uint64_t)(len) + 7) & ~7ULL))

struct journal_header {
	char magic[8]; /* JOURNAL_MAGIC and its NUL */
	uint32_t version;
	uint32_t crc; /* CRC-32C of ids */
	struct elec_ids ids;
	uint64_t clean; /* the journal's end when it was closed in order: a later append moves the
			   end */
};

enum record_kind {
	RECORD_ENTRY = 1,
	RECORD_TRUNCATE,
	RECORD_VIEW,
	RECORD_EPOCH,
	RECORD_SNAPSHOT,
};

struct record_head {
	uint32_t kind;
	uint32_t word; /* view: status, epoch: the epoch, others: 0 */
	uint64_t op;   /* entry, truncate, snapshot: the op; view: view; epoch: 0 */
};

struct record_entry {
	struct record_head head;
	uint64_t view, clientid, reqid;
	uint8_t data[]; /* the operation */
};

struct record_view {
	struct record_head head;
	uint64_t last_normal;
	uint64_t crash[]; /* one per replica, or none */
};

#define JOURNAL_VIEW_LEN(n) (sizeof(struct record_view) + (n) * sizeof(uint64_t))

struct record_snapshot {
	struct record_head head;
	uint8_t data[];
};

/* What the records up to some place come to. */
struct record_state {
	bool has_view;
	struct vr_view_state view;
	uint32_t epoch;
	uint64_t base, last; /* ops: of the snapshot, of the last entry */
};

/* A record, read. Pointers go into the journal's bytes. */
struct record {
	enum record_kind kind;
	uint32_t epoch;
	uint64_t op; /* entry, truncate, snapshot */
	struct entry entry;
	struct vr_view_state view;
	struct bytes snapshot;
};

/* NULL: a header of this version; else what is wrong with it. */
const char *journal_header_fault(const struct journal_header *header, size_t size, bool *version);

/*
 * Read the record at *at of the `size` bytes of a journal, which begin at a multiple of 8,
 * and move *at behind it. 1: read; 0: the end; -1: damage, and *fault says which.
 */
int record_read(const uint8_t *journal, size_t size, size_t *at, struct record *record,
		const char **fault);
/* Does it fit what came before? Then *state moves on and NULL is returned; else what does not fit.
 */
const char *record_apply(struct record_state *state, const struct record *record);

/* Commit word of these len bytes, never 0. */
uint64_t record_commit_word(const void *record, uint32_t len);

#endif
