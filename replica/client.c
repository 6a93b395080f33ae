/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* build/client: the command line around load.c. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "replica/cluster.h"
#include "replica/load.h"
#include "replica/options.h"
#include "replica/workload.h"

#define PROGRAM "client"
#define EXIT_USAGE 2
#define UNSET UINT64_MAX

struct settings {
	const char *config, *history;
	uint64_t clients, ops, seconds, mix, value_bytes, keys, seed, give_up, progress_fd, busy_us;
	bool json, shared;
};

static volatile sig_atomic_t stop;
static struct load_result result; /* 60 KB of histogram */
static int progress_fd = -1;

static void on_signal(int signal)
{
	stop = signal;
}

/* -1: go on, else the exit status. */
static int parse(struct settings *s, int argc, char **argv)
{
	const struct option_row rows[] = {
		{"config", "FILE", "the replicas, as cluster.conf lists them (needed)",
		 .text = &s->config},
		{"clients", "N", "operations in flight (4)", .number = &s->clients, .min = 1,
		 .max = LOAD_CLIENTS_MAX},
		{"ops", "N", "end after so many operations (20000)", .number = &s->ops, .min = 1,
		 .max = INT64_MAX},
		{"seconds", "S", "end after so long, instead of --ops", .number = &s->seconds,
		 .min = 1, .max = 1000000},
		{"mix", "PERCENT", "of SET, the others are GET (50)", .number = &s->mix,
		 .max = 100},
		{"value-bytes", "N", "size of a value (64)", .number = &s->value_bytes, .min = 1,
		 .max = WORKLOAD_VALUE_MAX},
		{"keys", "N", "shared out among the clients (1000)", .number = &s->keys, .min = 1,
		 .max = 100000000},
		{"shared", NULL, "every client uses all keys: replies are judged by --history only",
		 .flag = &s->shared},
		{"seed", "N", "of the choice of keys and operations (random)", .number = &s->seed,
		 .max = INT64_MAX},
		{"busy-poll", "US", "look again for so long before each sleep (0)",
		 .number = &s->busy_us, .max = 1000000},
		{"give-up", "S", "fail after so long without any reply (10)", .number = &s->give_up,
		 .min = 1, .max = 1000000},
		{"progress-fd", "FD",
		 "write '<operations> <operations/s> <p99 us>' lines there, the last two of 200 ms",
		 .number = &s->progress_fd, .max = 1 << 20},
		{"history", "FILE", "write each operation there, one JSON object a line",
		 .text = &s->history},
		{"json", NULL, "print one JSON object instead of a table", .flag = &s->json},
	};
	int ret = options_parse(PROGRAM,
				"keep key-value operations in flight against a cluster, and "
				"measure",
				rows, sizeof(rows) / sizeof(*rows), argc, argv);

	if (ret >= 0)
		return ret;
	if (!s->config) {
		options_say(PROGRAM, "which cluster? Name its file with --config cluster.conf");
		return EXIT_USAGE;
	}
	if (s->ops && s->seconds) {
		options_say(PROGRAM, "--ops and --seconds both say when to end: give one");
		return EXIT_USAGE;
	}
	if (s->progress_fd != UNSET && fcntl(s->progress_fd, F_GETFD) < 0) {
		options_say(PROGRAM, "--progress-fd %" PRIu64 ": no such descriptor is open",
			    s->progress_fd);
		return EXIT_USAGE;
	}
	if (!s->ops && !s->seconds)
		s->ops = 20000;
	return -1;
}

/* ---- output ---- */

static double us(uint64_t ns)
{
	return (double)ns / 1000;
}

static double ops_per_s(void)
{
	return result.elapsed_ns ? (double)result.done * 1e9 / (double)result.elapsed_ns : 0;
}

