// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* The drawing in text: what joins, and below it a column for each that it joins. */
#include <arpa/inet.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "topo/show.h"

#define TEXT_MAX 512
#define LABEL_WIDTH 12

static int column_width(const struct show_column *n)
{
	int width = strlen(n->name) + 2; /* in brackets */

	for (unsigned int line = 0; line < SHOW_LINES; line++) {
		int len = strlen(n->cell[line]);

		if (len > width)
			width = len;
	}
	return width + 2;
}

/* Columns hang below what joins them, each name over its column. */
static void draw(FILE *out, const char *above, const struct show_column *const *column,
		 unsigned int count)
{
	int bar = 0, at;

	for (unsigned int i = 0; i + 1 < count; i++)
		bar += column_width(column[i]);
	at = LABEL_WIDTH + 2 + bar / 2 - (int)strlen(above) / 2;
	fprintf(out, "%*s%s\n%*s", at, "", above, LABEL_WIDTH + 2, "");
	for (int i = 0; i < bar; i++)
		fputc(i == bar / 2 ? '|' : '_', out);
	fprintf(out, "%s\n%*s", bar ? "" : "|", LABEL_WIDTH, "");
	for (unsigned int i = 0; i < count; i++)
		fprintf(out, "%*s|", i ? column_width(column[i - 1]) - 1 : 2, "");
	fprintf(out, "\n%*s", LABEL_WIDTH, "");
	for (unsigned int i = 0; i < count; i++)
		fprintf(out, "[%s]%*s", column[i]->name,
			i + 1 < count ? column_width(column[i]) - (int)strlen(column[i]->name) - 2
				      : 0,
			"");
	fputc('\n', out);
}

static void print_line(FILE *out, unsigned int line, const struct show_column *const *column,
		       unsigned int count)
{
	bool any = false;

	for (unsigned int i = 0; i < count; i++)
		any |= column[i]->cell[line][0];
	if (!any)
		return;
	fprintf(out, "%-*s", LABEL_WIDTH, show_labels[line]);
	for (unsigned int i = 0; i < count; i++) {
		const char *text = column[i]->cell[line];

		fprintf(out, "%-*s", i + 1 < count ? column_width(column[i]) : 0,
			*text ? text : "-");
	}
	fputc('\n', out);
}

/* As many beside each other as there is room for. */
static void print_columns(FILE *out, const char *above, const struct show_column *const *column,
			  unsigned int count, int width)
{
	unsigned int end;

	for (; count; column += end, count -= end) {
		int used = LABEL_WIDTH;

		for (end = 0; end < count; end++) {
			used += column_width(column[end]);
			if (used > width + 2 && end) /* blanks at the end do no harm */
				break;
		}
		fputc('\n', out);
		draw(out, above, column, end);
		for (unsigned int line = 0; line < SHOW_LINES; line++)
			print_line(out, line, column, end);
	}
}

static void print_spine(FILE *out, const struct show *show, int width)
{
	const struct show_column *tors[TOR_TORS_MAX];

	for (unsigned int t = 0; t < show->rack->tors; t++)
		tors[t] = &show->tor[t];
	print_columns(out, "spine", tors, show->rack->tors, width);
}

static void print_tor(FILE *out, const struct show *show, unsigned int t, int width)
{
	const struct show_column *behind[RACK_NODES_MAX];
	const struct rack *rack = show->rack;
	char above[2 * SHOW_CELL_MAX] = "tor";
	unsigned int count = 0;

	for (unsigned int i = 0; i < rack->count; i++) {
		if (rack->nodes[i].tor == t)
			behind[count++] = &show->node[i];
	}
	if (show->tor && rack->tor[t].here)
		strcpy(above, show->tor[t].name);
	else if (show->tor)
		sprintf(above, "%s, on %s", show->tor[t].name, show->tor[t].cell[SHOW_HOST]);
	print_columns(out, above, behind, count, width);
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

static void print_head(FILE *out, const struct show *show)
{
	const struct rack *rack = show->rack;
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
	if (show->tor)
		print_count(out, rack->tors, "ToR");
	fprintf(out, "%s XDP, %s/%u, MTU %u, up since %s\n", rack_xdp_name(rack->xdp), subnet,
		rack->prefix, rack->mtu, when);
}

void show_text(FILE *out, const struct show *show, int width)
{
	print_head(out, show);
	if (show->tor)
		print_spine(out, show, width);
	for (unsigned int t = 0; t < show->rack->tors; t++)
		print_tor(out, show, t, width);
	print_faults(out, show);
}
