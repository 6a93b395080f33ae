/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* build/client: the command line around load.c. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "replica/cluster.h"
#include "replica/load.h"
#include "replica/workload.h"

enum { EXIT_USAGE = 2 };

enum option_id {
	CONFIG = 'a',
	CLIENTS,
	OPS,
	SECONDS,
	MIX,
	VALUE_BYTES,
	KEYS,
	SEED,
	GIVE_UP,
	PROGRESS_FD,
	JSON,
	HELP,
	OPTION_END
};

struct settings {
	const char *config;
	uint64_t number[OPTION_END]; /* by option_id */
	bool given[OPTION_END];
};

static const struct row {
	enum option_id id;
	const char *name, *value; /* value NULL: the option takes none */
	uint64_t min, max;
	const char *help;
} rows[] = {
	{CONFIG, "config", "FILE", 0, 0, "the replicas, as cluster.conf lists them (needed)"},
	{CLIENTS, "clients", "N", 1, LOAD_CLIENTS_MAX, "operations in flight (4)"},
	{OPS, "ops", "N", 1, INT64_MAX, "end after so many operations (20000)"},
	{SECONDS, "seconds", "S", 1, 1000000, "end after so long, instead of --ops"},
	{MIX, "mix", "PERCENT", 0, 100, "of SET; the others are GET (50)"},
	{VALUE_BYTES, "value-bytes", "N", 1, WORKLOAD_VALUE_MAX, "size of a value (64)"},
	{KEYS, "keys", "N", 1, 100000000, "shared out among the clients (1000)"},
	{SEED, "seed", "N", 0, UINT64_MAX, "of the choice of keys and operations (random)"},
	{GIVE_UP, "give-up", "S", 1, 1000000, "fail after so long without any reply (10)"},
	{PROGRESS_FD, "progress-fd", "FD", 0, 1000000,
	 "write '<operations> <operations/s> <p99 us>' lines there"},
	{JSON, "json", NULL, 0, 0, "print one JSON object instead of a table"},
	{HELP, "help", NULL, 0, 0, "this"},
};

#define ROWS (sizeof(rows) / sizeof(*rows))

static volatile sig_atomic_t stop;
static struct load_result result; /* 60 KB of histogram */
static int progress_fd = -1;

static void on_signal(int signal)
{
	stop = signal;
}

__attribute__((format(printf, 1, 2))) static void say(const char *format, ...)
{
	va_list args;

	fputs("client: ", stderr);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
}

/* ---- options ---- */

static void print_help(void)
{
	puts("client: keep N key-value operations in flight against a cluster, and measure\n");
	for (size_t i = 0; i < ROWS; i++) {
		char option[32];

		snprintf(option, sizeof(option), "--%s %s", rows[i].name,
			 rows[i].value ? rows[i].value : "");
		printf("  %-20s %s\n", option, rows[i].help);
	}
}

static int parse_number(struct settings *s, const struct row *row)
{
	uint64_t value;
	char *end;

	errno = 0;
	value = strtoull(optarg, &end, 10);
	if (*optarg < '0' || *optarg > '9' || *end || errno || value < row->min ||
	    value > row->max) {
		say("--%s '%s': want a number from %" PRIu64 " to %" PRIu64, row->name, optarg,
		    row->min, row->max);
		return EXIT_USAGE;
	}
	s->number[row->id] = value;
	return 0;
}

