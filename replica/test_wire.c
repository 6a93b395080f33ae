// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The codec against captures of the published implementation: each datagram is decoded
 * into fields, and the fields must give the same bytes back.
 */
#include <arpa/inet.h>
#include <endian.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "replica/message.h"

#define VECTORS "pytests/vectors/" /* from the top of the tree */

/* UDP payloads of a capture, IP fragments put together. */
struct capture {
	uint8_t *bytes;
	size_t len, at; /* of the file; where the next record begins */
	uint8_t datagram[65536];
	size_t datagram_len;
};

static struct entry room[MESSAGE_ENTRIES_MAX];
static uint8_t encoded[MESSAGE_LEN_MAX];

static void capture_open(struct capture *c, const char *name)
{
	char path[256];
	FILE *file;

	snprintf(path, sizeof(path), VECTORS "%s.pcap", name);
	file = fopen(path, "rb");
	if (!file)
		fail_msg("%s: cannot be opened (run from the top of the tree)", path);
	c->bytes = malloc(1 << 20);
	assert_non_null(c->bytes);
	c->len = fread(c->bytes, 1, 1 << 20, file);
	fclose(file);
	assert_true(c->len > 24);
	c->at = 24;
}

static uint32_t host_u32(const uint8_t *at)
{
	uint32_t v;

	memcpy(&v, at, sizeof(v));
	return v;
}

/* Ethernet, IPv4 without options, UDP. False at the end (or in the midst of a datagram). */
static bool capture_next(struct capture *c)
{
	c->datagram_len = 0;
	while (c->at + 16 <= c->len) {
		const uint8_t *frame = c->bytes + c->at + 16, *ip = frame + 14;
		uint32_t captured = host_u32(c->bytes + c->at + 8);
		uint16_t total = ip[2] << 8 | ip[3], fragment = ip[6] << 8 | ip[7];
		size_t offset = (fragment & 0x1fff) * 8, head = offset ? 0 : 8;
		size_t want = total - 20 - head;

		c->at += 16 + captured;
		/* A file cut to 80 bytes a frame has no whole datagrams. */
		if (captured < 14u + total)
			continue;
		if (offset && offset - 8 != c->datagram_len)
			continue;
		memcpy(c->datagram + (offset ? offset - 8 : 0), ip + 20 + head, want);
		c->datagram_len = (offset ? offset - 8 : 0) + want;
		if (!(fragment & 0x2000))
			return true;
	}
	return false;
}

static void print_hex(const char *what, const uint8_t *data, size_t len)
{
	print_error("%s", what);
	for (size_t i = 0; i < len; i++)
		print_error(" %02x", data[i]);
	print_error("\n");
}

/* Every datagram of the file comes back the same; returns how many there are. */
static int rebuild_file(const char *name, enum wire_kind kind)
{
	struct capture c;
	struct wire_head head;
	struct message m;
	int count = 0;
	size_t len;

	for (capture_open(&c, name); capture_next(&c); count++) {
		assert_int_equal(wire_decode_head(&head, c.datagram, c.datagram_len), WIRE_OK);
		assert_int_equal(head.kind, kind);
		assert_int_equal(message_decode(&m, c.datagram, c.datagram_len, room, 4096),
				 WIRE_OK);
		len = message_encode(&m, encoded, sizeof(encoded));
		if (head.fast[0] & WIRE_BROADCAST)
			wire_set_broadcast(encoded, true);
		/* The published leader resends a Prepare with a zero fast header. */
		if (kind == WIRE_PREPARE && head.fast[1] == 0)
			memset(encoded + WIRE_TYPE_AT + WIRE_T_PREPARE + 4, 0, 8);
		if (len != c.datagram_len || memcmp(encoded, c.datagram, len) != 0) {
			print_hex("captured", c.datagram, c.datagram_len);
			print_hex("rebuilt ", encoded, len);
			fail_msg("%s, datagram %d: rebuilt otherwise", name, count + 1);
		}
	}
	free(c.bytes);
	return count;
}

