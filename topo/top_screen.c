// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* rack top on a terminal: looks, and obeys the keys. */
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
#include "topo/top_internal.h"

#define FIRST_S 0.25 /* the first look is short: nobody wants to wait for something to see */
#define INTERVAL_MIN 0.1
#define INTERVAL_MAX 60.0

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
	s->reveal = true;
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
	case '<':
		choose(s, -1);
		break;
	case '>':
		choose(s, 1);
		break;
	case KEY_LEFT:
		s->skip[s->focus] -= !!s->skip[s->focus];
		break;
	case KEY_RIGHT:
		s->skip[s->focus]++; /* as far as there is more */
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
		top_draw(s);
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
		top_draw(s);
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
	SCREEN *terminal;

	if (interrupt < 0)
		return -1;
	s.focus = TOP_LINKS;
	s.order[TOP_LINKS] = (struct order){.column = TOP_LINKS_RATE, .chosen = true};
	setlocale(LC_ALL, "");
	terminal = newterm(NULL, stdout, stdin);
	if (!terminal) {
		close(interrupt);
		return rack_say("cannot use this terminal (TERM=%.40s); --once prints lines",
				getenv("TERM") ?: "");
	}
	cbreak();
	noecho();
	nodelay(stdscr, TRUE);
	keypad(stdscr, TRUE);
	curs_set(0);
	ret = run(&s, interrupt);
	endwin();
	delscreen(terminal);
	if (ret)
		say_why(rack);
	top_free(&s.top);
	stats_free(s.before);
	stats_free(s.now);
	close(interrupt);
	return ret;
}
