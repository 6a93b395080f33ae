// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "topo/timeline.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "topo/fault.h"

int timeline_open(struct timeline *t)
{
	t->event = calloc(t->e->events ?: 1, sizeof(*t->event));
	if (!t->event)
		return rack_say("no memory");
	for (unsigned int i = 0; i < t->rack->replicas; i++)
		programs_open(&t->programs[i], t->rack, rack_nth(t->rack, RACK_REPLICA, i));
	return 0;
}

void timeline_close(struct timeline *t)
{
	free(t->event);
	if (!t->event)
		return;
	for (unsigned int i = 0; i < t->rack->replicas; i++)
		programs_close(&t->programs[i]);
}

static int64_t begin_of(const struct timeline *t, unsigned int i)
{
	return t->start_ns + (int64_t)t->e->event[i].at_ns;
}

static int64_t end_of(const struct timeline *t, unsigned int i)
{
	uint64_t lasts = t->e->event[i].for_ns;

	return lasts ? begin_of(t, i) + (int64_t)lasts : INT64_MAX;
}

static int64_t due(const struct timeline *t, unsigned int i)
{
	const struct timeline_event *event = &t->event[i];

	if (!event->begin_ns)
		return begin_of(t, i);
	return event->end_ns ? INT64_MAX : end_of(t, i);
}

static unsigned int next(const struct timeline *t)
{
	unsigned int first = 0;

	for (unsigned int i = 1; i < t->e->events; i++) {
		if (due(t, i) < due(t, first))
			first = i;
	}
	return first;
}

int64_t timeline_next_ns(const struct timeline *t)
{
	return t->e->events ? due(t, next(t)) : INT64_MAX;
}

/* ---- processes ---- */

static void send_signal(struct timeline *t, unsigned int replica, int signal)
{
	const struct child *c = &t->replicas->child[replica];

	if (c->pid)
		kill(c->pid, signal);
}

static void kill_replica(struct timeline *t, unsigned int replica)
{
	replicas_kill(t->replicas, replica);
	programs_close(&t->programs[replica]); /* or the next life finds its device taken */
}

static int start_replica(struct timeline *t, unsigned int replica, bool format)
{
	kill_replica(t, replica);
	for (unsigned int i = 0; i < t->e->events; i++) {
		if (t->e->event[i].kind == EXPERIMENT_KILL && t->e->event[i].replica == replica &&
		    t->event[i].begin_ns && !t->event[i].end_ns)
			t->event[i].end_ns = replicas_now_ns();
	}
	return replicas_start(t->replicas, replica, format);
}

static bool has_program(const struct timeline *t, const struct experiment_event *what)
{
	return t->offloads &
	       (what->tc ? ELEC_OFFLOAD_BROADCAST : ELEC_OFFLOAD_ACK | ELEC_OFFLOAD_QUORUM);
}

/* ---- packets ---- */

/* What the rule (0: the partition) has done; it keeps its counts until another takes its place. */
static int take_counts(struct timeline *t, struct timeline_event *event)
{
	struct fault_status status;

	if (fault_status(t->rack, &status))
		return -1;
	event->seen = status.counts[event->rule].seen;
	event->taken = status.counts[event->rule].taken;
	free(status.matrix.row);
	return 0;
}

/* There is one partition at a time: the next one ends it. */
static int end_partition(struct timeline *t)
{
	for (unsigned int i = 0; i < t->e->events; i++) {
		struct timeline_event *event = &t->event[i];

		if (t->e->event[i].kind != EXPERIMENT_PARTITION || !event->begin_ns ||
		    event->end_ns)
			continue;
		event->end_ns = replicas_now_ns();
		if (take_counts(t, event))
			return -1;
	}
	return 0;
}

/* ---- events ---- */

static int begin(struct timeline *t, unsigned int i)
{
	const struct experiment_event *what = &t->e->event[i];
	struct timeline_event *event = &t->event[i];
	unsigned int replica = what->replica;
	int ret = 0;

	if (what->kind == EXPERIMENT_PARTITION && end_partition(t))
		return -1;
	event->begin_ns = replicas_now_ns();
	switch (what->kind) {
	case EXPERIMENT_KILL:
		kill_replica(t, replica);
		break;
	case EXPERIMENT_STOP:
		send_signal(t, replica, SIGSTOP);
		break;
	case EXPERIMENT_CONT:
		send_signal(t, replica, SIGCONT);
		break;
	case EXPERIMENT_RESTART:
	case EXPERIMENT_FORMAT:
		ret = start_replica(t, replica, what->kind == EXPERIMENT_FORMAT);
		break;
	case EXPERIMENT_DETACH:
	case EXPERIMENT_ATTACH:
		event->skipped = !has_program(t, what);
		if (event->skipped)
			break;
		ret = what->kind == EXPERIMENT_DETACH
			      ? programs_detach(&t->programs[replica], what->tc)
			      : programs_attach(&t->programs[replica], what->tc);
		break;
	case EXPERIMENT_PARTITION:
		ret = fault_partition(t->rack, &what->matrix);
		break;
	case EXPERIMENT_FAULT:
		ret = fault_add(t->rack, &what->rule, &event->rule);
		break;
	case EXPERIMENT_KIND_COUNT:
		break;
	}
	/* what happens at one moment and does not last */
	if (what->kind == EXPERIMENT_CONT || what->kind == EXPERIMENT_RESTART ||
	    what->kind == EXPERIMENT_FORMAT || what->kind == EXPERIMENT_ATTACH || event->skipped)
		event->end_ns = event->begin_ns;
	return ret;
}

static int end(struct timeline *t, unsigned int i)
{
	const struct experiment_event *what = &t->e->event[i];
	struct timeline_event *event = &t->event[i];
	struct programs *programs = &t->programs[what->replica];
	int ret = 0;

	switch (what->kind) {
	case EXPERIMENT_STOP:
		send_signal(t, what->replica, SIGCONT);
		break;
	case EXPERIMENT_DETACH:
		/* unless it was attached already, or the replica started anew */
		if ((what->tc ? programs->tc : programs->xdp) >= 0)
			ret = programs_attach(programs, what->tc);
		break;
	case EXPERIMENT_PARTITION:
		return fault_heal(t->rack) || end_partition(t) ? -1 : 0;
	case EXPERIMENT_FAULT:
		if (fault_remove(t->rack, event->rule) || take_counts(t, event))
			return -1;
		break;
	default:
		break;
	}
	event->end_ns = replicas_now_ns();
	return ret;
}

int timeline_do(struct timeline *t, int64_t now_ns)
{
	while (timeline_next_ns(t) <= now_ns) {
		unsigned int i = next(t);

		if (t->event[i].begin_ns ? end(t, i) : begin(t, i))
			return -1;
	}
	return 0;
}

int timeline_end(struct timeline *t)
{
	int ret = 0;

	for (unsigned int i = 0; i < t->e->events; i++) {
		struct timeline_event *event = &t->event[i];

		if (event->begin_ns && !event->end_ns && t->e->event[i].kind != EXPERIMENT_KILL &&
		    end(t, i))
			ret = -1;
	}
	return ret;
}

void timeline_text(const struct timeline *t, char *text, size_t size)
{
	size_t len = 0;

	text[0] = '\0';
	for (unsigned int i = 0; i < t->e->events && len < size; i++) {
		const struct timeline_event *event = &t->event[i];

		if (event->begin_ns && !event->end_ns)
			len += snprintf(text + len, size - len, "%s%s", len ? ", " : "",
					t->e->event[i].what);
	}
}