static void test_captures_rebuild(void **state)
{
	static const struct {
		const char *name;
		enum wire_kind kind;
		int count;
	} files[] = {
		{"RequestMessage.vanilla", WIRE_REQUEST, 6},
		{"RequestMessage.offload", WIRE_REQUEST, 6},
		{"PrepareMessage.vanilla", WIRE_PREPARE, 6},
		{"PrepareMessage.offload", WIRE_PREPARE, 6},
		{"PrepareMessage-broadcastflag.offload", WIRE_PREPARE, 4},
		{"PrepareOKMessage.vanilla", WIRE_PREPARE_OK, 6},
		{"PrepareOKMessage.offload", WIRE_PREPARE_OK, 1},
		{"MyPrepareOK.offload", WIRE_MY_PREPARE_OK, 6},
		{"CommitMessage.vanilla", WIRE_COMMIT, 6},
		{"CommitMessage.offload", WIRE_COMMIT, 6},
		{"CommitMessage-broadcastflag.offload", WIRE_COMMIT, 2},
		{"ReplyMessage.vanilla", WIRE_REPLY, 6},
		{"ReplyMessage.offload", WIRE_REPLY, 6},
		{"RequestStateTransferMessage.vanilla", WIRE_REQUEST_STATE_TRANSFER, 4},
		{"StateTransferMessage.vanilla", WIRE_STATE_TRANSFER, 2},
		{"StartViewChangeMessage.vanilla", WIRE_START_VIEW_CHANGE, 6},
		{"DoViewChangeMessage.vanilla", WIRE_DO_VIEW_CHANGE, 2},
		{"StartViewMessage.vanilla", WIRE_START_VIEW, 4},
		{"RecoveryMessage.vanilla", WIRE_RECOVERY, 2},
		{"RecoveryResponseMessage.vanilla", WIRE_RECOVERY_RESPONSE, 1},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(files) / sizeof(*files); i++)
		assert_int_equal(rebuild_file(files[i].name, files[i].kind), files[i].count);
}

static void test_captured_fields(void **state)
{
	struct capture c;
	struct message m;

	(void)state;
	capture_open(&c, "PrepareMessage.offload");
	assert_true(capture_next(&c));
	assert_int_equal(message_decode(&m, c.datagram, c.datagram_len, room, 64), WIRE_OK);
	assert_int_equal(m.view, 0);
	assert_int_equal(m.opnum, 1);
	assert_int_equal(m.batchstart, 1);
	assert_false(m.has_committed);
	assert_int_equal(m.entries.count, 1);
	assert_int_equal(room[0].opnum, 1);
	assert_int_equal(room[0].reqid, 1);
	assert_true(room[0].clientid == 12855724410893025914ull);
	assert_int_equal(room[0].op.len, 8);
	assert_memory_equal(room[0].op.data, "request0", 8);
	free(c.bytes);

	capture_open(&c, "DoViewChangeMessage.vanilla");
	assert_true(capture_next(&c));
	assert_true(capture_next(&c));
	assert_int_equal(message_decode(&m, c.datagram, c.datagram_len, room, 64), WIRE_OK);
	assert_int_equal(m.view, 1);
	assert_int_equal(m.last_normal, 0);
	assert_int_equal(m.opnum, 24);
	assert_int_equal(m.committed, 23);
	assert_int_equal(m.index, 2);
	assert_int_equal(m.entries.count, 2);
	assert_int_equal(room[1].opnum, 24);
	assert_memory_equal(room[1].op.data, "inflight", 8);
	free(c.bytes);
}

/* The published transport cuts the message without its magic into pieces of 9000 bytes. */
static void test_captured_fragments(void **state)
{
	struct wire_fragment f, again;
	struct wire_head head;
	struct capture c;
	int count = 0;

	(void)state;
	for (capture_open(&c, "ipfragment.vanilla"); capture_next(&c); count++) {
		assert_int_equal(wire_decode_head(&head, c.datagram, c.datagram_len), WIRE_OK);
		assert_int_equal(head.kind, WIRE_FRAGMENT);
		assert_int_equal(wire_decode_fragment(&f, c.datagram, c.datagram_len), WIRE_OK);
		assert_int_equal(f.len, WIRE_FRAGMENT_MAX);
		assert_int_equal(f.offset % WIRE_FRAGMENT_MAX, 0);
		wire_encode_fragment_head(encoded, &f);
		assert_memory_equal(encoded, c.datagram, WIRE_FRAGMENT_HEAD);
		again = f;
		again.offset = f.total;
		wire_encode_fragment_head(c.datagram, &again);
		assert_int_equal(wire_decode_fragment(&f, c.datagram, c.datagram_len),
				 WIRE_E_PIECE);
	}
	assert_int_equal(count, 2);
	free(c.bytes);
}

