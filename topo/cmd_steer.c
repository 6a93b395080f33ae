// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* rack steer: paths and flows of a rack that is up, one table of verbs. */
#include <arpa/inet.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "topo/daemon.h"
#include "topo/fault.h"
#include "topo/interrupt.h"
#include "topo/steer.h"
#include "topo/steer_guard.h"
#include "topo/table.h"

#define SENTENCE_MAX 512
#define FLOW_TEXT_MAX 80
#define GUARD_MIN_NS 200000000ull
#define GUARD_MAX_NS 3600000000000ull
#define ZERO_COPY_GOAL 95 /* percent of the frames sent */

/* ---- path ---- */

/* One request: a node's path, or a flow's. */
struct switching {
	const struct rack *rack;
	const struct rack_node *node; /* whose path, or that sends the flow */
	bool is_flow;
	struct steer_rule rule; /* of the flow */
	unsigned int path;
	uint64_t guard_ns;  /* 0: none */
	unsigned int share; /* of 65536; 0: all at once */
	/* as it was */
	bool had_rule;
	struct steer_rule rule_before;
	struct steer_port_path before;
};

static int share_parse(unsigned int *share, const char *text, char *error, size_t size)
{
	double percent;
	int used = 0;

	if (sscanf(text, "%lf%%%n", &percent, &used) != 1 || !used || text[used] ||
	    !(percent > 0) || percent > 100) {
		snprintf(error, size, "'%.40s' is no share, as 10%% is", text);
		return -1;
	}
	*share = percent * 65536 / 100;
	*share = *share ?: 1;
	return 0;
}

static int options_parse(struct switching *w, char **argv, char *error, size_t size)
{
	for (; argv[0]; argv += 2) {
		bool guard = !strcmp(argv[0], "--guard");

		if (!guard && strcmp(argv[0], "--share")) {
			snprintf(error, size, "'%.40s' is too much", argv[0]);
			return -1;
		}
		if (!argv[1]) {
			snprintf(error, size, "%s wants a value", argv[0]);
			return -1;
		}
		if (!guard && share_parse(&w->share, argv[1], error, size))
			return -1;
		if (guard && fault_time_parse(&w->guard_ns, argv[1], GUARD_MIN_NS, GUARD_MAX_NS)) {
			snprintf(error, size, "'%.40s' is no time for a guard, 200ms to 3600s",
				 argv[1]);
			return -1;
		}
	}
	if (w->share && w->is_flow) {
		snprintf(error, size, "a share is of a node's flows, and this is one flow");
		return -1;
	}
	return 0;
}

static int switching_parse(struct switching *w, char **argv, char *error, size_t size)
{
	char *flow[] = {argv[0], NULL};

	if (!argv[0] || !argv[1]) {
		snprintf(error, size, "path wants a node or a flow, and a path");
		return -1;
	}
	w->node = rack_node(w->rack, argv[0]);
	w->is_flow = !w->node && strchr(argv[0], ':');
	if (!w->node && !w->is_flow) {
		snprintf(error, size, "'%.40s' names no port of %s: nodes are, e.g. %s", argv[0],
			 w->rack->name, w->rack->nodes[0].name);
		return -1;
	}
	if (w->is_flow) {
		if (steer_rule_parse(&w->rule, w->rack, flow, error, size))
			return -1;
		w->node = &w->rack->nodes[ntohl(w->rule.key.saddr) - w->rack->subnet - 1];
	}
	return steer_path_parse(&w->path, argv[1], error, size)
		       ?: options_parse(w, argv + 2, error, size);
}

