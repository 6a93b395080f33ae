/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "sim/sim.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define HEAP_START 1024
/* Virtual time that a healed cluster may take: to serve its clients, and to agree. */
#define SERVE_NS (60 * SECOND)
#define SETTLE_NS (60 * SECOND)
#define SETTLE_LOOK_NS (20 * MS)
#define EVENTS_PER_OPERATION_MAX 2000 /* beyond that something spins; usual are 20 to 40 */
#define EVENTS_MIN UINT64_C(1000000) /* ... however few operations there are */
#define PROGRESS_EVENTS (1 << 16)

void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *at, size_t size);
void __real_free(void *at);

void *need(size_t size)
{
	void *at = __real_calloc(1, size);

	if (at)
		return at;
	fprintf(stderr, "sim: out of memory\n");
	exit(EXIT_FAILURE);
}

static void *need_more(void *old, size_t size)
{
	void *at = __real_realloc(old, size);

	if (at)
		return at;
	fprintf(stderr, "sim: out of memory\n");
	exit(EXIT_FAILURE);
}

void unneed(void *at)
{
	__real_free(at);
}

/* ---- events: a binary heap by time, then by order of making ---- */

static bool before(const struct event *a, const struct event *b)
{
	return a->at_ns != b->at_ns ? a->at_ns < b->at_ns : a->order < b->order;
}

void world_at(struct sim *s, uint64_t delay_ns, struct event event)
{
	uint32_t i = s->heap_used++;

	if (i == s->heap_size) {
		s->heap_size *= 2;
		s->heap = need_more(s->heap, s->heap_size * sizeof(*s->heap));
	}
	event.at_ns = s->now_ns + delay_ns;
	event.order = s->order++;
	for (; i && before(&event, &s->heap[(i - 1) / 2]); i = (i - 1) / 2)
		s->heap[i] = s->heap[(i - 1) / 2];
	s->heap[i] = event;
}

static struct event next_event(struct sim *s)
{
	struct event first = s->heap[0], last = s->heap[--s->heap_used];
	uint32_t i = 0;

	for (;;) {
		uint32_t child = 2 * i + 1;

		if (child >= s->heap_used)
			break;
		if (child + 1 < s->heap_used && before(&s->heap[child + 1], &s->heap[child]))
			child++;
		if (!before(&s->heap[child], &last))
			break;
		s->heap[i] = s->heap[child];
		i = child;
	}
	s->heap[i] = last;
	return first;
}

void violation(struct sim *s, const char *promise, const char *format, ...)
{
	char text[400];
	va_list args;

	if (s->result->violated)
		return;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	snprintf(s->result->violation, sizeof(s->result->violation), "%s: %s", promise, text);
	s->result->violated = true;
	s->over = true;
	story(s, "VIOLATION %s", s->result->violation);
}

static void handle(struct sim *s, const struct event *e)
{
	struct node *node = &s->node[e->node < s->n ? e->node : 0];

	switch (e->kind) {
	case EVENT_FRAME:
		if (e->node >= s->n)
			client_receive(s, e->node - s->n, e->frame);
		else
			kernel_ingress(node, e->frame);
		break;
	case EVENT_RUN:
		if (e->generation == node->generation)
			node_run(node);
		break;
	case EVENT_CLIENT:
		if (e->generation == s->client[e->argument].generation)
			client_timer(s, e->argument);
		break;
	case EVENT_FAULT:
		plan_event(s, e);
		break;
	case EVENT_CRASH:
		if (e->argument == node->life && node->crash_in >= 0)
			node_crash(node, node->crash_how);
		break;
	case EVENT_UNLINK:
		if (e->argument == node->life && node->status == NODE_DOWN)
			kernel_detach(node);
		break;
	}
}