/* --- what we add, and every kind there and back ---------------------------------------- */

static struct entry op_of(uint64_t opnum, const char *text)
{
	return (struct entry){.view = 3,
			      .opnum = opnum,
			      .clientid = 77,
			      .reqid = 1000 + opnum,
			      .op = {(const uint8_t *)text, strlen(text)},
			      .state = 1};
}

static void round_trip(const struct message *m, struct message *back)
{
	size_t len = message_encode(m, encoded, sizeof(encoded));

	assert_true(len > 0);
	assert_int_equal(message_decode(back, encoded, len, room, MESSAGE_ENTRIES_MAX), WIRE_OK);
	assert_int_equal(back->kind, m->kind);
}

static void test_our_fields(void **state)
{
	struct entry ring[4] = {op_of(4, "d"), op_of(5, "e"), op_of(2, "b"), op_of(3, "c")};
	struct message m = {.kind = WIRE_PREPARE, .view = 3, .opnum = 4, .batchstart = 2}, back;
	static const uint8_t blob[300] = {1, 2, 3};

	(void)state;
	m.entries = (struct entries){ring, 2, 3, 3}; /* wraps: c is last in the array, d first */
	m.has_committed = true;
	m.committed = 1;
	round_trip(&m, &back);
	assert_true(back.has_committed);
	assert_int_equal(back.committed, 1);
	assert_int_equal(back.entries.count, 3);
	assert_memory_equal(room[0].op.data, "b", 1);
	assert_memory_equal(room[2].op.data, "d", 1);

	m = (struct message){.kind = WIRE_STATE_TRANSFER, .view = 3, .opnum = 9};
	m.snapshot = (struct snapshot_piece){7, 100, 1000, {blob, sizeof(blob)}};
	m.has_committed = true;
	m.committed = 8;
	round_trip(&m, &back);
	assert_int_equal(back.snapshot.opnum, 7);
	assert_int_equal(back.snapshot.offset, 100);
	assert_int_equal(back.snapshot.total, 1000);
	assert_int_equal(back.snapshot.data.len, sizeof(blob));
	assert_memory_equal(back.snapshot.data.data, blob, sizeof(blob));
	assert_int_equal(back.committed, 8);

	m = (struct message){.kind = WIRE_REQUEST_STATE_TRANSFER, .view = 3, .opnum = 9};
	m.snapshot_op = 7;
	m.snapshot_offset = 400;
	round_trip(&m, &back);
	assert_int_equal(back.snapshot_op, 7);
	assert_int_equal(back.snapshot_offset, 400);

	m = (struct message){.kind = WIRE_RECOVERY, .index = 2, .nonce = 1ull << 63};
	m.crash_count = 3;
	memcpy(m.crash, (uint64_t[]){5, 0, 1ull << 40}, 3 * sizeof(uint64_t));
	round_trip(&m, &back);
	assert_int_equal(back.crash_count, 3);
	assert_memory_equal(back.crash, m.crash, 3 * sizeof(uint64_t));
	assert_true(back.nonce == 1ull << 63);
}

static void test_every_kind(void **state)
{
	struct entry list[2] = {op_of(8, "x"), op_of(9, "")};
	struct message m, back;

	(void)state;
	for (int kind = WIRE_NONE + 1; kind < WIRE_FRAGMENT; kind++) {
		bool one = kind == WIRE_REQUEST || kind == WIRE_UNLOGGED_REQUEST;

		m = (struct message){.kind = kind, .view = 3, .opnum = 9, .batchstart = 8};
		m.entries = (struct entries){list, one, one ? 1 : 2, UINT32_MAX};
		m.has_opnum = true;
		m.index = 4;
		round_trip(&m, &back);
		assert_int_equal(back.entries.count == 0 ? 0 : back.entries.ring[0].reqid,
				 back.entries.count == 0 ? 0 : 1008 + one);
		if (kind == WIRE_PREPARE || kind == WIRE_PREPARE_OK || kind == WIRE_MY_PREPARE_OK)
			assert_int_equal(back.opnum, 9);
	}
}

