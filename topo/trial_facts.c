// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* parts/RUN.json, for results.py, and what replicas and switch leave behind. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "topo/json.h"
#include "topo/leave.h"
#include "topo/progress.h"
#include "topo/trial_internal.h"

static void write_events(const struct trial *t, FILE *out)
{
	fputs(",\"events\":[", out);
	for (unsigned int i = 0; i < t->e->events; i++) {
		const struct experiment_event *what = &t->e->event[i];
		const struct timeline_event *event = &t->timeline.event[i];
		bool counts = what->kind == EXPERIMENT_FAULT || what->kind == EXPERIMENT_PARTITION;

		fputs(i ? ",{\"what\":" : "{\"what\":", out);
		json_string(out, what->what);
		fprintf(out, ",\"at_ns\":%" PRIu64, what->at_ns);
		if (event->begin_ns && !event->skipped)
			fprintf(out, ",\"begin_ns\":%" PRId64, event->begin_ns);
		else
			fputs(",\"begin_ns\":null", out);
		if (event->end_ns && !event->skipped)
			fprintf(out, ",\"end_ns\":%" PRId64, event->end_ns);
		else
			fputs(",\"end_ns\":null", out);
		if (counts && event->begin_ns)
			fprintf(out, ",\"rule\":%u,\"seen\":%" PRIu64 ",\"taken\":%" PRIu64 "}",
				event->rule, event->seen, event->taken);
		else
			fputs(",\"rule\":null}", out);
	}
	fputs("]", out);
}

static void write_nodes(const struct trial *t, FILE *out)
{
	bool first = true;

	fputs(",\"client_nodes\":[", out);
	for (unsigned int i = 0; i < t->clients; i++) {
		if (!t->client[i].node->command)
			fprintf(out, "%s\"%s\"", first ? "" : ",", t->client[i].node->name);
		first &= !!t->client[i].node->command;
	}
	first = true;
	fputs("],\"foreign\":[", out);
	for (unsigned int i = 0; i < t->o->rack->count; i++) {
		if (t->o->rack->nodes[i].command)
			fprintf(out, "%s\"%s\"", first ? "" : ",", t->o->rack->nodes[i].name);
		first &= !t->o->rack->nodes[i].command;
	}
	fputs("]", out);
}

static void write_counters(const struct trial *t, char *report[ELEC_REPLICAS_MAX], FILE *out)
{
	static const char *const names[] = {
#define X(id, name, program, verdict, text) [ELEC_R_##id] = name,
		ELEC_REASONS(X)
#undef X
	};
	bool first = true;

	fputs(",\"counters\":{", out);
	for (unsigned int i = 0; i < ELEC_R_COUNT; i++) {
		/* a new replica begins at 0 again */
		uint64_t count = t->counts[i] > t->before[i] ? t->counts[i] - t->before[i] : 0;

		if (!count)
			continue;
		fprintf(out, "%s\"%s\":%" PRIu64, first ? "" : ",", names[i], count);
		first = false;
	}
	first = true;
	fputs("},\"reports\":{", out);
	for (unsigned int i = 0; i < t->o->rack->replicas; i++) {
		if (report[i])
			fprintf(out, "%s\"%s\":%s", first ? "" : ",", t->replicas.child[i].node,
				report[i]);
		first &= !report[i];
	}
	fputs("}", out);
}

static int write_facts(const struct trial *t, char *report[ELEC_REPLICAS_MAX])
{
	uint64_t packets = 0, lost = 0;
	char *path;
	FILE *out;
	int ret;

	if (asprintf(&path, "%s/parts/%u.json", t->o->folder, t->o->run) < 0)
		return progress_fail("no memory");
	out = fopen(path, "we");
	if (!out) {
		ret = progress_fail("cannot write %s: %s", path, strerror(errno));
		free(path);
		return ret;
	}
	if (t->capture)
		capture_counts(t->capture, &packets, &lost);
	fprintf(out, "{\"run\":%u,\"offload\":", t->o->run);
	json_string(out, t->offload);
	fprintf(out, ",\"replicas\":%u,\"clients\":%" PRIu64, t->o->rack->replicas,
		t->e->load.clients * t->clients);
	fprintf(out,
		",\"start_ns\":%" PRId64 ",\"end_ns\":%" PRId64 ",\"cpu_us\":%" PRIu64
		",\"failed\":%s,\"interrupted\":%s,\"capture\":{\"packets\":%" PRIu64
		",\"lost\":%" PRIu64 "}",
		t->timeline.start_ns, t->end_ns, t->cpu_end_us - t->cpu_begin_us,
		t->failed ? "true" : "false", t->interrupted ? "true" : "false", packets, lost);
	write_nodes(t, out);
	write_counters(t, report, out);
	write_events(t, out);
	fputs("}\n", out);
	ret = ferror(out);
	if (fclose(out) || ret)
		ret = progress_fail("cannot write %s: %s", path, strerror(errno));
	free(path);
	return ret;
}

int trial_keep(const struct trial *t, char *report[ELEC_REPLICAS_MAX])
{
	const struct rack *rack = t->o->rack;
	int ret = write_facts(t, report);

	for (unsigned int i = 0; i < rack->count; i++) {
		const struct rack_node *node = &rack->nodes[i];

		if (node->role != RACK_TESTER &&
		    leave_log(rack, t->o->folder, t->o->run, node->name))
			ret = -1;
		if (node->role == RACK_REPLICA && !node->command &&
		    leave_journal(rack, t->o->programs, t->o->folder, t->o->run, node->name))
			ret = -1;
	}
	return leave_faults(rack, t->o->folder, t->o->run) || ret ? -1 : 0;
}
