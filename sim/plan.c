/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The faults of one seed: each begins after so many operations, lasts for so long, and is
 * drawn from all that are switched on. What a fault makes wrong its end makes right; the
 * end of the plan makes everything right.
 *
 * Of files lost the plan keeps to what VR promises to survive: never more than f replicas
 * without memory at one time (Liskov & Cowling 2012, section 4.3).
 */
#include <string.h>

#include "sim/sim.h"

#define FAULTS_LEAST 10
#define FAULTS_MOST 18
#define CRASH_POINTS 60 /* code points until a kill strikes */
#define CRASH_LATEST_NS (5 * MS)
#define ALL (UINT32_MAX >> (32 - SIM_FAULT_COUNT))

enum { BEGIN, END };

/* How likely each is, beside the others; and how long it lasts. */
static const struct {
	uint32_t weight;
	uint64_t least_ns, most_ns;
} kinds[SIM_FAULT_COUNT] = {
	[SIM_FAULT_LOSS] = {2, 1 * MS, 300 * MS},
	[SIM_FAULT_DUPLICATE] = {1, 1 * MS, 300 * MS},
	[SIM_FAULT_DELAY] = {2, 1 * MS, 300 * MS},
	[SIM_FAULT_CORRUPT] = {1, 1 * MS, 300 * MS},
	[SIM_FAULT_PARTITION] = {6, 20 * MS, 2000 * MS},
	[SIM_FAULT_CRASH] = {4, 1 * MS, 1500 * MS},
	[SIM_FAULT_AMNESIA] = {3, 1 * MS, 1500 * MS},
	[SIM_FAULT_ALL] = {1, 1 * MS, 300 * MS},
	[SIM_FAULT_STOP] = {1, 1 * MS, 500 * MS},
	[SIM_FAULT_PAUSE] = {4, 20 * MS, 1500 * MS},
	[SIM_FAULT_DETACH] = {2, 1 * MS, 300 * MS},
	[SIM_FAULT_SLOW] = {2, 20 * MS, 300 * MS},
};

static enum sim_fault draw(struct sim *s)
{
	uint32_t total = 0, at;

	for (uint32_t k = 0; k < SIM_FAULT_COUNT; k++)
		total += s->o.faults & 1 << k ? kinds[k].weight : 0;
	at = rng_below(&s->rng_plan, total);
	for (uint32_t k = 0;; k++) {
		uint32_t weight = s->o.faults & 1 << k ? kinds[k].weight : 0;

		if (at < weight)
			return k;
		at -= weight;
	}
}

void plan_open(struct sim *s)
{
	uint64_t after = 20;

	if (!(s->o.faults & ALL))
		return;
	s->plan_count = rng_between(&s->rng_plan, FAULTS_LEAST, FAULTS_MOST);
	for (uint32_t i = 0; i < s->plan_count; i++) {
		struct fault *f = &s->plan[i];

		f->kind = draw(s);
		/* Close together now and then: the second strikes while the first heals. */
		after += rng_below(&s->rng_plan,
				   rng_below(&s->rng_plan, 2 * s->o.steps / s->plan_count) + 1);
		f->after = after < s->o.steps * 9ULL / 10 ? after : s->o.steps * 9ULL / 10;
		f->duration_ns =
			rng_spread(&s->rng_plan, kinds[f->kind].least_ns, kinds[f->kind].most_ns);
	}
}

bool plan_done(const struct sim *s)
{
	return s->plan_next == s->plan_count && !s->plan_active &&
	       s->operations_done >= s->o.steps * 9ULL / 10;
}

static void at(struct sim *s, uint64_t delay_ns, uint32_t fault, uint32_t what)
{
	world_at(s, delay_ns, (struct event){.kind = EVENT_FAULT, .node = what, .argument = fault});
}

void plan_progress(struct sim *s)
{
	while (s->plan_next < s->plan_count && s->plan[s->plan_next].after <= s->operations_done) {
		s->plan_active++;
		at(s, 0, s->plan_next++, BEGIN);
	}
}

/* ---- victims ---- */