static void test_lengths_are_known_beforehand(void **state)
{
	static const uint64_t numbers[] = {0, 1, 127, 128, 16383, 16384, UINT32_MAX, UINT64_MAX};
	static uint8_t op[20000];
	struct message m, none;
	struct entry e;

	(void)state;
	for (size_t i = 0; i < 8; i++) {
		for (size_t len = 0; len <= sizeof(op); len += len < 300 ? 1 : 4925) {
			e = (struct entry){numbers[i], 8, numbers[i], numbers[7 - i], {op, len}, 1};
			none = (struct message){.kind = WIRE_PREPARE, .opnum = 8, .batchstart = 8};
			m = none;
			m.entries = (struct entries){&e, 0, 1, 0};
			assert_int_equal(message_encode(&m, encoded, sizeof(encoded)) -
						 message_encode(&none, encoded, sizeof(encoded)),
					 message_request_len(&e));
			none.kind = m.kind = WIRE_STATE_TRANSFER;
			assert_int_equal(message_encode(&m, encoded, sizeof(encoded)) -
						 message_encode(&none, encoded, sizeof(encoded)),
					 message_entry_len(&e));
		}
	}
	none = (struct message){.kind = WIRE_PREPARE, .view = UINT64_MAX, .opnum = UINT64_MAX};
	none.batchstart = none.committed = UINT64_MAX;
	none.has_committed = true;
	assert_true(message_encode(&none, encoded, sizeof(encoded)) <= MESSAGE_PREPARE_MAX);
}

static void test_unfit_numbers(void **state)
{
	struct entry e = op_of(1ull << 32, "x");
	struct message m = {.kind = WIRE_PREPARE, .view = 3}, back;
	struct wire_head head;

	(void)state;
	m.opnum = m.batchstart = 1ull << 32;
	m.entries = (struct entries){&e, 0, 1, 0};
	round_trip(&m, &back);
	assert_true(back.opnum == 1ull << 32);
	wire_decode_head(&head, encoded, message_encode(&m, encoded, sizeof(encoded)));
	assert_int_equal(head.fast[0], WIRE_VIEW_UNFIT);
	assert_int_equal(head.fast[1], 0);
	assert_int_equal(head.fast[2], 0);

	m = (struct message){.kind = WIRE_PREPARE_OK, .view = 1ull << 31, .opnum = 5, .index = 1};
	round_trip(&m, &back);
	assert_true(back.view == 1ull << 31);
	m.opnum = UINT64_MAX;
	assert_int_equal(message_decode(&back, encoded, message_encode(&m, encoded, 1000), room, 1),
			 WIRE_E_VALUE);
	m.opnum = 5;
	m.view--; /* 0x7fffffff would read as unfit */
	round_trip(&m, &back);
	wire_decode_head(&head, encoded, message_encode(&m, encoded, sizeof(encoded)));
	assert_int_equal(head.fast[1], 0);
}

/* --- bad bytes -------------------------------------------------------------------------- */

static void test_header_against_body(void **state)
{
	struct message m = {.kind = WIRE_PREPARE_OK, .view = 3, .opnum = 5, .index = 1}, back;
	size_t len = message_encode(&m, encoded, sizeof(encoded));
	uint8_t *fast = encoded + WIRE_TYPE_AT + WIRE_T_PREPARE_OK;

	(void)state;
	wire_set_broadcast(encoded, true); /* user space ignores the flag */
	assert_int_equal(message_decode(&back, encoded, len, room, 64), WIRE_OK);
	fast[4] = 6;
	assert_int_equal(message_decode(&back, encoded, len, room, 64), WIRE_E_HEADER);
	memset(fast, 0, 12);
	assert_int_equal(message_decode(&back, encoded, len, room, 64), WIRE_OK);
}

