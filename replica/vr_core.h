/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The inside of the core, for vr*.c only.
 *
 *   vr.c              open, the step, what can be seen from outside
 *   vr_log.c          the log in memory: a ring of entries, a ring of their bytes
 *   vr_client.c       the client table: at most once, last reply
 *   vr_out.c          actions, encoded messages
 *   vr_pieces.c       messages put together from fragments
 *   vr_snapshot.c     the executed prefix as bytes
 *   vr_restore.c      from the journal
 *   vr_normal.c       Request, Prepare, PrepareOK, Commit, Reply (section 4.1)
 *   vr_peers.c        what a leader knows of each other replica; resends
 *   vr_view_change.c  StartViewChange, DoViewChange, StartView (section 4.2)
 *   vr_recovery.c     Recovery, RecoveryResponse (section 4.3), crash vectors (DISC 2017)
 *   vr_transfer.c     another replica's log or snapshot becomes one's own (section 5.2)
 */
#ifndef PAXRACK_VR_CORE_H
#define PAXRACK_VR_CORE_H

#include <assert.h>

#include "replica/vr.h"

#define VR_NEVER UINT64_MAX
#define VR_RECORD_VIEWS 8 /* changes of the view state in one step, at most */

/* --- vr_log.c --- */

struct vr_log {
	struct entry *ring; /* op n at n & mask */
	uint8_t *bytes;
	uint32_t mask, bytes_size;
	uint32_t used, used_max; /* bytes of operations */
	uint32_t head;	     /* where the next operation's bytes begin */
	uint64_t base, last; /* ops base + 1 .. last are here */
};

/* Drops the oldest entries up to `droppable` for room; false: no room even so. */
bool vr_log_append(struct vr_log *log, const struct entry *e, uint64_t droppable);
struct entry *vr_log_at(const struct vr_log *log, uint64_t op);
void vr_log_truncate(struct vr_log *log, uint64_t last);
/* The prefix up to `op` is elsewhere now; what lies above stays. */
void vr_log_skip(struct vr_log *log, uint64_t op);

/* --- vr_client.c --- */

struct vr_client {
	uint64_t id;
	uint64_t op;	    /* of the last executed request; 0: none was */
	uint64_t reqid;	    /* of the last executed request */
	uint64_t pending_op; /* leader: of the newest request in the log, 0: none */
	uint64_t pending_reqid;
	uint8_t *reply; /* to the last executed request; op_max bytes */
	uint32_t reply_len;
	struct vr_address address;
	bool has_address;
	uint32_t chain;	     /* next in the hash bucket, or next free */
	uint32_t older, newer; /* by execution; VR_NO_CLIENT at the ends */
};

#define VR_NO_CLIENT UINT32_MAX

/*
 * Executed clients are part of the replicated state: at most `clients_max`, the one
 * served longest ago is forgotten, the same one on every replica. Clients that only
 * have a request in the log come on top.
 */
struct vr_clients {
	struct vr_client *all;
	uint32_t count;	   /* elements of all */
	uint32_t executed_max, executed;
	uint32_t *buckets; /* mask + 1 */
	uint32_t mask, free;
	uint32_t oldest, newest;
};

bool vr_clients_open(struct vr_clients *t, uint32_t executed_max, uint32_t pending_max,
		     uint32_t reply_max);
void vr_clients_close(struct vr_clients *t);
struct vr_client *vr_client_find(struct vr_clients *t, uint64_t id);
/* Find or make; NULL: no room. */
struct vr_client *vr_client_get(struct vr_clients *t, uint64_t id);
/* The client's request in `op` was executed just now. */
void vr_client_executed(struct vr_clients *t, struct vr_client *c, uint64_t op, uint64_t reqid);
/* Forget every client. */
void vr_clients_forget(struct vr_clients *t);
/* Forget every pending request. */
void vr_clients_drop_pending(struct vr_clients *t);

/* --- the whole --- */

struct vr_peer {
	uint64_t acked;	    /* in this view */
	uint64_t resent_to; /* last op of the last burst */
	uint64_t resend_at; /* VR_NEVER: nothing outstanding */
	uint64_t sample_op; /* round trip being measured: op, when sent; 0: none */
	uint64_t sample_at;
	uint64_t heard_at;     /* leader: its last sign of life in this view */
	uint64_t told_view_at; /* when it was last told that its view is old */
	uint32_t unanswered;   /* resends since the last sign of life */
	uint32_t rtt_us, rtt_dev_us;
	bool joined; /* leader: it has shown that it is in this view */
	bool dead;
};

