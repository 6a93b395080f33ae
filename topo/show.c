// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "topo/show.h"

#include <arpa/inet.h>
#include <linux/bpf.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "topo/process.h"

#define TEXT_MAX 512

/* ---- gathering ---- */

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

static void add_replica(struct show_node *n, const struct stats_replica *r)
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

static void add_node(struct show_node *n, const struct rack_node *node, const struct stats *s)
{
	static const char *const roles[] = {"replica", "client", "tester"};
	const struct stats_node *ends = &s->node[node->index];
	char addr[16];

	inet_ntop(AF_INET, &node->addr, addr, sizeof(addr));
	add(n->cell[SHOW_ADDRESS], "%s", addr);
	if (node->role == RACK_REPLICA)
		add_replica(n, &s->replica[node->number]);
	else
		add(n->cell[SHOW_ROLE], "%s", roles[node->role]);
	if (node->spoof)
		add(n->cell[SHOW_ROLE], "may spoof");
	add_end(n->cell[SHOW_PORT_XDP], n->cell[SHOW_PORT_TC], s, &ends->end[STATS_PORT]);
	add_end(n->cell[SHOW_XDP], n->cell[SHOW_TC], s, &ends->end[STATS_NODE]);
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
	struct stats *s;

	*show = (struct show){.rack = rack};
	show->node = calloc(rack->count, sizeof(*show->node));
	if (!show->node)
		return rack_say("no memory");
	if (stats_take(&s, rack)) {
		free(show->node);
		return -1;
	}
	for (unsigned int i = 0; i < rack->count; i++)
		add_node(&show->node[i], &rack->nodes[i], s);
	add_exceptions(show, s);
	stats_free(s);
	process_each(rack->name, on_process, show);
	if (fault_status(rack, &show->faults)) {
		free(show->node);
		return -1;
	}
	return 0;
}

void show_free(struct show *show)
{
	free(show->faults.matrix.row);
	free(show->node);
}

/* ---- text ---- */

static const char *const labels[SHOW_LINES] = {
	[SHOW_ADDRESS] = "address",   [SHOW_ROLE] = "role",	   [SHOW_AT] = "view, op",
	[SHOW_PORT_XDP] = "port XDP", [SHOW_PORT_TC] = "port TC",  [SHOW_XDP] = "eth0 XDP",
	[SHOW_TC] = "eth0 TC",	      [SHOW_WRONG] = "exceptions", [SHOW_PIDS] = "processes",
};

#define LABEL_WIDTH 12

static int column_width(const struct show_node *n)
{
	int width = 6;

	for (unsigned int line = 0; line < SHOW_LINES; line++) {
		int len = strlen(n->cell[line]);

		if (len > width)
			width = len;
	}
	return width + 2;
}

/* Nodes first..end - 1 hang below the switch, each over its column. */
static void draw(FILE *out, const struct show *show, unsigned int first, unsigned int end)
{
	int bar = 0;

	for (unsigned int i = first; i + 1 < end; i++)
		bar += column_width(&show->node[i]);
	fprintf(out, "%*stor\n%*s", LABEL_WIDTH + bar / 2, "", LABEL_WIDTH + 2, "");
	for (int i = 0; i < bar; i++)
		fputc(i == bar / 2 ? '|' : '_', out);
	fprintf(out, "%s\n%*s", bar ? "" : "|", LABEL_WIDTH, "");
	for (unsigned int i = first; i < end; i++)
		fprintf(out, "%*s|", i > first ? column_width(&show->node[i - 1]) - 1 : 2, "");
	fprintf(out, "\n%*s", LABEL_WIDTH, "");
	for (unsigned int i = first; i < end; i++) {
		char name[16];

		snprintf(name, sizeof(name), "[%s]", show->rack->nodes[i].name);
		fprintf(out, "%-*s", column_width(&show->node[i]), name);
	}
	fputc('\n', out);
}

static void print_line(FILE *out, const struct show *show, unsigned int line, unsigned int first,
		       unsigned int end)
{
	bool any = false;

	for (unsigned int i = first; i < end; i++)
		any |= show->node[i].cell[line][0];
	if (!any)
		return;
	fprintf(out, "%-*s", LABEL_WIDTH, labels[line]);
	for (unsigned int i = first; i < end; i++) {
		const char *text = show->node[i].cell[line];

		fprintf(out, "%-*s", i + 1 < end ? column_width(&show->node[i]) : 0,
			*text ? text : "-");
	}
	fputc('\n', out);
}

static void print_faults(FILE *out, const struct show *show)
{
	const struct rack *rack = show->rack;
	const struct fault_status *f = &show->faults;
	char text[TEXT_MAX];
	bool any = false;

	for (unsigned int i = 0; i < TOR_RULES_MAX; i++) {
		if (!f->rule[i].serial)
			continue;
		fputs(any ? "" : "\n", out);
		any = true;
		fault_text(&f->rule[i], rack, text, sizeof(text));
		fprintf(out, "rule %u      %s: %llu of %llu\n", i + 1, text, f->counts[i + 1].taken,
			f->counts[i + 1].seen);
	}
	if (!f->state.partition)
		return;
	fputs(any ? "" : "\n", out);
	for (unsigned int from = 0; from < rack->count; from++) {
		bool cut = false;

		for (unsigned int to = 0; to < rack->count; to++) {
			if (!(f->matrix.row[from].to[to / 64] >> (to % 64) & 1))
				continue;
			if (!cut)
				fprintf(out, "%-*s%s does not reach ", LABEL_WIDTH, "partition",
					rack->nodes[from].name);
			fprintf(out, "%s%s", cut ? "," : "", rack->nodes[to].name);
			cut = true;
		}
		if (cut)
			fputc('\n', out);
	}
}

