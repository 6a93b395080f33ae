// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The screen: one line about the rack, the tables below each other, one line of keys.
 *
 *   14:31:02  rack3  native XDP  ...
 *    replica  status ...                    each table: a heading, then as many rows as fit;
 *    r0       leader ...                    the one in focus is marked, gets twice the room
 *    from  to  kind ...        1-5 of 14    of the others, and obeys the keys
 *    ...
 *   q quit  tab next table  ...
 */
#include <curses.h>
#include <errno.h>
#include <locale.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "topo/interrupt.h"
#include "topo/seconds.h"
#include "topo/top.h"

#define FIRST_S 0.25 /* the first look is short: nobody wants to wait for something to see */
#define INTERVAL_MIN 0.1
#define INTERVAL_MAX 60.0

struct order {
	unsigned int column;
	bool reverse, chosen; /* not chosen: as they come */
};

struct screen {
	const struct rack *rack;
	double interval;
	struct stats *before, *now;
	struct top top; /* what is shown */
	struct order order[TOP_TABLES];
	size_t first[TOP_TABLES]; /* row at the top of each */
	unsigned int focus;
	bool alone, help, paused; /* only the table in focus is shown */
};

static const struct {
	const char *keys, *what;
} help[] = {
	{"q", "quit"},
	{"tab, shift-tab", "to the next table, or the one before"},
	{"enter", "that table alone, or all of them again"},
	{"left, right", "sort it by another column"},
	{"r", "the other way round"},
	{"up, down, pages", "move in it"},
	{"space", "stand still, or go on"},
	{"+ -", "look less often, more often"},
	{"h", "this help, or back"},
	{"", ""},
	{"/s, ns/run, CPU %", "in the last interval; all others: since they are counted"},
	{"acks/s", "Prepares that XDP acked"},
	{"lease, full", "Prepares left to user space: it was silent, its log was full"},
	{"dead", "replicas from which this leader has no answer"},
	{"failed", "XDP_TX and redirects that the kernel could not carry out"},
};

/* ---- drawing ---- */

