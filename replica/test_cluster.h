/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Cores wired together in memory, in virtual time, for test_vr*.c. Beside each core
 * stands a process in miniature: a gate with a kernel log (followers, if `offload`),
 * a journal, and an application that remembers what it executed. What was committed
 * once is compared with every later commit, on every replica, after every step.
 *
 *   clients --Request--> [ network: delay, loss, duplication, cuts ] --> gate --> core
 */
#ifndef PAXRACK_TEST_CLUSTER_H
#define PAXRACK_TEST_CLUSTER_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "replica/vr.h"

#pragma GCC diagnostic ignored "-Wunused-function" /* each test uses its part */

#define CLIENTS_MAX 16
#define NODES_MAX (ELEC_REPLICAS_MAX + CLIENTS_MAX) /* clients come after the replicas */
#define CLIENT(c) (ELEC_REPLICAS_MAX + (c))
#define OPS_MAX 20000
#define CLIENT_RETRY_US 100000

struct packet {
	uint64_t at, number;
	uint32_t from, to, len;
	uint8_t *data;
};

struct record {
	enum vr_action_kind kind;
	uint64_t op;
	struct entry entry; /* op.data owned */
	struct vr_view_state view;
	uint8_t *snapshot;
	size_t len;
};

struct gate {
	bool frozen;
	uint64_t view, last;
	uint32_t leader;
	struct packet *log; /* acked, not yet given to the core */
	uint32_t log_count, log_room;
	uint64_t acked[ELEC_REPLICAS_MAX];
};

struct node {
	struct vr *vr;
	struct gate gate;
	struct record *records;
	uint32_t record_count, record_room;
	uint32_t starts;
	uint64_t checked; /* executed prefix that was compared */
	bool tick, paused;
};

struct client {
	uint64_t reqid, sent_at, replied; /* replied: requests answered */
	uint64_t retries;
	bool busy;
};

struct cluster {
	struct vr_config config;
	struct node node[ELEC_REPLICAS_MAX];
	struct client client[CLIENTS_MAX];
	uint32_t clients, op_len;
	uint64_t requests; /* each client sends so many; 0: for ever */
	struct packet *heap;
	uint32_t packets, packets_room;
	uint64_t now, number, random;
	bool offload;
	uint32_t delay_us, jitter_us;
	uint32_t loss_permille, duplicate_permille;
	bool liars; /* messages are made up: logs may differ */
	uint32_t late_permille; /* packets that come up to 2 s late */
	bool cut[NODES_MAX][NODES_MAX];
	/* drops what it says true to; for scenes */
	bool (*filter)(struct cluster *c, const struct packet *p, const struct message *m);
	/* what was executed first, and what it gave: the model that all is held against */
	uint64_t committed_hash[OPS_MAX], model_op, model_hash;
	uint64_t result[CLIENTS_MAX][OPS_MAX]; /* by request; 0: never executed */
	uint64_t acknowledged[CLIENTS_MAX];    /* last request answered */
	char *story;
	size_t story_len, story_room;
	bool tell;
};

/* --- an application that remembers ------------------------------------------------------- */

struct memory {
	uint64_t count, hash;
};

static uint64_t hash_bytes(uint64_t h, const void *data, size_t len)
{
	const uint8_t *at = data;

	for (size_t i = 0; i < len; i++)
		h = (h ^ at[i]) * 0x100000001b3;
	return h ^ h >> 31;
}

static void *memory_open(void)
{
	return calloc(1, sizeof(struct memory));
}

static size_t memory_apply(void *state, const uint8_t *op, size_t len, uint8_t *result, size_t max)
{
	struct memory *m = state;

	(void)max;
	m->count++;
	m->hash = hash_bytes(m->hash + len, op, len);
	memcpy(result, &m->hash, sizeof(m->hash));
	return sizeof(m->hash);
}

