/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The replica's side: a life of thaws and freezes with polls between them, as
 * replica/process.c leads it, but at the pace of the programs and in no sensible order. What can be
 * seen at once is checked here, what takes the other CPU's story in check.c.
 */
#include <string.h>

#include "race/race.h"

#define PER_CENT 10000	/* of a million */
#define STEPS_MOST 48	/* between a thaw and the freeze */
#define PAUSE_MOST 1500 /* rounds of an empty loop */
#define AWAIT_MOST 3000 /* looks at the gate: some runs of the other CPU */
#define HIT_MOST 200	/* rounds of an empty loop: about as long as a claim lasts */
#define BURST 8
#define FLURRY_MOST 6 /* epochs */

bool control_goes_on(struct race *r)
{
	if (round_goes_on(r) && seconds() < r->until)
		return true;
	__atomic_store_n(&r->enough, true, __ATOMIC_RELEASE);
	return false;
}

static uint32_t epoch_of(const struct race *r)
{
	return elec_next_epoch(r->elec) - 1;
}

bool control_leads(const struct race *r)
{
	return frame_leader(epoch_of(r)) == SELF;
}

static bool chance(struct race *r, uint32_t per_cent)
{
	return rng_chance(&r->rng, per_cent * PER_CENT);
}

/* ---- follower ---- */

static void take(struct race *r, const struct elec_message *m)
{
	int64_t variant = frame_variant(m->data, m->len, epoch_of(r), m->first, m->last);

	if (variant < 0)
		violation(r, "S1", "epoch %u: polled ops %u..%u, whose bytes are no Prepare of it",
			  epoch_of(r), (uint32_t)m->first, (uint32_t)m->last);
	note(r, (struct event){.kind = EVENT_POLLED,
			       .epoch = epoch_of(r),
			       .spec = {.first = m->first, .op = m->last, .variant = variant}});
	r->own = m->last;
	r->polled++;
}

/* Out of the kernel log into the own log. Bytes must stay as they are until consumed. */
int control_poll(struct race *r, bool consume)
{
	static uint8_t copies[BURST][ELEC_SLOT_DATA];
	struct elec_message m[BURST];
	int n = elec_poll_message(r->elec, m, rng_between(&r->rng, 1, BURST));

	for (int i = 0; i < n; i++) {
		memcpy(copies[i], m[i].data, m[i].len);
		take(r, &m[i]);
	}
	if (n && chance(r, 30))
		pause_a_while(&r->rng, PAUSE_MOST);
	for (int i = 0; i < n; i++)
		if (memcmp(copies[i], m[i].data, m[i].len))
			violation(r, "S1", "epoch %u: ops %u..%u changed after they were polled",
				  epoch_of(r), (uint32_t)m[i].first, (uint32_t)m[i].last);
	if (consume)
		elec_consumed(r->elec, r->own);
	return n;
}

static void advance(struct race *r)
{
	uint32_t to = r->own + rng_between(&r->rng, 1, BATCH_MOST);

	if (!elec_advance(r->elec, to))
		return; /* overtaken: poll first */
	note(r, (struct event){.kind = EVENT_ADVANCED, .spec = {.op = to}});
	r->own = to;
	r->advanced++;
}

static void follow(struct race *r)
{
	if (chance(r, 80))
		control_poll(r, chance(r, 80));
	else
		advance(r);
}

/* ---- leader ---- */

static void look(struct race *r)
{
	uint32_t begin = take_number(r), acked[REPLICAS], committed = elec_quorum(r->elec);

	for (uint32_t i = 0; i < REPLICAS; i++)
		acked[i] = elec_acked(r->elec, i);
	r->timeline[begin] = (struct event){.kind = EVENT_LOOK};
	for (uint32_t i = 0; i < REPLICAS; i++)
		note(r, (struct event){.kind = EVENT_ACKED,
				       .begin = begin,
				       .spec = {.from = i, .op = acked[i]}});
	note(r, (struct event){.kind = EVENT_COMMITTED, .begin = begin, .spec = {.op = committed}});
	r->looks++;
}

