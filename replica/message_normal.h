/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Bodies of the three kinds that each operation costs (Request, Prepare, Reply), without a
 * table of fields to walk. Only the form that everybody writes is known here: each field
 * once, in order. Whatever else protobuf allows is left to nanopb, and so is every verdict
 * on bytes that are no message; replica/test_wire.c holds the two against each other.
 */
#ifndef PAXRACK_MESSAGE_NORMAL_H
#define PAXRACK_MESSAGE_NORMAL_H

#include "replica/message.h"

/* Bytes of a number as protobuf writes it, 1..10. */
static inline uint32_t varint_len(uint64_t v)
{
	return (70 - __builtin_clzll(v | 1)) / 7;
}

/* Bytes of a Request without its tag and length. */
static inline uint32_t request_body_len(const struct entry *e)
{
	return 3 + varint_len(e->op.len) + e->op.len + varint_len(e->clientid) +
	       varint_len(e->reqid);
}

static inline bool message_is_normal(enum wire_kind kind)
{
	return kind == WIRE_REQUEST || kind == WIRE_PREPARE || kind == WIRE_REPLY;
}

/*
 * Fills the fields of m that a body of m->kind has. False: not in that form, or more than
 * room_count entries; what was filled means nothing then.
 */
bool message_normal_decode(struct message *m, const uint8_t *body, size_t len, struct entry *room,
			   uint32_t room_count);

/* Bytes of the body, written to `out`; 0: it does not fit. */
size_t message_normal_encode(const struct message *m, uint8_t *out, size_t size);

#endif
