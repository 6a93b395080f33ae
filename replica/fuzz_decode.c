// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * libFuzzer on what comes by the socket. Input: one UDP payload. Beyond what the sanitizers
 * see: what is decoded lies inside the input, and encodes to bytes that decode to
 * the same again.
 */
#include <stdlib.h>
#include <string.h>

#include "replica/message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static struct entry room[MESSAGE_ENTRIES_MAX], room_again[MESSAGE_ENTRIES_MAX];
static uint8_t once[MESSAGE_LEN_MAX], twice[MESSAGE_LEN_MAX];

#define must(condition)                                                                            \
	do {                                                                                       \
		if (!(condition))                                                                  \
			abort();                                                                   \
	} while (0)

static void inside(const struct bytes *b, const uint8_t *data, size_t len)
{
	if (!b->len)
		return;
	must(b->data >= data);
	must(b->len <= len);
	must((size_t)(b->data - data) <= len - b->len);
}

static void try_message(const uint8_t *data, size_t len)
{
	struct message m, again;
	size_t first, second;

	if (message_decode(&m, data, len, room, MESSAGE_ENTRIES_MAX))
		return;
	must(m.kind > WIRE_NONE);
	must(m.kind < WIRE_FRAGMENT);
	must(m.index < ELEC_REPLICAS_MAX);
	must(m.crash_count <= ELEC_REPLICAS_MAX);
	must(m.entries.count <= MESSAGE_ENTRIES_MAX);
	for (uint32_t i = 0; i < m.entries.count; i++)
		inside(&entries_at(&m.entries, i)->op, data, len);
	inside(&m.reply, data, len);
	inside(&m.snapshot.data, data, len);

	first = message_encode(&m, once, sizeof(once));
	if (!first)
		return; /* more than a message of ours may be */
	must(message_decode(&again, once, first, room_again, MESSAGE_ENTRIES_MAX) == WIRE_OK);
	must(again.kind == m.kind);
	must(again.entries.count == m.entries.count);
	second = message_encode(&again, twice, sizeof(twice));
	must(first == second);
	must(memcmp(once, twice, first) == 0);
}

static void try_fragment(const uint8_t *data, size_t len)
{
	uint8_t head[WIRE_FRAGMENT_HEAD];
	struct wire_fragment f;

	if (wire_decode_fragment(&f, data, len))
		return;
	must(f.len >= 1);
	must(f.len <= WIRE_FRAGMENT_MAX);
	must(f.data == data + WIRE_FRAGMENT_HEAD);
	must(f.data + f.len == data + len);
	must(f.len <= f.total);
	must(f.offset <= f.total - f.len);
	wire_encode_fragment_head(head, &f);
	must(memcmp(head, data, sizeof(head)) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	try_message(data, len);
	try_fragment(data, len);
	return 0;
}