static size_t memory_query(void *state, const uint8_t *op, size_t len, uint8_t *result, size_t max)
{
	const struct memory *m = state;

	(void)op;
	(void)len;
	(void)max;
	memcpy(result, &m->hash, sizeof(m->hash));
	return sizeof(m->hash);
}

#define MEMORY_PADDING 300000 /* a snapshot takes several pieces */

static size_t memory_snapshot_len(void *state)
{
	(void)state;
	return sizeof(struct memory) + MEMORY_PADDING;
}

static void memory_snapshot(void *state, uint8_t *out)
{
	memset(out, 0, sizeof(struct memory) + MEMORY_PADDING);
	memcpy(out, state, sizeof(struct memory));
}

static bool memory_restore(void *state, const uint8_t *data, size_t len)
{
	memset(state, 0, sizeof(struct memory));
	if (len != sizeof(struct memory) + MEMORY_PADDING)
		return false;
	memcpy(state, data, sizeof(struct memory));
	return true;
}

static const struct app app_memory = {
	.name = "memory",
	.open = memory_open,
	.close = free,
	.apply = memory_apply,
	.query = memory_query,
	.snapshot_len = memory_snapshot_len,
	.snapshot = memory_snapshot,
	.restore = memory_restore,
};

/* --- story, chance, packets ---------------------------------------------------------------- */

