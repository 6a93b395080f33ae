/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include <string.h>

#include "pytests/fuzz/bytes.h"
#include "pytests/fuzz/generate.h"

#define PICK(r, ...)                                                                               \
	({                                                                                         \
		const uint64_t picks[] = {__VA_ARGS__};                                            \
		picks[below(r, sizeof(picks) / sizeof(*picks))];                                   \
	})

/* A number of 32 bits, near its edges more often than elsewhere. */
static uint32_t edge32(struct random *r)
{
	uint32_t near = below(r, 4);

	switch (below(r, 5)) {
	case 0:
		return near;
	case 1:
		return -1 - near;
	case 2:
		return 0x7ffffffe + near;
	case 3:
		return 1u << below(r, 32);
	default:
		return random64(r);
	}
}

static uint32_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* `value` give or take a few. */
static uint32_t around(struct random *r, uint32_t value, uint32_t few)
{
	return value + below(r, 2 * few + 1) - few;
}

/* -- how it begins -------------------------------------------------------------------------- */

static void start_constants(struct change *c, struct random *r)
{
	switch (below(r, 20)) {
	case 0 ... 4:
		change_put(c, BEFORE_LOG_SIZE, 4);
		break;
	case 5:
		change_put(c, BEFORE_LOG_SIZE, 1);
		break;
	case 6:
		change_put(c, BEFORE_LOG_SIZE, 16);
		change_put(c, BEFORE_PORT, 7000);
		break;
	case 7:
		change_put(c, BEFORE_LOG_SIZE, 16);
		change_put(c, BEFORE_OFFLOADS, PICK(r, 1, 2, 4));
		break;
	}
}

static void start_cluster(struct start *s, bool tc, struct random *r)
{
	struct change *c = &s->change;
	/* A broadcast to 63 peers costs as much as 30 other packets: fewer of those. */
	uint32_t n = tc ? PICK(r, 1, 2, 3, 3, 5, 7, 15) : PICK(r, 2, 3, 3, 3, 5, 5, 7, 15, 64);
	uint32_t own, leader;

	if (per_mille(r, tc ? 5 : 100))
		n = 1 + below(r, 64);
	if (per_mille(r, 5))
		n = PICK(r, 0, 65, 64, 1);
	if (!n && !s->leader)
		n = 3;
	own = below(r, least(n ?: 1, 64));
	leader = s->leader ? own : below(r, least(n ?: 1, 64));
	if (per_mille(r, 5))
		leader = below(r, 64);
	if (per_mille(r, 3))
		own = below(r, 64);
	change_put(c, BEFORE_N, n);
	change_put(c, BEFORE_OWN, own);
	change_put(c, BEFORE_LEADER, leader);
	if (percent(r, 3))
		change_put(c, BEFORE_QUORUM, PICK(r, 0, 1, n, n + 1, 63, 64, 0xffffffff));
	for (uint32_t i = 0; percent(r, 10) && i < 64; i += 1 + below(r, 8)) {
		struct elec_member *m = &s->members[i];

		for (int j = 0; j < 6; j++)
			m->mac[j] = random64(r);
		m->addr = random64(r);
		m->port = htons(percent(r, 50) ? WIRE_PORT : 1 + below(r, 65535));
		s->members_has |= 1ULL << i;
	}
}

static void start_words(struct start *s, struct random *r)
{
	struct change *c = &s->change;
	uint32_t slots = start_value(s, BEFORE_LOG_SIZE), epoch = start_value(s, BEFORE_EPOCH);
	uint32_t last = PICK(r, 0, 0, 10, 10, slots - 1, slots, 7 * slots, edge32(r),
			     -2 - below(r, 80), below(r, 1000));
	uint32_t sent = PICK(r, last, last, last, 0xffffffff, around(r, last, 3), edge32(r));

	change_put(c, BEFORE_LAST, last);
	change_put(c, BEFORE_CONSUMED, last - least(last, below(r, slots + 2)));
	if (percent(r, 2))
		change_put(c, BEFORE_CONSUMED, 0);
	if (!s->leader)
		return;
	change_put(c, BEFORE_SENT, ELEC_WORD(epoch, sent));
	change_put(c, BEFORE_COMMITTED, ELEC_WORD(epoch, sent - least(sent, below(r, 8))));
	for (int i = 0; i < ELEC_REPLICAS_MAX; i++) {
		if (percent(r, 40))
			continue;
		c->acked_has |= 1ULL << i;
		c->acked[i] = ELEC_WORD(epoch, sent - least(sent, below(r, 10)));
		if (per_mille(r, 10))
			c->acked[i] = ELEC_WORD(PICK(r, epoch - 1, epoch + 1, edge32(r)), sent);
	}
	if (per_mille(r, 10))
		change_put(c, PICK(r, BEFORE_SENT, BEFORE_COMMITTED),
			   ELEC_WORD(epoch + PICK(r, 1, -1), sent));
}