static void print_count(FILE *out, unsigned int count, const char *what)
{
	if (count)
		fprintf(out, "%u %s%s, ", count, what, count > 1 ? "s" : "");
}

static void print_head(FILE *out, const struct rack *rack)
{
	struct in_addr addr = {htonl(rack->subnet)};
	char path[RACK_PATH_MAX], when[32] = "-", subnet[16];
	struct stat st;
	struct tm tm;

	if (!stat(rack_path(path, rack->name, "up"), &st) && localtime_r(&st.st_mtime, &tm))
		strftime(when, sizeof(when), "%Y-%m-%d %H:%M:%S", &tm);
	inet_ntop(AF_INET, &addr, subnet, sizeof(subnet));
	fprintf(out, "%s: ", rack->name);
	print_count(out, rack->replicas, "replica");
	print_count(out, rack->clients, "client");
	print_count(out, rack->testers, "tester");
	fprintf(out, "%s XDP, %s/%u, MTU %u, up since %s\n", rack_xdp_name(rack->xdp), subnet,
		rack->prefix, rack->mtu, when);
}

void show_text(FILE *out, const struct show *show, int width)
{
	unsigned int count = show->rack->count, end;

	print_head(out, show->rack);
	for (unsigned int first = 0; first < count; first = end) {
		int used = LABEL_WIDTH;

		for (end = first; end < count; end++) {
			used += column_width(&show->node[end]);
			if (used > width + 2 && end > first) /* blanks at the end do no harm */
				break;
		}
		fputc('\n', out);
		draw(out, show, first, end);
		for (unsigned int line = 0; line < SHOW_LINES; line++)
			print_line(out, show, line, first, end);
	}
	print_faults(out, show);
}

/* ---- graphviz ---- */

/* Names and texts of ours have no quotes in them; programs' names may. */
static void quote(FILE *out, const char *text)
{
	for (; *text; text++) {
		if (*text == '"' || *text == '\\')
			fputc('\\', out);
		fputc(*text, out);
	}
}

static void dot_node(FILE *out, const struct show *show, unsigned int i)
{
	const struct show_node *n = &show->node[i];

	fprintf(out, "  %s [label=\"%s", show->rack->nodes[i].name, show->rack->nodes[i].name);
	for (unsigned int line = 0; line < SHOW_LINES; line++) {
		if (!n->cell[line][0] || line == SHOW_PORT_XDP || line == SHOW_PORT_TC)
			continue;
		fprintf(out, "\\n");
		if (line == SHOW_AT || line >= SHOW_XDP)
			fprintf(out, "%s: ", labels[line]);
		quote(out, n->cell[line]);
	}
	fprintf(out, "\"%s];\n", n->cell[SHOW_WRONG][0] ? ", color=red" : "");
	fprintf(out, "  tor -> %s [dir=none, label=\"", show->rack->nodes[i].name);
	quote(out, n->cell[SHOW_PORT_XDP]);
	fprintf(out, "%s", n->cell[SHOW_PORT_XDP][0] ? "\\n" : "");
	quote(out, n->cell[SHOW_PORT_TC]);
	fprintf(out, "\"];\n");
}

static void dot_faults(FILE *out, const struct show *show)
{
	const struct rack *rack = show->rack;
	const struct fault_status *f = &show->faults;

	for (unsigned int from = 0; f->state.partition && from < rack->count; from++) {
		for (unsigned int to = 0; to < rack->count; to++) {
			if (f->matrix.row[from].to[to / 64] >> (to % 64) & 1)
				fprintf(out,
					"  %s -> %s [style=dashed, color=red, label=\"cut\"];\n",
					rack->nodes[from].name, rack->nodes[to].name);
		}
	}
	for (unsigned int i = 0; i < TOR_RULES_MAX; i++) {
		const struct tor_rule *rule = &f->rule[i];

		/* "any" is drawn at the switch */
		if (rule->serial)
			fprintf(out, "  %s -> %s [style=dashed, color=orange, label=\"%s %s\"];\n",
				rule->from == TOR_ANY ? "tor" : rack->nodes[rule->from].name,
				rule->to == TOR_ANY ? "tor" : rack->nodes[rule->to].name,
				fault_action_name(rule->action),
				rule->kind == TOR_ANY ? "" : fault_kind_name(rule->kind));
	}
}

void show_dot(FILE *out, const struct show *show)
{
	fprintf(out, "digraph \"%s\" {\n  node [shape=box];\n", show->rack->name);
	fprintf(out, "  tor [label=\"%s\\nswitch\"];\n", show->rack->name);
	for (unsigned int i = 0; i < show->rack->count; i++)
		dot_node(out, show, i);
	dot_faults(out, show);
	fprintf(out, "}\n");
}
