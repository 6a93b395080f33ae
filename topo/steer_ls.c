// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* rack steer RACK ls */
#include <arpa/inet.h>
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
		char text[STEER_FLOW_TEXT_MAX], to[STEER_GROUP_PORTS_MAX * 8] = "mac";
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
