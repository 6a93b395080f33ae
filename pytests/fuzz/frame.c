/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Frames from their fields, byte for byte as pytests/conformance/frames.py builds them. */
#include <string.h>

#include "pytests/fuzz/bytes.h"
#include "pytests/fuzz/story.h"

const char *const frame_kinds[WIRE_KIND_COUNT] = {
#define X(id, name, type) [WIRE_##id] = name,
	WIRE_KINDS(X)
#undef X
};

static const char *const types[WIRE_KIND_COUNT] = {
#define X(id, name, type) [WIRE_##id] = type,
	WIRE_KINDS(X)
#undef X
};

/* Type names that are nearly one: of the same length, too short, too long. */
const char *const frame_names[] = {
	"",
	"specpaxos.vr.proto.PrepareMessagf",
	"Specpaxos.vr.proto.PrepareMessage",
	"specpaxos.vr.proto.PrepareMessag",
	"specpaxos.vr.proto.PrepareMessageX",
	"specpaxos.vr.proto.PrepareOKMessagE",
	"specpaxos.vr.MyPrepareoK",
	"specpaxos.vr.MyPrepareOKK",
	"specpaxos.vr.proto.CommitMessagE",
	"specpaxos.vr.proto.RequestStateTransferMessageX",
	NULL,
};

static uint64_t field(const struct frame *f, enum frame_field id, uint64_t otherwise)
{
	return frame_has(f, id) ? f->value[id] : otherwise;
}

static uint8_t *put_filler(uint8_t *at, size_t size)
{
	for (size_t i = 0; i < size; i++)
		at[i] = i * 7 + (i >> 8) * 13 + 1;
	return at + size;
}

static bool is_ack(enum wire_kind kind)
{
	return kind == WIRE_PREPARE_OK || kind == WIRE_MY_PREPARE_OK;
}

/* Who sends such a message to this replica (or, on egress, itself). */
static uint32_t sender(const struct frame *f, const struct elec_control *page, bool egress)
{
	uint32_t next = (page->self + 1) % (page->n ?: 1);

	if (egress)
		return page->self;
	if (is_ack(f->kind))
		return next;
	return page->leader != page->self ? page->leader : next;
}

/* The UDP payload; its end, or NULL. */
static uint8_t *build_message(const struct frame *f, const struct model *m,
			      const struct elec_control *page, uint32_t from, uint8_t *at,
			      const uint8_t *end)
{
	bool fast = is_ack(f->kind) || f->kind == WIRE_PREPARE;
	uint64_t op =
		is_ack(f->kind) ? ELEC_WORD_OP(m->state.sent) : ELEC_WORD_OP(m->state.gate) + 1ULL;
	uint64_t view = field(f, FRAME_VIEW, fast ? page->view : 0), third, body;
	const char *name =
		frame_has(f, FRAME_NAME) ? frame_names[f->value[FRAME_NAME]] : types[f->kind];

	if (frame_has(f, FRAME_PAYLOAD))
		return put(at, f->bytes, f->value[FRAME_PAYLOAD]);
	op = field(f, FRAME_OP, fast ? op : 0);
	third = field(f, FRAME_THIRD, !fast ? 0 : is_ack(f->kind) ? from : op);
	view |= field(f, FRAME_FLAG, 0) ? WIRE_BROADCAST : 0;
	if (op > UINT32_MAX || third > UINT32_MAX)
		return NULL;
	body = f->kind == WIRE_MY_PREPARE_OK ? sizeof(struct wire_my_prepare_ok) : 24;
	if (frame_has(f, FRAME_BODY))
		body = f->value[FRAME_BODY] & ~FRAME_BODY_BYTES;
	if (at + WIRE_HEAD_LEN(strlen(name)) + body > end)
		return NULL;

	at = put_le(at, field(f, FRAME_MAGIC, WIRE_MAGIC), 4);
	at = put_le(at, field(f, FRAME_T, strlen(name)), 8);
	at = put(at, name, strlen(name));
	at = put_le(at, view, 4);
	at = put_le(at, op, 4);
	at = put_le(at, third, 4);
	at = put_le(at, field(f, FRAME_B, body), 8);
	if (frame_has(f, FRAME_BODY))
		return f->value[FRAME_BODY] & FRAME_BODY_BYTES ? put(at, f->bytes, body)
							       : put_filler(at, body);
	if (f->kind != WIRE_MY_PREPARE_OK)
		return put_filler(at, body);
	at = put_le(at, field(f, FRAME_BODY_VIEW, view & 0x7fffffff), 8);
	at = put_le(at, field(f, FRAME_BODY_OP, op), 8);
	return put_le(at, field(f, FRAME_BODY_INDEX, third), 4);
}

/* An index that no member has. */
static bool stranger(uint64_t value, uint32_t members)
{
	return value < FRAME_ADDRESS && value >= members;
}

static void put_address(uint8_t *at, uint64_t value, int size)
{
	for (int i = 0; i < size; i++)
		at[i] = value >> 8 * (size - 1 - i);
}

static uint16_t sum_field(const struct frame *f, enum frame_field id, uint16_t right,
			  uint16_t difference, uint16_t partial)
{
	uint64_t value = field(f, id, right);

	return value == FRAME_SUM_WRONG	    ? right ^ difference
	       : value == FRAME_SUM_ZERO    ? 0
	       : value == FRAME_SUM_PARTIAL ? partial
					    : value;
}

