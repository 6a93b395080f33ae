/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Invariants, looked at whenever something happens.
 *
 * Each log is known by a chain of hashes: chain[n] stands for ops 1..n with their bytes, so
 * "the same prefix" is one comparison. There is one for each replica's journal, one for
 * what its kernel log holds beyond that, one for each view's leader, and one for what was
 * committed by anybody.
 */
#include <string.h>

#include "sim/check.h"

uint64_t check_hash(const void *data, size_t len)
{
	const uint8_t *at = data;
	uint64_t h = len * 0x9e3779b97f4a7c15, word;

	for (; len >= 8; at += 8, len -= 8) {
		memcpy(&word, at, 8);
		h = mix64(h ^ word);
	}
	word = 0;
	memcpy(&word, at, len);
	return mix64(h ^ word);
}

uint64_t check_hash_entry(const struct entry *e)
{
	return mix64(check_hash(e->op.data, e->op.len) ^ mix64(e->clientid) ^ e->reqid);
}

uint64_t check_chain(uint64_t before, const struct entry *e)
{
	return mix64(before + 1) ^ check_hash_entry(e);
}

static uint64_t *chain_new(const struct check *c)
{
	return need((c->ops_max + 1) * sizeof(uint64_t));
}

void check_open(struct sim *s)
{
	struct check *c = need(sizeof(*c));

	s->check = c;
	/* An operation may be given several numbers, one for each view that lost it. */
	c->ops_max = 4 * s->o.steps + 1024;
	c->committed = need((c->ops_max + 1) * sizeof(*c->committed));
	for (uint32_t i = 0; i < s->n; i++) {
		c->own[i].chain = chain_new(c);
		c->own[i].kernel = chain_new(c);
	}
}

void check_close(struct sim *s)
{
	struct check *c = s->check;

	for (uint32_t i = 0; i < s->n; i++) {
		unneed(c->own[i].chain);
		unneed(c->own[i].kernel);
	}
	for (uint32_t i = 0; i < VIEWS_MAX; i++)
		unneed(c->view[i].chain);
	for (uint64_t op = 1; op <= c->committed_last; op++)
		unneed(c->committed[op].op);
	unneed(c->committed);
	unneed(c);
}

uint64_t check_committed(const struct sim *s, const struct committed **all)
{
	*all = s->check->committed;
	return s->check->committed_last;
}

struct own_log *check_own(struct node *node)
{
	return &node->sim->check->own[node->index];
}

struct view_log *check_view_log(struct node *node, uint64_t view)
{
	struct check *c = node->sim->check;

	if (view >= VIEWS_MAX) {
		violation(node->sim, "L2", "view %" PRIu64 ": views change without end", view);
		view = 0;
	}
	if (!c->view[view].chain)
		c->view[view].chain = chain_new(c);
	return &c->view[view];
}

bool check_room(struct node *node, uint64_t op)
{
	if (op <= node->sim->check->ops_max)
		return true;
	violation(node->sim, "L1", "r%u: op %" PRIu64 ": more ops than all clients asked for",
		  node->index, op);
	return false;
}

bool check_held(struct node *node, uint64_t op, uint64_t *chain)
{
	struct own_log *own = check_own(node);

	if (op > own->last && op > own->kernel_last)
		return false;
	if (op < own->base)
		*chain = node->sim->check->committed[op].chain;
	else
		*chain = op <= own->last ? own->chain[op] : own->kernel[op];
	return true;
}

/* ---- a life ---- */

void check_start(struct node *node)
{
	struct own_log *own = check_own(node);

	own->executed = 0;
	own->view = 0;
	own->status = VR_NORMAL;
}

void check_lost(struct node *node, bool journal, bool maps)
{
	struct own_log *own = check_own(node);

	/* Also without its maps: the journal alone may not be believed then. */
	own->recorded_normal = false;
	if (journal)
		own->base = own->last = own->recorded_view = 0;
	if (maps)
		own->kernel_last = 0;
}

bool check_remembers(struct node *node)
{
	return check_own(node)->recorded_normal;
}

/* ---- the journal ---- */

static bool leads(struct node *node, uint64_t *view)
{
	struct vr_info info;

	vr_info(node->vr, &info);
	*view = info.view;
	return info.status == VR_NORMAL && info.leader == node->index;
}

void check_entry(struct node *node, const struct entry *e)
{
	struct own_log *own = check_own(node);
	uint64_t view, op = e->opnum;

	if (!check_room(node, op))
		return;
	if (op != own->last + 1) {
		violation(node->sim, "S1", "r%u: op %" PRIu64 " recorded after op %" PRIu64,
			  node->index, op, own->last);
		return;
	}
	if (own->recorded_view && own->recorded_normal && own->open_view != own->recorded_view)
		violation(node->sim, "S1", "r%u recorded that it is normal in view %" PRIu64
			  " before op %" PRIu64 " of its log", node->index, own->recorded_view, op);
	own->chain[op] = check_chain(own->chain[op - 1], e);
	own->last = op;
	if (leads(node, &view)) {
		struct view_log *log = check_view_log(node, view);

		if (op == log->last + 1) {
			log->chain[op] = own->chain[op];
			log->last = op;
		} else if (op <= log->last && log->chain[op] != own->chain[op]) {
			violation(node->sim, "agreement",
				  "r%u leads view %" PRIu64 " and writes op %" PRIu64
				  " a second time",
				  node->index, view, op);
		}
	}
}

