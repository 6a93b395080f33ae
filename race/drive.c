/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Frames of all sorts into the loaded programs, aimed at what the gate says this moment. */
#include <errno.h>
#include <linux/bpf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <bpf/bpf.h>

#include "race/race.h"

#define PER_CENT 10000 /* of a million */
#define HOLD_MOST 2000 /* rounds of an empty loop between a look at the gate and the run */

uint32_t take_number(struct race *r)
{
	return __atomic_fetch_add(&r->next, 1, __ATOMIC_SEQ_CST);
}

void note(struct race *r, struct event event)
{
	r->timeline[take_number(r)] = event;
}

void pause_a_while(struct rng *rng, uint32_t most)
{
	for (uint64_t left = rng_spread(rng, 1, most); left; left--)
		asm volatile("" ::: "memory");
}

static int test_run(struct driver *d, size_t len, size_t *out_len)
{
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = d->in, .data_size_in = len,
		    .data_out = d->out, .data_size_out = sizeof(d->out), .repeat = 1);

	if (bpf_prog_test_run_opts(d->fd, &opts)) {
		fprintf(stderr, "race: cannot run a program: %s\n", strerror(errno));
		exit(2);
	}
	*out_len = opts.data_size_out;
	return opts.retval;
}

int drive_run(struct driver *d, const struct spec *spec)
{
	size_t len = frame_build(d->in, spec), out_len;
	struct race *r = d->race;
	uint32_t begin = take_number(r);
	int verdict;

	verdict = test_run(d, len, &out_len);
	note(r, (struct event){
			.kind = EVENT_END, .driver = d->index, .verdict = verdict, .begin = begin});
	r->timeline[begin] = (struct event){.kind = EVENT_START, .driver = d->index, .spec = *spec};
	d->runs++;
	switch (verdict) {
	case XDP_TX:
		d->acks++;
		if (spec->kind != WIRE_PREPARE || spec->corrupt ||
		    !frame_is_ack(d->out, out_len, spec))
			violation(r, "S6", "what was sent back is no ack of a whole Prepare");
		break;
	case XDP_DROP:
		d->absorbed++;
		break;
	case XDP_PASS:
		d->passed++;
		if (out_len != len || memcmp(d->in, d->out, len))
			violation(r, "S5", "a passed frame was changed");
		break;
	default:
		violation(r, "S8", "verdict %d", verdict);
	}
	return verdict;
}

static bool chance(struct driver *d, uint32_t per_cent)
{
	return rng_chance(&d->rng, per_cent * PER_CENT);
}

/* The view, or one a little older or newer: a frame from before or from behind a change. */
static uint32_t near_view(struct driver *d, uint32_t view)
{
	uint32_t late = rng_between(&d->rng, 1, 3);

	if (chance(d, 70))
		return view;
	/* Two on: the epoch that uses the same control page. */
	return chance(d, 30) && view > late ? view - late : view + (chance(d, 20) ? 1 : 2);
}

static struct spec a_prepare(struct driver *d, uint64_t gate)
{
	uint32_t last = ELEC_WORD_OP(gate), batch = rng_between(&d->rng, 1, BATCH_MOST);
	struct spec s = {
		.kind = WIRE_PREPARE,
		.view = near_view(d, ELEC_WORD_EPOCH(gate)),
		.op = last + batch,
		.first = last + 1,
		.variant = rng_next(&d->rng),
		.corrupt = chance(d, 15),
	};

	if (chance(d, 30)) { /* a duplicate, or a gap */
		s.op = last + 3 - rng_below(&d->rng, BACK_MOST);
		s.first = s.op - rng_below(&d->rng, 2);
	}
	s.from = frame_leader(s.view) == SELF ? rng_below(&d->rng, SELF) : frame_leader(s.view);
	return s;
}

static struct spec an_ack(struct driver *d, uint64_t gate)
{
	uint32_t sent = ELEC_WORD_OP(__atomic_load_n(&d->race->state->sent, __ATOMIC_RELAXED));

	return (struct spec){
		.kind = chance(d, 40) ? WIRE_MY_PREPARE_OK : WIRE_PREPARE_OK,
		.view = near_view(d, ELEC_WORD_EPOCH(gate)),
		.op = sent + 2 - rng_below(&d->rng, BACK_MOST),
		.from = rng_below(&d->rng, REPLICAS),
		.variant = rng_next(&d->rng),
		.corrupt = chance(d, 10),
	};
}

void drive_some(struct driver *d)
{
	uint64_t gate = __atomic_load_n(&d->race->state->gate, __ATOMIC_RELAXED);
	bool leads = frame_leader(ELEC_WORD_EPOCH(gate)) == SELF;
	struct spec s = chance(d, leads ? 10 : 95) ? a_prepare(d, gate) : an_ack(d, gate);

	/* Mostly at once, sometimes when what the frame says may have become old. */
	if (chance(d, 30))
		pause_a_while(&d->rng, HOLD_MOST);
	drive_run(d, &s);
}

bool round_goes_on(const struct race *r)
{
	return __atomic_load_n(&r->next, __ATOMIC_RELAXED) < EVENTS - EVENTS_SPARE &&
	       !__atomic_load_n(&r->enough, __ATOMIC_ACQUIRE);
}

void drive_round(struct driver *d)
{
	while (round_goes_on(d->race))
		drive_some(d);
}
