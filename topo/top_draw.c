// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The screen: one line about the rack, the tables below each other, one line of keys.
 *
 *   14:31:02  rack3  native XDP  ...
 *    replica  status ...                    each table: a heading, then as many rows as fit;
 *    r0       leader ...                    the one in focus is marked, gets twice the room
 *   <from  to  kind ...        1-5 of 14>   of the others, and obeys the keys
 *    ...
 *   q quit  tab next table  ...
 */
#include <curses.h>
#include <stdlib.h>
#include <string.h>

#include "topo/top_internal.h"

static const struct {
	const char *keys, *what;
} help[] = {
	{"q", "quit"},
	{"tab, shift-tab", "to the next table, or the one before"},
	{"enter", "that table alone, or all of them again"},
	{"up, down, pages", "move in it"},
	{"left, right", "to more columns, where a heading begins with < or ends with >"},
	{"< >", "sort it by another column"},
	{"r", "the other way round"},
	{"space", "stand still, or go on"},
	{"+ -", "look less often, more often"},
	{"h", "this help, or back"},
	{"", ""},
	{"/s, ns/run, CPU %", "in the last interval; all others: since they are counted"},
	{"acks/s", "Prepares that XDP acked"},
	{"lease, full", "Prepares left to user space: it was silent, its log full"},
	{"dead", "replicas from which this leader has no answer"},
	{"failed", "XDP_TX and redirects that the kernel could not carry out"},
};

static void put(int y, int x, int attributes, const char *text)
{
	if (y >= LINES || x < 0 || x >= COLS)
		return;
	attron(attributes);
	mvaddnstr(y, x, text, COLS - x);
	attroff(attributes);
}

static void put_cell(int y, int x, int width, bool left, const char *text)
{
	char padded[TOP_CELL_MAX * 2];

	snprintf(padded, sizeof(padded), "%*s", left ? -width : width, text);
	put(y, x, A_NORMAL, padded);
}

/* Where the columns of a table stand. */
struct layout {
	int width[TOP_COLUMNS_MAX];
	int x[TOP_COLUMNS_MAX]; /* from 1; 0: not shown */
	unsigned int fixed;	/* those in front, which say what a row is of: they stay */
	bool more;		/* there is no room for all that is to the right */
};

static void count_fixed(struct layout *l, const struct top_table *t, int room)
{
	int used = 0;

	for (l->fixed = 0; l->fixed + 1 < t->columns && t->column[l->fixed].text; l->fixed++) {
		used += l->width[l->fixed] + 2;
		if (l->fixed && used > room / 2)
			break;
	}
}

/* `skip` columns are left out. A column of text may be cut, and the first that is not fixed. */
static void place(struct layout *l, const struct top_table *t, unsigned int skip, int room)
{
	int x = 1;

	memset(l->x, 0, sizeof(l->x));
	l->more = false;
	for (unsigned int c = 0; c < t->columns && !l->more; c++) {
		const struct top_column *column = &t->column[c];
		int end = room - (c + 1 < t->columns); /* that there is more takes one */
		int least = column->text ? (int)strlen(column->name) + 1 : l->width[c];

		if (c >= l->fixed && c < l->fixed + skip)
			continue;
		l->more = c >= l->fixed && x + l->width[c] > end;
		if (l->more && c > l->fixed + skip && x + least > end)
			break;
		l->x[c] = x;
		x += l->width[c] + 2;
	}
}

/* No further to the right than the last column wants, and so that the one just chosen is seen. */
static void lay_out(struct screen *s, unsigned int k, struct layout *l, int room)
{
	const struct top_table *t = &s->top.table[k];
	unsigned int *skip = &s->skip[k], column = s->order[k].column;

	top_widths(t, l->width);
	count_fixed(l, t, room);
	if (*skip > t->columns - l->fixed - 1)
		*skip = t->columns - l->fixed - 1;
	for (; *skip; --*skip) {
		place(l, t, *skip - 1, room);
		if (l->more)
			break;
	}
	if (s->reveal && k == s->focus && column >= l->fixed) {
		if (*skip > column - l->fixed)
			*skip = column - l->fixed;
		for (place(l, t, *skip, room); !l->x[column]; place(l, t, *skip, room))
			++*skip;
	}
	place(l, t, *skip, room);
}

