/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Invariants, looked at whenever something happens.
 *
 * Each log is known by a chain of hashes: chain[n] stands for ops 1..n with their bytes, so
 * "the same prefix" is one comparison. There is one for each replica's journal, one for
 * what its kernel log holds beyond that, one for each view's leader, and one for what was
 * committed by anybody.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "replica/message.h"
#include "replica/wire.h"
#include "sim/sim.h"

#define VIEWS_MAX 4096

struct view_log {
	uint64_t *chain;
	uint64_t last;			  /* leader: ops 1..last are its log in this view */
	bool entered;			  /* by its leader */
	uint64_t acked[SIM_REPLICAS_MAX]; /* highest op that each acked, by kernel or socket */
};

struct own_log {
	uint64_t *chain;
	uint64_t base, last;
	uint64_t kernel_last; /* chain goes on to here in the kernel log */
	uint64_t *kernel;
	uint64_t executed; /* in this life: looked at up to here */
	uint64_t frozen_last, recorded_view;
	uint64_t view;
	enum vr_status status;
};

struct check {
	uint64_t ops_max;
	struct own_log own[SIM_REPLICAS_MAX];
	struct view_log view[VIEWS_MAX];
	struct committed *committed; /* [op] */
	uint64_t committed_last;
	struct entry room[MESSAGE_ENTRIES_MAX];
};

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

static uint64_t hash_entry(const struct entry *e)
{
	return mix64(check_hash(e->op.data, e->op.len) ^ mix64(e->clientid) ^ e->reqid);
}

