// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "topo/top.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "topo/fault.h"

struct builder {
	const struct rack *rack;
	const struct stats *before, *now;
	double seconds;
	struct top_table *table;
	struct top_row *row; /* the one being filled */
	unsigned int column;
	int error;
};

/* ---- cells ---- */

static void row(struct builder *b)
{
	struct top_table *t = b->table;
	struct top_row *more = t->row;

	b->column = 0;
	b->row = NULL;
	if (!(t->rows & (t->rows - 1))) /* doubled at each power of two */
		more = reallocarray(t->row, t->rows ? 2 * t->rows : 1, sizeof(*more));
	if (!more) {
		b->error = -ENOMEM;
		return;
	}
	t->row = more;
	b->row = &t->row[t->rows++];
	memset(b->row, 0, sizeof(*b->row));
}

__attribute__((format(printf, 3, 4))) static void cell(struct builder *b, double value,
						       const char *format, ...)
{
	struct top_cell *c;
	va_list args;

	if (!b->row)
		return;
	c = &b->row->cell[b->column++];
	c->value = value;
	va_start(args, format);
	vsnprintf(c->text, sizeof(c->text), format, args);
	va_end(args);
}

/* At most six characters. */
static void amount(struct builder *b, double value)
{
	static const char *const units[] = {"", "k", "M", "G", "T"};
	unsigned int unit = 0;
	double small = value;

	while (small >= 9999.5 && unit < sizeof(units) / sizeof(*units) - 1) {
		small /= 1000;
		unit++;
	}
	if (unit)
		cell(b, value, "%.*f%s", small < 99.95 ? 1 : 0, small, units[unit]);
	else
		cell(b, value, "%.*f", value < 9.95 && value != (uint64_t)value ? 1 : 0, value);
}

/* What a restart set back to nothing has no rate. */
static double per_second(const struct builder *b, uint64_t before, uint64_t now)
{
	return now > before ? (now - before) / b->seconds : 0;
}

static void rate(struct builder *b, uint64_t before, uint64_t now)
{
	amount(b, per_second(b, before, now));
}

static void none(struct builder *b)
{
	cell(b, -1, "-");
}

/* ---- replicas ---- */

static const struct top_column replica_columns[] = {
	{"replica", true},    {"status", true}, {"view", false},   {"op", false},
	{"committed", false}, {"ops/s", false}, {"acks/s", false}, {"lease", false},
	{"full", false},      {"dead", true},	{"pid", false},
};

static const char *condition(const struct stats_replica *r)
{
	if (!r->pid)
		return r->told ? "ended" : "-";
	if (!r->told)
		return "foreign";
	if (r->silent_us > 1000000)
		return "silent";
	if (r->status.status == VR_NORMAL && r->status.leader == r->status.index)
		return "leader";
	return r->status.status == VR_NORMAL ? "follower" : status_name(r->status.status);
}

static void dead_peers(struct builder *b, const struct stats_replica *r)
{
	char text[TOP_CELL_MAX] = "";
	size_t len = 0;

	for (unsigned int i = 0; i < b->rack->replicas && len < sizeof(text) - 8; i++) {
		if (r->status.dead >> i & 1)
			len += snprintf(text + len, sizeof(text) - len, "%s%s", len ? "," : "",
					rack_nth(b->rack, RACK_REPLICA, i)->name);
	}
	cell(b, r->status.dead, "%s", len ? text : "-");
}

static uint64_t acks(const struct stats_replica *r)
{
	return r->reasons[ELEC_R_ACK] + r->reasons[ELEC_R_ACK_AGAIN];
}

static void replica(struct builder *b, unsigned int i)
{
	const struct stats_replica *r = &b->now->replica[i], *old = &b->before->replica[i];

	row(b);
	cell(b, i, "%s", rack_nth(b->rack, RACK_REPLICA, i)->name);
	cell(b, 0, "%s", condition(r));
	if (r->told) {
		cell(b, r->status.view, "%llu", (unsigned long long)r->status.view);
		cell(b, r->status.op, "%llu", (unsigned long long)r->status.op);
		cell(b, r->status.committed, "%llu", (unsigned long long)r->status.committed);
		rate(b, old->told ? old->status.executed : r->status.executed, r->status.executed);
	} else {
		for (int k = 0; k < 4; k++)
			none(b);
	}
	if (r->offloaded) {
		rate(b, acks(old), acks(r));
		amount(b, r->reasons[ELEC_R_LEASE]);
		amount(b, r->reasons[ELEC_R_LOG_FULL]);
	} else {
		for (int k = 0; k < 3; k++)
			none(b);
	}
	dead_peers(b, r);
	if (r->pid)
		cell(b, r->pid, "%d", r->pid);
	else
		none(b);
}

/* ---- links ---- */

static const struct top_column link_columns[] = {
	{"from", true},	      {"to", true},	  {"kind", true},
	{"packets/s", false}, {"bytes/s", false}, {"packets", false},
};

