/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* States as the conformance cases describe them: see make_state() and _set() in cases.py. */
#include <string.h>

#include "pytests/fuzz/bytes.h"
#include "pytests/fuzz/story.h"

#define SECOND_NS 1000000000ULL
#define MS_NS 1000000ULL
#define NOW_NS (5000 * SECOND_NS)

uint64_t start_value(const struct start *s, enum before_field field)
{
	if (change_has(&s->change, field))
		return s->change.value[field];
	switch (field) {
	case BEFORE_N:
		return 3;
	case BEFORE_OWN:
		return s->leader ? 0 : 1;
	case BEFORE_VIEW:
		return 105;
	case BEFORE_QUORUM:
		return start_value(s, BEFORE_N) / 2;
	case BEFORE_STATUS:
		return ELEC_STATUS_NORMAL;
	case BEFORE_EPOCH:
		return 6;
	case BEFORE_PAGE_EPOCH:
		return start_value(s, BEFORE_EPOCH);
	case BEFORE_LAST:
		return 10;
	case BEFORE_CONSUMED:
		return 8;
	case BEFORE_SENT:
		return ELEC_WORD(start_value(s, BEFORE_EPOCH), start_value(s, BEFORE_LAST));
	case BEFORE_COMMITTED:
		return ELEC_WORD(start_value(s, BEFORE_EPOCH), 0);
	case BEFORE_LOG_SIZE:
		return 128;
	case BEFORE_LEASE_MS:
		return 200;
	case BEFORE_AGE_MS:
		return 10;
	case BEFORE_OFFLOADS:
		return ELEC_OFFLOAD_ALL;
	case BEFORE_PORT:
		return WIRE_PORT;
	default:
		return 0;
	}
}

static uint32_t max32(uint32_t a, uint32_t b)
{
	return a > b ? a : b;
}

uint32_t start_members(const struct start *s)
{
	uint32_t used = start_value(s, BEFORE_N);

	used = max32(used, start_value(s, BEFORE_OWN) + 1);
	used = max32(used, start_value(s, BEFORE_LEADER) + 1);
	return used > ELEC_REPLICAS_MAX ? ELEC_REPLICAS_MAX : used;
}

struct elec_member start_member(const struct start *s, uint32_t i)
{
	struct elec_member member = {.mac = {0x02, 0x70, 0, 0, 0, i + 1},
				     .port = htons(start_value(s, BEFORE_PORT)),
				     .addr = htonl(0x0a4d0000 + i + 1)};

	if (s->members_has >> i & 1) {
		__be16 port = member.port;

		member = s->members[i];
		if (i == start_value(s, BEFORE_OWN)) /* that is what the programs are loaded with */
			member.port = port;
	}
	return member;
}

static uint64_t gate_word(uint32_t epoch, uint32_t last, bool frozen, bool busy)
{
	return ELEC_WORD(epoch, last) | (frozen ? ELEC_FROZEN : 0) | (busy ? ELEC_BUSY : 0);
}

void start_apply(const struct start *s, struct model *m, uint64_t clock_ns)
{
	struct elec_state *state = &m->state;
	uint32_t epoch = start_value(s, BEFORE_EPOCH), n = start_value(s, BEFORE_N);
	struct elec_control *page = &state->control[epoch & 1],
			    *other = &state->control[~epoch & 1];

	model_reset(m);
	m->port = start_value(s, BEFORE_PORT);
	state->gate = gate_word(epoch, start_value(s, BEFORE_LAST), start_value(s, BEFORE_FROZEN),
				start_value(s, BEFORE_BUSY));
	state->lease_ns = start_value(s, BEFORE_LEASE_MS) * MS_NS;
	state->now_ns = start_value(s, BEFORE_CLOCK) ? 0 : NOW_NS;
	state->stamp_ns = (state->now_ns ?: clock_ns) - start_value(s, BEFORE_AGE_MS) * MS_NS;
	state->consumed = start_value(s, BEFORE_CONSUMED);
	state->sleeping = start_value(s, BEFORE_SLEEPING);
	state->wake_backlog = start_value(s, BEFORE_BACKLOG);
	state->sent = start_value(s, BEFORE_SENT);
	state->committed = start_value(s, BEFORE_COMMITTED);
	for (int i = 0; i < ELEC_REPLICAS_MAX; i++)
		state->acked[i] =
			s->change.acked_has >> i & 1 ? s->change.acked[i] : ELEC_WORD(epoch, 0);

	page->epoch = start_value(s, BEFORE_PAGE_EPOCH);
	page->status = start_value(s, BEFORE_STATUS);
	page->view = start_value(s, BEFORE_VIEW);
	page->n = n;
	page->self = start_value(s, BEFORE_OWN);
	page->leader = start_value(s, BEFORE_LEADER);
	page->quorum = start_value(s, BEFORE_QUORUM);
	for (uint32_t i = 0; i < start_members(s); i++)
		page->member[i] = start_member(s, i);
	/* The other page is the one before: another view and leader, to be taken for nothing. */
	*other = *page;
	other->epoch = (epoch - 1) & ELEC_EPOCH_MASK;
	other->status = ELEC_STATUS_NORMAL;
	other->view = (page->view - 1) & 0x7fffffff;
	other->leader = (page->leader + 1) % max32(1, n);
}