/* With the lock only while it changes something: a guard takes its time. */
static int set_path(const struct switching *w, unsigned int share)
{
	struct steer_port_path path = w->before;
	struct steer_rule rule = w->rule;
	struct steer *s;
	int ret;

	if (steer_open(&s, w->rack))
		return -1;
	if (w->is_flow) {
		rule.path = w->path + 1;
		ret = steer_add(s, &rule, 1);
	} else {
		path.share_path = share ? w->path : 0;
		path.share = share;
		path.path = share ? w->before.path : w->path;
		ret = steer_set_port_path(s, w->node->index, &path);
	}
	steer_close(s);
	return ret;
}

static int go_back(const struct switching *w)
{
	struct steer *s;
	int ret;

	if (steer_open(&s, w->rack))
		return -1;
	if (!w->is_flow)
		ret = steer_set_port_path(s, w->node->index, &w->before);
	else if (w->had_rule)
		ret = steer_add(s, &w->rule_before, 1);
	else
		ret = steer_remove(s, &w->rule.key);
	steer_close(s);
	return ret;
}

/* The rule that a flow has keeps its ports. */
static int remember(struct switching *w)
{
	struct steer *s;
	int ret = 0;

	if (steer_open(&s, w->rack))
		return -1;
	steer_port_path(s, w->node->index, &w->before);
	if (w->is_flow) {
		w->had_rule = steer_find(s, &w->rule.key, &w->rule_before);
		if (w->had_rule)
			w->rule = w->rule_before;
		if (w->rule.count && w->path == TOR_PATH_BRIDGE)
			ret = rack_say("the flow's rule names a port, and the bridge sends a frame "
				       "where its MAC says: remove the rule first");
	}
	steer_close(s);
	return ret;
}

static int measure(const struct switching *w, struct guard_sample *sample, const char *when,
		   int interrupt)
{
	const struct steer_state *state;
	int ret = steer_counts_open(&state, w->rack);

	if (ret)
		return -1;
	ret = guard_measure(sample, w->rack, w->node, state, w->guard_ns, interrupt);
	steer_counts_close(state);
	if (!ret)
		guard_print(when, sample);
	return ret;
}

/* To `share` of 65536 flows, 0: all; 1: it was worse, and is as it was. */
static int guarded(const struct switching *w, const struct guard_sample *before, unsigned int share,
		   int interrupt)
{
	const char *name = steer_path_name(w->path);
	struct guard_sample after;
	char why[SENTENCE_MAX], when[64];
	int ret;

	if (set_path(w, share))
		return -1;
	if (share)
		snprintf(when, sizeof(when), "%.1f %% on %s", share * 100.0 / 65536, name);
	else
		snprintf(when, sizeof(when), "on %s", name);
	ret = measure(w, &after, when, interrupt);
	if (!ret && !guard_worse(before, &after, why, sizeof(why)))
		return 0;
	if (ret)
		snprintf(why, sizeof(why), "it was %s", ret > 0 ? "interrupted" : "not measured");
	if (go_back(w))
		return -1;
	printf("%s is back on %s: %s\n", w->node->name,
	       steer_path_name(w->is_flow && w->had_rule && w->rule_before.path
				       ? w->rule_before.path - 1
				       : w->before.path),
	       why);
	return 1;
}

static int with_guard(const struct switching *w)
{
	struct guard_sample before;
	int interrupt = interrupt_open(), ret;

	if (interrupt < 0)
		return -1;
	ret = measure(w, &before, "before", interrupt);
	if (!ret && !before.frames)
		printf("%s sends nothing: there is nothing to compare with\n", w->node->name);
	if (!ret && w->share)
		ret = guarded(w, &before, w->share, interrupt);
	if (!ret)
		ret = guarded(w, &before, 0, interrupt);
	if (!ret)
		printf("%s stays on %s\n", w->node->name, steer_path_name(w->path));
	close(interrupt);
	return ret;
}

static int path(const struct rack *rack, char **argv)
{
	struct switching w = {.rack = rack};
	char error[SENTENCE_MAX];

	if (switching_parse(&w, argv, error, sizeof(error)))
		return rack_usage("%s", error);
	if (remember(&w))
		return 1;
	return (w.guard_ns ? with_guard(&w) : set_path(&w, w.share)) ? 1 : 0;
}