static void lead(struct race *r)
{
	uint32_t op, from;

	if (chance(r, 40)) {
		r->own += rng_between(&r->rng, 1, BATCH_MOST);
		note(r, (struct event){.kind = EVENT_SENT, .spec = {.op = r->own}});
		elec_sent(r->elec, r->own);
	} else if (chance(r, 20)) {
		op = r->own + 1 - rng_below(&r->rng, BACK_MOST);
		from = rng_below(&r->rng, REPLICAS);
		note(r, (struct event){.kind = EVENT_EVIDENCE, .spec = {.from = from, .op = op}});
		elec_ack(r->elec, from, op);
	} else {
		look(r);
	}
}

/* ---- changes ---- */

/* The new leader's log may be shorter, or longer, than what this one had. */
static uint32_t other_last(struct race *r)
{
	if (chance(r, 50))
		return r->own - rng_below(&r->rng, BACK_MOST / 2);
	return r->own + (chance(r, 50) ? rng_below(&r->rng, BACK_MOST) : 0);
}

void control_thaw(struct race *r, uint32_t last)
{
	uint32_t epoch = elec_next_epoch(r->elec);

	r->own = last;
	note(r, (struct event){.kind = EVENT_THAW, .epoch = epoch, .spec = {.op = last}});
	elec_thaw(r->elec, epoch, frame_leader(epoch), last);
}

static void still_frozen(struct race *r, uint32_t last)
{
	uint64_t gate = __atomic_load_n(&r->state->gate, __ATOMIC_SEQ_CST);

	if (gate & ELEC_BUSY)
		violation(r, "S2", "epoch %u: elec_freeze() returned and a program still copies",
			  epoch_of(r));
	else if (!(gate & ELEC_FROZEN))
		violation(r, "S2", "epoch %u: elec_freeze() returned and the gate is open",
			  epoch_of(r));
	else if (ELEC_WORD_OP(gate) != last)
		violation(r, "S2", "epoch %u: elec_freeze() returned %u, then the last op was %u",
			  epoch_of(r), last, ELEC_WORD_OP(gate));
}

/* Until the other CPU's program has claimed the gate, and then a little. */
static void await_claim(struct race *r)
{
	for (int i = 0; i < AWAIT_MOST; i++) {
		if (__atomic_load_n(&r->state->gate, __ATOMIC_RELAXED) & ELEC_BUSY) {
			pause_a_while(&r->rng, HIT_MOST);
			return;
		}
	}
}

void control_freeze(struct race *r, bool at_once)
{
	bool leads = control_leads(r);
	uint32_t last;

	if (!at_once && !leads && chance(r, 30))
		await_claim(r);
	last = elec_freeze(r->elec);

	note(r, (struct event){.kind = EVENT_FROZEN, .epoch = epoch_of(r), .spec = {.op = last}});
	r->freezes++;
	still_frozen(r, last);
	if (!at_once && chance(r, 50))
		pause_a_while(&r->rng, PAUSE_MOST);
	while (control_poll(r, true))
		;
	if (!at_once && chance(r, 50))
		look(r);
	if (!leads && r->own != last)
		violation(r, "S2", "epoch %u: frozen at %u, drained to %u", epoch_of(r), last,
			  r->own);
	still_frozen(r, last);
}

/* What a program meets that is held up: two epochs later its control page is used again. */
static void flurry(struct race *r)
{
	for (uint64_t epochs = rng_between(&r->rng, 1, FLURRY_MOST); epochs; epochs--) {
		control_thaw(r, other_last(r));
		control_freeze(r, true);
	}
}

void control_round(struct race *r, uint32_t share)
{
	while (control_goes_on(r)) {
		if (chance(r, 30))
			flurry(r);
		control_thaw(r, other_last(r));
		elec_stamp(r->elec);
		for (uint64_t steps = rng_spread(&r->rng, 1, STEPS_MOST); steps && round_goes_on(r);
		     steps--) {
			if (chance(r, share))
				drive_some(&r->drivers[0]);
			else if (control_leads(r))
				lead(r);
			else
				follow(r);
			if (chance(r, 40))
				pause_a_while(&r->rng, PAUSE_MOST);
		}
		control_freeze(r, false);
	}
}