static const struct tor_link_counts *counts_before(const struct stats *s,
						   const struct tor_link *link)
{
	static const struct tor_link_counts nothing;
	size_t low = 0, high = s->links;

	/* ordered as in struct stats */
	while (low < high) {
		size_t middle = (low + high) / 2;
		const struct tor_link *l = &s->link[middle].link;
		int order = l->from != link->from ? l->from - link->from
			    : l->to != link->to	  ? l->to - link->to
						  : l->kind - link->kind;

		if (!order)
			return &s->link[middle].counts;
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return &nothing;
}

static void link_row(struct builder *b, const struct stats_link *l)
{
	const struct tor_link_counts *old = counts_before(b->before, &l->link);

	row(b);
	cell(b, 0, "%s", fault_node_name(b->rack, l->link.from));
	cell(b, 0, "%s", l->link.to == TOR_ANY ? "all" : fault_node_name(b->rack, l->link.to));
	cell(b, 0, "%s", fault_kind_name(l->link.kind));
	rate(b, old->packets, l->counts.packets);
	rate(b, old->bytes, l->counts.bytes);
	cell(b, l->counts.packets, "%llu", l->counts.packets);
}

/* ---- programs ---- */

static const struct top_column xdp_columns[] = {
	{"XDP", true},	   {"at", true},      {"mode", true},	{"ABORTED", false},
	{"DROP/s", false}, {"PASS/s", false}, {"TX/s", false},	{"REDIR/s", false},
	{"ns/run", false}, {"failed", false}, {"CPU %", false}, {"id", false},
};

static const struct top_column tc_columns[] = {
	{"TC", true},	   {"at", true},	{"hook", true},	    {"OK/s", false},
	{"SHOT/s", false}, {"STOLEN/s", false}, {"REDIR/s", false}, {"ns/run", false},
	{"CPU %", false},  {"id", false},
};

static const struct stats_program *program_before(const struct stats *s,
						  const struct stats_program *p)
{
	for (size_t i = 0; i < s->programs; i++) {
		if (s->program[i].id == p->id && s->program[i].hook == p->hook)
			return &s->program[i];
	}
	return p;
}

static void verdict(struct builder *b, const struct stats_program *old,
		    const struct stats_program *p, unsigned int k)
{
	if (p->known >> k & 1)
		rate(b, old->verdict[k], p->verdict[k]);
	else
		none(b);
}

/* Of one run in ns, and of one CPU in %. */
static void run_time(struct builder *b, const struct stats_program *old,
		     const struct stats_program *p)
{
	uint64_t runs = p->runs - old->runs, ns = p->run_ns - old->run_ns;
	double cpu = ns / b->seconds / 1e7;

	if (runs)
		cell(b, (double)ns / runs, "%.0f", (double)ns / runs);
	else
		none(b);
	if (p->hook == STATS_XDP)
		amount(b, p->failed);
	if (runs)
		cell(b, cpu, "%.1f", cpu);
	else
		none(b);
}

static void program(struct builder *b, const struct stats_program *p)
{
	const struct stats_program *old = program_before(b->before, p);
	char place[32];

	row(b);
	cell(b, 0, "%s", p->name);
	cell(b, 0, "%s", stats_place(place, b->rack, p));
	if (p->hook == STATS_XDP) {
		cell(b, 0, "%s", stats_attached_name(p->attached));
		/* that it happened at all is what one has to see */
		if (p->known >> XDP_ABORTED & 1)
			amount(b, p->verdict[XDP_ABORTED]);
		else
			none(b);
		for (unsigned int k = XDP_DROP; k <= XDP_REDIRECT; k++)
			verdict(b, old, p, k);
	} else {
		cell(b, 0, "%s", p->hook == STATS_TC_INGRESS ? "ingress" : "egress");
		for (unsigned int k = STATS_OK; k <= STATS_REDIRECT; k++)
			verdict(b, old, p, k);
	}
	run_time(b, old, p);
	cell(b, p->id, "%u", p->id);
}

/* ---- ports ---- */

static const struct top_column port_columns[] = {
	{"port", true},		{"in/s", false}, {"in bytes/s", false},	      {"out/s", false},
	{"out bytes/s", false}, {"lost", false}, {"verdicts since up", true},
};

/* The largest first, as many as there is room for. */
static void reasons(struct builder *b, const uint64_t *counts)
{
	bool taken[TOR_R_COUNT] = {};
	char text[TOP_CELL_MAX] = "";
	size_t len = 0;

	while (len < sizeof(text)) {
		unsigned int best = TOR_R_COUNT;

		for (unsigned int i = 0; i < TOR_R_COUNT; i++) {
			if (counts[i] && !taken[i] &&
			    (best == TOR_R_COUNT || counts[i] > counts[best]))
				best = i;
		}
		if (best == TOR_R_COUNT)
			break;
		taken[best] = true;
		len += snprintf(text + len, sizeof(text) - len, "%s%s %llu", len ? ", " : "",
				stats_reason_name(best), (unsigned long long)counts[best]);
	}
	cell(b, 0, "%s", len ? text : "-");
}

static void port(struct builder *b, unsigned int i)
{
	const struct look_link *l = &b->now->node[i].end[STATS_PORT].link;
	const struct look_link *old = &b->before->node[i].end[STATS_PORT].link;

	row(b);
	cell(b, i, "%s", b->rack->nodes[i].name);
	rate(b, old->rx_packets, l->rx_packets);
	rate(b, old->rx_bytes, l->rx_bytes);
	rate(b, old->tx_packets, l->tx_packets);
	rate(b, old->tx_bytes, l->tx_bytes);
	amount(b, l->rx_dropped + l->tx_dropped);
	reasons(b, b->now->node[i].reasons);
}

/* ---- queues ---- */

static const struct top_column queue_columns[] = {
	{"device", true},    {"queue", false},		{"packets/s", false},
	{"bytes/s", false},  {"no room", false},	{"XDP drop/s", false},
	{"XDP tx/s", false}, {"XDP redirect/s", false}, {"tx errors", false},
};

static void queues(struct builder *b, unsigned int node, enum stats_side side)
{
	const struct stats_end *end = &b->now->node[node].end[side];
	const struct stats_end *before = &b->before->node[node].end[side];

	for (unsigned int i = 0; i < end->queues; i++) {
		const struct look_queue *q = &end->queue[i], *old = &before->queue[i];

		if (!q->packets && !q->drops) /* it counts nothing: no native program */
			continue;
		row(b);
		cell(b, 0, side == STATS_PORT ? "port %s" : "%s " RACK_IFACE,
		     b->rack->nodes[node].name);
		cell(b, i, "%u", i);
		rate(b, old->packets, q->packets);
		rate(b, old->bytes, q->bytes);
		amount(b, q->drops);
		rate(b, old->xdp_drops, q->xdp_drops);
		rate(b, old->xdp_tx, q->xdp_tx);
		rate(b, old->xdp_redirect, q->xdp_redirect);
		amount(b, q->xdp_tx_errors);
	}
}

/* ---- all ---- */

static void head(struct top *top, const struct builder *b)
{
	uint64_t packets = 0, before = 0, aborted = 0, failed = 0;
	char clock[16];
	time_t now = time(NULL);
	struct tm tm;

	for (unsigned int i = 0; i < b->rack->count; i++) {
		packets += b->now->node[i].end[STATS_PORT].link.rx_packets;
		before += b->before->node[i].end[STATS_PORT].link.rx_packets;
	}
	for (size_t i = 0; i < b->now->exceptions; i++)
		*(b->now->exception[i].action == XDP_ABORTED ? &aborted : &failed) +=
			b->now->exception[i].count;
	localtime_r(&now, &tm);
	strftime(clock, sizeof(clock), "%H:%M:%S", &tm);
	snprintf(top->head, sizeof(top->head),
		 "%s  %s  %s XDP  %u nodes  %.0f packets/s  %s%llu aborted, %llu failed", clock,
		 b->rack->name, rack_xdp_name(b->rack->xdp), b->rack->count,
		 per_second(b, before, packets),
		 b->now->watched ? "" : "exceptions not counted: ", (unsigned long long)aborted,
		 (unsigned long long)failed);
}

#define TABLE(array, title, empty)                                                                 \
	((struct top_table){title, array, sizeof(array) / sizeof(*(array)), NULL, 0, empty})

int top_tables(struct top *top, const struct rack *rack, const struct stats *before,
	       const struct stats *now)
{
	struct builder b = {.rack = rack, .before = before, .now = now};

	*top = (struct top){
		.table = {
			TABLE(replica_columns, "replicas", "no replica has run yet"),
			TABLE(link_columns, "links", "no frame yet"),
			TABLE(xdp_columns, "XDP", "no program"),
			TABLE(tc_columns, "TC", "no program"),
			TABLE(port_columns, "ports", "no port"),
			TABLE(queue_columns, "queues",
			      "nothing has been received by a device with a native XDP program"),
		}};
	b.seconds = (now->time_ns - before->time_ns) / 1e9;
	head(top, &b);
	b.table = &top->table[TOP_REPLICAS];
	for (unsigned int i = 0; i < rack->replicas; i++)
		replica(&b, i);
	b.table = &top->table[TOP_LINKS];
	for (size_t i = 0; i < now->links; i++)
		link_row(&b, &now->link[i]);
	for (size_t i = 0; i < now->programs; i++) {
		b.table = &top->table[now->program[i].hook == STATS_XDP ? TOP_XDP : TOP_TC];
		program(&b, &now->program[i]);
	}
	for (unsigned int i = 0; i < rack->count; i++) {
		b.table = &top->table[TOP_PORTS];
		port(&b, i);
		b.table = &top->table[TOP_QUEUES];
		queues(&b, i, STATS_PORT);
		queues(&b, i, STATS_NODE);
	}
	if (b.error)
		top_free(top);
	return b.error;
}

void top_free(struct top *top)
{
	for (unsigned int i = 0; i < TOP_TABLES; i++)
		free(top->table[i].row);
}
