/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A message as a struct, to bytes and back. Nothing is copied and nothing allocated:
 * a decoded message points into the bytes it came from, an encoded one is built
 * from pointers. Which fields a kind has: the table in replica/vr.proto; fields
 * that a kind lacks are zero after decoding and ignored when encoding.
 */
#ifndef PAXRACK_MESSAGE_H
#define PAXRACK_MESSAGE_H

#include "bpf/state.h"
#include "replica/wire.h"

#define MESSAGE_ENTRIES_MAX 4096 /* entries in one message; a Prepare has at most ELEC_BATCH_MAX */
#define MESSAGE_LEN_MAX (128 * 1024) /* bytes of one message, before it is cut into fragments */
#define MESSAGE_NUMBER_MAX INT64_MAX /* largest view and op number: the next one is a number too */

struct bytes {
	const uint8_t *data;
	uint32_t len;
};

/* One operation: a Request, and its place in the log. */
struct entry {
	uint64_t view;	/* in which it got its op number (in a Prepare: the Prepare's) */
	uint64_t opnum; /* 1.. */
	uint64_t clientid;
	uint64_t reqid;
	struct bytes op;
	uint32_t state; /* as published: 0 committed, 1 prepared; only informs */
};

/* `count` entries beginning with number `first` of a ring of mask + 1 (a power of two). */
struct entries {
	const struct entry *ring;
	uint64_t first;
	uint32_t count;
	uint32_t mask; /* UINT32_MAX: a plain array */
};

static inline const struct entry *entries_at(const struct entries *e, uint32_t i)
{
	return &e->ring[(e->first + i) & e->mask];
}

struct snapshot_piece {
	uint64_t opnum;	 /* the snapshot is the state after this op; 0: no piece here */
	uint64_t offset; /* bytes */
	uint64_t total;	 /* bytes */
	struct bytes data;
};

struct message {
	enum wire_kind kind;
	uint32_t index;		   /* replicaIdx, below ELEC_REPLICAS_MAX */
	uint64_t view;
	uint64_t opnum;		   /* also lastOp */
	uint64_t batchstart;	   /* Prepare */
	uint64_t committed;	   /* lastCommitted */
	uint64_t last_normal;	   /* lastNormalView */
	uint64_t nonce;
	uint64_t reqid;		   /* clientreqid of a Reply */
	bool has_committed;	   /* where lastCommitted is optional */
	bool has_opnum;		   /* RecoveryResponse: the leader's, with log */
	uint32_t crash_count;	   /* elements of crash; 0: none came */
	struct entries entries;	   /* Prepare; Request, UnloggedRequest: one */
	struct bytes reply;	   /* Reply, UnloggedReply */
	struct snapshot_piece snapshot;
	uint64_t snapshot_op;	   /* RequestStateTransfer: wants the rest of this one, 0: no */
	uint64_t snapshot_offset;
	uint64_t crash[ELEC_REPLICAS_MAX];
};

/*
 * Decode one whole message (no fragment). Entries are written to `room` (of `room_count`,
 * MESSAGE_ENTRIES_MAX is always enough). On failure *m is undefined.
 */
enum wire_error message_decode(struct message *m, const uint8_t *data, size_t len,
			       struct entry *room, uint32_t room_count);

/*
 * Encode with the right fast header (never the broadcast flag). Returns the length, or
 * 0 when it does not fit in `size` bytes.
 */
size_t message_encode(const struct message *m, uint8_t *out, size_t size);

/* Bytes that this entry adds to a Prepare's body (a Request with its tag). */
size_t message_request_len(const struct entry *e);
/* Bytes that this entry adds to a body that carries log entries. */
size_t message_entry_len(const struct entry *e);
/* Bytes of a Prepare without its requests, at most. */
#define MESSAGE_PREPARE_MAX (WIRE_HEAD_LEN(WIRE_T_PREPARE) + 4 * 11)

#endif
