/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include <string.h>

#include "pytests/fuzz/bytes.h"
#include "pytests/fuzz/generate_internal.h"

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
	case 6: /* frames in pieces */
		change_put(c, BEFORE_LOG_SIZE, PIECES_SLOTS);
		break;
	case 7:
		change_put(c, BEFORE_LOG_SIZE, 16);
		change_put(c, BEFORE_PORT, 7000);
		break;
	case 8:
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
	for (uint32_t i = below(r, 4); percent(r, 20) && i < 64; i += 1 + below(r, 8)) {
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

void generate_step(struct story *story, const struct model *m, struct random *r)
{
	struct step *step = &story->step[story->steps];
	struct model now = *m;
	uint8_t bytes[FRAME_MAX];
	int size;

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
	if (!story->tc && now.slots == PIECES_SLOTS && percent(r, 20)) {
		frame_put(&step->frame, FRAME_BODY, below(r, 12));
		step->context = (struct context){.no_tailroom = true};
	}
	size = frame_build(&step->frame, &now, start_members(&story->start), story->tc, bytes);
	if (size >=
	    (int)ACK_LEN) /* such a frame shrinks: other pieces than meant would be cut off */
		step->context.no_tailroom = false;
	if (size < 0)
		step->frame = (struct frame){.kind = WIRE_REQUEST};
	story->steps++;
}