static enum wire_error decode_raw(enum wire_kind kind, const char *body, size_t body_len)
{
	struct message m;
	uint8_t *exact = malloc(wire_head_len(kind) + body_len);
	enum wire_error error;

	wire_encode_head(exact, kind, NULL, body_len);
	memcpy(exact + wire_head_len(kind), body, body_len);
	error = message_decode(&m, exact, wire_head_len(kind) + body_len, room, 64);
	free(exact);
	return error;
}

#define RAW(kind, text) decode_raw(kind, text, sizeof(text) - 1)

static void test_bad_bodies(void **state)
{
	(void)state;
	assert_int_equal(RAW(WIRE_COMMIT, "\x08\x00\x10\x01"), WIRE_OK);
	assert_int_equal(RAW(WIRE_COMMIT, "\x08\x00\x10\x01\x7a\x01z\xa0\x06\x05"),
			 WIRE_OK); /* 15, 100 */
	assert_int_equal(RAW(WIRE_COMMIT, "\x08\x00"), WIRE_E_BODY);
	assert_int_equal(RAW(WIRE_COMMIT, ""), WIRE_E_BODY);
	assert_int_equal(RAW(WIRE_COMMIT, "\x08\x00\x10"), WIRE_E_BODY);
	assert_int_equal(RAW(WIRE_COMMIT, "\x08\x00\x10\x01\x7a\x05z"), WIRE_E_BODY);
	/* a request: none, one without op, one whose op is a number, a whole one */
	assert_int_equal(RAW(WIRE_REQUEST, ""), WIRE_E_BODY);
	assert_int_equal(RAW(WIRE_REQUEST, "\x0a\x04\x10\x01\x18\x01"), WIRE_E_BODY);
	assert_int_equal(RAW(WIRE_REQUEST, "\x0a\x06\x08\x01\x10\x01\x18\x01"), WIRE_E_BODY);
	assert_int_equal(RAW(WIRE_REQUEST, "\x0a\x06\x0a\x00\x10\x01\x18\x01"), WIRE_OK);
	assert_int_equal(RAW(WIRE_REQUEST,
			     "\x0a\x06\x0a\x00\x10\x01\x18\x01\x0a\x06\x0a\x00\x10\x01\x18\x01"),
			 WIRE_E_BODY);
	/* a Prepare: batchstart 0, above op, another number of requests */
	assert_int_equal(
		RAW(WIRE_PREPARE, "\x08\x00\x10\x01\x18\x00\x22\x06\x0a\x00\x10\x01\x18\x01"),
		WIRE_E_VALUE);
	assert_int_equal(
		RAW(WIRE_PREPARE, "\x08\x00\x10\x01\x18\x02\x22\x06\x0a\x00\x10\x01\x18\x01"),
		WIRE_E_VALUE);
	assert_int_equal(
		RAW(WIRE_PREPARE, "\x08\x00\x10\x02\x18\x01\x22\x06\x0a\x00\x10\x01\x18\x01"),
		WIRE_E_VALUE);
	assert_int_equal(
		RAW(WIRE_PREPARE, "\x08\x00\x10\x01\x18\x01\x22\x06\x0a\x00\x10\x01\x18\x01"),
		WIRE_OK);
	/* an index that no cluster has; op numbers out of order; a snapshot beyond its end */
	assert_int_equal(RAW(WIRE_PREPARE_OK, "\x08\x00\x10\x01\x18\x40"), WIRE_E_VALUE);
	assert_int_equal(RAW(WIRE_STATE_TRANSFER,
			     "\x08\x00\x10\x02"
			     "\x1a\x0c\x08\x00\x10\x02\x1a\x06\x0a\x00\x10\x01\x18\x01"
			     "\x1a\x0c\x08\x00\x10\x02\x1a\x06\x0a\x00\x10\x01\x18\x01"),
			 WIRE_E_VALUE);
	assert_int_equal(RAW(WIRE_STATE_TRANSFER,
			     "\x08\x00\x10\x02\x7a\x08\x08\x01\x10\x05\x18\x05\x22\x01z"),
			 WIRE_E_BODY);
	assert_int_equal(RAW(WIRE_STATE_TRANSFER,
			     "\x08\x00\x10\x02\x7a\x09\x08\x01\x10\x05\x18\x05\x22\x01z"),
			 WIRE_E_VALUE);
	assert_int_equal(RAW(WIRE_MY_PREPARE_OK, "\x01"), WIRE_E_LENGTH);
}

