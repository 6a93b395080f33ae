// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* rack top: on a terminal a screen, else lines. */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "topo/interrupt.h"
#include "topo/seconds.h"
#include "topo/top.h"

#define INTERVAL_S 1.0

struct options {
	double interval;
	unsigned long count; /* 0: without end */
};

static int parse(struct options *o, int argc, char **argv)
{
	bool once = false;

	for (int i = 2; i < argc; i++) {
		const char *value = i + 1 < argc ? argv[i + 1] : "";
		char *end;

		if (!strcmp(argv[i], "--once")) {
			once = true;
			continue;
		}
		if (!strcmp(argv[i], "--interval")) {
			if (!seconds_parse(&o->interval, value))
				return rack_usage(
					"--interval wants seconds, above 0 and at most 86400");
		} else if (!strcmp(argv[i], "--count")) {
			o->count = strtoul(value, &end, 10);
			if (!o->count || *end || value[0] == '-' || o->count > 1000000000)
				return rack_usage("--count wants a number from 1");
		} else {
			return rack_usage("there is no option %.40s", argv[i]);
		}
		i++;
	}
	if (once && o->count)
		return rack_usage("--once is --count 1: one of them");
	if (once)
		o->count = 1;
	return 0;
}

/* One look after the other, each as lines about the time since the one before. */
static int print_lines(const struct rack *rack, const struct options *o)
{
	struct stats *before, *now;
	int interrupt = interrupt_open(), ret = -1;
	struct pollfd ctrl_c = {.fd = interrupt, .events = POLLIN};
	struct top top;

	if (stats_look(rack, seconds_from_now(2 * o->interval + 1)) || stats_take(&before, rack))
		goto out;
	for (unsigned long i = 0; !o->count || i < o->count; i++) {
		ret = poll(&ctrl_c, 1, o->interval * 1000) > 0;
		if (ret) {
			ret = 0;
			break;
		}
		ret = -1;
		if (stats_look(rack, seconds_from_now(2 * o->interval + 1)) ||
		    stats_take(&now, rack))
			break;
		if (i)
			putchar('\n');
		ret = top_tables(&top, rack, before, now);
		stats_free(before);
		before = now;
		if (ret) {
			rack_say("no memory");
			break;
		}
		top_sort(&top.table[TOP_LINKS], TOP_LINKS_RATE, false);
		top_print(stdout, &top);
		top_free(&top);
		if (fflush(stdout)) {
			ret = errno == EPIPE ? 0 : rack_say("cannot print: %s", strerror(errno));
			break;
		}
	}
	stats_free(before);
out:
	if (interrupt >= 0)
		close(interrupt);
	return ret;
}

int cmd_top(int argc, char **argv)
{
	struct options o = {.interval = INTERVAL_S};
	struct rack *rack;
	int ret, timed;

	if (argc < 2 || argv[1][0] == '-')
		return rack_usage("which RACK?");
	ret = parse(&o, argc, argv);
	if (ret)
		return ret;
	if (rack_privileged() || rack_find(&rack, argv[1]))
		return 1;
	timed = stats_time_programs();
	if (o.count || !isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO))
		ret = print_lines(rack, &o);
	else
		ret = top_screen(rack, o.interval);
	if (timed >= 0)
		close(timed);
	rack_free(rack);
	return ret ? 1 : 0;
}
