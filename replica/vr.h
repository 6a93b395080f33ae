/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The protocol core: Viewstamped Replication (Liskov & Cowling, "Viewstamped Replication
 * Revisited", 2012) with crash vectors (Michael et al., DISC 2017). Pure: no I/O, no
 * clock, no allocation after vr_open(). One event in, a list of actions out:
 *
 *   process                                         core
 *     vr_restore_*() from the journal                 gate: frozen
 *     kernel log, drained (MESSAGE, kernel = true)
 *     START                                   ->      THAW, or messages of the recovery
 *     loop:
 *       stamp the lease
 *       kernel log, drained (MESSAGE, kernel) ->      RECORD_*; then elec_consumed()
 *       one socket message (MESSAGE)          ->      RECORD_*, ADVANCE, SEND, REPLY ...
 *         ... drain again before the next
 *       ACKS, after every own send            ->      REPLY ...
 *       TICK, when nothing is left to read,   ->      BROADCAST of the open batch, resends ...
 *         and not later than vr_deadline()
 *
 * The actions of a step are carried out in order, all of them, before the next step;
 * what they point to is valid until then. A RECORD is whole before the next action.
 *
 * The fence. A step that would change view or status while the gate is open changes
 * nothing at all and returns VR_FREEZE, without actions. The process then calls
 * elec_freeze(), feeds what the kernel log holds up to the frozen last op (MESSAGE,
 * kernel = true; VR_FREEZE cannot come back for these), feeds FROZEN, and gives *the
 * same event again*: the core decides anew, knowing all that the kernel has acked. A step
 * taken behind a closed gate in normal status ends with THAW, so the gate does not
 * stay closed when the drained messages made the change needless. The core believes
 * the gate open from the THAW that it put out until the FROZEN that it was given.
 */
#ifndef PAXRACK_VR_H
#define PAXRACK_VR_H

#include "replica/app.h"
#include "replica/message.h"

#define VR_OP_MAX_DEFAULT 16384 /* bytes of one operation or one result */

enum vr_status { VR_NORMAL, VR_VIEW_CHANGE, VR_RECOVERING };

struct vr_config {
	uint32_t n, self;	  /* replicas, own index */
	const struct app *app;
	uint64_t seed;		  /* of jitter and nonces; another one for each start */
	uint32_t start_s;	  /* time of the start in s: upper half of fragment ids */
	uint32_t payload_max;	  /* bytes of UDP payload that fit one frame: MTU - 28; 0: 1472 */
	/* Sizes of the arenas; 0: the default in brackets. */
	uint32_t log_ops;	  /* entries in memory, a power of two [65536] */
	uint32_t log_bytes;	  /* bytes of operations in memory [32 MiB] */
	uint32_t clients;	  /* clients remembered, least recently served forgotten [1024] */
	uint32_t op_max;	  /* [VR_OP_MAX_DEFAULT]; the same everywhere, at most MESSAGE_LEN_MAX / 4 */
	uint32_t snapshot_max;	  /* bytes of a snapshot [128 MiB, untouched pages are free] */
	/* Times in us; 0: the default in brackets. */
	uint32_t resend_us;	  /* first resend, before round trips are known; also the least [10000] */
	uint32_t resend_max_us;	  /* longest pause between resends to a peer that lives [200000] */
	uint32_t probe_us;	  /* pause between probes of a dead peer [1000000] */
	uint32_t dead_after;	  /* resends without an answer [5] */
	uint32_t commit_us;	  /* idle leader: a commit not yet told is told after [5000] */
	uint32_t heartbeat_us;	  /* idle leader: a sign of life each [50000] */
	uint32_t view_change_us;  /* silent leader is suspected after this to twice this [300000] */
};

/* IPv4 and UDP port, both in network byte order: opaque to the core, but for equality. */
struct vr_address {
	uint32_t addr;
	uint16_t port;
};

struct vr;

enum vr_event_kind {
	VR_EVENT_START,	  /* the first event after restoring */
	VR_EVENT_MESSAGE, /* one datagram, or one slot of the kernel log */
	VR_EVENT_ACKS,	  /* what elec_acked() says now, for the epoch of the last THAW */
	VR_EVENT_TICK,	  /* nothing more to read: send the open batch, look at the timers */
	VR_EVENT_FROZEN,  /* the gate is frozen and its log drained into the core */
};

#define VR_FROM_CLIENT UINT32_MAX

struct vr_event {
	enum vr_event_kind kind;
	uint64_t now_us; /* any origin, never backwards */
	/* MESSAGE */
	const uint8_t *data; /* valid during the step only */
	size_t len;
	bool kernel;		   /* out of the kernel log: from the leader, acked already */
	uint32_t from;		   /* else: replica whose address and port it came from, or VR_FROM_CLIENT */
	struct vr_address address; /* else: where it came from */
	/* ACKS */
	const uint64_t *acked; /* n op numbers */
};

enum vr_result {
	VR_OK,
	VR_FREEZE, /* nothing done: freeze, drain, FROZEN, then this event again */
	VR_FULL,   /* kernel message not taken, the log is full: carry out the actions, leave the
		      message where it is, and try again after other events */
};

enum vr_action_kind {
	VR_SEND,	    /* data to replica `to`, or to every other replica (VR_TO_ALL); op, if
			       not 0, is part of it for the first time: elec_sent() before */
	VR_BROADCAST,	    /* data to every other replica; the kernel may: elec_broadcast() */
	VR_REPLY,	    /* data to `address` */
	VR_ACKED,	    /* replica `to` acked `op` by the socket: elec_ack() */
	VR_ADVANCE,	    /* elec_advance(op); when false: drain, then elec_advance(vr_op()) once more */
	VR_THAW,	    /* elec_thaw(view, leader, op) */
	VR_RECORD_ENTRIES,  /* append ops first..op to the journal (vr_entry()) */
	VR_RECORD_TRUNCATE, /* forget the ops above `op` */
	VR_RECORD_VIEW,	    /* *view_state: as it is at this point of the step, not after it */
	VR_RECORD_SNAPSHOT, /* state after `op` replaces all before (vr_snapshot()) */
};

#define VR_TO_ALL UINT32_MAX

struct vr_view_state;

struct vr_action {
	enum vr_action_kind kind;
	uint32_t to;
	uint32_t leader;
	uint32_t len;
	const uint8_t *data; /* whole UDP payload, broadcast flag clear */
	const struct vr_view_state *view_state;
	uint64_t view, first, op;
	struct vr_address address;
};

struct vr_out {
	const struct vr_action *actions;
	uint32_t count;
};

/* NULL and one sentence in `error` when the configuration is unfit or memory is short. */
struct vr *vr_open(const struct vr_config *config, char *error, size_t error_size);
void vr_close(struct vr *vr);

enum vr_result vr_step(struct vr *vr, const struct vr_event *event, struct vr_out *out);

/* When the next TICK is due, same clock as now_us. */
uint64_t vr_deadline(const struct vr *vr);

/* --- the journal -------------------------------------------------------------------- */

struct vr_view_state {
	uint64_t view, last_normal;
	uint32_t status; /* enum vr_status */
	uint32_t n;	 /* elements of crash in use */
	uint64_t crash[ELEC_REPLICAS_MAX];
};

/*
 * Before START, in the order of the records: what RECORD_* wrote. Nothing restored:
 * a replica of a newly formatted cluster, normal in view 0. False: the record does not
 * fit what came before (a damaged journal).
 */
bool vr_restore_entry(struct vr *vr, const struct entry *e);
bool vr_restore_truncate(struct vr *vr, uint64_t op);
bool vr_restore_view(struct vr *vr, const struct vr_view_state *state);
bool vr_restore_snapshot(struct vr *vr, const uint8_t *data, size_t len);
/* Memory is lost, or cannot be trusted: START begins the recovery, without a vote. */
void vr_restore_nothing(struct vr *vr);

/* As it is now, between steps. */
void vr_view_state(const struct vr *vr, struct vr_view_state *state);
/* A snapshot of the executed prefix: bytes it takes, then the bytes; op it stands for. */
size_t vr_snapshot_len(struct vr *vr);
uint64_t vr_snapshot(struct vr *vr, uint8_t *out);

/* --- looking in --------------------------------------------------------------------- */

struct vr_info {
	enum vr_status status;
	uint64_t view, last_normal;
	uint32_t leader; /* of `view` */
	uint64_t base;	 /* ops up to this one are no longer in memory */
	uint64_t op, committed, executed;
	bool frozen; /* what the core believes of the gate */
};

void vr_info(const struct vr *vr, struct vr_info *info);
/* Last op in the log. */
uint64_t vr_op(const struct vr *vr);
/* NULL: not in memory. Valid until the next step. */
const struct entry *vr_entry(const struct vr *vr, uint64_t op);
uint32_t vr_leader(const struct vr *vr, uint64_t view);

struct vr_peer_info {
	uint64_t acked; /* leader: all up to this op is stored there, in this view */
	bool dead;	/* to this leader: resends unanswered, or nothing heard for view_change_us */
	uint32_t rtt_us; /* smoothed; 0: unknown */
};
void vr_peer(const struct vr *vr, uint32_t i, struct vr_peer_info *info);

/*
 * What happened, counted. X(enumerator, printed name, what it means). Beside these, each
 * WIRE_ERRORS reason has a counter, and the name "bad-" before its own.
 */
#define VR_COUNTS(X)									\
	X(REQUESTS, "requests", "new requests appended")				\
	X(PREPARES, "prepares", "new Prepares sent")					\
	X(PREPARE_RESENDS, "prepare-resends", "Prepares sent again, to one peer each")	\
	X(PREPARES_KERNEL, "prepares-kernel", "Prepares taken out of the kernel log")	\
	X(PREPARES_USER, "prepares-user", "Prepares taken from the socket")		\
	X(ACKS_USER, "acks-user", "acks that came by the socket")			\
	X(EXECUTED, "executed", "operations executed")					\
	X(REPLIES, "replies", "replies sent, repeated ones included")			\
	X(PEER_DEATHS, "peer-deaths", "peers marked dead")				\
	X(DEAF, "deaf", "times that a leader heard too few others, and fell silent")	\
	X(VIEW_CHANGES, "view-changes", "view changes begun")				\
	X(VIEWS, "views", "views entered in normal status")				\
	X(TRANSFERS, "transfers", "state transfers begun")				\
	X(SNAPSHOTS_SENT, "snapshots-sent", "snapshots made for a peer")		\
	X(SNAPSHOTS_TAKEN, "snapshots-taken", "snapshots installed")			\
	X(RECOVERIES, "recoveries", "recoveries completed")				\
	X(IGNORED_REQUEST_FOLLOWER, "ignored-request-follower", "a Request to a follower") \
	X(IGNORED_REQUEST_OLD, "ignored-request-old", "below the client's last")	\
	X(IGNORED_REQUEST_TWICE, "ignored-request-twice", "in the log, not yet executed") \
	X(IGNORED_REQUEST_DEAF, "ignored-request-deaf", "a leader that hears too few others") \
	X(IGNORED_REQUEST_FULL, "ignored-request-full", "log or client table full")	\
	X(IGNORED_OP_LARGE, "ignored-op-large", "operation above op_max")		\
	X(IGNORED_STATUS, "ignored-status", "not for the status the replica is in")	\
	X(IGNORED_VIEW, "ignored-view", "of an older view")				\
	X(IGNORED_VIEW_NEWER, "ignored-view-newer", "of a newer view, of no use yet")	\
	X(IGNORED_SENDER, "ignored-sender", "not from the replica it must come from")	\
	X(IGNORED_GAP, "ignored-gap", "a Prepare beyond a gap")				\
	X(IGNORED_DUPLICATE, "ignored-duplicate", "a Prepare that was known")		\
	X(IGNORED_FULL, "ignored-full", "a Prepare for which the log has no room")	\
	X(IGNORED_UNSENT, "ignored-unsent", "an ack or commit above all ops")		\
	X(IGNORED_CRASHED, "ignored-crashed", "from a sender's life before its crash")	\
	X(IGNORED_OTHER, "ignored-other", "of no use here")				\
	X(PIECES_LOST, "pieces-lost", "fragments given up")

enum vr_count {
#define X(id, name, text) VR_C_##id,
	VR_COUNTS(X)
#undef X
	VR_C_BAD, /* + enum wire_error */
	VR_COUNT_COUNT = VR_C_BAD + WIRE_ERROR_COUNT
};

const uint64_t *vr_counts(const struct vr *vr);
/* Printed name of a counter, e.g. "prepares", "bad-magic". */
const char *vr_count_name(unsigned int i);

#endif