static void test_too_many(void **state)
{
	static struct entry list[200];
	struct message m = {.kind = WIRE_PREPARE, .opnum = 65, .batchstart = 1}, back;
	size_t len;

	(void)state;
	for (int i = 0; i < 200; i++)
		list[i] = op_of(i + 1, "");
	m.entries = (struct entries){list, 0, 65, UINT32_MAX};
	len = message_encode(&m, encoded, sizeof(encoded));
	assert_int_equal(message_decode(&back, encoded, len, room, 4096), WIRE_E_MANY);
	m.entries.count = m.opnum = 64;
	len = message_encode(&m, encoded, sizeof(encoded));
	assert_int_equal(message_decode(&back, encoded, len, room, 4096), WIRE_OK);
	m = (struct message){.kind = WIRE_START_VIEW};
	m.entries = (struct entries){list, 0, 200, UINT32_MAX};
	len = message_encode(&m, encoded, sizeof(encoded));
	assert_int_equal(message_decode(&back, encoded, len, room, 199), WIRE_E_MANY);
	assert_int_equal(message_decode(&back, encoded, len, room, 200), WIRE_OK);
}

/* Every cut and every flipped bit of every capture: an answer, and no read outside (the copy is
 * exact). */
static void test_mangled_captures(void **state)
{
	static const char *const names[] = {
		"RequestMessage.vanilla",	"PrepareMessage.vanilla",
		"MyPrepareOK.offload",		"ReplyMessage.vanilla",
		"DoViewChangeMessage.vanilla",	"StartViewMessage.vanilla",
		"StateTransferMessage.vanilla",
	};
	struct capture c;
	struct message m;

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		capture_open(&c, names[i]);
		assert_true(capture_next(&c));
		for (size_t len = 0; len < c.datagram_len; len++) {
			uint8_t *cut = malloc(len ? len : 1);

			memcpy(cut, c.datagram, len);
			assert_int_not_equal(message_decode(&m, cut, len, room, 64), WIRE_OK);
			free(cut);
		}
		for (size_t bit = 0; bit < c.datagram_len * 8; bit++) {
			uint8_t *copy = malloc(c.datagram_len);
			enum wire_error error;

			memcpy(copy, c.datagram, c.datagram_len);
			copy[bit / 8] ^= 1 << (bit % 8);
			error = message_decode(&m, copy, c.datagram_len, room, 64);
			if (bit / 8 < WIRE_TYPE_AT)
				assert_int_not_equal(error, WIRE_OK);
			free(copy);
		}
		free(c.bytes);
	}
}

/*
 * Request, Prepare and Reply have a decoder of their own for the usual form. An unknown field in
 * front is not usual, and nanopb skips it: with and without it the verdict and all values are
 * the same, whatever else is wrong with the message.
 */