/* What another replica said in the view change that goes on. */
struct vr_vote {
	bool started;	    /* StartViewChange */
	bool voted;	    /* DoViewChange; the fields below are its */
	uint64_t committed; /* as in either */
	uint64_t last_normal, op;
	uint64_t life; /* of the sender: its own element of its crash vector */
};

/* The log of the best DoViewChange so far, as far as it came along. */
struct vr_staged {
	uint32_t from; /* VR_TO_ALL: none */
	uint32_t count;
	struct entry *entries; /* MESSAGE_ENTRIES_MAX */
	uint8_t *bytes;	       /* MESSAGE_LEN_MAX */
};

/* One replica's log up to `target` becomes ours. */
struct vr_transfer {
	bool active;
	uint32_t source, tries;
	uint64_t matched;   /* our log is the source's, up to this op */
	uint64_t target;    /* op; VR_NEVER: what the source's first answer says */
	uint64_t committed; /* ops that the source's log has committed, at least */
	uint64_t retry_at;
	uint64_t snapshot_op; /* a snapshot that comes in pieces; 0: none */
	uint64_t snapshot_total, snapshot_have;
	uint8_t *snapshot; /* snapshot_max bytes */
};

struct vr_answer {
	bool given, leads;
	uint64_t view, op, committed;
	uint64_t life;
};

struct vr_recovery {
	uint64_t nonce;
	bool second; /* the crash vector is known, and one's own new life is in it */
	uint64_t retry_at, give_up_at;
	struct vr_answer answer[ELEC_REPLICAS_MAX];
};

/* Bytes of a piece that is not the last: as much as fits a frame, and frames hold 512 (vr.c). */
#define VR_PAYLOAD_LEAST 512
#define VR_PIECE_LEAST (VR_PAYLOAD_LEAST - WIRE_FRAGMENT_HEAD)
#define VR_PIECES_MAX (MESSAGE_LEN_MAX / VR_PIECE_LEAST + 1)

struct vr_piece_slot {
	uint64_t id, used; /* used: number of the piece that came last; 0: empty, or whole */
	uint32_t total;	   /* 0: empty */
	uint32_t got;	   /* bytes that are here */
	uint32_t step;	   /* bytes of each piece but the last; 0: none of them came yet */
	uint32_t last;	   /* offset of the last piece; 0: it did not come yet */
	uint32_t newest;   /* offset of the piece that came last */
	uint64_t have[(VR_PIECES_MAX + 63) / 64]; /* bit (offset / VR_PIECE_LEAST) */
	struct vr_address address;
	uint8_t *bytes; /* MESSAGE_LEN_MAX */
};

struct vr_pieces {
	struct vr_piece_slot *slots; /* a few for each replica, and a few for all clients */
	uint8_t *bytes;
	uint64_t count;
};

struct vr {
	struct vr_config c;
	uint32_t quorum; /* replicas beside oneself that make a majority */
	void *app;
	uint64_t now, random;
	bool started, frozen;
	bool resync; /* the kernel acked what the log could not take: freeze and thaw at the log's end */
	bool more;   /* work is left for the next tick */
	bool hold;   /* execute nothing more in this step: a snapshot is to be recorded */
	enum vr_result result;

	enum vr_status status;
	uint64_t view, last_normal;
	uint64_t crash[ELEC_REPLICAS_MAX]; /* crash vector: lives begun without memory */
	uint64_t committed, executed;
	struct vr_log log;
	struct vr_clients clients;
	uint64_t recorded_op, recorded_bytes; /* last snapshot recorded; bytes executed since */

	/* leader */
	uint32_t window;      /* ops that may be in the log and not executed */
	uint64_t sent;	      /* last op in a Prepare */
	uint32_t batch_bytes; /* of the requests above it */
	uint64_t told;	      /* last commit that was sent to followers */
	uint64_t told_at, commit_at;
	bool deaf; /* hears fewer than a quorum of others */
	struct vr_peer peer[ELEC_REPLICAS_MAX];

