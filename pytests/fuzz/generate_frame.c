/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "pytests/fuzz/bytes.h"
#include "pytests/fuzz/generate_internal.h"

static void generate_body(struct frame *f, struct random *r)
{
	uint32_t size = below(r, 120);

	if (percent(r, 8))
		size = below(r, 1500);
	/* The largest that a slot takes. Acks are never so long, nothing is said of such. */
	if (f->kind == WIRE_PREPARE && percent(r, 3))
		size = around(r, ELEC_SLOT_DATA - WIRE_HEAD_LEN(WIRE_T_PREPARE), 3);
	if (percent(r, 10)) {
		size = below(r, FRAME_BYTES + 1);
		for (uint32_t i = 0; i < size; i++)
			f->bytes[i] = random64(r);
		frame_put(f, FRAME_BODY, size | FRAME_BODY_BYTES);
		return;
	}
	if (f->kind != WIRE_MY_PREPARE_OK || percent(r, 3))
		frame_put(f, FRAME_BODY, percent(r, 3) ? 20 : size);
}

static void prepare_frame(struct frame *f, const struct model *m, struct random *r)
{
	uint32_t last = ELEC_WORD_OP(m->state.gate), op = last + 1, first = op;

	switch (below(r, 40)) {
	case 0 ... 5: /* a batch */
		op = last + 1 + below(r, 64);
		break;
	case 6 ... 8: /* again */
		first = op = last - below(r, 4);
		break;
	case 9:
		op = last - below(r, 100);
		first = op - below(r, 70);
		break;
	case 10 ... 11: /* a gap */
		first = last + 2 + below(r, 3);
		op = first + below(r, 3);
		break;
	case 12: /* an overlap */
		first = last - below(r, 5);
		op = last + 1 + below(r, 5);
		break;
	case 13: /* a batch about as large as they may be */
		op = last + around(r, ELEC_BATCH_MAX, 2);
		break;
	case 14: /* about as many as the log takes */
		op = around(r, m->state.consumed + m->slots, 1);
		first = PICK(r, last + 1, op);
		break;
	case 15:
		first = edge32(r);
		break;
	case 16:
		op = edge32(r);
		first = percent(r, 50) ? op : edge32(r);
		break;
	case 17:
		if (percent(r, 50))
			first = op + 1 + below(r, 3);
		else
			first = op = 0;
		break;
	}
	f->kind = WIRE_PREPARE;
	frame_put(f, FRAME_OP, op);
	frame_put(f, FRAME_THIRD, first);
}

static void ack_frame(struct frame *f, const struct model *m, uint32_t members, struct random *r)
{
	uint32_t peer = below(r, members), sent = ELEC_WORD_OP(m->state.sent);
	uint32_t acked = ELEC_WORD_OP(m->state.acked[peer]), op = sent;

	switch (below(r, 10)) {
	case 0 ... 2:
		op = acked + 1;
		break;
	case 3:
		op = acked - below(r, 2);
		break;
	case 4 ... 6:
		op = sent - least(sent, below(r, 5));
		break;
	case 7:
		op = PICK(r, sent, sent, sent + 1, sent + 1, edge32(r), 0);
		break;
	}
	f->kind = percent(r, 60) ? WIRE_MY_PREPARE_OK : WIRE_PREPARE_OK;
	frame_put(f, FRAME_FROM, peer);
	frame_put(f, FRAME_OP, op);
	if (percent(r, 3))
		frame_put(f, FRAME_THIRD, percent(r, 70) ? below(r, members + 1) : edge32(r));
	if (f->kind == WIRE_MY_PREPARE_OK && percent(r, 3))
		frame_put(f, PICK(r, FRAME_BODY_VIEW, FRAME_BODY_OP, FRAME_BODY_INDEX),
			  percent(r, 50) ? below(r, 5) : edge32(r));
}

static void egress_frame(struct frame *f, const struct model *m, struct random *r)
{
	prepare_frame(f, m, r);
	if (percent(r, 15))
		f->kind = WIRE_COMMIT;
	if (percent(r, 10))
		f->kind = 1 + below(r, WIRE_UNLOGGED_REPLY);
	if (percent(r, 75))
		frame_put(f, FRAME_FLAG, 1);
}

static uint64_t random_address(struct random *r, uint32_t members, int bits)
{
	if (percent(r, 70))
		return below(r, members);
	if (percent(r, 20))
		return FRAME_ADDRESS | PICK(r, 0, (1ULL << bits) - 1);
	return FRAME_ADDRESS | random64(r) >> (64 - bits);
}

/* One thing about a frame that is not as usual. */
static void change_field(struct frame *f, const struct model *m, uint32_t members, bool egress,
			 struct random *r)
{
	enum frame_field field = below(r, FRAME_COUNT);
	uint64_t value = 0;

