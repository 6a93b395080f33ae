/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The verdict on a round, from its timeline. Something that began at number b and ended at
 * number e happened at one moment between them, which is all that is known of it:
 *
 *   acks (S1, S2)     the run of the program overlaps the life of the epoch that it acks in,
 *                     from before the thaw to after elec_freeze() returned; the op is not above
 *                     the frozen last op; what the reader polled are the bytes of a run
 *                     that may have been the first to be acked for that op
 *   quorum (S3, L1)   a word is not above what frames and elec_ack() that had begun can
 *                     have raised it to in this epoch, nor below what those that were over have
 */
#include <linux/bpf.h>
#include <stdlib.h>
#include <string.h>

#include "race/race.h"

#define NEVER UINT32_MAX

struct epoch {
	uint32_t thaw, frozen; /* numbers: before the thaw, after the freeze */
	uint32_t last, final;  /* ops: of the thaw, of the freeze */
	uint32_t ops;	       /* of op last + 1 in check.ops */
};

/* An op that was added in an epoch; those of a batch are one, under the last of them. */
struct op {
	bool polled;
	uint32_t first, variant;
	uint32_t acked_end;   /* least end of a run that acked this op */
	uint32_t match_begin; /* least begin of one that acked the bytes that were polled */
};

struct word {
	uint32_t most, least;
};

struct check {
	struct race *race;
	uint32_t first_epoch, epochs_count;
	struct epoch epochs[EVENTS / 3];
	struct op ops[EVENTS * BATCH_MOST];

	/* The sweep: the epoch at hand and what is known of its words. */
	uint32_t epoch, sent;
	bool live; /* thawed and not frozen again */
	struct word acked[REPLICAS];
	uint32_t least_acked[REPLICAS], least_committed; /* when the look at hand began */
	struct {
		const struct spec *spec; /* NULL: between two runs */
		bool counts;		 /* may have raised a word */
	} open[DRIVERS];
};

/* ---- epochs, and what was polled in them ---- */

static struct epoch *epoch_find(struct check *c, uint32_t epoch)
{
	uint32_t i = epoch - c->first_epoch;

	return i < c->epochs_count ? &c->epochs[i] : NULL;
}

static struct op *op_find(struct check *c, const struct epoch *e, uint32_t op)
{
	return &c->ops[e->ops + (op - e->last - 1)];
}

static void collect(struct check *c, uint32_t number, const struct event *event)
{
	struct epoch *e = c->epochs_count ? &c->epochs[c->epochs_count - 1] : NULL;
	struct op *op;

	switch (event->kind) {
	case EVENT_THAW:
		if (!e)
			c->first_epoch = event->epoch;
		c->epochs[c->epochs_count++] = (struct epoch){
			.thaw = number,
			.last = event->spec.op,
			.ops = e ? e->ops + (e->final - e->last) : 0,
		};
		break;
	case EVENT_FROZEN:
		e->frozen = number;
		e->final = event->spec.op;
		break;
	case EVENT_POLLED:
		op = op_find(c, e, event->spec.op);
		*op = (struct op){
			.polled = true,
			.first = event->spec.first,
			.variant = event->spec.variant,
			.acked_end = NEVER,
			.match_begin = NEVER,
		};
		break;
	}
}

static void check_polled(struct check *c, const struct epoch *e)
{
	uint32_t epoch = c->first_epoch + (e - c->epochs);

	for (uint32_t n = e->last + 1; n <= e->final; n++) {
		const struct op *op = op_find(c, e, n);

		if (!op->polled)
			continue; /* inside a batch, or advanced */
		if (op->match_begin == NEVER)
			violation(c->race, "S1", "epoch %u: op %u has bytes that were never acked",
				  epoch, n);
		else if (op->match_begin > op->acked_end)
			violation(c->race, "S1",
				  "epoch %u: op %u has other bytes than those acked first", epoch,
				  n);
	}
}

/* ---- acks that were made ---- */

static void check_ack(struct check *c, uint32_t begin, uint32_t end, const struct spec *spec)
{
	const struct epoch *e = epoch_find(c, spec->view);
	struct op *op;

	if (!e || end < e->thaw) {
		violation(c->race, "S1", "op %u acked in epoch %u, which had not begun", spec->op,
			  spec->view);
		return;
	}
	if (frame_leader(spec->view) == SELF) {
		violation(c->race, "S7", "op %u acked in epoch %u by its leader", spec->op,
			  spec->view);
		return;
	}
	if (begin > e->frozen) {
		violation(c->race, "S2", "op %u acked in epoch %u after elec_freeze() returned",
			  spec->op, spec->view);
		return;
	}
	if (spec->op > e->final) {
		violation(c->race, "S2", "op %u acked in epoch %u, which was frozen at %u",
			  spec->op, spec->view, e->final);
		return;
	}
	if (spec->op <= e->last)
		return; /* in the own log before */
	op = op_find(c, e, spec->op);
	if (!op->polled)
		return;
	if (end < op->acked_end)
		op->acked_end = end;
	if (op->first == spec->first && op->variant == spec->variant && begin < op->match_begin)
		op->match_begin = begin;
}

/* ---- acks that were counted ---- */