static void start_gate(struct change *c, struct random *r)
{
	if (percent(r, 60))
		change_put(c, BEFORE_VIEW, PICK(r, 0, 1, 0x7ffffffe, below(r, 0x7fffffff)));
	if (percent(r, 60))
		change_put(c, BEFORE_EPOCH, PICK(r, 0, 1, 7, 0x3fffffff, below(r, 1 << 30)));
	if (percent(r, 2))
		change_put(c, BEFORE_FROZEN, 1);
	if (percent(r, 2))
		change_put(c, BEFORE_BUSY, 1);
	if (percent(r, 2))
		change_put(c, BEFORE_STATUS, PICK(r, 0, 2, edge32(r)));
	if (percent(r, 2))
		change_put(c, BEFORE_PAGE_EPOCH, PICK(r, 0, 5, 8, edge32(r)));
	if (percent(r, 30))
		change_put(c, BEFORE_SLEEPING, 1);
	if (percent(r, 20))
		change_put(c, BEFORE_BACKLOG, PICK(r, 0, 1, 2, 3, 5, 64, 0xffffffff));
	if (percent(r, 5))
		change_put(c, BEFORE_LEASE_MS, PICK(r, 0, 1, 10, 11, 1000000));
	if (percent(r, 3)) { /* far from the edge of the lease: this clock goes on */
		change_put(c, BEFORE_CLOCK, 1);
		change_put(c, BEFORE_LEASE_MS, 1000000);
		change_put(c, BEFORE_AGE_MS, PICK(r, 0, 10, 3000000));
	} else if (percent(r, 10)) {
		change_put(c, BEFORE_AGE_MS, PICK(r, 0, 199, 200, 201, -1, -300, 4999999));
	}
}

int generate_start(struct story *story, uint64_t seed, uint64_t number, struct random *r)
{
	struct start *s = &story->start;

	r->state = seed;
	r->state = random64(r) + number;
	r->state = random64(r);
	story->number = number;
	story->tc = percent(r, 15);
	story->steps = 0;
	s->leader = percent(r, story->tc ? 80 : 40);
	s->change.has = s->change.acked_has = s->members_has = 0;
	start_constants(&s->change, r);
	start_gate(&s->change, r);
	start_cluster(s, story->tc, r);
	start_words(s, r);
	return story->tc ? 1 + below(r, 40) : 1 + below(r, percent(r, 30) ? STORY_STEPS : 60);
}

/* -- what user space does ------------------------------------------------------------------- */

static void set_thaw(struct change *c, const struct model *m, uint32_t members, struct random *r)
{
	uint32_t epoch = ELEC_WORD_EPOCH(m->state.gate), last = ELEC_WORD_OP(m->state.gate);
	const struct elec_control *page = &m->state.control[epoch & 1];

	epoch = (epoch + 1) & ELEC_EPOCH_MASK;
	change_put(c, BEFORE_EPOCH, epoch);
	change_put(c, BEFORE_FROZEN, 0);
	if (percent(r, 70))
		change_put(c, BEFORE_LAST,
			   percent(r, 70) ? last - least(last, below(r, 4)) : around(r, last, 5));
	if (percent(r, 80))
		change_put(c, BEFORE_VIEW, least(page->view + 1 + below(r, 3), WIRE_VIEW_MAX));
	if (percent(r, 40))
		change_put(c, BEFORE_LEADER, below(r, members));
	if (percent(r, 60))
		change_put(c, BEFORE_SENT, ELEC_WORD(epoch, last));
}

/* Something that is in the way is put right by and by. */
static void set_repair(struct change *c, const struct model *m, struct random *r)
{
	uint32_t epoch = ELEC_WORD_EPOCH(m->state.gate);
	const struct elec_control *page = &m->state.control[epoch & 1];

	if (m->state.gate & ELEC_FROZEN && percent(r, 30))
		change_put(c, BEFORE_FROZEN, 0);
	if (m->state.gate & ELEC_BUSY && percent(r, 20))
		change_put(c, BEFORE_BUSY, 0);
	if (page->epoch != epoch && percent(r, 20))
		change_put(c, BEFORE_PAGE_EPOCH, epoch);
	if (page->status != ELEC_STATUS_NORMAL && percent(r, 20))
		change_put(c, BEFORE_STATUS, ELEC_STATUS_NORMAL);
	if (ELEC_WORD_OP(m->state.gate) - m->state.consumed + 8 > m->slots && percent(r, 25))
		change_put(c, BEFORE_CONSUMED,
			   ELEC_WORD_OP(m->state.gate) -
				   least(ELEC_WORD_OP(m->state.gate), below(r, 3)));
	if (m->state.now_ns - m->state.stamp_ns > m->state.lease_ns && percent(r, 20))
		change_put(c, BEFORE_AGE_MS, 0);
}

