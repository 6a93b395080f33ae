/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Framing of messages and fragments, in user space: bpf/wire.h read and written.
 * Pure functions over byte buffers; nothing is copied, results point into the input.
 */
#ifndef PAXRACK_REPLICA_WIRE_H
#define PAXRACK_REPLICA_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bpf/wire.h"

/* Why bytes are not a message. X(enumerator, printed name, what it means) */
#define WIRE_ERRORS(X)									\
	X(SHORT, "short", "ends before its head does")					\
	X(MAGIC, "magic", "another magic")						\
	X(TYPE, "type", "a type name that is no kind of ours")				\
	X(LENGTH, "length", "body and datagram lengths differ")				\
	X(PIECE, "piece", "offset, total or length of a fragment make no sense")	\
	X(BODY, "body", "not protobuf, or a required field is missing")			\
	X(VALUE, "value", "a field out of its range")					\
	X(MANY, "many", "more requests or entries than a message may hold")		\
	X(HEADER, "header", "fast header and body contradict each other")

enum wire_error {
	WIRE_OK,
#define X(id, name, text) WIRE_E_##id,
	WIRE_ERRORS(X)
#undef X
	WIRE_ERROR_COUNT
};

extern const char *const wire_error_names[WIRE_ERROR_COUNT];

/* "Prepare", "fragment" ...; "none" for WIRE_NONE */
extern const char *const wire_kind_names[WIRE_KIND_COUNT];

struct wire_head {
	enum wire_kind kind; /* never WIRE_NONE after success; WIRE_FRAGMENT for the other magic */
	uint32_t fast[3];    /* as found, bit 31 of word 0 included */
	const uint8_t *body; /* points into the input */
	size_t body_len;
};

struct wire_fragment {
	uint64_t id;	 /* of the message, unique for its sender */
	uint64_t offset; /* bytes, counted from behind the message's magic */
	uint64_t total;	 /* bytes of the message without its magic */
	const uint8_t *data;
	size_t len; /* 1..WIRE_FRAGMENT_MAX */
};

/* The datagram must be exactly one message. A fragment is WIRE_OK with kind WIRE_FRAGMENT only. */
enum wire_error wire_decode_head(struct wire_head *head, const uint8_t *data, size_t len);
enum wire_error wire_decode_fragment(struct wire_fragment *f, const uint8_t *data, size_t len);

/* Bytes before the body of a kind. */
size_t wire_head_len(enum wire_kind kind);
/* Writes wire_head_len(kind) bytes. fast may be NULL: zero. */
void wire_encode_head(uint8_t *out, enum wire_kind kind, const uint32_t fast[3], size_t body_len);
/* The 4 bytes that a message put together from fragments lacks. */
void wire_put_magic(uint8_t *out);
/* Writes WIRE_FRAGMENT_HEAD bytes; the data follows. */
void wire_encode_fragment_head(uint8_t *out, const struct wire_fragment *f);

/* Sets or clears the broadcast flag of an encoded message (which must be whole). */
void wire_set_broadcast(uint8_t *message, bool on);

#endif