static void raise(uint32_t *op, uint32_t to)
{
	if (*op < to)
		*op = to;
}

/* The op that QUORUM of these reach. */
static uint32_t quorum_of(const uint32_t acked[REPLICAS])
{
	uint32_t best = 0;

	for (uint32_t i = 0; i < REPLICAS; i++) {
		uint32_t acks = 0;

		for (uint32_t j = 0; j < REPLICAS; j++)
			acks += acked[j] >= acked[i];
		if (acks >= QUORUM)
			raise(&best, acked[i]);
	}
	return best;
}

/* A run that is under way: from now on it may have counted. */
static void may_count(struct check *c, int driver)
{
	const struct spec *s = c->open[driver].spec;

	if (!s || !c->live || s->kind == WIRE_PREPARE || s->corrupt || s->view != c->epoch ||
	    frame_leader(s->view) != SELF || s->from == SELF || s->op > c->sent)
		return;
	c->open[driver].counts = true;
	raise(&c->acked[s->from].most, s->op);
}

static void all_may_count(struct check *c)
{
	for (int i = 0; i < DRIVERS; i++)
		may_count(c, i);
}

/*
 * Another run of the same sender's ack is under way: it may have raised the word before this
 * one did, and is then the one that looks for a quorum of the ops up to there.
 */
static bool left_to_another(const struct check *c, int driver, const struct spec *s)
{
	for (int i = 0; i < DRIVERS; i++)
		if (i != driver && c->open[i].spec && c->open[i].counts &&
		    c->open[i].spec->from == s->from)
			return true;
	return false;
}

static void check_absorbed(struct check *c, int driver)
{
	const struct spec *s = c->open[driver].spec;

	if (!c->open[driver].counts)
		violation(c->race, "S3",
			  "an ack of op %u in epoch %u from %u was absorbed and cannot count",
			  s->op, s->view, s->from);
	else if (s->view == c->epoch && !left_to_another(c, driver, s))
		raise(&c->acked[s->from].least, s->op);
}

static void check_word(struct check *c, const char *name, uint32_t op, uint32_t least,
		       uint32_t most)
{
	if (op > most)
		violation(c->race, "S3", "epoch %u: %s is op %u, evidence is there up to %u",
			  c->epoch, name, op, most);
	if (op < least)
		violation(c->race, "L1", "epoch %u: %s is op %u, acks up to %u were absorbed",
			  c->epoch, name, op, least);
}

static void check_words(struct check *c, const struct event *event)
{
	uint32_t op = event->spec.op, i = event->spec.from, most[REPLICAS];

	if (event->kind == EVENT_ACKED) {
		check_word(c, "acked", op, c->least_acked[i], c->acked[i].most);
		return;
	}
	for (i = 0; i < REPLICAS; i++)
		most[i] = c->acked[i].most;
	check_word(c, "committed", op, c->least_committed, quorum_of(most));
}

static void on_thaw(struct check *c, const struct event *event)
{
	memset(c->acked, 0, sizeof(c->acked));
	c->epoch = event->epoch;
	c->sent = event->spec.op;
	c->live = true;
	all_may_count(c);
}

static void on_evidence(struct check *c, const struct spec *s)
{
	if (!c->live || s->from == SELF || s->op > c->sent)
		return;
	raise(&c->acked[s->from].most, s->op);
	raise(&c->acked[s->from].least, s->op);
}

static void on_look(struct check *c)
{
	for (uint32_t i = 0; i < REPLICAS; i++)
		c->least_acked[i] = c->acked[i].least;
	c->least_committed = quorum_of(c->least_acked);
}

static void on_end(struct check *c, uint32_t number, const struct event *event)
{
	const struct event *start = &c->race->timeline[event->begin];

	if (event->verdict == XDP_TX)
		check_ack(c, event->begin, number, &start->spec);
	if (event->verdict == XDP_DROP)
		check_absorbed(c, event->driver);
	c->open[event->driver].spec = NULL;
}

static void sweep(struct check *c, uint32_t number, const struct event *event)
{
	switch (event->kind) {
	case EVENT_START:
		c->open[event->driver].spec = &event->spec;
		c->open[event->driver].counts = false;
		may_count(c, event->driver);
		break;
	case EVENT_END:
		on_end(c, number, event);
		break;
	case EVENT_THAW:
		on_thaw(c, event);
		break;
	case EVENT_FROZEN:
		c->live = false;
		break;
	case EVENT_SENT:
		raise(&c->sent, event->spec.op);
		all_may_count(c);
		break;
	case EVENT_EVIDENCE:
		on_evidence(c, &event->spec);
		break;
	case EVENT_LOOK:
		on_look(c);
		break;
	case EVENT_ACKED:
	case EVENT_COMMITTED:
		check_words(c, event);
		break;
	}
}

void check_round(struct race *r)
{
	static struct check check;
	struct check *c = &check;

	memset(c, 0, sizeof(*c));
	c->race = r;
	for (uint32_t i = 0; i < r->next; i++)
		collect(c, i, &r->timeline[i]);
	for (uint32_t i = 0; i < r->next; i++)
		sweep(c, i, &r->timeline[i]);
	for (uint32_t i = 0; i < c->epochs_count; i++)
		check_polled(c, &c->epochs[i]);
}
