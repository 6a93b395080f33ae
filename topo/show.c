// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Gathering what is drawn. */
#include "topo/show.h"

#include <arpa/inet.h>
#include <linux/bpf.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "topo/file.h"
#include "topo/process.h"

const char *const show_labels[SHOW_LINES] = {
	[SHOW_ADDRESS] = "address",   [SHOW_ROLE] = "role",	   [SHOW_AT] = "view, op",
	[SHOW_PORT_XDP] = "port XDP", [SHOW_PORT_TC] = "port TC",  [SHOW_XDP] = "eth0 XDP",
	[SHOW_TC] = "eth0 TC",	      [SHOW_WRONG] = "exceptions", [SHOW_PIDS] = "processes",
	[SHOW_HOST] = "host",	      [SHOW_UPLINK] = "uplink",	   [SHOW_NODES] = "nodes",
};

/* Adds to a cell, behind what is there; what does not fit is left out. */
__attribute__((format(printf, 2, 3))) static void add(char cell[SHOW_CELL_MAX], const char *format,
						      ...)
{
	size_t len = strlen(cell);
	va_list args;

	if (len && len < SHOW_CELL_MAX - 2)
		len += snprintf(cell + len, SHOW_CELL_MAX - len, ", ");
	va_start(args, format);
	vsnprintf(cell + len, SHOW_CELL_MAX - len, format, args);
	va_end(args);
}

static const struct stats_program *program(const struct stats *s, uint32_t id)
{
	for (size_t i = 0; i < s->programs; i++) {
		if (s->program[i].id == id)
			return &s->program[i];
	}
	return NULL;
}

static void add_program(char cell[SHOW_CELL_MAX], const struct stats *s, uint32_t id,
			const char *how)
{
	const struct stats_program *p = program(s, id);

	if (p)
		add(cell, "%s %s", p->name, how);
}

static void add_end(char *xdp, char *tc, const struct stats *s, const struct stats_end *end)
{
	if (end->link.xdp)
		add_program(xdp, s, end->link.xdp, stats_attached_name(end->link.attached));
	for (unsigned int i = 0; i < end->ingress.count; i++)
		add_program(tc, s, end->ingress.id[i], "in");
	for (unsigned int i = 0; i < end->egress.count; i++)
		add_program(tc, s, end->egress.id[i], "out");
}

static void add_replica(struct show_column *n, const struct stats_replica *r)
{
	if (!r->pid)
		add(n->cell[SHOW_ROLE], r->told ? "replica, ended" : "replica, not started");
	else if (!r->told)
		add(n->cell[SHOW_ROLE], "replica, foreign");
	else if (r->status.status != VR_NORMAL)
		add(n->cell[SHOW_ROLE], "replica, %s", status_name(r->status.status));
	else
		add(n->cell[SHOW_ROLE],
		    r->status.leader == r->status.index ? "leader" : "follower");
	if (r->told)
		add(n->cell[SHOW_AT], "%llu, %llu", (unsigned long long)r->status.view,
		    (unsigned long long)r->status.op);
}

static void add_node(struct show_column *n, const struct rack_node *node, const struct stats *s)
{
	static const char *const roles[] = {"replica", "client", "tester"};
	const struct stats_node *ends = &s->node[node->index];
	char addr[16];

	snprintf(n->name, sizeof(n->name), "%s", node->name);
	inet_ntop(AF_INET, &node->addr, addr, sizeof(addr));
	add(n->cell[SHOW_ADDRESS], "%s", addr);
	if (node->role == RACK_REPLICA && node->here)
		add_replica(n, &s->replica[node->number]);
	else
		add(n->cell[SHOW_ROLE], "%s", roles[node->role]);
	if (node->spoof)
		add(n->cell[SHOW_ROLE], "may spoof");
	add_end(n->cell[SHOW_PORT_XDP], n->cell[SHOW_PORT_TC], s, &ends->end[STATS_PORT]);
	add_end(n->cell[SHOW_XDP], n->cell[SHOW_TC], s, &ends->end[STATS_NODE]);
}

static void add_tor(struct show_column *column, const struct rack *rack, unsigned int t)
{
	const struct rack_tor *tor = &rack->tor[t];
	unsigned int nodes = 0;
	char host[16] = "";

	inet_ntop(AF_INET, &tor->host, host, sizeof(host));
	snprintf(column->name, sizeof(column->name), tor->here ? "br%u" : "tor%u", t);
	if (rack->stretched)
		add(column->cell[SHOW_HOST], "%s%s", host, tor->here ? " (here)" : "");
	if (tor->here)
		add(column->cell[SHOW_UPLINK], "up%u", t);
	else
		add(column->cell[SHOW_UPLINK], "vxlan");
	for (unsigned int i = 0; i < rack->count; i++)
		nodes += rack->nodes[i].tor == t;
	add(column->cell[SHOW_NODES], "%u", nodes);
}

static void add_exceptions(struct show *show, const struct stats *s)
{
	for (size_t i = 0; i < s->exceptions; i++) {
		const struct stats_exception *e = &s->exception[i];
		const char *action = stats_verdict_name(STATS_XDP, e->action);

		add(show->node[e->node].cell[SHOW_WRONG], "%llu %s%s", (unsigned long long)e->count,
		    action ?: "unknown", e->action == XDP_ABORTED ? "" : " failed");
	}
}

static void on_process(pid_t pid, const char *node, const char *comm, void *arg)
{
	struct show *show = arg;
	const struct rack_node *n = rack_node(show->rack, node);

	if (n)
		add(show->node[n->index].cell[SHOW_PIDS], "%d %s", pid, comm);
}

int show_take(struct show *show, const struct rack *rack)
{
	bool spine = rack->file->tors_count;
	struct stats *s;

	*show = (struct show){.rack = rack};
	show->node = calloc(rack->count, sizeof(*show->node));
	if (spine)
		show->tor = calloc(rack->tors, sizeof(*show->tor));
	if (!show->node || (spine && !show->tor)) {
		rack_say("no memory");
		goto fail;
	}
	if (stats_take(&s, rack))
		goto fail;
	for (unsigned int i = 0; i < rack->count; i++)
		add_node(&show->node[i], &rack->nodes[i], s);
	for (unsigned int t = 0; spine && t < rack->tors; t++)
		add_tor(&show->tor[t], rack, t);
	add_exceptions(show, s);
	stats_free(s);
	process_each(rack->name, on_process, show);
	if (!fault_status(rack, &show->faults))
		return 0;
fail:
	show_free(show);
	return -1;
}

void show_free(struct show *show)
{
	free(show->faults.matrix.row);
	free(show->node);
	free(show->tor);
}