void check_truncate(struct node *node, uint64_t op)
{
	struct own_log *own = check_own(node);

	if (op < own->last)
		own->last = op;
	own->kernel_last = 0; /* of an older view: its leader's ops are not the new one's */
}

/*
 * Another's snapshot may take the place of ops that were never committed. What is above it stays
 * in the log (what differs there goes one by one), and is known by the new chain from now on.
 */
static void replace_prefix(struct own_log *own, uint64_t op, uint64_t chain)
{
	uint64_t before = own->chain[op];

	own->chain[op] = chain;
	for (uint64_t at = op + 1; at <= own->last; at++) {
		uint64_t hash = own->chain[at] ^ mix64(before + 1);

		before = own->chain[at];
		own->chain[at] = mix64(own->chain[at - 1] + 1) ^ hash;
	}
}

void check_snapshot(struct node *node, uint64_t op)
{
	struct own_log *own = check_own(node);
	struct check *c = node->sim->check;

	if (op > c->committed_last) {
		violation(node->sim, "S1",
			  "r%u: a snapshot at op %" PRIu64 ", which nobody has committed",
			  node->index, op);
		return;
	}
	own->base = op;
	replace_prefix(own, op, c->committed[op].chain);
	if (own->last < op)
		own->last = op;
}

/* ---- the gate ---- */

bool check_as_leader(struct node *node, uint64_t view, uint64_t op)
{
	struct view_log *log = check_view_log(node, view);
	uint64_t chain = 0;

	return !op || (op <= log->last && check_held(node, op, &chain) && chain == log->chain[op]);
}

/* The last op that was committed in a view before this one. */
static uint64_t committed_before(const struct check *c, uint64_t view)
{
	uint64_t op = c->committed_last;

	while (op && c->committed[op].view >= view)
		op--;
	return op;
}

static void enter_view(struct node *node, uint64_t view, uint64_t last)
{
	struct own_log *own = check_own(node);
	struct check *c = node->sim->check;
	struct view_log *log = check_view_log(node, view);
	uint64_t before = committed_before(c, view), chain;

	if (log->entered) {
		if (last < log->last || !check_held(node, log->last, &chain) ||
		    chain != log->chain[log->last])
			violation(node->sim, "agreement",
				  "r%u leads view %" PRIu64 " a second time with another log",
				  node->index, view);
	} else if (before && (!check_held(node, before, &chain) || chain != c->committed[before].chain)) {
		violation(node->sim, "durability",
			  "r%u leads view %" PRIu64 " with %" PRIu64 " ops: op %" PRIu64
			  " was committed and is lost or another",
			  node->index, view, own->last, before);
	}
	if (!log->entered && view)
		node->sim->result->view_changes++;
	log->entered = true;
	for (uint64_t op = 0; op <= own->last; op++)
		log->chain[op] = op < own->base ? c->committed[op].chain : own->chain[op];
	log->last = own->last;
}

void check_view(struct node *node, const struct vr_view_state *state)
{
	struct own_log *own = check_own(node);

	own->recorded_view = state->view;
	own->recorded_normal = state->status == VR_NORMAL;
	if (!own->recorded_normal)
		return;
	own->normal_view = state->view;
	if (state->view % node->sim->n == node->index && !check_view_log(node, state->view)->entered)
		enter_view(node, state->view, own->last);
}

void check_thaw(struct node *node, uint64_t view, uint32_t leader, uint64_t last)
{
	struct own_log *own = check_own(node);

	own->kernel_last = 0;
	own->open_view = view;
	if (leader == node->index)
		enter_view(node, view, last);
	else if (!check_as_leader(node, view, last))
		violation(node->sim, "S1",
			  "r%u opens its gate in view %" PRIu64 " at op %" PRIu64
			  ", which is not the leader's log",
			  node->index, view, last);
}

void check_advance(struct node *node, uint64_t to)
{
	struct vr_info info;

	vr_info(node->vr, &info);
	if (info.leader != node->index &&
	    (check_own(node)->last < to || !check_as_leader(node, info.view, to)))
		violation(node->sim, "S1",
			  "r%u moves its gate in view %" PRIu64 " to op %" PRIu64
			  ", which it does not hold as the leader does",
			  node->index, info.view, to);
}

void check_frozen(struct node *node, uint64_t last)
{
	check_own(node)->frozen_last = last;
}
