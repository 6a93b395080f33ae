// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Framing of messages and fragments. */
#include <assert.h>
#include <endian.h>
#include <string.h>

#include "replica/wire.h"

const char *const wire_error_names[WIRE_ERROR_COUNT] = {[WIRE_OK] = "ok",
#define X(id, name, text) [WIRE_E_##id] = name,
							WIRE_ERRORS(X)
#undef X
};

const char *const wire_kind_names[WIRE_KIND_COUNT] = {
	[WIRE_NONE] = "none",
#define X(id, name, type) [WIRE_##id] = name,
	WIRE_KINDS(X)
#undef X
		[WIRE_FRAGMENT] = "fragment",
};

static const struct {
	const char *name;
	size_t len;
} types[WIRE_KIND_COUNT] = {
#define X(id, name, type) [WIRE_##id] = {type, WIRE_T_##id},
	WIRE_KINDS(X)
#undef X
};

static uint32_t get_u32(const uint8_t *at)
{
	uint32_t v;

	memcpy(&v, at, sizeof(v));
	return le32toh(v);
}

static uint64_t get_u64(const uint8_t *at)
{
	uint64_t v;

	memcpy(&v, at, sizeof(v));
	return le64toh(v);
}

static void put_u32(uint8_t *at, uint32_t v)
{
	v = htole32(v);
	memcpy(at, &v, sizeof(v));
}

static void put_u64(uint8_t *at, uint64_t v)
{
	v = htole64(v);
	memcpy(at, &v, sizeof(v));
}

enum wire_error wire_decode_head(struct wire_head *head, const uint8_t *data, size_t len)
{
	const uint8_t *fast;
	uint64_t type_len;

	if (len < 4)
		return WIRE_E_SHORT;
	if (get_u32(data) == WIRE_MAGIC_FRAGMENT) {
		*head = (struct wire_head){.kind = WIRE_FRAGMENT};
		return WIRE_OK;
	}
	if (get_u32(data) != WIRE_MAGIC)
		return WIRE_E_MAGIC;
	if (len < WIRE_TYPE_AT)
		return WIRE_E_SHORT;
	type_len = get_u64(data + 4);
	if (type_len > WIRE_TYPE_MAX)
		return WIRE_E_TYPE;
	if (len < WIRE_HEAD_LEN(type_len))
		return WIRE_E_SHORT;
	head->kind = WIRE_NONE;
	for (int kind = WIRE_NONE + 1; kind < WIRE_FRAGMENT; kind++) {
		if (types[kind].len == type_len &&
		    memcmp(types[kind].name, data + WIRE_TYPE_AT, type_len) == 0) {
			head->kind = kind;
			break;
		}
	}
	if (head->kind == WIRE_NONE)
		return WIRE_E_TYPE;
	fast = data + WIRE_TYPE_AT + type_len;
	for (int i = 0; i < 3; i++)
		head->fast[i] = get_u32(fast + 4 * i);
	if (get_u64(fast + WIRE_FAST_LEN) != len - WIRE_HEAD_LEN(type_len))
		return WIRE_E_LENGTH;
	head->body = data + WIRE_HEAD_LEN(type_len);
	head->body_len = len - WIRE_HEAD_LEN(type_len);
	return WIRE_OK;
}

enum wire_error wire_decode_fragment(struct wire_fragment *f, const uint8_t *data, size_t len)
{
	if (len < WIRE_FRAGMENT_HEAD)
		return WIRE_E_SHORT;
	if (get_u32(data) != WIRE_MAGIC_FRAGMENT)
		return WIRE_E_MAGIC;
	f->id = get_u64(data + 4);
	f->offset = get_u64(data + 12);
	f->total = get_u64(data + 20);
	f->data = data + WIRE_FRAGMENT_HEAD;
	f->len = len - WIRE_FRAGMENT_HEAD;
	if (f->len == 0 || f->len > WIRE_FRAGMENT_MAX)
		return WIRE_E_PIECE;
	if (f->offset > f->total || f->len > f->total - f->offset)
		return WIRE_E_PIECE;
	return WIRE_OK;
}

size_t wire_head_len(enum wire_kind kind)
{
	assert(kind > WIRE_NONE);
	assert(kind < WIRE_FRAGMENT);
	return WIRE_HEAD_LEN(types[kind].len);
}

void wire_encode_head(uint8_t *out, enum wire_kind kind, const uint32_t fast[3], size_t body_len)
{
	size_t type_len = types[kind].len;
	uint8_t *at = out + WIRE_TYPE_AT + type_len;

	assert(kind > WIRE_NONE);
	assert(kind < WIRE_FRAGMENT);
	put_u32(out, WIRE_MAGIC);
	put_u64(out + 4, type_len);
	memcpy(out + WIRE_TYPE_AT, types[kind].name, type_len);
	for (int i = 0; i < 3; i++)
		put_u32(at + 4 * i, fast ? fast[i] : 0);
	put_u64(at + WIRE_FAST_LEN, body_len);
}

void wire_put_magic(uint8_t *out)
{
	put_u32(out, WIRE_MAGIC);
}

void wire_encode_fragment_head(uint8_t *out, const struct wire_fragment *f)
{
	put_u32(out, WIRE_MAGIC_FRAGMENT);
	put_u64(out + 4, f->id);
	put_u64(out + 12, f->offset);
	put_u64(out + 20, f->total);
}

void wire_set_broadcast(uint8_t *message, bool on)
{
	uint8_t *fast = message + WIRE_TYPE_AT + get_u64(message + 4);
	uint32_t word = get_u32(fast) & ~WIRE_BROADCAST;

	put_u32(fast, word | (on ? WIRE_BROADCAST : 0));
}
