/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What a replica says of its log: acks by its kernel and its process, votes (S1, S2, S4, S6, S10). */
#include "sim/check.h"

static void on_ack(struct node *node, uint64_t view, uint64_t op, const char *by)
{
	struct view_log *log = check_view_log(node, view);

	if (!check_as_leader(node, view, op)) {
		uint64_t chain;

		violation(node->sim, "S1",
			  "the %s of r%u acks op %" PRIu64 " of view %" PRIu64 ": %s", by,
			  node->index, op, view,
			  op > log->last	    ? "its leader has no such op"
			  : !check_held(node, op, &chain) ? "not all of 1..n is stored"
						    : "what is stored is not the leader's");
		return;
	}
	if (log->acked[node->index] < op)
		log->acked[node->index] = op;
}

/* A slot that was just published goes on the end of the kernel's chain, which ended at `before`. */
static void extend_kernel(struct node *node, uint64_t before, uint64_t op)
{
	struct check *c = node->sim->check;
	struct own_log *own = check_own(node);
	const struct elec_slot *slot = kernel_slot(node->kernel, before + 1);
	struct message m;
	uint64_t chain;

	if (slot->first != before + 1 || slot->last != op || !check_held(node, before, &chain)) {
		violation(node->sim, "S1",
			  "r%u: the kernel acks op %" PRIu64 ", its log went to op %" PRIu64,
			  node->index, op, before);
		return;
	}
	if (message_decode(&m, slot->data, slot->len, c->room, MESSAGE_ENTRIES_MAX) != WIRE_OK ||
	    m.entries.count != op - before) {
		violation(node->sim, "S6",
			  "r%u: the kernel stored what is no Prepare of ops "
			  "%" PRIu64 "..%" PRIu64,
			  node->index, before + 1, op);
		return;
	}
	for (uint32_t i = 0; i < m.entries.count; i++) {
		chain = check_chain(chain, entries_at(&m.entries, i));
		own->kernel[before + 1 + i] = chain;
	}
	own->kernel_last = op;
}

void check_kernel_ack(struct node *node, const struct frame *ack, uint64_t gate)
{
	struct sim *s = node->sim;
	struct elec_state *state = kernel_state(node->kernel);
	struct message m;

	s->result->acks_kernel++;
	if (!net_accepts(s, ack->data[5] - 1, ack) ||
	    message_decode(&m, ack->data + NET_PAYLOAD_AT, ack->len - NET_PAYLOAD_AT,
			   s->check->room, 1) != WIRE_OK ||
	    m.kind != WIRE_MY_PREPARE_OK || m.index != node->index) {
		violation(s, "S10", "r%u: the kernel sent an ack that is none: %s", node->index,
			  trace_frame(ack));
		return;
	}
	if (!check_room(node, m.opnum))
		return;
	if (state->gate & ELEC_FROZEN)
		violation(s, "S2",
			  "r%u: the kernel acks op %" PRIu64 " behind a frozen gate (%" PRIu64 ")",
			  node->index, m.opnum, check_own(node)->frozen_last);
	if ((int64_t)(s->now_ns - state->stamp_ns) > (int64_t)state->lease_ns)
		violation(s, "S4", "r%u: the kernel acks %" PRIu64 " us after the last stamp",
			  node->index, (uint64_t)(s->now_ns - state->stamp_ns) / US);
	if (gate != state->gate)
		extend_kernel(node, ELEC_WORD_OP(gate), m.opnum);
	on_ack(node, m.view, m.opnum, "kernel");
}

/* Something else than what this view's leader had at some op up to this one was committed. */
static bool superseded(struct node *node, const struct view_log *log, uint64_t op)
{
	uint64_t last = node->sim->check->committed_last;

	if (last > op)
		last = op;
	return last && !check_is_committed(node->sim, last, log->chain[last]);
}

/*
 * What it acked in the last view that it was normal in, in whatever life, is in the log it
 * votes with, unless that can no longer have been committed (a laggard's transfer, or snapshot).
 */
static void check_promise(struct node *node, uint64_t view)
{
	struct own_log *own = check_own(node);
	struct view_log *log = check_view_log(node, own->normal_view);
	uint64_t acked = log->acked[node->index];

	if (check_as_leader(node, own->normal_view, acked) || superseded(node, log, acked))
		return;
	violation(node->sim, "S1", "r%u votes for view %" PRIu64 " with %" PRIu64
		  " ops, without op %" PRIu64 ", which it acked in view %" PRIu64, node->index, view,
		  own->last, acked, own->normal_view);
}