static void set_word(struct change *c, const struct model *m, uint32_t n, struct random *r)
{
	uint32_t epoch = ELEC_WORD_EPOCH(m->state.gate), sent = ELEC_WORD_OP(m->state.sent);
	uint32_t i = below(r, n);
	uint64_t word = ELEC_WORD(per_mille(r, 20) ? epoch + 1 : epoch,
				  percent(r, 80) ? sent - least(sent, below(r, 4)) : edge32(r));

	if (percent(r, 30)) {
		change_put(c, BEFORE_COMMITTED, word);
		return;
	}
	c->acked_has |= 1ULL << i;
	c->acked[i] = word;
}

static void generate_set(struct change *c, const struct story *story, const struct model *m,
			 struct random *r)
{
	uint32_t sent = ELEC_WORD_OP(m->state.sent), epoch = ELEC_WORD_EPOCH(m->state.gate);
	uint32_t members = start_members(&story->start);

	c->has = c->acked_has = 0;
	set_repair(c, m, r);
	if (story->start.leader && percent(r, 20))
		change_put(c, BEFORE_SENT, ELEC_WORD(epoch, least(sent + 1ULL + below(r, 3), -1u)));
	if (!percent(r, 6))
		return;
	switch (below(r, 12)) {
	case 0:
		change_put(c, BEFORE_FROZEN, 1);
		break;
	case 1 ... 2:
		set_thaw(c, m, members, r);
		break;
	case 3:
		change_put(c, BEFORE_CONSUMED, ELEC_WORD_OP(m->state.gate));
		break;
	case 4 ... 5:
		change_put(c, BEFORE_SLEEPING, 1);
		break;
	case 6:
		change_put(c, BEFORE_LAST, least(ELEC_WORD_OP(m->state.gate) + 1ULL, -1u));
		break;
	case 7:
		if (!start_value(&story->start, BEFORE_CLOCK))
			change_put(c, BEFORE_AGE_MS, PICK(r, 0, 200, 201, 1000, -5));
		break;
	case 8:
		change_put(c, BEFORE_BACKLOG, PICK(r, 0, 1, 2, 7));
		break;
	case 9:
		set_word(c, m, members, r);
		break;
	case 10:
		if (percent(r, 30))
			change_put(c, BEFORE_BUSY, 1);
		break;
	case 11:
		if (percent(r, 30))
			change_put(c, BEFORE_STATUS, PICK(r, 0, 2));
		if (percent(r, 10))
			change_put(c, BEFORE_PAGE_EPOCH, PICK(r, epoch - 1, epoch + 1, edge32(r)));
		break;
	}
}

/* -- frames --------------------------------------------------------------------------------- */

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

static uint64_t random_sum(struct random *r)
{
	return PICK(r, FRAME_SUM_WRONG, FRAME_SUM_WRONG, FRAME_SUM_ZERO, FRAME_SUM_PARTIAL, 0xffff,
		    below(r, 0x10000));
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
	case FRAME_UDP_SUM:
		value = random_sum(r);
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

static void generate_frame(struct frame *f, const struct story *story, const struct model *m,
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

void generate_step(struct story *story, const struct model *m, struct random *r)
{
	struct step *step = &story->step[story->steps];
	struct model now = *m;
	uint8_t bytes[FRAME_MAX];

	/* The frame is for the state that user space leaves behind. */
	generate_set(&step->set, story, m, r);
	change_apply(&step->set, &now, false, 0);
	if (story_mend(&now, &step->set))
		change_apply(&step->set, &now, false, 0);
	step->context = (struct context){0};
	if (!story->tc && per_mille(r, 30))
		step->context.meta = 4 * (1 + below(r, 8));
	if (story->tc && per_mille(r, 20))
		step->context.gso = true;
	if (story->tc && per_mille(r, 20))
		step->context.no_link = true;
	if (story->steps && percent(r, 8)) /* a duplicate */
		step->frame = story->step[below(r, story->steps)].frame;
	else
		generate_frame(&step->frame, story, &now, r);
	if (frame_build(&step->frame, &now, start_members(&story->start), story->tc, bytes) < 0)
		step->frame = (struct frame){.kind = WIRE_REQUEST};
	story->steps++;
}
