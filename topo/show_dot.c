// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* The drawing for graphviz. */
#include "topo/show.h"

/* Names and texts of ours have no quotes in them; programs' names may. */
static void quote(FILE *out, const char *text)
{
	for (; *text; text++) {
		if (*text == '"' || *text == '\\')
			fputc('\\', out);
		fputc(*text, out);
	}
}

/* What stands for the switch itself. */
static const char *dot_switch(const struct show *show)
{
	return show->tor ? "spine" : "tor";
}

static void dot_tor(FILE *out, const struct show *show, unsigned int t)
{
	const struct show_column *tor = &show->tor[t];
	const char *dashed = show->rack->tor[t].here ? "" : ", style=dashed";

	fprintf(out, "  %s [label=\"%s%s%s\"%s];\n", tor->name, tor->name,
		tor->cell[SHOW_HOST][0] ? "\\n" : "", tor->cell[SHOW_HOST], dashed);
	fprintf(out, "  spine -> %s [dir=none, label=\"%s\"%s];\n", tor->name,
		tor->cell[SHOW_UPLINK], dashed);
}

static void dot_node(FILE *out, const struct show *show, unsigned int i)
{
	const struct rack_node *node = &show->rack->nodes[i];
	const char *above = show->tor ? show->tor[node->tor].name : "tor";
	const char *dashed = node->here ? "" : ", style=dashed";
	const struct show_column *n = &show->node[i];

	fprintf(out, "  %s [label=\"%s", n->name, n->name);
	for (unsigned int line = 0; line < SHOW_LINES; line++) {
		if (!n->cell[line][0] || line == SHOW_PORT_XDP || line == SHOW_PORT_TC)
			continue;
		fprintf(out, "\\n");
		if (line == SHOW_AT || line >= SHOW_XDP)
			fprintf(out, "%s: ", show_labels[line]);
		quote(out, n->cell[line]);
	}
	fprintf(out, "\"%s%s];\n", n->cell[SHOW_WRONG][0] ? ", color=red" : "", dashed);
	fprintf(out, "  %s -> %s [dir=none, label=\"", above, n->name);
	quote(out, n->cell[SHOW_PORT_XDP]);
	fprintf(out, "%s", n->cell[SHOW_PORT_XDP][0] ? "\\n" : "");
	quote(out, n->cell[SHOW_PORT_TC]);
	fprintf(out, "\"%s];\n", dashed);
}

static void dot_faults(FILE *out, const struct show *show)
{
	const struct rack *rack = show->rack;
	const struct fault_status *f = &show->faults;
	const char *any = dot_switch(show); /* where "any" is drawn */

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

		if (rule->serial)
			fprintf(out, "  %s -> %s [style=dashed, color=orange, label=\"%s %s\"];\n",
				rule->from == TOR_ANY ? any : rack->nodes[rule->from].name,
				rule->to == TOR_ANY ? any : rack->nodes[rule->to].name,
				fault_action_name(rule->action),
				rule->kind == TOR_ANY ? "" : fault_kind_name(rule->kind));
	}
}

void show_dot(FILE *out, const struct show *show)
{
	fprintf(out, "digraph \"%s\" {\n  node [shape=box];\n", show->rack->name);
	fprintf(out, "  %s [label=\"%s\\n%s\"];\n", dot_switch(show), show->rack->name,
		show->tor ? "spine" : "switch");
	for (unsigned int t = 0; show->tor && t < show->rack->tors; t++)
		dot_tor(out, show, t);
	for (unsigned int i = 0; i < show->rack->count; i++)
		dot_node(out, show, i);
	dot_faults(out, show);
	fprintf(out, "}\n");
}
