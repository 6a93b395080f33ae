// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * rack capture: frames at the switch's ports. Of the whole rack each frame is taken once, where it
 * comes in by its sender's port; so none is seen twice, and what the switch then drops, changes
 * or delays is seen as it was sent. Of one node both directions are taken: what it sent, and
 * what came through to it. --both takes both directions at all ports.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "topo/frame_text.h"
#include "topo/in_order.h"
#include "topo/interrupt.h"
#include "topo/pcapng.h"
#include "topo/seconds.h"

#define HOLD_MS (3 * TAP_RETIRE_MS) /* then no earlier frame can come any more */
#define BYTES_MAX 65535

struct options {
	const char *file;
	unsigned long count; /* 0: without end */
	double seconds;	     /* 0: without end */
	bool both;
};

struct sink {
	const struct rack *rack;
	const struct rack_node *only;
	const struct options *options;
	FILE *file; /* NULL: lines */
	unsigned long frames;
	bool full;
};

static uint64_t real_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return t.tv_sec * 1000000000ull + t.tv_nsec;
}

static int print_line(const struct sink *s, const struct tap_frame *f)
{
	char text[FRAME_TEXT_MAX], clock[16];
	time_t seconds = f->time_ns / 1000000000;
	struct tm tm;

	localtime_r(&seconds, &tm);
	strftime(clock, sizeof(clock), "%H:%M:%S", &tm);
	frame_text(text, s->rack, f);
	if (printf("%s.%06llu  %s\n", clock, (unsigned long long)(f->time_ns % 1000000000 / 1000),
		   text) < 0)
		return -errno;
	return 0;
}

static int on_frame(void *arg, const struct tap_frame *f)
{
	struct sink *s = arg;
	int ret;

	if (s->full)
		return 0;
	ret = s->file ? pcapng_frame(s->file, f, s->only) : print_line(s, f);
	if (ret)
		return rack_say("cannot write %s: %s", s->file ? s->options->file : "a line",
				strerror(-ret));
	s->full = ++s->frames == s->options->count;
	return 0;
}

static int flush(struct sink *s)
{
	if (fflush(s->file ?: stdout))
		return rack_say("cannot write: %s", strerror(errno));
	return 0;
}

/* Until somebody ends it, or enough has been seen. */
static int capture(struct sink *s, struct tap *tap, int interrupt)
{
	uint64_t end_ns =
		s->options->seconds > 0 ? seconds_from_now(s->options->seconds) : UINT64_MAX;
	struct pollfd fds[] = {{.fd = tap_fd(tap), .events = POLLIN},
			       {.fd = interrupt, .events = POLLIN}};
	struct in_order kept = {};
	int ret = tap_begin(tap);

	if (!ret && s->options->file && isatty(STDERR_FILENO))
		rack_say("capturing; Ctrl-C ends it");
	while (!ret && !s->full && !fds[1].revents && now_ns() < end_ns) {
		poll(fds, 2, HOLD_MS);
		ret = tap_empty(tap, in_order_add, &kept);
		if (!ret)
			ret = in_order_leave(&kept, real_ns() - HOLD_MS * 1000000ull, on_frame, s);
		if (!ret)
			ret = flush(s);
	}
	if (!ret)
		ret = tap_end(tap, in_order_add, &kept);
	if (!ret)
		ret = in_order_leave(&kept, UINT64_MAX, on_frame, s);
	if (!ret)
		ret = flush(s);
	in_order_free(&kept);
	if (!ret && (s->file || tap_lost(tap)))
		rack_say("%lu frames, %llu lost for want of room", s->frames,
			 (unsigned long long)tap_lost(tap));
	return ret;
}

static int cannot_write(const char *path)
{
	static const char text[] = "cannot write %s: %s";

	if (errno == ENOENT || errno == ENOTDIR || errno == EISDIR)
		return rack_cannot_be(text, path, strerror(errno));
	return rack_say(text, path, strerror(errno));
}

static int open_file(struct sink *s)
{
	const char *path = s->options->file;
	int ret;

	if (!path)
		return 0;
	s->file = strcmp(path, "-") ? fopen(path, "we") : stdout;
	if (!s->file)
		return cannot_write(path);
	ret = pcapng_begin(s->file, s->rack, s->only);
	return ret ? rack_say("cannot write %s: %s", path, strerror(-ret)) : 0;
}

static int run(struct sink *s)
{
	const struct tap_options what = {
		.node = s->only, .only_in = !s->only && !s->options->both, .bytes = BYTES_MAX};
	struct tap *tap = NULL;
	int interrupt = interrupt_open(), ret = -1;

	if (interrupt >= 0 && !tap_open(&tap, s->rack, &what) && !open_file(s))
		ret = capture(s, tap, interrupt);
	if (s->file && s->file != stdout && fclose(s->file) && !ret)
		ret = rack_say("cannot write %s: %s", s->options->file, strerror(errno));
	tap_close(tap);
	if (interrupt >= 0)
		close(interrupt);
	return ret;
}

static int parse(struct options *o, const char **node, int argc, char **argv)
{
	for (int i = 2; i < argc; i++) {
		const char *value = i + 1 < argc ? argv[i + 1] : "";
		char *end;

		if (!strcmp(argv[i], "--both")) {
			o->both = true;
			continue;
		}
		if (argv[i][0] != '-') {
			if (*node)
				return rack_usage("one NODE at most");
			*node = argv[i];
			continue;
		}
		if (!strcmp(argv[i], "-w")) {
			if (!*value)
				return rack_usage("-w wants a file, or - for standard output");
			o->file = value;
		} else if (!strcmp(argv[i], "-c")) {
			o->count = strtoul(value, &end, 10);
			if (!o->count || *end || value[0] == '-')
				return rack_usage("-c wants a number of frames from 1");
		} else if (!strcmp(argv[i], "--for")) {
			if (!seconds_parse(&o->seconds, value))
				return rack_usage("--for wants seconds, above 0 and at most 86400");
		} else {
			return rack_usage("there is no option %.40s", argv[i]);
		}
		i++;
	}
	return 0;
}

int cmd_capture(int argc, char **argv)
{
	struct options o = {};
	struct sink s = {.options = &o};
	const char *node = NULL;
	struct rack *rack;
	int ret;

	if (argc < 2 || argv[1][0] == '-')
		return rack_usage("which RACK?");
	ret = parse(&o, &node, argc, argv);
	if (ret)
		return ret;
	if (o.file && !strcmp(o.file, "-") && isatty(STDOUT_FILENO))
		return rack_usage("-w - is for a pipe, not for a terminal");
	if (rack_privileged() || rack_find(&rack, argv[1]))
		return 1;
	s.rack = rack;
	if (node && !strcmp(node, "tor"))
		ret = rack_cannot_be("tor is the switch itself: `rack capture %s` takes what comes "
				     "in by its ports, --both also what leaves by them",
				     rack->name);
	else if (node && !(s.only = rack_node(rack, node)))
		ret = rack_cannot_be("%s has no node %.20s (`rack ls %s` lists them)", rack->name,
				     node, rack->name);
	else
		ret = run(&s);
	rack_free(rack);
	return ret ? 1 : 0;
}