static int damage(const struct frame *f, uint8_t *frame, size_t size)
{
	size_t cut;

	put_filler(frame + size, field(f, FRAME_TAIL, 0));
	size += field(f, FRAME_TAIL, 0);
	for (int i = 0; i < f->patches; i++)
		if (f->patch_at[i] < size)
			frame[f->patch_at[i]] = f->patch[i];
	for (int i = 0; i < f->flips; i++)
		if (f->flip[i] / 8u < size)
			frame[f->flip[i] / 8] ^= 128 >> f->flip[i] % 8;
	cut = field(f, FRAME_CUT, size);
	return cut < size ? cut : size;
}

/* BPF_PROG_TEST_RUN refuses these as socket buffers (6.18: EINVAL). */
static bool half_header(const uint8_t *frame, int size)
{
	uint16_t type = be16(frame + 12);

	return (type == 0x0800 && size < ETH_LEN + 20) || (type == 0x86dd && size < ETH_LEN + 40);
}

int frame_build(const struct frame *f, const struct model *m, uint32_t members, bool egress,
		uint8_t bytes[FRAME_MAX])
{
	const struct elec_control *page = &m->state.control[ELEC_WORD_EPOCH(m->state.gate) & 1];
	uint32_t from = field(f, FRAME_FROM, sender(f, page, egress));
	uint32_t to = field(f, FRAME_TO, (page->self + egress) % (page->n ?: 1));
	uint32_t options = field(f, FRAME_OPTIONS, 0), tags = field(f, FRAME_VLAN, 0), udp_len;
	const struct elec_member *source = &page->member[from], *target = &page->member[to];
	uint8_t *ip = bytes + ETH_LEN + 4 * tags, *udp = ip + 20 + options, *at, *end;
	const uint8_t *limit = bytes + FRAME_MAX - field(f, FRAME_TAIL, 0);
	uint64_t mac_dst = field(f, FRAME_ETH_DST, to), mac_src = field(f, FRAME_ETH_SRC, from);
	uint64_t src = field(f, FRAME_SRC, from), dst = field(f, FRAME_DST, to);
	uint32_t pseudo;
	int size;

	if (stranger(from, members) || stranger(to, members) || stranger(mac_dst, members) ||
	    stranger(mac_src, members) || stranger(src, members) || stranger(dst, members))
		return -1;
	end = build_message(f, m, page, from, udp + 8, limit);
	if (!end)
		return -1;
	udp_len = end - udp;

	/* Addresses: the members' or as said. */
	put(bytes, page->member[mac_dst < FRAME_ADDRESS ? mac_dst : 0].mac, 6);
	put(bytes + 6, page->member[mac_src < FRAME_ADDRESS ? mac_src : 0].mac, 6);
	put(ip + 12, &page->member[src < FRAME_ADDRESS ? src : 0].addr, 4);
	put(ip + 16, &page->member[dst < FRAME_ADDRESS ? dst : 0].addr, 4);
	if (mac_dst >= FRAME_ADDRESS)
		put_address(bytes, mac_dst, 6);
	if (mac_src >= FRAME_ADDRESS)
		put_address(bytes + 6, mac_src, 6);
	if (src >= FRAME_ADDRESS)
		put_address(ip + 12, src, 4);
	if (dst >= FRAME_ADDRESS)
		put_address(ip + 16, dst, 4);

	at = bytes + 12;
	for (uint32_t i = 0; i < tags; i++)
		at = put_be16(put_be16(at, 0x8100), 7 + i);
	put_be16(at, field(f, FRAME_ETH_TYPE, 0x0800));

	ip[0] = field(f, FRAME_VIHL, 0x45 + options / 4);
	ip[1] = field(f, FRAME_TOS, 0);
	put_be16(ip + 2, field(f, FRAME_TOTAL, 20 + options + udp_len));
	put_be16(ip + 4, field(f, FRAME_ID, 0x1234));
	put_be16(ip + 6, field(f, FRAME_FRAG, 0x4000));
	ip[8] = field(f, FRAME_TTL, 64);
	ip[9] = field(f, FRAME_PROTO, 17);
	put_be16(ip + 10, 0);
	memset(ip + 20, 1, options); /* no operation */
	put_be16(ip + 10, sum_field(f, FRAME_IP_SUM, checksum(sum(ip, 20 + options)), 0x0101, 0));

	put_be16(udp, frame_has(f, FRAME_SPORT) ? f->value[FRAME_SPORT] : ntohs(source->port));
	put_be16(udp + 2, frame_has(f, FRAME_DPORT) ? f->value[FRAME_DPORT] : ntohs(target->port));
	put_be16(udp + 4, field(f, FRAME_UDP_LEN, udp_len));
	put_be16(udp + 6, 0);
	pseudo = sum(ip + 12, 8) + 17 + udp_len;
	put_be16(udp + 6,
		 sum_field(f, FRAME_UDP_SUM, checksum(pseudo + sum(udp, udp_len)) ?: 0xffff, 0x1357,
			   pseudo % 0xffff ?: 0xffff));
	size = damage(f, bytes, end - bytes);
	return egress && half_header(bytes, size) ? -1 : size;
}