	/* change of view */
	uint64_t suspect_at; /* follower: the leader is silent for too long */
	uint64_t change_at, vote_at; /* when to give the change up; to send votes again */
	uint32_t changes;	     /* begun since the last normal status */
	struct vr_vote vote[ELEC_REPLICAS_MAX];
	struct vr_staged staged;
	struct vr_transfer transfer;
	struct vr_recovery recovery;

	/* the snapshot that is being given away */
	uint64_t given_op;
	size_t given_len;
	uint8_t *given; /* snapshot_max bytes */

	/* out */
	struct vr_action *actions;
	uint32_t action_count;
	struct vr_view_state recorded[VR_RECORD_VIEWS]; /* in this step */
	uint32_t recorded_count;
	uint8_t *arena;
	uint32_t arena_used;
	uint32_t fragment_count;

	struct vr_pieces pieces;
	struct message m; /* being decoded */
	struct entry *room;
	uint8_t *scratch;      /* MESSAGE_LEN_MAX bytes */
	uint8_t *query_result; /* op_max bytes */
	uint64_t counts[VR_COUNT_COUNT];
};

static inline void vr_count(struct vr *vr, enum vr_count c)
{
	vr->counts[c]++;
}

static inline uint32_t vr_leader_of(const struct vr *vr, uint64_t view)
{
	return view % vr->c.n;
}

static inline bool vr_leads(const struct vr *vr)
{
	return vr_leader_of(vr, vr->view) == vr->c.self;
}

/* Numbers that the kernel can work with. */
static inline bool vr_fits_kernel(uint64_t view, uint64_t op)
{
	return view <= WIRE_VIEW_MAX && op <= UINT32_MAX;
}