/* The leader as often as not. */
static uint32_t victim(struct sim *s)
{
	uint64_t view = 0;
	uint32_t leader = rng_below(&s->rng_plan, s->n);

	for (uint32_t i = 0; i < s->n; i++) {
		struct vr_info info;

		if (s->node[i].status != NODE_UP || !s->node[i].vr)
			continue;
		vr_info(s->node[i].vr, &info);
		if (info.status == VR_NORMAL && info.view >= view && info.leader == i) {
			view = info.view;
			leader = i;
		}
	}
	return rng_below(&s->rng_plan, 2) ? leader : rng_below(&s->rng_plan, s->n);
}

static bool has_memory(struct node *node)
{
	/* Until it is killed its journal still tells of the time before. */
	if (node->without_memory && node->crash_in < 0)
		node->without_memory = !check_remembers(node);
	return !node->without_memory;
}

/* Who has no memory yet has failed; is there room in f for this one too? */
static bool may_fail(struct sim *s, uint32_t victim)
{
	uint32_t without = 0;

	for (uint32_t i = 0; i < s->n; i++)
		without += i != victim && !has_memory(&s->node[i]);
	return without < (s->n - 1) / 2;
}

/* ---- each kind ---- */

static void strike(struct node *node, enum sim_fault how)
{
	struct sim *s = node->sim;

	if (node->status != NODE_UP || node->crash_in >= 0)
		return;
	node->crash_how = how;
	node->crash_in = rng_below(&s->rng_plan, CRASH_POINTS);
	if (how == SIM_FAULT_AMNESIA) {
		uint32_t what = rng_below(&s->rng_plan, 4);

		node->lose_journal = what != 0;
		node->lose_maps = what != 1;
		node->without_memory = true;
		s->result->crashes_amnesia++;
	} else {
		s->result->crashes_files++;
	}
	world_at(s, rng_below(&s->rng_plan, CRASH_LATEST_NS),
		 (struct event){.kind = EVENT_CRASH, .node = node->index, .argument = node->life});
}

static void revive(struct node *node)
{
	if (node->crash_in >= 0)
		node_crash(node, node->crash_how);
	else if (node->stop)
		node_crash(node, SIM_FAULT_CRASH); /* it takes too long to end in good order */
	if (node->status == NODE_DOWN)
		node_start(node);
}

/* Shapes of a partition, around one replica. */
enum shape { ALONE, REPLICAS, DEAF, MUTE, LINK, SIDES, SHAPES };

static void cut(struct sim *s, uint32_t one, enum shape shape)
{
	uint32_t all = s->n + s->clients, side = rng_next(&s->rng_plan);
	uint32_t other = rng_below(&s->rng_plan, s->n);
	static const char *const shapes[] = {"cut off",	     "cut off from replicas",
					     "hears nobody", "is heard by nobody",
					     "one link cut", "two sides"};

	story(s, "r%u %s", one, shapes[shape]);
	for (uint32_t i = 0; i < all; i++) {
		for (uint32_t j = 0; j < all; j++) {
			bool from = i == one, to = j == one, replicas = i < s->n && j < s->n, now;

			now = shape == ALONE	  ? from != to
			      : shape == REPLICAS ? from != to && replicas
			      : shape == DEAF	  ? to && replicas
			      : shape == MUTE	  ? from && replicas
			      : shape == LINK	  ? (from && j == other) || (to && i == other)
						  : (side >> i & 1) != (side >> j & 1);
			s->net.cut[i][j] |= now && i != j;
		}
	}
}

static void storm(struct sim *s, enum sim_fault kind)
{
	uint32_t only = rng_below(&s->rng_plan, 2) ? rng_below(&s->rng_plan, s->n) : UINT32_MAX;
	uint32_t strength = rng_between(&s->rng_plan, 50000, 500000);

	story(s, "%s storm, %.0f %%", sim_fault_names[kind], strength / 1e4);
	switch (kind) {
	case SIM_FAULT_LOSS:
		for (uint32_t i = 0; i < SIM_NODES_MAX; i++)
			for (uint32_t j = 0; j < SIM_NODES_MAX; j++)
				if (only == UINT32_MAX || i == only || j == only)
					s->net.loss[i][j] = strength;
		break;
	case SIM_FAULT_DUPLICATE:
		s->net.duplicate = strength;
		break;
	case SIM_FAULT_DELAY:
		s->net.late = strength;
		s->net.late_ns = rng_spread(&s->rng_plan, 100 * US, 300 * MS);
		break;
	default:
		s->net.corrupt = strength / 2;
		break;
	}
}

