/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * rack top: what happens in a rack from one look to the next, as tables.
 *
 *   top_tables()   two looks -> tables of cells, each with its text and what it is sorted by
 *   top_sort()     by a column
 *   top_print()    as lines
 *   top_screen()   as a screen, with keys
 */
#ifndef PAXRACK_TOP_H
#define PAXRACK_TOP_H

#include <stdbool.h>
#include <stdio.h>

#include "topo/stats.h"

#define TOP_COLUMNS_MAX 16
#define TOP_CELL_MAX 40

enum top_which { TOP_REPLICAS, TOP_LINKS, TOP_XDP, TOP_TC, TOP_PORTS, TOP_QUEUES, TOP_TABLES };
#define TOP_LINKS_RATE 3 /* the column of links to look at first */

struct top_cell {
	char text[TOP_CELL_MAX];
	double value; /* of a number; text is sorted as text */
};

struct top_column {
	const char *name;
	bool text; /* stands left */
};

struct top_row {
	struct top_cell cell[TOP_COLUMNS_MAX];
};

struct top_table {
	const char *title;
	const struct top_column *column;
	unsigned int columns;
	struct top_row *row;
	size_t rows;
	const char *empty; /* what to say when there are none */
};

struct top {
	char head[160]; /* of the whole rack */
	struct top_table table[TOP_TABLES];
};

/* 0 or -ENOMEM. Free with top_free(). */
int top_tables(struct top *top, const struct rack *rack, const struct stats *before,
	       const struct stats *now);
void top_free(struct top *top);
/* Largest first, text from a to z; `reverse`: the other way. */
void top_sort(struct top_table *table, unsigned int column, bool reverse);
/* Width of each column, headings included. */
void top_widths(const struct top_table *table, int width[TOP_COLUMNS_MAX]);
void top_print(FILE *out, const struct top *top);

/* On the terminal until somebody quits or the rack goes; `interval` in s. 0 or -1: said why. */
int top_screen(const struct rack *rack, double interval);

#endif