static void tell(struct cluster *c, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void tell(struct cluster *c, const char *format, ...)
{
	va_list args;

	if (c->story_len + 400 > c->story_room) {
		c->story_room = c->story_room * 2 + 65536;
		c->story = realloc(c->story, c->story_room);
	}
	va_start(args, format);
	c->story_len += vsnprintf(c->story + c->story_len, 400, format, args);
	va_end(args);
}

static void fail_with_story(struct cluster *c, const char *why)
{
	fail_msg("%s\n%s", why,
		 c->story_len > 60000 ? c->story + c->story_len - 60000
				     : (c->story ? c->story : "(the story was not told)"));
}

static uint32_t chance(struct cluster *c, uint32_t below)
{
	uint64_t z = c->random += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return below ? (z >> 33) % below : 0;
}

static bool earlier(const struct packet *a, const struct packet *b)
{
	return a->at < b->at || (a->at == b->at && a->number < b->number);
}

static void heap_push(struct cluster *c, struct packet p)
{
	uint32_t i = c->packets++;

	if (i == c->packets_room) {
		c->packets_room = c->packets_room * 2 + 1024;
		c->heap = realloc(c->heap, c->packets_room * sizeof(p));
	}
	for (; i > 0 && earlier(&p, &c->heap[(i - 1) / 2]); i = (i - 1) / 2)
		c->heap[i] = c->heap[(i - 1) / 2];
	c->heap[i] = p;
}

static struct packet heap_pop(struct cluster *c)
{
	struct packet top = c->heap[0], last = c->heap[--c->packets];
	uint32_t i = 0;

	for (;;) {
		uint32_t child = 2 * i + 1;

		if (child + 1 < c->packets && earlier(&c->heap[child + 1], &c->heap[child]))
			child++;
		if (child >= c->packets || !earlier(&c->heap[child], &last))
			break;
		c->heap[i] = c->heap[child];
		i = child;
	}
	c->heap[i] = last;
	return top;
}

static void name_of(char *out, uint32_t node)
{
	sprintf(out, node < ELEC_REPLICAS_MAX ? "r%u" : "c%u", node % ELEC_REPLICAS_MAX);
}

static void tell_packet(struct cluster *c, const struct packet *p, const struct message *m,
			const char *fate)
{
	char from[16], to[16];

	if (!c->tell)
		return;
	name_of(from, p->from);
	name_of(to, p->to);
	tell(c, "%s>%s %s", from, to, m ? wire_kind_names[m->kind] : "fragment");
	if (m && m->kind == WIRE_PREPARE)
		tell(c, " v%lu %lu-%lu c%lu", m->view, m->batchstart, m->opnum, m->committed);
	else if (m && m->kind == WIRE_REQUEST)
		tell(c, " %lu", entries_at(&m->entries, 0)->reqid);
	else if (m && m->kind == WIRE_REPLY)
		tell(c, " v%lu %lu", m->view, m->reqid);
	else if (m)
		tell(c, " v%lu %lu", m->view, m->opnum);
	tell(c, "%s\n", fate);
}

static void put_packet(struct cluster *c, uint32_t from, uint32_t to, const uint8_t *data,
		       uint32_t len)
{
	struct packet p = {.from = from, .to = to, .len = len};

	p.number = c->number++;
	p.at = c->now + c->delay_us + chance(c, c->jitter_us);
	if (chance(c, 1000) < c->late_permille)
		p.at += chance(c, 2000000);
	p.data = malloc(len);
	memcpy(p.data, data, len);
	heap_push(c, p);
}

static struct entry decode_room[MESSAGE_ENTRIES_MAX];

static void transmit(struct cluster *c, uint32_t from, uint32_t to, const uint8_t *data,
		     uint32_t len)
{
	struct packet p = {.from = from, .to = to, .len = len, .data = (uint8_t *)data};
	struct message m;
	bool decoded = message_decode(&m, data, len, decode_room, MESSAGE_ENTRIES_MAX) == WIRE_OK;

	if (c->cut[from][to] || chance(c, 1000) < c->loss_permille ||
	    (c->filter && c->filter(c, &p, decoded ? &m : NULL))) {
		tell_packet(c, &p, decoded ? &m : NULL, " lost");
		return;
	}
	tell_packet(c, &p, decoded ? &m : NULL, "");
	put_packet(c, from, to, data, len);
	if (chance(c, 1000) < c->duplicate_permille)
		put_packet(c, from, to, data, len);
}

/* --- the process around a core -------------------------------------------------------------- */

static struct record *new_record(struct node *n, enum vr_action_kind kind)
{
	if (n->record_count == n->record_room) {
		n->record_room = n->record_room * 2 + 256;
		n->records = realloc(n->records, n->record_room * sizeof(*n->records));
	}
	n->records[n->record_count] = (struct record){.kind = kind};
	return &n->records[n->record_count++];
}

static void write_record(struct node *n, const struct vr_action *a)
{
	struct record *r;

	switch (a->kind) {
	case VR_RECORD_ENTRIES:
		for (uint64_t op = a->first; op <= a->op; op++) {
			uint8_t *copy;

			r = new_record(n, a->kind);
			r->entry = *vr_entry(n->vr, op);
			copy = malloc(r->entry.op.len + 1);
			memcpy(copy, r->entry.op.data, r->entry.op.len);
			r->entry.op.data = copy;
		}
		break;
	case VR_RECORD_SNAPSHOT:
		r = new_record(n, a->kind);
		r->len = vr_snapshot_len(n->vr);
		r->snapshot = malloc(r->len);
		assert_int_equal(vr_snapshot(n->vr, r->snapshot), a->op);
		break;
	case VR_RECORD_VIEW:
		r = new_record(n, a->kind);
		r->view = *a->view_state;
		break;
	default:
		r = new_record(n, a->kind);
		r->op = a->op;
	}
}

static void free_records(struct node *n)
{
	for (uint32_t i = 0; i < n->record_count; i++) {
		free((void *)n->records[i].entry.op.data);
		free(n->records[i].snapshot);
	}
	n->record_count = 0;
}

static void carry_out(struct cluster *c, uint32_t i, const struct vr_action *a)
{
	struct node *n = &c->node[i];
	struct gate *g = &n->gate;

	switch (a->kind) {
	case VR_SEND:
	case VR_BROADCAST:
		for (uint32_t to = 0; to < c->config.n; to++) {
			if (a->kind == VR_SEND && a->to != VR_TO_ALL ? to == a->to : to != i)
				transmit(c, i, to, a->data, a->len);
		}
		break;
	case VR_REPLY:
		transmit(c, i, a->address.addr, a->data, a->len);
		break;
	case VR_ACKED:
		if (a->op > g->acked[a->to])
			g->acked[a->to] = a->op;
		break;
	case VR_ADVANCE:
		assert_false(g->frozen);
		if (a->op > g->last)
			g->last = a->op;
		break;
	case VR_THAW:
		assert_true(g->frozen);
		assert_int_equal(g->log_count, 0);
		*g = (struct gate){.log = g->log, .log_room = g->log_room};
		g->view = a->view;
		g->leader = a->leader;
		g->last = a->op;
		if (c->tell)
			tell(c, "r%u thaws v%lu leader r%u at %lu\n", i, a->view, a->leader, a->op);
		break;
	default:
		write_record(n, a);
	}
}

/* The next op of all: what it must give to whoever asked (a request executes once). */
static void model_execute(struct cluster *c, const struct entry *e, uint64_t hash)
{
	uint32_t client = e->clientid - 1000;

	c->committed_hash[++c->model_op] = hash;
	if (e->clientid < 1000 || client >= CLIENTS_MAX || e->reqid >= OPS_MAX ||
	    c->result[client][e->reqid] != 0)
		return;
	c->model_hash = hash_bytes(c->model_hash + e->op.len, e->op.data, e->op.len);
	c->result[client][e->reqid] = c->model_hash;
}

/* What was executed anywhere is what was executed there first. */
static void check_committed(struct cluster *c, uint32_t i)
{
	struct node *n = &c->node[i];
	struct vr_info info;

	vr_info(n->vr, &info);
	assert_true(info.executed <= info.committed);
	assert_true(info.committed <= info.op);
	if (c->liars)
		return;
	if (info.executed < n->checked)
		n->checked = info.executed; /* restarted */
	for (uint64_t op = n->checked + 1; op <= info.executed; op++) {
		const struct entry *e = vr_entry(n->vr, op);
		uint64_t h;

		assert_true(op < OPS_MAX);
		if (!e)
			continue;
		h = hash_bytes(e->clientid * 31 + e->reqid, e->op.data, e->op.len) | 1;
		if (op == c->model_op + 1)
			model_execute(c, e, h);
		if (c->committed_hash[op] != h) {
			tell(c, "r%u, op %lu\n", i, op);
			fail_with_story(c, "an op was executed that is not the one executed first");
		}
	}
	n->checked = info.executed;
}

static enum vr_result step_once(struct cluster *c, uint32_t i, const struct vr_event *ev)
{
	struct vr_out out;
	enum vr_result result = vr_step(c->node[i].vr, ev, &out);

	if (result != VR_FREEZE) {
		for (uint32_t a = 0; a < out.count; a++)
			carry_out(c, i, &out.actions[a]);
	}
	check_committed(c, i);
	return result;
}

static void drain(struct cluster *c, uint32_t i)
{
	struct gate *g = &c->node[i].gate;
	uint32_t taken = 0;

	for (; taken < g->log_count; taken++) {
		struct vr_event ev = {.kind = VR_EVENT_MESSAGE, .now_us = c->now, .kernel = true};

		ev.data = g->log[taken].data;
		ev.len = g->log[taken].len;
		if (step_once(c, i, &ev) != VR_OK)
			break;
		free(g->log[taken].data);
	}
	g->log_count -= taken;
	if (g->log_count > 0)
		memmove(g->log, g->log + taken, g->log_count * sizeof(*g->log));
}

static void step(struct cluster *c, uint32_t i, struct vr_event *ev)
{
	struct vr_event frozen = {.kind = VR_EVENT_FROZEN, .now_us = c->now};

	ev->now_us = c->now;
	drain(c, i);
	while (step_once(c, i, ev) == VR_FREEZE) {
		c->node[i].gate.frozen = true;
		drain(c, i);
		assert_int_equal(step_once(c, i, &frozen), VR_OK);
	}
}

static void send_my_prepare_ok(struct cluster *c, uint32_t i, const struct message *prepare)
{
	struct message m = {.kind = WIRE_MY_PREPARE_OK, .view = prepare->view, .index = i};
	uint8_t ack[200];

	m.opnum = prepare->opnum;
	transmit(c, i, c->node[i].gate.leader, ack, message_encode(&m, ack, sizeof(ack)));
}

/* The kernel's part; true: it took the packet. */
static bool take_fast(struct cluster *c, struct packet *p)
{
	struct gate *g = &c->node[p->to].gate;
	struct message m;

	if (!c->offload || g->frozen || p->len > 1472 ||
	    message_decode(&m, p->data, p->len, decode_room, MESSAGE_ENTRIES_MAX) != WIRE_OK ||
	    m.view != g->view)
		return false;
	if (m.kind == WIRE_PREPARE && p->from == g->leader && p->to != g->leader) {
		if (m.opnum <= g->last) {
			send_my_prepare_ok(c, p->to, &m);
			free(p->data);
			return true;
		}
		if (m.batchstart != g->last + 1)
			return false;
		if (g->log_count == g->log_room) {
			g->log_room = g->log_room * 2 + 64;
			g->log = realloc(g->log, g->log_room * sizeof(*g->log));
		}
		g->log[g->log_count++] = *p;
		g->last = m.opnum;
		send_my_prepare_ok(c, p->to, &m);
		return true;
	}
	if ((m.kind == WIRE_MY_PREPARE_OK || m.kind == WIRE_PREPARE_OK) && m.opnum != 0 &&
	    p->to == g->leader) {
		struct vr_event ev = {.kind = VR_EVENT_ACKS, .acked = g->acked};

		if (m.opnum > g->acked[m.index])
			g->acked[m.index] = m.opnum;
		free(p->data);
		if (!c->node[p->to].paused)
			step(c, p->to, &ev);
		return true;
	}
	return false;
}

/* --- clients ---------------------------------------------------------------------------------- */

static void client_send(struct cluster *c, uint32_t i)
{
	struct client *cl = &c->client[i];
	uint8_t op[VR_OP_MAX_DEFAULT], data[VR_OP_MAX_DEFAULT + 200];
	struct entry e = {.clientid = 1000 + i, .reqid = cl->reqid, .op = {op, c->op_len}};
	struct message m = {.kind = WIRE_REQUEST, .entries = {&e, 0, 1, 0}};
	size_t len;

	memset(op, 'a' + i, c->op_len);
	memcpy(op, &cl->reqid, sizeof(cl->reqid));
	cl->sent_at = c->now;
	len = message_encode(&m, data, sizeof(data));
	for (uint32_t to = 0; to < c->config.n; to++)
		transmit(c, CLIENT(i), to, data, len);
}

static void client_next(struct cluster *c, uint32_t i)
{
	struct client *cl = &c->client[i];

	cl->busy = c->requests == 0 || cl->replied < c->requests;
	if (!cl->busy)
		return;
	cl->reqid++;
	client_send(c, i);
}

static void client_receive(struct cluster *c, uint32_t i, const struct packet *p)
{
	struct client *cl = &c->client[i];
	struct message m;

	if (message_decode(&m, p->data, p->len, decode_room, MESSAGE_ENTRIES_MAX) != WIRE_OK ||
	    m.kind != WIRE_REPLY || !cl->busy || m.reqid != cl->reqid)
		return;
	/* The answer is that of the one execution, in its place among all. */
	assert_int_equal(m.reply.len, 8);
	assert_memory_equal(m.reply.data, &c->result[i][cl->reqid], 8);
	c->acknowledged[i] = cl->reqid;
	cl->replied++;
	client_next(c, i);
}

/* --- running ------------------------------------------------------------------------------------ */

static void node_open(struct cluster *c, uint32_t i)
{
	struct vr_config config = c->config;
	char error[200];
	struct node *n = &c->node[i];

	config.self = i;
	config.seed = 77 + i + 1000 * ++n->starts;
	config.start_s = n->starts;
	n->vr = vr_open(&config, error, sizeof(error));
	if (!n->vr)
		fail_msg("%s", error);
	n->gate.frozen = true;
	n->checked = 0;
}

static void node_start(struct cluster *c, uint32_t i)
{
	struct vr_event ev = {.kind = VR_EVENT_START};

	step(c, i, &ev);
	c->node[i].tick = true;
}

static struct cluster *cluster_plan(uint32_t n, uint32_t clients, bool offload)
{
	struct cluster *c = calloc(1, sizeof(*c));

	c->config = (struct vr_config){.n = n, .app = &app_memory, .log_ops = 1024};
	c->config.log_bytes = 1 << 20;
	c->config.clients = 64;
	c->config.snapshot_max = 1 << 20;
	c->clients = clients;
	c->op_len = 40;
	c->delay_us = 20;
	c->random = 1;
	c->now = 1000;
	c->offload = offload;
	return c;
}

static void cluster_open(struct cluster *c)
{
	for (uint32_t i = 0; i < c->config.n; i++) {
		node_open(c, i);
		node_start(c, i);
	}
}

static struct cluster *cluster_new(uint32_t n, uint32_t clients, bool offload)
{
	struct cluster *c = cluster_plan(n, clients, offload);

	cluster_open(c);
	return c;
}

/* --- crashes -------------------------------------------------------------------------------------- */

static void forget_gate(struct gate *g)
{
	for (uint32_t k = 0; k < g->log_count; k++)
		free(g->log[k].data);
	free(g->log);
	*g = (struct gate){.frozen = true};
}

/* The process dies; its program is detached with it. */
static void node_crash(struct cluster *c, uint32_t i)
{
	struct node *n = &c->node[i];

	vr_close(n->vr);
	n->vr = NULL;
	n->gate.frozen = true;
	if (c->tell)
		tell(c, "r%u crashes\n", i);
}

static void replay(struct node *n)
{
	bool fits = true;

	for (uint32_t k = 0; k < n->record_count; k++) {
		const struct record *r = &n->records[k];
		struct vr_info info;

		vr_info(n->vr, &info);
		if (r->kind == VR_RECORD_ENTRIES)
			fits = vr_restore_entry(n->vr, &r->entry);
		else if (r->kind == VR_RECORD_TRUNCATE)
			fits = vr_restore_truncate(n->vr, r->op);
		else if (r->kind == VR_RECORD_VIEW)
			fits = vr_restore_view(n->vr, &r->view);
		else
			fits = vr_restore_snapshot(n->vr, r->snapshot, r->len);
		if (!fits)
			fail_msg("record %u (kind %d, op %lu) does not fit: log %lu..%lu, view %lu",
				 k, r->kind, r->entry.opnum + r->op, info.base, info.op, info.view);
	}
}

/* Comes back with its journal and kernel log, or with neither. */
static void node_restart(struct cluster *c, uint32_t i, bool files)
{
	struct node *n = &c->node[i];

	if (!files) {
		forget_gate(&n->gate);
		free_records(n);
	}
	node_open(c, i);
	if (c->tell)
		tell(c, "r%u restarts%s\n", i, files ? "" : " without memory");
	if (files) {
		replay(n);
	} else {
		struct vr_view_state state;

		vr_restore_nothing(n->vr);
		/* The first record of the new journal: a crash on the way must not look new. */
		vr_view_state(n->vr, &state);
		write_record(n, &(struct vr_action){.kind = VR_RECORD_VIEW, .view_state = &state});
	}
	n->paused = false;
	drain(c, i);
	node_start(c, i);
}

static void cluster_free(struct cluster *c)
{
	for (uint32_t i = 0; i < c->config.n; i++) {
		vr_close(c->node[i].vr);
		forget_gate(&c->node[i].gate);
		free_records(&c->node[i]);
		free(c->node[i].records);
	}
	for (uint32_t i = 0; i < c->packets; i++)
		free(c->heap[i].data);
	free(c->heap);
	free(c->story);
	free(c);
}

static void deliver(struct cluster *c)
{
	struct packet p = heap_pop(c);
	struct vr_event ev = {.kind = VR_EVENT_MESSAGE, .data = p.data, .len = p.len};

	if (p.to >= ELEC_REPLICAS_MAX) {
		client_receive(c, p.to - ELEC_REPLICAS_MAX, &p);
	} else if (c->node[p.to].vr) {
		if (take_fast(c, &p))
			return;
		ev.from = p.from < ELEC_REPLICAS_MAX ? p.from : VR_FROM_CLIENT;
		ev.address.addr = p.from;
		if (!c->node[p.to].paused) {
			step(c, p.to, &ev);
			c->node[p.to].tick = true;
		}
	}
	free(p.data);
}

static void tick(struct cluster *c, uint32_t i)
{
	struct vr_event ev = {.kind = VR_EVENT_TICK};

	c->node[i].tick = false;
	step(c, i, &ev);
}

/* One event; false: nothing will ever happen again before `until`. */
static bool cluster_step(struct cluster *c, uint64_t until)
{
	uint64_t next = until;

	if (c->packets > 0 && c->heap[0].at <= c->now) {
		deliver(c);
		return true;
	}
	for (uint32_t i = 0; i < c->config.n; i++) {
		struct node *n = &c->node[i];

		if (!n->vr || n->paused)
			continue;
		if (n->tick || vr_deadline(n->vr) <= c->now) {
			tick(c, i);
			return true;
		}
		if (vr_deadline(n->vr) < next)
			next = vr_deadline(n->vr);
	}
	for (uint32_t i = 0; i < c->clients; i++) {
		struct client *cl = &c->client[i];

		if (cl->busy && cl->sent_at + CLIENT_RETRY_US <= c->now) {
			cl->retries++;
			client_send(c, i);
			return true;
		}
		if (cl->busy && cl->sent_at + CLIENT_RETRY_US < next)
			next = cl->sent_at + CLIENT_RETRY_US;
	}
	if (c->packets > 0 && c->heap[0].at < next)
		next = c->heap[0].at;
	c->now = next;
	return next < until;
}

static void run_for(struct cluster *c, uint64_t us)
{
	uint64_t until = c->now + us;

	while (cluster_step(c, until))
		;
}

static void start_clients(struct cluster *c, uint64_t requests)
{
	c->requests = requests ? c->requests + requests : 0;
	for (uint32_t i = 0; i < c->clients; i++) {
		if (!c->client[i].busy)
			client_next(c, i);
	}
}

static bool clients_done(const struct cluster *c)
{
	for (uint32_t i = 0; i < c->clients; i++) {
		if (c->client[i].busy)
			return false;
	}
	return true;
}

/* Until every client has its answers; fails after `limit_us` of virtual time. */
static void run_clients(struct cluster *c, uint64_t limit_us)
{
	uint64_t until = c->now + limit_us;

	while (!clients_done(c)) {
		if (!cluster_step(c, until) || c->now >= until)
			fail_with_story(c, "clients still wait");
	}
}

static struct vr_info info_of(struct cluster *c, uint32_t i)
{
	struct vr_info info;

	vr_info(c->node[i].vr, &info);
	return info;
}

static uint64_t count_of(struct cluster *c, uint32_t i, enum vr_count what)
{
	return vr_counts(c->node[i].vr)[what];
}

static void expect_story(struct cluster *c, const char *want)
{
	tell(c, "%s", "");
	if (strcmp(c->story, want) != 0)
		fail_msg("the story is\n%s\nand should be\n%s", c->story, want);
}

#endif