/* A vote promises not to act in an older view: fence shut, its log taken over, view recorded. */
static void check_vote(struct node *node, const struct message *m)
{
	struct own_log *own = check_own(node);
	struct vr_info info;

	vr_info(node->vr, &info);
	if (info.status == VR_NORMAL)
		return; /* it only tells who has not heard of its view */
	if (!elec_frozen(node->elec))
		violation(node->sim, "S2", "r%u votes for view %" PRIu64 " with an open gate",
			  node->index, m->view);
	if (own->kernel_last > own->last)
		violation(node->sim, "S1",
			  "r%u votes for view %" PRIu64 " with op %" PRIu64
			  ", its kernel acked op %" PRIu64,
			  node->index, m->view, own->last, own->kernel_last);
	if (m->kind == WIRE_DO_VIEW_CHANGE) {
		check_promise(node, m->view);
		if (m->last_normal != own->normal_view)
			violation(node->sim, "S1", "r%u votes for view %" PRIu64
				  " and says that it was normal last in view %" PRIu64
				  ": it was in view %" PRIu64, node->index, m->view, m->last_normal,
				  own->normal_view);
	}
	if (own->recorded_view < m->view)
		violation(node->sim, "S1",
			  "r%u votes for view %" PRIu64 ", its journal says view %" PRIu64,
			  node->index, m->view, own->recorded_view);
}

void check_sent(struct node *node, const uint8_t *data, size_t len)
{
	struct sim *s = node->sim;
	struct wire_head head;
	struct message m;

	if (wire_decode_head(&head, data, len) != WIRE_OK ||
	    (head.kind != WIRE_PREPARE_OK && head.kind != WIRE_MY_PREPARE_OK &&
	     head.kind != WIRE_START_VIEW_CHANGE && head.kind != WIRE_DO_VIEW_CHANGE))
		return;
	if (message_decode(&m, data, len, s->check->room, MESSAGE_ENTRIES_MAX) != WIRE_OK) {
		violation(s, "S10", "r%u sent what is no message", node->index);
		return;
	}
	if (m.kind == WIRE_START_VIEW_CHANGE || m.kind == WIRE_DO_VIEW_CHANGE) {
		check_vote(node, &m);
		return;
	}
	s->result->acks_user += m.opnum != 0; /* 0: the answer to a heartbeat */
	if (check_room(node, m.opnum))
		on_ack(node, m.view, m.opnum, "process");
}

/* ---- crash vectors (DISC 2017) ---- */

static uint64_t ignored(const struct node *node)
{
	const uint64_t *counts = vr_counts(node->vr);
	uint64_t sum = 0;

	for (uint32_t i = VR_C_IGNORED_STATUS; i <= VR_C_IGNORED_OTHER; i++)
		sum += counts[i];
	return sum;
}

void check_before_step(struct node *node, const struct vr_event *event)
{
	struct check *c = node->sim->check;
	struct vr_view_state known;
	struct wire_head head;
	struct message m;

	c->from_dead_life = false;
	if (event->kind != VR_EVENT_MESSAGE || event->kernel || event->from >= node->sim->n ||
	    wire_decode_head(&head, event->data, event->len) != WIRE_OK ||
	    (head.kind != WIRE_START_VIEW_CHANGE && head.kind != WIRE_DO_VIEW_CHANGE &&
	     head.kind != WIRE_START_VIEW && head.kind != WIRE_RECOVERY_RESPONSE) ||
	    message_decode(&m, event->data, event->len, c->room, MESSAGE_ENTRIES_MAX) != WIRE_OK)
		return;
	vr_view_state(node->vr, &known);
	c->from_dead_life = m.crash_count && m.crash[event->from] < known.crash[event->from];
	c->ignored = ignored(node);
}

void check_after_step(struct node *node, const struct vr_event *event)
{
	const struct check *c = node->sim->check;

	if (c->from_dead_life && ignored(node) == c->ignored)
		violation(node->sim, "crash vector", "r%u heeds a message from a life of r%u that it "
			  "knows to be over", node->index, event->from);
}