static void same_by_nanopb(const uint8_t *data, size_t len)
{
	static const uint8_t unknown[] = {0xa0, 0x06, 0x01}; /* field 100: 1 */
	static struct entry room_nanopb[MESSAGE_ENTRIES_MAX];
	static uint8_t longer[65536];
	struct message m, by_nanopb;
	struct wire_head head;
	enum wire_error error;
	size_t head_len;
	uint64_t body_len;

	if (wire_decode_head(&head, data, len) != WIRE_OK)
		return;
	head_len = len - head.body_len;
	memcpy(longer, data, head_len);
	memcpy(longer + head_len, unknown, sizeof(unknown));
	memcpy(longer + head_len + sizeof(unknown), head.body, head.body_len);
	body_len = htole64(head.body_len + sizeof(unknown));
	memcpy(longer + head_len - 8, &body_len, 8);

	memset(&m, 0, sizeof(m));
	memset(&by_nanopb, 0, sizeof(by_nanopb));
	memset(room, 0, sizeof(room));
	memset(room_nanopb, 0, sizeof(room_nanopb));
	error = message_decode(&m, data, len, room, 4096);
	assert_int_equal(
		message_decode(&by_nanopb, longer, len + sizeof(unknown), room_nanopb, 4096),
		error);
	if (error)
		return;
	assert_int_equal(m.reply.len, by_nanopb.reply.len);
	if (m.reply.len)
		assert_memory_equal(m.reply.data, by_nanopb.reply.data, m.reply.len);
	m.reply = by_nanopb.reply;
	assert_int_equal(m.entries.count, by_nanopb.entries.count);
	for (uint32_t i = 0; i < m.entries.count; i++) {
		struct entry *e = &room[i], *other = &room_nanopb[i];

		assert_int_equal(e->op.len, other->op.len);
		if (e->op.len)
			assert_memory_equal(e->op.data, other->op.data, e->op.len);
		e->op = other->op;
		assert_memory_equal(e, other, sizeof(*e));
	}
	m.entries = by_nanopb.entries;
	assert_memory_equal(&m, &by_nanopb, sizeof(m));
}

static uint64_t next_random(void)
{
	static uint64_t state = 0x70617872;

	state = state * 6364136223846793005 + 1442695040888963407;
	return state >> 33;
}

static void test_usual_form_against_nanopb(void **state)
{
	static const char *const names[] = {
		"RequestMessage.vanilla",
		"PrepareMessage.vanilla",
		"PrepareMessage.offload",
		"ReplyMessage.vanilla",
	};
	static uint8_t mangled[65536];
	struct entry list[3] = {op_of(8, "x"), op_of(9, ""), op_of(10, "three")};
	struct capture c;

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		for (capture_open(&c, names[i]); capture_next(&c);)
			same_by_nanopb(c.datagram, c.datagram_len);
		free(c.bytes);
	}
	for (int i = 0; i < 60000; i++) {
		enum wire_kind kind =
			(enum wire_kind[]){WIRE_REQUEST, WIRE_PREPARE, WIRE_REPLY}[i % 3];
		struct message m = {.kind = kind, .view = next_random() >> (i % 31)};
		size_t len, at;

		m.batchstart = 1 + (next_random() >> (i % 29));
		m.opnum = m.batchstart + 2;
		m.has_committed = i & 1;
		m.committed = m.batchstart - 1;
		m.reqid = next_random() << (i % 33);
		m.reply = (struct bytes){(const uint8_t *)"result", i % 7};
		list[0].clientid = next_random() * next_random();
		list[2].reqid = next_random() << (i % 33);
		m.entries = (struct entries){list, i % 2, kind == WIRE_REQUEST ? 1 : 3, UINT32_MAX};
		if (kind == WIRE_PREPARE)
			m.entries.first = 0;
		len = message_encode(&m, mangled, sizeof(mangled));
		assert_int_not_equal(len, 0);
		assert_int_equal(message_encode(&m, encoded, len - 1), 0);
		assert_int_equal(message_decode(&m, mangled, len, room, 4096), WIRE_OK);
		same_by_nanopb(mangled, len);
		at = wire_head_len(kind) + next_random() % (len - wire_head_len(kind));
		if (i & 4)
			mangled[at] ^= 1 << next_random() % 8;
		else
			mangled[at] = next_random();
		same_by_nanopb(mangled, len);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_captures_rebuild),
		cmocka_unit_test(test_captured_fields),
		cmocka_unit_test(test_captured_fragments),
		cmocka_unit_test(test_our_fields),
		cmocka_unit_test(test_every_kind),
		cmocka_unit_test(test_lengths_are_known_beforehand),
		cmocka_unit_test(test_unfit_numbers),
		cmocka_unit_test(test_header_against_body),
		cmocka_unit_test(test_bad_bodies),
		cmocka_unit_test(test_too_many),
		cmocka_unit_test(test_mangled_captures),
		cmocka_unit_test(test_usual_form_against_nanopb),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