static void put(int y, int x, int attributes, const char *text)
{
	if (y >= LINES || x >= COLS)
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

static void draw_heading(const struct screen *s, unsigned int k, int y, const int *width,
			 size_t shown)
{
	const struct top_table *t = &s->top.table[k];
	const struct order *o = &s->order[k];
	int look = k == s->focus ? A_REVERSE : A_UNDERLINE, x = 1;
	char text[64];

	mvhline(y, 0, ' ', COLS);
	for (unsigned int c = 0; c < t->columns; c++) {
		put_cell(y, x, width[c], t->column[c].text, t->column[c].name);
		x += width[c] + 2;
	}
	mvchgat(y, 0, -1, look, 0, NULL);
	for (unsigned int c = 0, at = 1; c < t->columns; at += width[c++] + 2) {
		if (o->chosen && o->column == c && (int)at < COLS)
			mvchgat(y, at, width[c], look | A_BOLD, 0, NULL);
	}
	if (shown == t->rows)
		return;
	snprintf(text, sizeof(text), " %zu-%zu of %zu", s->first[k] + 1, s->first[k] + shown,
		 t->rows);
	if ((int)strlen(text) < COLS)
		put(y, COLS - strlen(text), look, text);
}

/* `height` lines: a heading and rows. */
static void draw_table(struct screen *s, unsigned int k, int y, int height)
{
	const struct top_table *t = &s->top.table[k];
	size_t room = height - 1, shown;
	int width[TOP_COLUMNS_MAX];

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
	top_widths(t, width);
	draw_heading(s, k, y, width, shown);
	for (size_t i = 0; i < shown; i++) {
		const struct top_row *row = &t->row[s->first[k] + i];

		for (unsigned int c = 0, x = 1; c < t->columns; x += width[c++] + 2)
			put_cell(y + 1 + i, x, width[c], t->column[c].text, row->cell[c].text);
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

static void draw(struct screen *s)
{
	char keys[160];

	erase();
	put(0, 0, A_BOLD, s->top.head);
	if (s->help)
		draw_help(2);
	else
		draw_tables(s, 1, LINES > 3 ? LINES - 2 : 1);
	snprintf(keys, sizeof(keys),
		 "q quit  h help  tab table  enter alone  <> sort  r reverse  space %s  +- %.1f s",
		 s->paused ? "go on" : "stop", s->interval);
	put(LINES - 1, 0, A_DIM, keys);
	refresh();
}

/* ---- looking ---- */

static void sort(struct screen *s)
{
	for (unsigned int k = 0; k < TOP_TABLES; k++) {
		if (s->order[k].chosen)
			top_sort(&s->top.table[k], s->order[k].column, s->order[k].reverse);
	}
}

/* Tables from the last two looks. */
static int make_tables(struct screen *s)
{
	struct top top;

	if (top_tables(&top, s->rack, s->before, s->now))
		return rack_say("no memory");
	top_free(&s->top);
	s->top = top;
	sort(s);
	return 0;
}

static int look(struct screen *s)
{
	struct stats *now;

	if (stats_look(s->rack, seconds_from_now(2 * s->interval + 1)) || stats_take(&now, s->rack))
		return -1;
	stats_free(s->before);
	s->before = s->now;
	s->now = now;
	return s->before ? make_tables(s) : 0;
}

/* ---- keys ---- */

static void choose(struct screen *s, int step)
{
	struct order *o = &s->order[s->focus];
	int columns = s->top.table[s->focus].columns;

	o->column = o->chosen ? (o->column + columns + step) % columns : 0;
	o->chosen = true;
	o->reverse = false;
}

static void move_by(struct screen *s, long step)
{
	size_t *first = &s->first[s->focus];

	*first = step < 0 && *first < (size_t)-step ? 0 : *first + step;
}

/* False: quit. */
static bool key(struct screen *s, int c)
{
	switch (c) {
	case 'q':
	case 'Q':
		return false;
	case '\t':
		s->focus = (s->focus + 1) % TOP_TABLES;
		break;
	case KEY_BTAB:
		s->focus = (s->focus + TOP_TABLES - 1) % TOP_TABLES;
		break;
	case '\n':
	case '\r':
	case KEY_ENTER:
		s->alone = !s->alone;
		break;
	case KEY_LEFT:
	case '<':
		choose(s, -1);
		break;
	case KEY_RIGHT:
	case '>':
		choose(s, 1);
		break;
	case 'r':
		s->order[s->focus].reverse = !s->order[s->focus].reverse;
		break;
	case KEY_UP:
		move_by(s, -1);
		break;
	case KEY_DOWN:
		move_by(s, 1);
		break;
	case KEY_PPAGE:
		move_by(s, -LINES / 2);
		break;
	case KEY_NPAGE:
		move_by(s, LINES / 2);
		break;
	case ' ':
		s->paused = !s->paused;
		break;
	case '+':
		s->interval = s->interval * 2 < INTERVAL_MAX ? s->interval * 2 : INTERVAL_MAX;
		break;
	case '-':
		s->interval = s->interval / 2 > INTERVAL_MIN ? s->interval / 2 : INTERVAL_MIN;
		break;
	case 'h':
	case '?':
		s->help = !s->help;
		break;
	}
	sort(s);
	return true;
}

/* Until the next look is due: 1 it is, 0 quit. */
static int handle_keys(struct screen *s, int interrupt, uint64_t due_ns)
{
	struct pollfd fds[] = {{.fd = STDIN_FILENO, .events = POLLIN},
			       {.fd = interrupt, .events = POLLIN}};

	for (;;) {
		uint64_t now = now_ns();
		int wait_ms = -1, c;

		if (!s->paused && now >= due_ns)
			return 1;
		if (!s->paused)
			wait_ms = (due_ns - now) / 1000000 + 1;
		poll(fds, 2, wait_ms); /* a new size of the terminal ends it too */
		if (fds[1].revents || fds[0].revents & (POLLHUP | POLLERR))
			return 0;
		while ((c = getch()) != ERR) {
			if (!key(s, c))
				return 0;
		}
		draw(s);
	}
}

static int run(struct screen *s, int interrupt)
{
	double first = FIRST_S < s->interval ? FIRST_S : s->interval;

	if (look(s))
		return -1;
	poll(NULL, 0, first * 1000);
	for (;;) {
		if (look(s))
			return -1;
		draw(s);
		if (!handle_keys(s, interrupt, s->now->time_ns + (uint64_t)(s->interval * 1e9)))
			return 0;
	}
}

/* What was said meanwhile went with the screen. */
static void say_why(const struct rack *rack)
{
	int lock = rack_lock(false); /* a `down` has come to its end */

	rack_say("%s cannot be looked into any more: %s", rack->name,
		 rack_state(rack->name) == RACK_UP ? "its state cannot be read" : "it is not up");
	if (lock >= 0)
		rack_unlock(lock);
}

int top_screen(const struct rack *rack, double interval)
{
	struct screen s = {.rack = rack, .interval = interval};
	int interrupt = interrupt_open(), ret;

	if (interrupt < 0)
		return -1;
	s.focus = TOP_LINKS;
	s.order[TOP_LINKS] = (struct order){.column = TOP_LINKS_RATE, .chosen = true};
	setlocale(LC_ALL, "");
	if (!initscr()) {
		close(interrupt);
		return rack_say("cannot use this terminal; --once prints lines");
	}
	cbreak();
	noecho();
	nodelay(stdscr, TRUE);
	keypad(stdscr, TRUE);
	curs_set(0);
	ret = run(&s, interrupt);
	endwin();
	if (ret)
		say_why(rack);
	top_free(&s.top);
	stats_free(s.before);
	stats_free(s.now);
	close(interrupt);
	return ret;
}