static void draw_heading(const struct screen *s, unsigned int k, int y, const struct layout *l,
			 const char *rows)
{
	const struct top_table *t = &s->top.table[k];
	const struct order *o = &s->order[k];
	int look = k == s->focus ? A_REVERSE : A_UNDERLINE;

	mvhline(y, 0, ' ', COLS);
	for (unsigned int c = 0; c < t->columns; c++) {
		if (l->x[c])
			put_cell(y, l->x[c], l->width[c], t->column[c].text, t->column[c].name);
	}
	put(y, COLS - (int)strlen(rows) - l->more, A_NORMAL, rows);
	if (s->skip[k])
		put(y, 0, A_NORMAL, "<");
	if (l->more)
		put(y, COLS - 1, A_NORMAL, ">");
	mvchgat(y, 0, -1, look, 0, NULL);
	if (o->chosen && l->x[o->column])
		mvchgat(y, l->x[o->column], l->width[o->column], look | A_BOLD, 0, NULL);
}

/* `height` lines: a heading and rows. */
static void draw_table(struct screen *s, unsigned int k, int y, int height)
{
	const struct top_table *t = &s->top.table[k];
	size_t room = height - 1, shown;
	char rows[64] = "";
	struct layout l;

	if (!t->rows) {
		mvhline(y, 0, ' ', COLS);
		put(y, 1, A_NORMAL, t->title);
		put(y, 2 + strlen(t->title), A_DIM, t->empty);
		mvchgat(y, 0, -1, k == s->focus ? A_REVERSE : A_UNDERLINE, 0, NULL);
		return;
	}
	if (s->first[k] + room > t->rows)
		s->first[k] = t->rows > room ? t->rows - room : 0;
	shown = t->rows - s->first[k] < room ? t->rows - s->first[k] : room;
	if (shown < t->rows)
		snprintf(rows, sizeof(rows), " %zu-%zu of %zu", s->first[k] + 1,
			 s->first[k] + shown, t->rows);
	lay_out(s, k, &l, COLS - strlen(rows));
	draw_heading(s, k, y, &l, rows);
	for (size_t i = 0; i < shown; i++) {
		const struct top_row *row = &t->row[s->first[k] + i];

		for (unsigned int c = 0; c < t->columns; c++) {
			if (l.x[c])
				put_cell(y + 1 + i, l.x[c], l.width[c], t->column[c].text,
					 row->cell[c].text);
		}
	}
}

/* Lines for each table: what it wants if there is room, else room is taken from the largest. */
static void share_lines(const struct screen *s, int height[TOP_TABLES], int lines)
{
	int sum = 0;

	for (unsigned int k = 0; k < TOP_TABLES; k++) {
		size_t rows = s->top.table[k].rows;

		height[k] = rows + 1 < (size_t)lines ? (int)rows + 1 : lines;
		sum += height[k];
	}
	while (sum > lines) {
		unsigned int largest = 0;
		int most = 0;

		/* the one in focus counts half, so it keeps twice as much */
		for (unsigned int k = 0; k < TOP_TABLES; k++) {
			int weight = k == s->focus ? (height[k] + 1) / 2 : height[k];

			if (weight >= most) {
				most = weight;
				largest = k;
			}
		}
		if (!most)
			return;
		/* a heading without a row is worth nothing */
		sum -= height[largest] > 2 ? 1 : height[largest];
		height[largest] = height[largest] > 2 ? height[largest] - 1 : 0;
	}
}

static void draw_tables(struct screen *s, int y, int lines)
{
	int height[TOP_TABLES];

	if (s->alone) {
		draw_table(s, s->focus, y, lines);
		return;
	}
	share_lines(s, height, lines);
	for (unsigned int k = 0; k < TOP_TABLES; k++) {
		if (height[k])
			draw_table(s, k, y, height[k]);
		y += height[k];
	}
}

static void draw_help(int y)
{
	for (size_t i = 0; i < sizeof(help) / sizeof(*help); i++) {
		put(y + i, 2, A_BOLD, help[i].keys);
		put(y + i, 21, A_NORMAL, help[i].what);
	}
}

void top_draw(struct screen *s)
{
	char keys[160];

	erase();
	put(0, 0, A_BOLD, s->top.head);
	if (s->help)
		draw_help(2);
	else
		draw_tables(s, 1, LINES > 3 ? LINES - 2 : 1);
	snprintf(keys, sizeof(keys),
		 "q quit  h help  tab table  enter alone  arrows  <> sort  space %s  +- %.1f s",
		 s->paused ? "go on" : "stop", s->interval);
	put(LINES - 1, 0, A_DIM, keys);
	refresh();
	s->reveal = false;
}
