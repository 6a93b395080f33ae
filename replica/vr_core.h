/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The inside of the core, for vr*.c only.
 *
 *   vr.c         open, the step, what can be seen from outside
 *   vr_log.c     the log in memory: a ring of entries, a ring of their bytes
 *   vr_client.c  the client table: at most once, last reply
 *   vr_out.c     actions, encoded messages
 *   vr_snapshot.c  the executed prefix as bytes
 *   vr_restore.c   from the journal
 *   vr_normal.c  Request, Prepare, PrepareOK, Commit, Reply; resends (section 4.1)
 */
#ifndef PAXRACK_VR_CORE_H
#define PAXRACK_VR_CORE_H

#include <assert.h>

#include "replica/vr.h"

#define VR_NEVER UINT64_MAX

/* --- vr_log.c --- */

struct vr_log {
	struct entry *ring; /* op n at n & mask */
	uint8_t *bytes;
	uint32_t mask, bytes_size;
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
	uint32_t unanswered; /* resends since the last sign of life */
	uint32_t rtt_us, rtt_dev_us;
	bool dead;
};

struct vr {
	struct vr_config c;
	uint32_t quorum; /* replicas beside oneself that make a majority */
	void *app;
	uint64_t now;
	bool started, frozen;
	bool resync; /* the kernel acked what the log could not take: freeze and thaw at the log's end */
	bool more;   /* work is left for the next tick */
	enum vr_result result;

	enum vr_status status;
	uint64_t view, last_normal;
	uint64_t crash[ELEC_REPLICAS_MAX]; /* crash vector: lives begun without memory */
	uint64_t committed, executed;
	struct vr_log log;
	struct vr_clients clients;

	/* leader */
	uint32_t window;      /* ops that may be in the log and not executed */
	uint64_t sent;	      /* last op in a Prepare */
	uint32_t batch_bytes; /* of the requests above it */
	uint64_t told;	      /* last commit that was sent to followers */
	uint64_t told_at, commit_at;
	struct vr_peer peer[ELEC_REPLICAS_MAX];

	/* out */
	struct vr_action *actions;
	uint32_t action_count;
	uint8_t *arena;
	uint32_t arena_used;
	uint32_t fragment_count;

	struct message m; /* being decoded */
	struct entry *room;
	uint8_t *scratch;	/* MESSAGE_LEN_MAX bytes */
	uint8_t *query_result;	/* op_max bytes */
	uint64_t counts[VR_COUNT_COUNT];
};

static inline void vr_count(struct vr *vr, enum vr_count c)
{
	vr->counts[c]++;
}

static inline bool vr_leads(const struct vr *vr)
{
	return vr->view % vr->c.n == vr->c.self;
}

/* Numbers that the kernel can work with. */
static inline bool vr_fits_kernel(uint64_t view, uint64_t op)
{
	return view <= WIRE_VIEW_MAX && op <= UINT32_MAX;
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
void vr_send(struct vr *vr, uint32_t to, const struct message *m);
void vr_broadcast(struct vr *vr, const struct message *m);
void vr_reply(struct vr *vr, struct vr_address address, const struct message *m);

/* --- vr_snapshot.c --- */

/* The whole state becomes this snapshot's; false, and nothing changed: it is none. */
bool vr_snapshot_install(struct vr *vr, const uint8_t *data, size_t len);

/* --- vr_normal.c --- */

void vr_on_request(struct vr *vr, const struct message *m, struct vr_address address);
void vr_on_unlogged_request(struct vr *vr, const struct message *m, struct vr_address address);
void vr_on_prepare(struct vr *vr, const struct message *m, uint32_t from, bool kernel);
void vr_on_prepare_ok(struct vr *vr, const struct message *m, uint32_t from);
void vr_on_commit(struct vr *vr, const struct message *m, uint32_t from);
void vr_on_acks(struct vr *vr, const uint64_t *acked);
void vr_normal_enter(struct vr *vr);
void vr_normal_tick(struct vr *vr);
uint64_t vr_normal_deadline(const struct vr *vr);
/* Ops up to `op` are committed: execute. */
void vr_commit(struct vr *vr, uint64_t op);
void vr_execute(struct vr *vr);
void vr_heard_from(struct vr *vr, uint32_t from);

#endif