static inline uint64_t vr_random(struct vr *vr)
{
	uint64_t z = vr->random += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

/* True: this step may go no further, the gate must be frozen first. */
static inline bool vr_must_freeze(struct vr *vr)
{
	if (vr->frozen)
		return false;
	vr->result = VR_FREEZE;
	return true;
}

/* --- vr_out.c --- */

bool vr_out_open(struct vr *vr);
void vr_out_close(struct vr *vr);
/* Room for one more message of a loop of many; else the loop goes on at the next tick. */
bool vr_out_room(struct vr *vr);
struct vr_action *vr_act(struct vr *vr, enum vr_action_kind kind);
void vr_record_entries(struct vr *vr, uint64_t first, uint64_t last);
void vr_record_view(struct vr *vr);
void vr_send(struct vr *vr, uint32_t to, const struct message *m);
void vr_broadcast(struct vr *vr, const struct message *m);
void vr_reply(struct vr *vr, struct vr_address address, const struct message *m);

/* --- vr_snapshot.c --- */

/* The whole state becomes this snapshot's; false, and nothing changed: it is none. */
bool vr_snapshot_install(struct vr *vr, const uint8_t *data, size_t len);

/* Asks for one to be recorded when much was executed since the last. */
void vr_snapshot_tick(struct vr *vr);
/* To the log's end. What no recorded snapshot stands for stays; false: no room. */
bool vr_append(struct vr *vr, const struct entry *e);

/* --- vr_pieces.c --- */

bool vr_pieces_open(struct vr *vr);
void vr_pieces_close(struct vr *vr);
/* One piece; when it was the last that lacked: the whole message, valid until the next piece. */
bool vr_pieces_add(struct vr *vr, const struct vr_event *ev, const uint8_t **data, size_t *len);

/* --- vr_normal.c --- */

struct message vr_message(const struct vr *vr, enum wire_kind kind, uint64_t opnum);
void vr_on_request(struct vr *vr, const struct message *m, struct vr_address address);
void vr_on_unlogged_request(struct vr *vr, const struct message *m, struct vr_address address);
void vr_on_prepare(struct vr *vr, const struct message *m, uint32_t from, bool kernel);
void vr_on_prepare_ok(struct vr *vr, const struct message *m, uint32_t from);
void vr_on_commit(struct vr *vr, const struct message *m, uint32_t from);
void vr_on_acks(struct vr *vr, const uint64_t *acked);
/* Normal status in vr->view begins, with the log as it is. */
void vr_normal_enter(struct vr *vr);
void vr_normal_tick(struct vr *vr);
uint64_t vr_normal_deadline(const struct vr *vr);
/* Ops up to `op` are committed: execute. The log up to there is known to be the right one. */
void vr_commit(struct vr *vr, uint64_t op);
void vr_execute(struct vr *vr);
void vr_send_prepare_ok(struct vr *vr);
/* Follower: that it is there, and no more. */
void vr_show_life(struct vr *vr);
/* Own log, as the follower of this view, has got longer otherwise than by the kernel. */
void vr_advanced(struct vr *vr);

/* --- vr_peers.c --- */

/* A view begins, as far as the others are concerned. */
void vr_peers_enter(struct vr *vr);
void vr_heard_from(struct vr *vr, uint32_t from);
/* Does the leader hear a quorum? Sets vr->deaf. */
void vr_peers_look(struct vr *vr);
/* The first ack in this view: from here on it is served with Prepares. */
void vr_peer_joined(struct vr *vr, uint32_t i);
void vr_peer_acked(struct vr *vr, uint32_t i, uint64_t op);
/* A Prepare up to `last` left for all of them. */
void vr_peers_sent(struct vr *vr, uint64_t last);
struct message vr_prepare_of(const struct vr *vr, uint64_t first, uint64_t last);
void vr_peers_resend(struct vr *vr);
uint64_t vr_peers_deadline(const struct vr *vr);

/* --- vr_view_change.c --- */

bool vr_staged_open(struct vr *vr);
void vr_staged_close(struct vr *vr);
/* The leader gave a sign of life. */
void vr_trust_leader(struct vr *vr);
void vr_on_start_view_change(struct vr *vr, const struct message *m, uint32_t from);
void vr_on_do_view_change(struct vr *vr, const struct message *m, uint32_t from);
void vr_on_start_view(struct vr *vr, const struct message *m, uint32_t from);
/* A message of an older view came: its sender should know better. */
void vr_tell_view(struct vr *vr, uint32_t to);
/* Leader: all that a replica needs to enter this view. */
void vr_send_start_view(struct vr *vr, uint32_t to);
/* A newer view is under way under this leader: get its log. The gate is frozen. */
void vr_follow_newer(struct vr *vr, uint64_t view);
/* The log has become the one that this view begins with. */
void vr_enter_view(struct vr *vr);
/* Status view change, restored from the journal. */
void vr_view_change_resume(struct vr *vr);
void vr_view_change_tick(struct vr *vr);
uint64_t vr_view_change_deadline(const struct vr *vr);
/* A transfer in the change of view got on. */
void vr_change_progress(struct vr *vr);

/* --- vr_recovery.c --- */

/* The message is from a life of its sender that ended in a crash. */
bool vr_ignore_crashed(struct vr *vr, const struct message *m, uint32_t from);
/* Take over what it knows of crashes; recorded when new. */
void vr_merge_crash(struct vr *vr, const struct message *m);
void vr_put_crash(const struct vr *vr, struct message *m);
void vr_recovery_begin(struct vr *vr);
void vr_on_recovery(struct vr *vr, const struct message *m, uint32_t from);
void vr_on_recovery_response(struct vr *vr, const struct message *m, uint32_t from);
void vr_recovery_tick(struct vr *vr);
uint64_t vr_recovery_deadline(const struct vr *vr);

/* --- vr_transfer.c --- */

bool vr_transfer_open(struct vr *vr);
void vr_transfer_close(struct vr *vr);
/* Entries of the own log from `first` on, as many as a message may carry. */
struct entries vr_entries_from(const struct vr *vr, uint64_t first, uint64_t last);
/* Begin; nothing is asked for before the next tick. */
void vr_transfer_begin(struct vr *vr, uint32_t source, uint64_t target, uint64_t committed);
/* Take what fits; true: the log is now the source's, up to the target. */
bool vr_transfer_take(struct vr *vr, const struct entries *e);
/* Normal follower: the leader has ops up to `op` that are not here. */
void vr_behind(struct vr *vr, uint64_t op);
void vr_on_request_state_transfer(struct vr *vr, const struct message *m, uint32_t from);
void vr_on_state_transfer(struct vr *vr, const struct message *m, uint32_t from);
void vr_transfer_tick(struct vr *vr);
uint64_t vr_transfer_deadline(const struct vr *vr);

#endif