static void print_result(const struct settings *s)
{
	const struct histogram *h = &result.latency_ns;
	double seconds = (double)result.elapsed_ns / 1e9;
	double p50 = us(histogram_percentile(h, 0.5)), p99 = us(histogram_percentile(h, 0.99));
	double p999 = us(histogram_percentile(h, 0.999)), max = us(h->max);

	if (s->json) {
		printf("{\"clients\": %" PRIu64 ", \"ops\": %" PRIu64 ", \"seconds\": %.6f, "
		       "\"ops_per_s\": %.1f, \"latency_us\": {\"p50\": %.2f, \"p99\": %.2f, "
		       "\"p999\": %.2f, \"max\": %.2f}, \"retransmits\": %" PRIu64
		       ", \"wrong\": %" PRIu64 ", \"view\": %" PRIu64 ", \"seed\": %" PRIu64
		       ", \"interrupted\": %s}\n",
		       s->clients, result.done, seconds, ops_per_s(), p50, p99, p999, max,
		       result.retransmits, result.wrong, result.view, s->seed,
		       result.interrupted ? "true" : "false");
		return;
	}
	printf("%10s %10s %10s %9s %9s %9s %9s %12s %6s\n", "operations", "seconds", "ops/s",
	       "p50 us", "p99 us", "p99.9 us", "max us", "retransmits", "wrong");
	printf("%10" PRIu64 " %10.3f %10.0f %9.1f %9.1f %9.1f %9.1f %12" PRIu64 " %6" PRIu64 "\n",
	       result.done, seconds, ops_per_s(), p50, p99, p999, max, result.retransmits,
	       result.wrong);
}

static void on_progress(const struct load_result *r, double rate, uint64_t p99_ns)
{
	double p99 = us(p99_ns);

	if (progress_fd >= 0)
		dprintf(progress_fd, "%" PRIu64 " %.0f %.1f\n", r->done, rate, p99);
	else
		fprintf(stderr, "\r\033[K%" PRIu64 " operations, %.0f/s, p99 %.0f us", r->done,
			rate, p99);
}

int main(int argc, char **argv)
{
	struct settings s = {.clients = 4,
			     .mix = 50,
			     .value_bytes = 64,
			     .keys = 1000,
			     .seed = UNSET,
			     .give_up = 10,
			     .progress_fd = UNSET};
	struct sigaction action = {.sa_handler = on_signal}; /* no SA_RESTART: wake up */
	struct load_options o = {.stop = &stop};
	struct cluster cluster;
	char error[1024];
	int ret, unwritten;

	ret = parse(&s, argc, argv);
	if (ret >= 0)
		return ret;
	if (cluster_read(&cluster, s.config, error, sizeof(error))) {
		options_say(PROGRAM, "%s", error);
		return EXIT_FAILURE;
	}
	if (s.seed == UNSET) {
		if (getrandom(&s.seed, sizeof(s.seed), 0) < 0) {
			options_say(PROGRAM, "no random numbers: %s", strerror(errno));
			return EXIT_FAILURE;
		}
		s.seed &= INT64_MAX;
	}
	o.cluster = &cluster;
	o.clients = s.clients;
	o.ops = s.ops;
	o.seconds = s.seconds;
	o.mix = s.mix;
	o.value_bytes = s.value_bytes;
	o.keys = s.keys;
	o.seed = s.seed;
	o.shared = s.shared;
	o.give_up_s = s.give_up;
	o.busy_us = s.busy_us;
	if (s.progress_fd != UNSET)
		progress_fd = s.progress_fd;
	if (progress_fd >= 0 || isatty(STDERR_FILENO))
		o.progress = on_progress;
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	signal(SIGPIPE, SIG_IGN); /* whoever reads the progress may go away */

	if (s.history) {
		ret = history_open(&o.history, s.history);
		if (ret) {
			options_say(PROGRAM, "cannot write %s: %s", s.history, strerror(-ret));
			return EXIT_FAILURE;
		}
	}
	ret = load_run(&o, &result, error, sizeof(error));
	unwritten = history_close(o.history);
	if (o.progress && progress_fd < 0)
		fputs("\r\033[K", stderr);
	if (!ret || result.done)
		print_result(&s);
	if (ret)
		options_say(PROGRAM, "%s", error);
	if (unwritten)
		options_say(PROGRAM, "cannot write all of %s: %s", s.history, strerror(-unwritten));
	if (fflush(stdout) || ferror(stdout)) {
		options_say(PROGRAM, "cannot write the result: %s", strerror(errno));
		return EXIT_FAILURE;
	}
	return ret || unwritten ? EXIT_FAILURE : EXIT_SUCCESS;
}
