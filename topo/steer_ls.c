// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* rack steer RACK ls */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "topo/daemon.h"
#include "topo/steer.h"
#include "topo/steer_verbs.h"
#include "topo/table.h"

#define ZERO_COPY_GOAL 95 /* percent of the frames sent */

static const struct {
	enum tor_reason reason;
	const char *name;
} columns[] = {
	{TOR_R_REDIRECT, "tc"},	  {TOR_R_XDP, "xdp"},	    {TOR_R_BRIDGE, "bridge"},
	{TOR_R_AFXDP, "afxdp"},	  {TOR_R_MISS, "miss"},	    {TOR_R_NO_FLOW, "no-flow"},
	{TOR_R_CLONE, "clone"},	  {TOR_R_MOVED, "moved"},   {TOR_R_NO_SOCKET, "no-socket"},
	{TOR_R_NO_XDP, "no-xdp"}, {TOR_R_UPLINK, "uplink"},
};

/* Without the last, which only several ToRs know. */
static size_t columns_of(const struct rack *rack)
{
	return sizeof(columns) / sizeof(columns[0]) - (rack->tors == 1);
}

static int print_ports(struct steer *s, const struct rack *rack, const unsigned int *flows)
{
	size_t count = columns_of(rack);
	struct table t = {.columns = 3 + count, .left = 3};

	table_cell(&t, "port");
	table_cell(&t, "path");
	table_cell(&t, "flows");
	for (size_t i = 0; i < count; i++)
		table_cell(&t, "%s", columns[i].name);
	for (unsigned int i = 0; i < rack->count; i++) {
		struct steer_port_path path;
		struct tor_counts counts;

		if (steer_verdicts(s, i, &counts))
			return -1;
		steer_port_path(s, i, &path);
		table_cell(&t, "%s", rack->nodes[i].name);
		if (steer_has_table(s, i))
			table_cell(&t, "table, else bridge");
		else if (path.share)
			table_cell(&t, "%s, %.1f%% %s", steer_path_name(path.path),
				   path.share * 100.0 / 65536, steer_path_name(path.share_path));
		else
			table_cell(&t, "%s", steer_path_name(path.path));
		table_cell(&t, "%u", flows[i]);
		for (size_t c = 0; c < count; c++)
			table_cell(&t, "%" PRIu64, (uint64_t)counts.by_reason[columns[c].reason]);
	}
	return table_print(&t, stdout) ? rack_say("no memory") : 0;
}

static int print_flows(struct steer *s, const struct rack *rack, const struct steer_rule *rules,
		       size_t count)
{
	struct table t = {.columns = 3, .left = 7};

	table_cell(&t, "flow");
	table_cell(&t, "to");
	table_cell(&t, "path");
	for (size_t i = 0; i < count; i++) {
		char text[STEER_FLOW_TEXT_MAX], to[STEER_GROUP_PORTS_MAX * 8] = "mac";
		unsigned int from = steer_source(rack, &rules[i].key);
		struct steer_port_path node;
		size_t at = 0;

		steer_flow_text(&rules[i].key, rack, text, sizeof(text));
		for (unsigned int k = 0; k < rules[i].count; k++)
			at += snprintf(to + at, sizeof(to) - at, "%s%s", k ? "," : "",
				       rack->nodes[rules[i].port[k]].name);
		table_cell(&t, "%s", text);
		table_cell(&t, "%s", to);
		steer_port_path(s, from, &node);
		if (rules[i].path)
			table_cell(&t, "%s", steer_path_name(rules[i].path - 1));
		else if (rules[i].count && node.path == TOR_PATH_BRIDGE)
			table_cell(&t, "tc"); /* the bridge goes by the MAC: see steer() */
		else
			table_cell(&t, "%s, as %s", steer_path_name(node.path),
				   rack->nodes[from].name);
	}
	putchar('\n');
	return table_print(&t, stdout) ? rack_say("no memory") : 0;
}

static void row(struct table *t, const char *what, uint64_t n)
{
	table_cell(t, "%s", what);
	table_cell(t, "%" PRIu64, n);
}

static int print_failures(struct steer *s)
{
	const struct steer_state *c = steer_counts(s);
	struct table t = {.columns = 2, .left = 1};

	table_cell(&t, "what failed");
	table_cell(&t, "frames");
	row(&t, "clones to a rule's port, tried again", c->clone_retries);
	row(&t, "redirects of xdp, lost", c->redirect_errs);
	row(&t, "  flows on the bridge for that", steer_moved(s));
	row(&t, "sends of afxdp, tried again", c->afxdp.retries);
	row(&t, "sends of afxdp, given to the bridge", c->afxdp.to_stack);
	putchar('\n');
	return table_print(&t, stdout) ? rack_say("no memory") : 0;
}

/* Nothing, when nothing was ever on that path. */
static int print_afxdp(const struct rack *rack, const struct steer_state *c)
{
	const struct steer_afxdp *x = &c->afxdp;
	pid_t pid = daemon_find(rack, STEER_DAEMON);
	struct table t = {.columns = 2, .left = 1};

	if (!pid && !x->umem_bytes)
		return 0;
	table_cell(&t, "afxdp");
	table_cell(&t, pid ? "runs" : "no process");
	if (pid) {
		row(&t, "process", pid);
		row(&t, "CPU", rack->afxdp_cpu);
		row(&t, "bytes of memory", x->umem_bytes);
		row(&t, "fill threshold, frames", rack->fill_threshold);
	}
	row(&t, "times that memory was made larger", x->remade);
	row(&t, "times that it was shared out anew", x->shared_anew);
	row(&t, "frames received", x->received);
	row(&t, "frames sent", x->sent);
	table_cell(&t, "  of them zero-copied (goal: %d %%, but a veth offers none)",
		   ZERO_COPY_GOAL);
	table_cell(&t, "%.0f %%", x->sent ? x->zero_copied * 100.0 / x->sent : 0.0);
	row(&t, "frames lost, no room at its socket", c->socket_full);
	row(&t, "  of them for want of memory", x->no_frames);
	row(&t, "  of them while it was made larger or shared out", x->remade_lost);
	row(&t, "frames lost, for a port that there is not", x->no_port);
	row(&t, "frames lost, the bridge did not take them", x->lost);
	putchar('\n');
	return table_print(&t, stdout) ? rack_say("no memory") : 0;
}

int steer_verb_ls(const struct rack *rack, char **argv)
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
		flows[steer_source(rack, &rules[i].key)]++;
	ret = print_ports(s, rack, flows);
	if (!ret && count)
		ret = print_flows(s, rack, rules, count);
	if (!ret)
		ret = print_failures(s) ?: print_afxdp(rack, steer_counts(s));
out:
	if (s)
		steer_close(s);
	free(rules);
	free(flows);
	return ret ? 1 : 0;
}