/* 0: go on. */
static int parse(struct settings *s, int argc, char **argv)
{
	struct option options[ROWS + 1] = {};
	int id, at = 0;

	for (size_t i = 0; i < ROWS; i++) {
		options[i].name = rows[i].name;
		options[i].has_arg = rows[i].value ? required_argument : no_argument;
		options[i].val = rows[i].id;
	}
	while ((id = getopt_long(argc, argv, ":", options, &at)) != -1) {
		if (id == ':' || id == '?') {
			say(id == ':' ? "%s wants a value; see client --help"
				      : "no option '%s'; see client --help",
			    argv[optind - 1]);
			return EXIT_USAGE;
		}
		s->given[id] = true;
		if (id == CONFIG)
			s->config = optarg;
		else if (rows[id - CONFIG].value && parse_number(s, &rows[id - CONFIG]))
			return EXIT_USAGE;
	}
	if (s->given[HELP])
		return 0;
	if (optind < argc) {
		say("'%s' is not an option; see client --help", argv[optind]);
		return EXIT_USAGE;
	}
	if (!s->config) {
		say("which cluster? Name its file with --config cluster.conf");
		return EXIT_USAGE;
	}
	if (s->given[OPS] && s->given[SECONDS]) {
		say("--ops and --seconds both say when to end: give one");
		return EXIT_USAGE;
	}
	if (s->given[SECONDS])
		s->number[OPS] = 0;
	return 0;
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

	if (s->given[JSON]) {
		printf("{\"clients\": %" PRIu64 ", \"ops\": %" PRIu64 ", \"seconds\": %.6f, "
		       "\"ops_per_s\": %.1f, \"latency_us\": {\"p50\": %.2f, \"p99\": %.2f, "
		       "\"p999\": %.2f, \"max\": %.2f}, \"retransmits\": %" PRIu64
		       ", \"wrong\": %" PRIu64 ", \"view\": %" PRIu64 ", \"seed\": %" PRIu64
		       ", \"interrupted\": %s}\n",
		       s->number[CLIENTS], result.done, seconds, ops_per_s(), p50, p99, p999, max,
		       result.retransmits, result.wrong, result.view, s->number[SEED],
		       result.interrupted ? "true" : "false");
		return;
	}
	printf("%10s %10s %10s %9s %9s %9s %9s %12s %6s\n", "operations", "seconds", "ops/s",
	       "p50 us", "p99 us", "p99.9 us", "max us", "retransmits", "wrong");
	printf("%10" PRIu64 " %10.3f %10.0f %9.1f %9.1f %9.1f %9.1f %12" PRIu64 " %6" PRIu64 "\n",
	       result.done, seconds, ops_per_s(), p50, p99, p999, max, result.retransmits,
	       result.wrong);
}

static void on_progress(const struct load_result *r, double rate)
{
	double p99 = us(histogram_percentile(&r->latency_ns, 0.99));

	if (progress_fd >= 0)
		dprintf(progress_fd, "%" PRIu64 " %.0f %.1f\n", r->done, rate, p99);
	else
		fprintf(stderr, "\r\033[K%" PRIu64 " operations, %.0f/s, p99 %.0f us", r->done,
			rate, p99);
}

int main(int argc, char **argv)
{
	struct settings s = {.number = {[CLIENTS] = 4,
					[OPS] = 20000,
					[MIX] = 50,
					[VALUE_BYTES] = 64,
					[KEYS] = 1000,
					[GIVE_UP] = 10}};
	struct sigaction action = {.sa_handler = on_signal}; /* no SA_RESTART: wake up */
	struct load_options o = {.stop = &stop};
	struct cluster cluster;
	char error[512];
	int ret;

	opterr = 0;
	ret = parse(&s, argc, argv);
	if (ret)
		return ret;
	if (s.given[HELP]) {
		print_help();
		return 0;
	}
	if (!s.given[SEED] && getrandom(&s.number[SEED], sizeof(s.number[SEED]), 0) < 0) {
		say("no random numbers: %s", strerror(errno));
		return EXIT_FAILURE;
	}
	if (cluster_read(&cluster, s.config, error, sizeof(error))) {
		say("%s", error);
		return EXIT_FAILURE;
	}
	o.cluster = &cluster;
	o.clients = s.number[CLIENTS];
	o.ops = s.number[OPS];
	o.seconds = s.number[SECONDS];
	o.mix = s.number[MIX];
	o.value_bytes = s.number[VALUE_BYTES];
	o.keys = s.number[KEYS];
	o.seed = s.number[SEED];
	o.give_up_s = s.number[GIVE_UP];
	if (s.given[PROGRESS_FD]) {
		progress_fd = s.number[PROGRESS_FD];
		if (fcntl(progress_fd, F_GETFD) < 0) {
			say("--progress-fd %d: no such descriptor is open", progress_fd);
			return EXIT_USAGE;
		}
	}
	if (s.given[PROGRESS_FD] || isatty(STDERR_FILENO))
		o.progress = on_progress;
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	signal(SIGPIPE, SIG_IGN); /* whoever reads the progress may go away */

	ret = load_run(&o, &result, error, sizeof(error));
	if (o.progress && progress_fd < 0)
		fputs("\r\033[K", stderr);
	if (!ret || result.done)
		print_result(&s);
	if (ret)
		say("%s", error);
	if (fflush(stdout) || ferror(stdout)) {
		say("cannot write the result: %s", strerror(errno));
		return EXIT_FAILURE;
	}
	return ret ? EXIT_FAILURE : EXIT_SUCCESS;
}