static void begin(struct sim *s, struct fault *f)
{
	struct node *node;
	uint32_t shape;

	f->victim = victim(s);
	node = &s->node[f->victim];
	if (f->kind == SIM_FAULT_AMNESIA && !may_fail(s, f->victim))
		f->kind = SIM_FAULT_CRASH;
	s->result->faults[f->kind]++;
	switch (f->kind) {
	case SIM_FAULT_PARTITION:
		/* The most telling one, more often: the leader lives, and another does not know. */
		shape = rng_below(&s->rng_plan, 8);
		cut(s, f->victim, shape < SHAPES ? shape : LINK);
		break;
	case SIM_FAULT_ALL:
		for (uint32_t i = 0; i < s->n; i++)
			strike(&s->node[i], SIM_FAULT_CRASH);
		break;
	case SIM_FAULT_CRASH:
	case SIM_FAULT_AMNESIA:
		strike(node, f->kind);
		break;
	case SIM_FAULT_STOP:
		node_stop(node);
		break;
	case SIM_FAULT_PAUSE:
		if (node->status == NODE_UP)
			node->pause_in = rng_below(&s->rng_plan, CRASH_POINTS);
		break;
	case SIM_FAULT_DETACH:
		story(s, "r%u programs detached", f->victim);
		f->part = rng_between(&s->rng_plan, 1, 3);
		node->xdp &= !(f->part & 1);
		node->tc &= !(f->part & 2);
		break;
	case SIM_FAULT_SLOW:
		story(s, "r%u dawdles", f->victim);
		node->dawdle = rng_spread(&s->rng_plan, 100, 30000);
		break;
	default:
		storm(s, f->kind);
	}
}

static void end(struct sim *s, struct fault *f)
{
	struct node *node = &s->node[f->victim];

	switch (f->kind) {
	case SIM_FAULT_PARTITION:
		plan_mend(s);
		break;
	case SIM_FAULT_ALL:
		for (uint32_t i = 0; i < s->n; i++)
			revive(&s->node[i]);
		break;
	case SIM_FAULT_CRASH:
	case SIM_FAULT_AMNESIA:
	case SIM_FAULT_STOP:
		revive(node);
		break;
	case SIM_FAULT_PAUSE:
		node_pause(node, false);
		break;
	case SIM_FAULT_DETACH:
		story(s, "r%u programs attached", f->victim);
		if (node->status == NODE_UP)
			kernel_attach(node);
		break;
	case SIM_FAULT_SLOW:
		node->dawdle = 1;
		break;
	default:
		story(s, "%s is over", sim_fault_names[f->kind]);
		net_calm(s);
	}
}

void plan_event(struct sim *s, const struct event *event)
{
	struct fault *f = &s->plan[event->argument];

	if (event->node == BEGIN) {
		begin(s, f);
		at(s, f->duration_ns, event->argument, END);
		return;
	}
	end(s, f);
	s->plan_active--;
}

void plan_mend(struct sim *s)
{
	story(s, "links whole again");
	memset(s->net.cut, 0, sizeof(s->net.cut));
}

/* The others must serve then, so they have to be f + 1 that remember. */
bool plan_cut_one(struct sim *s)
{
	uint32_t one = victim(s);

	if (!(s->o.faults & 1 << SIM_FAULT_PARTITION) || !may_fail(s, one))
		return false;
	cut(s, one, rng_below(&s->rng_plan, SIDES));
	return true;
}

void plan_heal(struct sim *s)
{
	story(s, "all faults end");
	memset(s->net.cut, 0, sizeof(s->net.cut));
	memset(s->net.loss, 0, sizeof(s->net.loss));
	s->net.duplicate = s->net.late = s->net.corrupt = 0;
	for (uint32_t i = 0; i < s->n; i++) {
		struct node *node = &s->node[i];

		node->dawdle = 1;
		node_pause(node, false);
		revive(node);
		kernel_attach(node);
	}
}