static uint64_t link_chain(uint64_t before, const struct entry *e)
{
	return mix64(before + 1) ^ hash_entry(e);
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

static struct own_log *own_of(struct node *node)
{
	return &node->sim->check->own[node->index];
}

static struct view_log *view_of(struct node *node, uint64_t view)
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

static bool room_for(struct node *node, uint64_t op)
{
	if (op <= node->sim->check->ops_max)
		return true;
	violation(node->sim, "L1", "r%u: op %" PRIu64 ": more ops than all clients asked for",
		  node->index, op);
	return false;
}

/* What a replica holds of ops 1..op, journal and kernel log together; false: not all of them. */
static bool held(struct node *node, uint64_t op, uint64_t *chain)
{
	struct own_log *own = own_of(node);

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
	struct own_log *own = own_of(node);

	own->executed = 0;
	own->view = 0;
	own->status = VR_NORMAL;
}

void check_lost(struct node *node, bool journal, bool maps)
{
	struct own_log *own = own_of(node);

	if (journal)
		own->base = own->last = own->recorded_view = 0;
	if (maps)
		own->kernel_last = 0;
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
	struct own_log *own = own_of(node);
	uint64_t view, op = e->opnum;

	if (!room_for(node, op))
		return;
	if (op != own->last + 1) {
		violation(node->sim, "S1", "r%u: op %" PRIu64 " recorded after op %" PRIu64,
			  node->index, op, own->last);
		return;
	}
	own->chain[op] = link_chain(own->chain[op - 1], e);
	own->last = op;
	if (leads(node, &view)) {
		struct view_log *log = view_of(node, view);

		if (op == log->last + 1) {
			log->chain[op] = own->chain[op];
			log->last = op;
		} else if (op <= log->last && log->chain[op] != own->chain[op]) {
			violation(node->sim, "agreement", "r%u leads view %" PRIu64
				  " and writes op %" PRIu64 " a second time", node->index, view, op);
		}
	}
}

void check_truncate(struct node *node, uint64_t op)
{
	struct own_log *own = own_of(node);

	if (op < own->last)
		own->last = op;
	own->kernel_last = 0; /* of an older view: its leader's ops are not the new one's */
}

void check_snapshot(struct node *node, uint64_t op)
{
	struct own_log *own = own_of(node);
	struct check *c = node->sim->check;

	if (op > c->committed_last) {
		violation(node->sim, "S1", "r%u: a snapshot at op %" PRIu64
			  ", which nobody has committed", node->index, op);
		return;
	}
	if (op >= own->base && op <= own->last && own->chain[op] != c->committed[op].chain && op)
		violation(node->sim, "agreement",
			  "r%u: the journal up to op %" PRIu64 " is not what was committed",
			  node->index, op);
	own->base = op;
	own->chain[op] = c->committed[op].chain;
	if (own->last < op)
		own->last = op;
}

/* ---- the gate ---- */

static bool same_as_leader(struct node *node, uint64_t view, uint64_t op)
{
	struct view_log *log = view_of(node, view);
	uint64_t chain = 0;

	return !op || (op <= log->last && held(node, op, &chain) && chain == log->chain[op]);
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
	struct own_log *own = own_of(node);
	struct check *c = node->sim->check;
	struct view_log *log = view_of(node, view);
	uint64_t before = committed_before(c, view), chain;

	if (log->entered) {
		if (last < log->last || !held(node, log->last, &chain) || chain != log->chain[log->last])
			violation(node->sim, "agreement", "r%u leads view %" PRIu64
				  " a second time with another log", node->index, view);
	} else if (before && (!held(node, before, &chain) || chain != c->committed[before].chain)) {
		violation(node->sim, "durability", "r%u leads view %" PRIu64 " with %" PRIu64
			  " ops: op %" PRIu64 " was committed and is lost or another", node->index,
			  view, own->last, before);
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
	uint64_t view;

	own_of(node)->recorded_view = state->view;
	if (leads(node, &view) && !view_of(node, view)->entered)
		enter_view(node, view, own_of(node)->last);
}

void check_thaw(struct node *node, uint64_t view, uint32_t leader, uint64_t last)
{
	struct own_log *own = own_of(node);

	own->kernel_last = 0;
	if (leader == node->index)
		enter_view(node, view, last);
	else if (!same_as_leader(node, view, last))
		violation(node->sim, "S1", "r%u opens its gate in view %" PRIu64 " at op %" PRIu64
			  ", which is not the leader's log", node->index, view, last);
}

void check_advance(struct node *node, uint64_t to)
{
	struct vr_info info;

	vr_info(node->vr, &info);
	if (info.leader != node->index && (own_of(node)->last < to || !same_as_leader(node, info.view, to)))
		violation(node->sim, "S1", "r%u moves its gate in view %" PRIu64 " to op %" PRIu64
			  ", which it does not hold as the leader does", node->index, info.view, to);
}

void check_frozen(struct node *node, uint64_t last)
{
	own_of(node)->frozen_last = last;
}

/* ---- acks ---- */

static void on_ack(struct node *node, uint64_t view, uint64_t op, const char *by)
{
	struct view_log *log = view_of(node, view);

	if (!same_as_leader(node, view, op)) {
		uint64_t chain;

		violation(node->sim, "S1", "the %s of r%u acks op %" PRIu64 " of view %" PRIu64
			  ": %s", by, node->index, op, view,
			  op > log->last ? "its leader has no such op" :
			  !held(node, op, &chain) ? "not all of 1..n is stored" :
						    "what is stored is not the leader's");
		return;
	}
	if (log->acked[node->index] < op)
		log->acked[node->index] = op;
}

/* A slot that was just published goes on the end of the kernel's chain, which ended at `before`. */
static void extend_kernel(struct node *node, uint64_t before, uint64_t op)
{
	struct check *c = node->sim->check;
	struct own_log *own = own_of(node);
	const struct elec_slot *slot = kernel_slot(node->kernel, before + 1);
	struct message m;
	uint64_t chain;

	if (slot->first != before + 1 || slot->last != op || !held(node, before, &chain)) {
		violation(node->sim, "S1", "r%u: the kernel acks op %" PRIu64
			  ", its log went to op %" PRIu64, node->index, op, before);
		return;
	}
	if (message_decode(&m, slot->data, slot->len, c->room, MESSAGE_ENTRIES_MAX) != WIRE_OK ||
	    m.entries.count != op - before) {
		violation(node->sim, "S6", "r%u: the kernel stored what is no Prepare of ops "
			  "%" PRIu64 "..%" PRIu64, node->index, before + 1, op);
		return;
	}
	for (uint32_t i = 0; i < m.entries.count; i++) {
		chain = link_chain(chain, entries_at(&m.entries, i));
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
	    message_decode(&m, ack->data + NET_PAYLOAD_AT, ack->len - NET_PAYLOAD_AT, s->check->room,
			   1) != WIRE_OK ||
	    m.kind != WIRE_MY_PREPARE_OK || m.index != node->index) {
		violation(s, "S10", "r%u: the kernel sent an ack that is none: %s", node->index,
			  trace_frame(ack));
		return;
	}
	if (!room_for(node, m.opnum))
		return;
	if (state->gate & ELEC_FROZEN)
		violation(s, "S2", "r%u: the kernel acks op %" PRIu64 " behind a frozen gate (%" PRIu64 ")",
			  node->index, m.opnum, own_of(node)->frozen_last);
	if ((int64_t)(s->now_ns - state->stamp_ns) > (int64_t)state->lease_ns)
		violation(s, "S4", "r%u: the kernel acks %" PRIu64 " us after the last stamp",
			  node->index, (uint64_t)(s->now_ns - state->stamp_ns) / US);
	if (gate != state->gate)
		extend_kernel(node, ELEC_WORD_OP(gate), m.opnum);
	on_ack(node, m.view, m.opnum, "kernel");
}

/* A vote promises not to act in an older view: fence shut, its log taken over, view recorded. */
static void check_vote(struct node *node, const struct message *m)
{
	struct own_log *own = own_of(node);
	struct vr_info info;

	vr_info(node->vr, &info);
	if (info.status == VR_NORMAL)
		return; /* it only tells who has not heard of its view */
	if (!elec_frozen(node->elec))
		violation(node->sim, "S2", "r%u votes for view %" PRIu64 " with an open gate",
			  node->index, m->view);
	if (own->kernel_last > own->last)
		violation(node->sim, "S1", "r%u votes for view %" PRIu64 " with op %" PRIu64
			  ", its kernel acked op %" PRIu64, node->index, m->view, own->last,
			  own->kernel_last);
	if (own->recorded_view < m->view)
		violation(node->sim, "S1", "r%u votes for view %" PRIu64 ", its journal says view %"
			  PRIu64, node->index, m->view, own->recorded_view);
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
	s->result->acks_user++;
	if (room_for(node, m.opnum))
		on_ack(node, m.view, m.opnum, "process");
}

/* ---- commits ---- */

/* S3: who says that an op is committed, and is the first to, has f acks of others in its view. */
static void check_evidence(struct node *node, uint64_t op, uint64_t view)
{
	struct view_log *log = view_of(node, view);
	uint32_t acks = 0;

	for (uint32_t i = 0; i < node->sim->n; i++)
		acks += i != node->index && log->acked[i] >= op;
	if (acks < (node->sim->n - 1) / 2)
		violation(node->sim, "S3", "r%u commits op %" PRIu64 " in view %" PRIu64
			  " on the acks of %u others", node->index, op, view, acks);
}

static void commit(struct node *node, const struct entry *e, uint64_t op, const struct vr_info *info)
{
	struct check *c = node->sim->check;
	struct committed *known = &c->committed[op];
	uint64_t hash = hash_entry(e);

	if (op <= c->committed_last) {
		if (known->hash != hash)
			violation(node->sim, "agreement", "r%u: op %" PRIu64
				  " has a second content", node->index, op);
		return;
	}
	check_evidence(node, op, info->view);
	*known = (struct committed){
		.hash = hash,
		.clientid = e->clientid,
		.reqid = e->reqid,
		.view = info->view,
		.chain = link_chain(c->committed[op - 1].chain, e),
		.len = e->op.len,
		.op = need(e->op.len + 1),
	};
	memcpy(known->op, e->op.data, e->op.len);
	c->committed_last = op;
}

static void check_commits(struct node *node, const struct vr_info *info)
{
	struct own_log *own = own_of(node);

	for (uint64_t op = own->executed + 1; op <= info->committed; op++) {
		const struct entry *e = op > info->base ? vr_entry(node->vr, op) : NULL;

		if (!room_for(node, op))
			return;
		if (e)
			commit(node, e, op, info);
		else if (op > node->sim->check->committed_last)
			violation(node->sim, "agreement", "r%u: op %" PRIu64
				  " is committed and nobody has seen it", node->index, op);
	}
	own->executed = info->committed;
}

static void tell(struct node *node, const struct vr_info *info)
{
	static const char *const names[] = {"normal", "view change", "recovering"};
	struct own_log *own = own_of(node);

	if (own->view == info->view && own->status == info->status)
		return;
	if (own->status == VR_RECOVERING && info->status != VR_RECOVERING)
		node->sim->result->recoveries++;
	story(node->sim, "r%u view %" PRIu64 " %s%s, op %" PRIu64 ", committed %" PRIu64,
	      node->index, info->view, names[info->status],
	      info->status == VR_NORMAL && info->leader == node->index ? ", leads" : "", info->op,
	      info->committed);
	own->view = info->view;
	own->status = info->status;
}

/* "SEND RECORD_VIEW THAW(v3 17)": the actions of a step that are more than messages. */
static const char *actions_text(const struct vr_out *out)
{
	static char text[160];
	int at = 0;

	text[0] = 0;
	for (uint32_t i = 0; i < out->count && at < 110; i++) {
		const struct vr_action *a = &out->actions[i];

		switch (a->kind) {
		case VR_RECORD_ENTRIES:
			at += sprintf(text + at, " entries %" PRIu64 "..%" PRIu64, a->first, a->op);
			break;
		case VR_RECORD_TRUNCATE:
			at += sprintf(text + at, " truncate %" PRIu64, a->op);
			break;
		case VR_RECORD_VIEW:
			at += sprintf(text + at, " view");
			break;
		case VR_RECORD_SNAPSHOT:
			at += sprintf(text + at, " snapshot %" PRIu64, a->op);
			break;
		case VR_THAW:
			at += sprintf(text + at, " thaw v%" PRIu64 " %" PRIu64, a->view, a->op);
			break;
		case VR_ADVANCE:
			at += sprintf(text + at, " advance %" PRIu64, a->op);
			break;
		default:
			at += sprintf(text + at, " .");
		}
	}
	return text;
}

void check_step(struct node *node, const struct vr_event *event, enum vr_result result,
		const struct vr_out *out)
{
	static const char *const event_names[] = {"start", "message", "acks", "tick", "frozen"};
	struct vr_info info;

	if (result == VR_FREEZE) {
		detail(node->sim, "r%u wants to freeze", node->index);
		return;
	}
	vr_info(node->vr, &info);
	detail(node->sim, "r%u %s: v%" PRIu64 " op %" PRIu64 " committed %" PRIu64 ":%s", node->index,
	       event_names[event->kind], info.view, info.op, info.committed, actions_text(out));
	if (info.committed > info.op)
		violation(node->sim, "agreement", "r%u: committed %" PRIu64 " above its last op %" PRIu64,
			  node->index, info.committed, info.op);
	tell(node, &info);
	check_commits(node, &info);
}
