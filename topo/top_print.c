// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* What is done with finished tables: sorted, measured, printed as lines. */
#include <stdlib.h>
#include <string.h>

#include "topo/top.h"

struct order {
	unsigned int column;
	bool text, reverse;
};

static int compare(const void *a, const void *b, void *arg)
{
	const struct order *o = arg;
	const struct top_cell *x = &((const struct top_row *)a)->cell[o->column];
	const struct top_cell *y = &((const struct top_row *)b)->cell[o->column];
	int order = o->text ? strverscmp(x->text, y->text)
			    : (x->value < y->value) - (x->value > y->value);

	return o->reverse ? -order : order;
}

void top_sort(struct top_table *table, unsigned int column, bool reverse)
{
	struct order o = {column, table->column[column].text, reverse};

	qsort_r(table->row, table->rows, sizeof(*table->row), compare, &o);
}

void top_widths(const struct top_table *t, int width[TOP_COLUMNS_MAX])
{
	for (unsigned int c = 0; c < t->columns; c++) {
		width[c] = strlen(t->column[c].name);
		for (size_t i = 0; i < t->rows; i++) {
			int len = strlen(t->row[i].cell[c].text);

			if (len > width[c])
				width[c] = len;
		}
	}
}

static void print_table(FILE *out, const struct top_table *t)
{
	int width[TOP_COLUMNS_MAX];

	top_widths(t, width);
	if (!t->rows) {
		fprintf(out, "%s: %s\n", t->title, t->empty);
		return;
	}
	for (size_t i = 0; i <= t->rows; i++) {
		for (unsigned int c = 0; c < t->columns; c++) {
			const char *text = i ? t->row[i - 1].cell[c].text : t->column[c].name;
			bool left = t->column[c].text, last = c + 1 == t->columns;

			fprintf(out, "%s%*s", c ? "  " : "",
				left ? (last ? 0 : -width[c]) : width[c], text);
		}
		fputc('\n', out);
	}
}

void top_print(FILE *out, const struct top *top)
{
	fprintf(out, "%s\n", top->head);
	for (unsigned int i = 0; i < TOP_TABLES; i++) {
		fputc('\n', out);
		print_table(out, &top->table[i]);
	}
}