/* ---- the table ---- */

static int change(const struct rack *rack, const struct steer_rule *rules, size_t count)
{
	struct steer *s;
	int ret;

	if (steer_open(&s, rack))
		return 1;
	ret = steer_add(s, rules, count);
	steer_close(s);
	return ret ? 1 : 0;
}

static int add(const struct rack *rack, char **argv)
{
	char error[SENTENCE_MAX];
	struct steer_rule rule;

	if (steer_rule_parse(&rule, rack, argv, error, sizeof(error)))
		return rack_usage("%s", error);
	return change(rack, &rule, 1);
}

static int load(const struct rack *rack, char **argv)
{
	char error[SENTENCE_MAX];
	struct steer_rule *rules;
	size_t count;
	int ret;

	if (!argv[0] || argv[1])
		return rack_usage("load wants one FILE");
	if (steer_file_parse(&rules, &count, rack, argv[0], error, sizeof(error))) {
		rack_say("%s", error);
		return 1;
	}
	ret = change(rack, rules, count);
	free(rules);
	if (!ret)
		printf("%zu rules\n", count);
	return ret;
}

static int rm(const struct rack *rack, char **argv)
{
	char error[SENTENCE_MAX];
	struct steer_rule rule;
	struct steer *s;
	bool all;
	int ret;

	if (!argv[0] || argv[1])
		return rack_usage("rm wants one FLOW, or all");
	all = !strcmp(argv[0], "all");
	if (!all && steer_rule_parse(&rule, rack, argv, error, sizeof(error)))
		return rack_usage("%s", error);
	if (steer_open(&s, rack))
		return 1;
	ret = all ? steer_remove_all(s) : steer_remove(s, &rule.key);
	steer_close(s);
	return ret ? 1 : 0;
}

/* ---- ls ---- */

static const struct {
	enum tor_reason reason;
	const char *name;
} columns[] = {
	{TOR_R_REDIRECT, "tc"},	  {TOR_R_XDP, "xdp"},	  {TOR_R_BRIDGE, "bridge"},
	{TOR_R_AFXDP, "afxdp"},	  {TOR_R_MISS, "miss"},	  {TOR_R_NO_FLOW, "no-flow"},
	{TOR_R_CLONE, "clone"},	  {TOR_R_MOVED, "moved"}, {TOR_R_NO_SOCKET, "no-socket"},
	{TOR_R_NO_XDP, "no-xdp"},
};

#define COLUMNS (sizeof(columns) / sizeof(columns[0]))

static int print_ports(struct steer *s, const struct rack *rack, const unsigned int *flows)
{
	struct table t = {.columns = 3 + COLUMNS, .left = 3};

	table_cell(&t, "port");
	table_cell(&t, "path");
	table_cell(&t, "flows");
	for (size_t i = 0; i < COLUMNS; i++)
		table_cell(&t, "%s", columns[i].name);
	for (unsigned int i = 0; i < rack->count; i++) {
		struct steer_port_path path;
		struct tor_counts counts;

		if (steer_verdicts(s, i, &counts))
			return -1;
		steer_port_path(s, i, &path);
		table_cell(&t, "%s", rack->nodes[i].name);
		if (path.share)
			table_cell(&t, "%s, %.1f%% %s", steer_path_name(path.path),
				   path.share * 100.0 / 65536, steer_path_name(path.share_path));
		else
			table_cell(&t, "%s", steer_path_name(path.path));
		table_cell(&t, "%u", flows[i]);
		for (size_t c = 0; c < COLUMNS; c++)
			table_cell(&t, "%" PRIu64, (uint64_t)counts.by_reason[columns[c].reason]);
	}
	return table_print(&t, stdout) ? rack_say("no memory") : 0;
}