static void run_until(struct sim *s, uint64_t deadline_ns, bool (*done)(const struct sim *))
{
	uint64_t events_max = EVENTS_MIN + EVENTS_PER_OPERATION_MAX * (uint64_t)s->o.steps;

	while (!s->over && s->heap_used && s->heap[0].at_ns <= deadline_ns && !done(s)) {
		struct event e = next_event(s);

		s->now_ns = e.at_ns;
		if (++s->result->events > events_max)
			violation(s, "L1", "%" PRIu64 " events and no end", events_max);
		if (s->o.progress && s->result->events % PROGRESS_EVENTS == 0)
			s->o.progress(s->operations_done, s->o.steps);
		handle(s, &e);
	}
	if (!s->over && !done(s))
		s->now_ns = deadline_ns;
}

static bool never(const struct sim *s)
{
	(void)s;
	return false;
}

static bool most_done(const struct sim *s)
{
	return s->operations_done >= s->o.steps * 19ULL / 20;
}

static bool serve(struct sim *s, bool (*done)(const struct sim *), const char *promise,
		  const char *when)
{
	run_until(s, s->now_ns + SERVE_NS, done);
	if (!s->over && !done(s))
		violation(s, promise, "clients still wait for answers %" PRIu64 " s after %s",
			  SERVE_NS / SECOND, when);
	return !s->over;
}

/* From the first request to quiet: faults, then none, then one replica cut off, then agreement. */
static void play(struct sim *s)
{
	uint64_t healed_ns;

	for (uint32_t i = 0; i < s->n; i++)
		node_start(&s->node[i]);
	clients_start(s);
	plan_progress(s);
	run_until(s, UINT64_MAX, plan_done);
	if (s->over)
		return;
	plan_heal(s);
	healed_ns = s->now_ns;
	if (!serve(s, most_done, "L1", "all faults ended"))
		return;
	if (plan_cut_one(s)) {
		if (!serve(s, clients_done, "L2", "one replica was cut off, others could serve"))
			return;
		plan_mend(s);
	}
	if (!serve(s, clients_done, "L1", "all faults ended"))
		return;
	story(s, "all operations done %.3f s after the last fault",
	      (double)(s->now_ns - healed_ns) / SECOND);
	healed_ns = s->now_ns;
	while (!s->over && !history_settled(s) && s->now_ns < healed_ns + SETTLE_NS)
		run_until(s, s->now_ns + SETTLE_LOOK_NS, never);
	if (!s->over)
		history_check(s);
}

void world_run(const struct sim_options *options, struct sim_result *result)
{
	struct sim *s = need(sizeof(*s));
	struct rng rng = {mix64(options->seed ^ 0x5eed)};

	memset(result, 0, sizeof(*result));
	s->o = *options;
	s->result = result;
	s->n = options->replicas;
	s->rng_client.state = rng_next(&rng);
	s->rng_node.state = rng_next(&rng);
	s->rng_plan.state = rng_next(&rng);
	s->net.rng.state = rng_next(&rng);
	s->clients = rng_between(&rng, 3, 5);
	s->point_chance = 200 << rng_below(&rng, 7); /* 0.02 % .. 1.3 % */
	s->heap_size = HEAP_START;
	s->heap = need(s->heap_size * sizeof(*s->heap));
	s->operations = need(options->steps * sizeof(*s->operations));
	s->now_ns = SECOND; /* a stamp of 0 is no time */
	s->wake_backlog = rng_below(&rng, 2) ? 64 : 1;
	s->log_ops = 256 << rng_below(&rng, 4);
	trace_begin(s);
	net_open(s);
	check_open(s);
	for (uint32_t i = 0; i < s->n; i++)
		node_open(&s->node[i], s, i);
	plan_open(s);
	play(s);
	result->virtual_ns = s->now_ns;
	result->operations = s->operations_done;
	story(s, "end: %u operations, %" PRIu64 " events, %.3f s", s->operations_done,
	      result->events, (double)s->now_ns / SECOND);
	for (uint32_t i = 0; i < s->n; i++)
		node_close(&s->node[i]);
	while (s->heap_used)
		unneed(next_event(s).frame);
	check_close(s);
	trace_end(s);
	unneed(s->operations);
	unneed(s->heap);
	unneed(s);
}