static void thaw(struct elec_state *s, uint32_t epoch)
{
	struct elec_control page = s->control[ELEC_WORD_EPOCH(s->gate) & 1];

	page.epoch = epoch;
	s->control[epoch & 1] = page;
	s->gate = (s->gate & (ELEC_FROZEN | ELEC_BUSY)) | ELEC_WORD(epoch, ELEC_WORD_OP(s->gate));
	s->sent = s->committed = ELEC_WORD(epoch, 0);
	for (int i = 0; i < ELEC_REPLICAS_MAX; i++)
		s->acked[i] = ELEC_WORD(epoch, 0);
}

static uint64_t or_else(const struct change *c, enum before_field field, uint64_t value)
{
	return change_has(c, field) ? c->value[field] : value;
}

void change_apply(const struct change *c, struct model *m, bool kernel_clock, uint64_t clock_ns)
{
	struct elec_state *s = &m->state;
	struct elec_control *page;
	uint32_t epoch;

	if (change_has(c, BEFORE_EPOCH))
		thaw(s, c->value[BEFORE_EPOCH]);
	epoch = ELEC_WORD_EPOCH(s->gate);
	page = &s->control[epoch & 1];
	s->gate = gate_word(epoch, or_else(c, BEFORE_LAST, ELEC_WORD_OP(s->gate)),
			    or_else(c, BEFORE_FROZEN, !!(s->gate & ELEC_FROZEN)),
			    or_else(c, BEFORE_BUSY, !!(s->gate & ELEC_BUSY)));
	s->consumed = or_else(c, BEFORE_CONSUMED, s->consumed);
	s->sleeping = or_else(c, BEFORE_SLEEPING, s->sleeping);
	s->wake_backlog = or_else(c, BEFORE_BACKLOG, s->wake_backlog);
	s->sent = or_else(c, BEFORE_SENT, s->sent);
	s->committed = or_else(c, BEFORE_COMMITTED, s->committed);
	page->view = or_else(c, BEFORE_VIEW, page->view);
	page->status = or_else(c, BEFORE_STATUS, page->status);
	page->leader = or_else(c, BEFORE_LEADER, page->leader);
	page->quorum = or_else(c, BEFORE_QUORUM, page->quorum);
	page->epoch = or_else(c, BEFORE_PAGE_EPOCH, page->epoch);
	if (change_has(c, BEFORE_AGE_MS))
		s->stamp_ns =
			(kernel_clock ? clock_ns : s->now_ns) - c->value[BEFORE_AGE_MS] * MS_NS;
	for (int i = 0; i < ELEC_REPLICAS_MAX; i++)
		if (c->acked_has >> i & 1)
			s->acked[i] = c->acked[i];
}

bool story_mend(const struct model *m, struct change *c)
{
	uint32_t epoch = ELEC_WORD_EPOCH(m->state.gate), last = ELEC_WORD_OP(m->state.gate);
	uint32_t op = model_quorum_op(m);
	bool mended = false;

	if (ELEC_WORD_EPOCH(m->state.committed) == epoch && op > ELEC_WORD_OP(m->state.committed)) {
		change_put(c, BEFORE_COMMITTED, ELEC_WORD(epoch, op));
		mended = true;
	}
	if (m->state.consumed > last) {
		change_put(c, BEFORE_CONSUMED, last);
		mended = true;
	}
	return mended;
}