static int print_flows(const struct rack *rack, const struct steer_rule *rules, size_t count)
{
	struct table t = {.columns = 3, .left = 7};

	table_cell(&t, "flow");
	table_cell(&t, "to");
	table_cell(&t, "path");
	for (size_t i = 0; i < count; i++) {
		char text[FLOW_TEXT_MAX], to[STEER_GROUP_PORTS_MAX * 8] = "mac";
		size_t at = 0;

		steer_flow_text(&rules[i].key, rack, text, sizeof(text));
		for (unsigned int k = 0; k < rules[i].count; k++)
			at += snprintf(to + at, sizeof(to) - at, "%s%s", k ? "," : "",
				       rack->nodes[rules[i].port[k]].name);
		table_cell(&t, "%s", text);
		table_cell(&t, "%s", to);
		table_cell(&t, "%s", rules[i].path ? steer_path_name(rules[i].path - 1) : "-");
	}
	putchar('\n');
	return table_print(&t, stdout) ? rack_say("no memory") : 0;
}

static void print_counts(const struct rack *rack, const struct steer_state *c)
{
	const struct steer_afxdp *x = &c->afxdp;
	pid_t pid = daemon_find(rack, STEER_DAEMON);

	printf("\nknown to have failed: %" PRIu64 " clones and %" PRIu64
	       " sends of afxdp, tried again; %" PRIu64
	       " sends of afxdp, given to the bridge; %" PRIu64
	       " native redirects, lost, their %u flows moved to the bridge\n",
	       (uint64_t)c->clone_retries, (uint64_t)x->retries, (uint64_t)x->to_stack,
	       (uint64_t)c->redirect_errs, c->moved);
	if (!pid && !x->scans)
		return;
	if (pid)
		printf("afxdp: process %d on CPU %d, ", pid, rack->afxdp_cpu);
	else
		printf("afxdp: no process, ");
	printf("%" PRIu64 " bytes of memory, made larger %" PRIu64 " times (%" PRIu64
	       " frames lost then), fill threshold %u\n",
	       (uint64_t)x->umem_bytes, (uint64_t)x->remade, (uint64_t)x->remade_lost,
	       rack->fill_threshold);
	printf("afxdp: received %" PRIu64 ", sent %" PRIu64 ", lost %" PRIu64
	       " for want of room and "
	       "%" PRIu64 " on the bridge; zero-copied %.0f %% (goal %d %%; a veth offers none)\n",
	       (uint64_t)x->received, (uint64_t)x->sent, (uint64_t)c->socket_full,
	       (uint64_t)x->lost, x->sent ? x->zero_copied * 100.0 / x->sent : 0.0, ZERO_COPY_GOAL);
}

static int ls(const struct rack *rack, char **argv)
{
	unsigned int *flows = calloc(rack->count, sizeof(*flows));
	struct steer_rule *rules = NULL;
	struct steer *s = NULL;
	size_t count;
	int ret = -1;

	if (argv[0]) {
		free(flows);
		return rack_usage("ls lists everything, '%.40s' is too much", argv[0]);
	}
	if (!flows) {
		rack_say("no memory");
		goto out;
	}
	if (steer_open(&s, rack) || steer_list(s, &rules, &count))
		goto out;
	for (size_t i = 0; i < count; i++)
		flows[ntohl(rules[i].key.saddr) - rack->subnet - 1]++;
	ret = print_ports(s, rack, flows);
	if (!ret && count)
		ret = print_flows(rack, rules, count);
	if (!ret)
		print_counts(rack, steer_counts(s));
out:
	if (s)
		steer_close(s);
	free(rules);
	free(flows);
	return ret ? 1 : 0;
}

static const struct rack_verb verbs[] = {
	{"path", path}, {"add", add}, {"load", load}, {"rm", rm}, {"ls", ls}, {},
};

int cmd_steer(int argc, char **argv)
{
	return rack_do(verbs, argc, argv);
}