	switch (field) {
	case FRAME_FROM:
	case FRAME_TO:
		value = below(r, members);
		break;
	case FRAME_ETH_DST:
	case FRAME_ETH_SRC:
		value = random_address(r, members, 48);
		break;
	case FRAME_SRC:
	case FRAME_DST:
		value = random_address(r, members, 32);
		break;
	case FRAME_ETH_TYPE:
		value = PICK(r, 0x0806, 0x86dd, 0x8100, 0x0008, below(r, 0x10000));
		break;
	case FRAME_VLAN:
		value = 1 + below(r, 2);
		break;
	case FRAME_VIHL:
		value = PICK(r, 0x44, 0x46, 0x4f, 0x55, 0x65, 0x40, below(r, 256));
		break;
	case FRAME_TOS:
		value = below(r, 256);
		break;
	case FRAME_TOTAL:
	case FRAME_UDP_LEN:
		value = PICK(r, 0, 8, 28, 40, 127, 128, 129, 65535, below(r, 65536));
		break;
	case FRAME_ID:
		value = PICK(r, 0, 0xffff, below(r, 0x10000));
		break;
	case FRAME_FRAG:
		value = PICK(r, 0, 0, 0, 0x4000, 0x2000, 0x8000, 1, 0x6000, 0x1fff, 0x40b9);
		break;
	case FRAME_TTL:
		value = PICK(r, 0, 1, 2, 255, below(r, 256));
		break;
	case FRAME_PROTO:
		value = PICK(r, 6, 1, 16, 18, 136, below(r, 256));
		break;
	case FRAME_IP_SUM:
		value = PICK(r, FRAME_SUM_WRONG, FRAME_SUM_ZERO, 0xffff, below(r, 0x10000));
		break;
	case FRAME_UDP_SUM:
		value = PICK(r, FRAME_SUM_WRONG, FRAME_SUM_WRONG, FRAME_SUM_ZERO, FRAME_SUM_PARTIAL,
			     0xffff, below(r, 0x10000));
		break;
	case FRAME_OPTIONS:
		value = 4 * (1 + below(r, 10));
		break;
	case FRAME_SPORT:
	case FRAME_DPORT:
		value = PICK(r, 0, 12345, 12346, 7000, 0x3930, below(r, 0x10000));
		break;
	case FRAME_PAYLOAD:
		value = below(r, FRAME_BYTES + 1);
		for (uint32_t i = 0; i < FRAME_BYTES; i++)
			f->bytes[i] = random64(r);
		if (percent(r, 60))
			put_le(f->bytes, PICK(r, WIRE_MAGIC, WIRE_MAGIC, WIRE_MAGIC_FRAGMENT), 4);
		if (percent(r, 60))
			put_le(f->bytes + 4, PICK(r, below(r, 50), random64(r)), 8);
		f->has &= ~(1ULL << FRAME_BODY);
		break;
	case FRAME_MAGIC:
		value = PICK(r, WIRE_MAGIC_FRAGMENT, WIRE_MAGIC_FRAGMENT, 0, WIRE_MAGIC + 1,
			     random64(r) & UINT32_MAX);
		break;
	case FRAME_T:
		value = PICK(r, 0, 24, 33, 35, 46, 47, 32, 34, -1ULL, (1ULL << 32) + 33,
			     random64(r));
		break;
	case FRAME_NAME:
		value = below(r, 10);
		break;
	case FRAME_VIEW:
		value = percent(r, 50) ? edge32(r)
				       : (uint32_t)(m->state.control[0].view + below(r, 3));
		value &= 0x7fffffff;
		break;
	case FRAME_OP:
	case FRAME_THIRD:
		value = edge32(r);
		break;
	case FRAME_FLAG:
		value = 1;
		break;
	case FRAME_B:
		value = PICK(r, 0, 20, 24, -1ULL, (1ULL << 32) + 20, below(r, 200), random64(r));
		break;
	case FRAME_BODY:
		value = PICK(r, 0, 1, below(r, 60), 19, 20, 21);
		break;
	case FRAME_BODY_VIEW:
	case FRAME_BODY_OP:
	case FRAME_BODY_INDEX:
		if (f->kind != WIRE_MY_PREPARE_OK)
			return;
		value = edge32(r);
		break;
	case FRAME_TAIL:
		value = 1 + below(r, 60);
		break;
	case FRAME_CUT:
		value = 14 + below(r, 14 + below(r, 200));
		break;
	case FRAME_COUNT:
		return;
	}
	if (field == FRAME_VIEW && egress && percent(r, 50))
		value = WIRE_VIEW_UNFIT;
	frame_put(f, field, value);
}

/* Bytes and bits, sums and lengths notwithstanding. */
static void damage(struct frame *f, struct random *r)
{
	uint32_t reach = PICK(r, PAYLOAD_AT, 120, 220);

	if (percent(r, 60))
		for (uint32_t n = 1 + below(r, 3); f->flips < n;)
			f->flip[f->flips++] = below(r, 8 * reach);
	if (percent(r, 40)) {
		f->patch_at[0] = below(r, reach);
		f->patch[0] = random64(r);
		f->patches = 1;
	}
}

void generate_frame(struct frame *f, const struct story *story, const struct model *m,
		    struct random *r)
{
	uint32_t epoch = ELEC_WORD_EPOCH(m->state.gate), members = start_members(&story->start);
	const struct elec_control *page = &m->state.control[epoch & 1];
	bool ack = page->self == page->leader;

	f->has = 0;
	f->patches = f->flips = 0;
	if (percent(r, 3))
		ack = !ack;
	if (story->tc)
		egress_frame(f, m, r);
	else if (ack)
		ack_frame(f, m, members, r);
	else
		prepare_frame(f, m, r);
	if (!story->tc && percent(r, 2))
		f->kind = 1 + below(r, WIRE_UNLOGGED_REPLY);
	generate_body(f, r);
	if (percent(r, 5))
		frame_put(f, FRAME_TTL, 1 + below(r, 255));
	if (percent(r, 5))
		frame_put(f, FRAME_TOS, below(r, 256));
	if (percent(r, 20))
		frame_put(f, FRAME_ID, below(r, 65536));
	while (percent(r, 25))
		change_field(f, m, members, story->tc, r);
	if (percent(r, 6))
		damage(f, r);
}
