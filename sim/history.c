/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The verdict at the end. The op number that each Reply names is the witness of an order:
 * unique, in step with real time, and on replay giving every result that a client was
 * told. Then the history is linearizable, and nothing acknowledged is lost.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "sim/sim.h"

#define RESULT_MAX VR_OP_MAX_DEFAULT

bool history_settled(const struct sim *s)
{
	const struct committed *log;
	uint64_t last = check_committed(s, &log);

	for (uint32_t i = 0; i < s->n; i++) {
		struct vr_info info, first;

		if (s->node[i].status != NODE_UP || !s->node[i].vr)
			return false;
		vr_info(s->node[0].vr, &first);
		vr_info(s->node[i].vr, &info);
		if (info.status != VR_NORMAL || info.view != first.view || info.executed != last)
			return false;
	}
	return true;
}

static void explain_unsettled(struct sim *s)
{
	const struct committed *log;
	uint64_t last = check_committed(s, &log);
	char text[300];
	int at = 0;

	for (uint32_t i = 0; i < s->n && at < 240; i++) {
		struct vr_info info = {0};

		if (s->node[i].vr)
			vr_info(s->node[i].vr, &info);
		at += sprintf(text + at, "; r%u status %u view %" PRIu64 " executed %" PRIu64, i,
			      info.status, info.view, info.executed);
	}
	violation(s, "L1", "no agreement long after all faults ended: %" PRIu64 " committed%s",
		  last, text);
}

static int by_op(const void *a, const void *b)
{
	const struct operation *x = a, *y = b;

	return x->op < y->op ? -1 : x->op > y->op;
}

/* The order of op numbers against the order of real time. */
static void check_order(struct sim *s)
{
	struct operation *o = s->operations;
	uint64_t invoked_latest = 0;

	qsort(o, s->operations_done, sizeof(*o), by_op);
	for (uint32_t i = 0; i < s->operations_done; i++) {
		if (i && o[i].op == o[i - 1].op)
			violation(s, "linearizable",
				  "op %" PRIu64 " was the answer to two requests", o[i].op);
		/* An op that returned before an earlier-numbered one was invoked. */
		if (invoked_latest > o[i].returned_ns)
			violation(s, "linearizable",
				  "op %" PRIu64
				  " returned before one with a lower number was invoked",
				  o[i].op);
		if (o[i].invoked_ns > invoked_latest)
			invoked_latest = o[i].invoked_ns;
	}
}

/* Of a request that stands twice in the log the first place counts: at most once. */
static bool stands_before(struct sim *s, uint64_t latest[], const struct committed *c)
{
	uint32_t i = 0;

	while (i < s->clients && s->client[i].id != c->clientid)
		i++;
	if (i == s->clients || c->reqid <= latest[i])
		return true;
	latest[i] = c->reqid;
	return false;
}

static void check_results(struct sim *s, void *state)
{
	static uint8_t result[RESULT_MAX];
	const struct committed *log;
	uint64_t last = check_committed(s, &log);
	const struct operation *o = s->operations, *end = o + s->operations_done;
	uint64_t latest[SIM_CLIENTS_MAX] = {0};

	for (uint64_t op = 1; op <= last; op++) {
		size_t len = 0;

		if (!stands_before(s, latest, &log[op]))
			len = app_kv.apply(state, log[op].op, log[op].len, result, sizeof(result));
		if (o == end || o->op != op)
			continue;
		if (log[op].clientid != s->client[o->client].id || log[op].reqid != o->reqid)
			violation(s, "durability",
				  "op %" PRIu64 " was told to client %u as its own", op, o->client);
		else if (check_hash(result, len) != o->result)
			violation(s, "linearizable",
				  "the result of op %" PRIu64 ", request %" PRIu64
				  " of client %u, is not what replay gives",
				  op, o->reqid, o->client);
		o++;
	}
	if (o != end)
		violation(s, "durability", "op %" PRIu64 " was acknowledged and is nowhere", o->op);
}

/* Each replica's application answers as the replay does. */
static void check_states(struct sim *s, void *state)
{
	static uint8_t want[RESULT_MAX], have[RESULT_MAX];

	for (uint32_t i = 0; i < s->n; i++) {
		for (uint32_t key = 0; key < SIM_KEYS; key++) {
			uint8_t get[16];
			size_t len = sprintf((char *)get, "GET k%u", key), want_len, have_len;

			want_len = app_kv.query(state, get, len, want, sizeof(want));
			have_len = app_kv.query(s->node[i].app, get, len, have, sizeof(have));
			if (want_len != have_len || memcmp(want, have, want_len) != 0)
				violation(s, "agreement", "r%u has another value of k%u", i, key);
		}
	}
}

void history_check(struct sim *s)
{
	void *state;

	if (!history_settled(s)) {
		explain_unsettled(s);
		return;
	}
	state = app_kv.open();
	check_order(s);
	check_results(s, state);
	check_states(s, state);
	app_kv.close(state);
}
