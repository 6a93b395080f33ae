/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * build/sim. One seed: its transcript on standard output. Many: spread over the
 * combinations of cluster size and offloads and over all processors; for each violation
 * the command that shows it, the story of the first, and a summary.
 */
#include <errno.h>
#include <inttypes.h>
#include <malloc.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "bpf/offloads.h"
#include "replica/options.h"
#include "sim/sim.h"

#define PROGRAM "sim"
#define EXIT_VIOLATION 1
#define EXIT_USAGE 2
#define UNSET UINT64_MAX
#define COMBINATIONS_MAX 64
#define TAIL_LINES 150
#define JOBS_MAX 256

struct combination {
	uint32_t replicas;
	unsigned int offloads;
	char offload[32];
};

struct settings {
	uint64_t seed, seeds, steps, jobs;
	const char *replicas, *offload, *faults;
	bool trace, first;
	uint32_t fault_set;
	struct combination combination[COMBINATIONS_MAX];
	uint32_t combinations;
};

struct record {
	uint64_t seed;
	uint32_t combination;
	bool begins; /* a worker that dies was at this one */
	struct sim_result result;
};

static const char *const fault_names[SIM_FAULT_COUNT] = {
#define X(id, name, text) [SIM_FAULT_##id] = name,
	SIM_FAULTS(X)
#undef X
};

/* ---- the command line ---- */

static int usage(const char *option, const char *value, const char *want)
{
	options_say(PROGRAM, "--%s '%s': want %s", option, value, want);
	return EXIT_USAGE;
}

static bool parse_faults(const char *text, uint32_t *set)
{
	*set = 0;
	if (!strcmp(text, "all"))
		*set = (1 << SIM_FAULT_COUNT) - 1;
	if (!strcmp(text, "all") || !strcmp(text, "none"))
		return true;
	for (;;) {
		size_t len = strcspn(text, ",");
		uint32_t k = 0;

		while (k < SIM_FAULT_COUNT &&
		       (strlen(fault_names[k]) != len || memcmp(fault_names[k], text, len) != 0))
			k++;
		if (k == SIM_FAULT_COUNT)
			return false;
		*set |= 1 << k;
		if (!text[len])
			return true;
		text += len + 1;
	}
}

/* "all,none" are two ways to run, "ack,quorum" is one. */
static bool parse_offloads(const char *text, struct combination *out, uint32_t *count)
{
	char some[32] = "";

	*count = 0;
	for (;;) {
		size_t len = strcspn(text, ","), at = strlen(some);
		struct combination *c = &out[*count];

		if (len > 15 || *count > 4)
			return false;
		if ((len == 3 && !memcmp(text, "all", 3)) || (len == 4 && !memcmp(text, "none", 4)))
			snprintf(c->offload, sizeof(c->offload), "%.*s", (int)len, text), ++*count;
		else if (at + len + 2 < sizeof(some))
			snprintf(some + at, sizeof(some) - at, "%s%.*s", at ? "," : "", (int)len, text);
		else
			return false;
		if (!text[len])
			break;
		text += len + 1;
	}
	if (*some)
		memcpy(out[(*count)++].offload, some, sizeof(some));
	for (uint32_t i = 0; i < *count; i++)
		if (!elec_offload_parse(out[i].offload, &out[i].offloads))
			return false;
	return true;
}

static bool combine(struct settings *s, const struct combination *offload, uint32_t offloads)
{
	const char *text = s->replicas;
	char *end;

	do {
		unsigned long n = strtoul(text, &end, 10);

		if (end == text || n < 1 || n > SIM_REPLICAS_MAX || (*end && *end != ','))
			return false;
		for (uint32_t i = 0; i < offloads; i++) {
			if (s->combinations == COMBINATIONS_MAX)
				return false;
			s->combination[s->combinations] = offload[i];
			s->combination[s->combinations++].replicas = n;
		}
		text = end + 1;
	} while (*end);
	return true;
}

static int parse(struct settings *s, int argc, char **argv)
{
	const struct option_row rows[] = {
		{"seed", "N", "of the (first) run (random)", .number = &s->seed, .max = INT64_MAX},
		{"seeds", "N", "how many, one after the other (1)", .number = &s->seeds, .min = 1,
		 .max = 100000000},
		{"steps", "N", "operations of all clients together (1000)", .number = &s->steps,
		 .min = 10, .max = 1000000},
		{"replicas", "N,...", "of the cluster; many seeds take turns (3)",
		 .text = &s->replicas},
		{"offload", "SET,...", ELEC_OFFLOAD_NAMES "; all,none: take turns (all)",
		 .text = &s->offload},
		{"faults", "NAME,...", "all, none, or some of: loss duplicate delay corrupt "
		 "partition crash amnesia all-crash stop pause detach slow (all)",
		 .text = &s->faults},
		{"trace", NULL, "print every frame and every step", .flag = &s->trace},
		{"first", NULL, "end at the first violation", .flag = &s->first},
		{"jobs", "N", "processes for many seeds (all processors)", .number = &s->jobs,
		 .min = 1, .max = JOBS_MAX},
	};
	struct combination offload[8];
	uint32_t offloads;
	int ret = options_parse(PROGRAM, "a cluster of replicas in virtual time, out of a seed", rows,
				sizeof(rows) / sizeof(*rows), argc, argv);

	if (ret >= 0)
		return ret;
	memset(offload, 0, sizeof(offload));
	if (!parse_faults(s->faults, &s->fault_set))
		return usage("faults", s->faults, "all, none, or names that --help lists");
	if (!parse_offloads(s->offload, offload, &offloads))
		return usage("offload", s->offload, ELEC_OFFLOAD_NAMES);
	if (!combine(s, offload, offloads))
		return usage("replicas", s->replicas, "numbers from 1 to 9");
	if (s->seeds == 1 && s->combinations > 1)
		s->combinations = 1;
	if (s->seed == UNSET) {
		if (getrandom(&s->seed, sizeof(s->seed), 0) < 0)
			s->seed = time(NULL);
		s->seed %= 1000000000;
	}
	return -1;
}

/* ---- one ---- */

static int load(const struct combination *c)
{
	char error[4096] = "";

	if (!kernel_load(c->replicas, c->offloads, error, sizeof(error)))
		return 0;
	options_say(PROGRAM, "%s", error);
	return -1;
}

static struct sim_options options_of(const struct settings *s, const struct combination *c,
				     uint64_t seed)
{
	return (struct sim_options){
		.seed = seed,
		.replicas = c->replicas,
		.offloads = c->offloads,
		.steps = s->steps,
		.faults = s->fault_set,
	};
}

static void print_command(const struct settings *s, const struct combination *c, uint64_t seed)
{
	printf("build/sim --seed %" PRIu64 " --steps %" PRIu64 " --replicas %u --offload %s --faults %s",
	       seed, s->steps, c->replicas, c->offload, s->faults);
}

/* What led to it: the last lines of the same run, told in full. */
static void print_tail(const struct settings *s, const struct combination *c, uint64_t seed)
{
	struct sim_options o = options_of(s, c, seed);
	struct sim_result again;

	printf("the last events:\n");
	o.tail = TAIL_LINES;
	world_run(&o, &again);
}

static int run_one(const struct settings *s)
{
	const struct combination *c = &s->combination[0];
	struct sim_options o = options_of(s, c, s->seed);
	struct timespec from, to;
	struct sim_result r;
	double seconds;

	if (load(c))
		return EXIT_USAGE;
	o.story = true;
	o.detail = s->trace;
	print_command(s, c, s->seed);
	putchar('\n');
	clock_gettime(CLOCK_MONOTONIC, &from);
	world_run(&o, &r);
	clock_gettime(CLOCK_MONOTONIC, &to);
	seconds = (double)(to.tv_sec - from.tv_sec) + (double)(to.tv_nsec - from.tv_nsec) / 1e9;
	if (r.violated) {
		if (!s->trace)
			print_tail(s, c, s->seed);
		printf("VIOLATION in seed %" PRIu64 ": %s\n", s->seed, r.violation);
	}
	fflush(stdout);
	fprintf(stderr, "1 seed, %u violations, %.0f events/s\n", r.violated,
		(double)r.events / seconds);
	return r.violated ? EXIT_VIOLATION : EXIT_SUCCESS;
}

/* ---- many ---- */

static void tell(int fd, const struct record *record)
{
	if (write(fd, record, sizeof(*record)) != sizeof(*record))
		exit(EXIT_FAILURE);
}

/* Every jobs-th seed; those of one combination together, for loading takes time. */
static int work(const struct settings *s, uint32_t job, int fd)
{
	for (uint32_t c = 0; c < s->combinations; c++) {
		bool loaded = false;

		for (uint64_t i = c; i < s->seeds; i += s->combinations) {
			struct record record = {s->seed + i, c, true, {0}};
			struct sim_options o = options_of(s, &s->combination[c], record.seed);

			if (i / s->combinations % s->jobs != job)
				continue;
			if (!loaded && load(&s->combination[c]))
				return EXIT_FAILURE;
			loaded = true;
			tell(fd, &record);
			world_run(&o, &record.result);
			record.begins = false;
			tell(fd, &record);
		}
	}
	return EXIT_SUCCESS;
}

struct worker {
	pid_t pid;
	int fd;
	struct record at;
};

struct sums {
	uint64_t seeds, violations, shortest;
	struct sim_result all;
	struct record first; /* violation with the lowest seed */
};

static void add(struct sums *sums, const struct record *record)
{
	const struct sim_result *r = &record->result;
	struct sim_result *all = &sums->all;

	sums->seeds++;
	all->events += r->events;
	all->virtual_ns += r->virtual_ns;
	all->operations += r->operations;
	all->acks_kernel += r->acks_kernel;
	all->acks_user += r->acks_user;
	all->view_changes += r->view_changes;
	all->crashes_files += r->crashes_files;
	all->crashes_amnesia += r->crashes_amnesia;
	all->recoveries += r->recoveries;
	for (int k = 0; k < SIM_FAULT_COUNT; k++)
		all->faults[k] += r->faults[k];
}

static void on_violation(const struct settings *s, struct sums *sums, const struct record *record)
{
	print_command(s, &s->combination[record->combination], record->seed);
	printf("\n  %s\n", record->result.violation);
	fflush(stdout);
	if (!sums->violations++ || record->seed < sums->first.seed)
		sums->first = *record;
}

/* False: the worker is gone. */
static bool hear(const struct settings *s, struct worker *w, struct sums *sums)
{
	struct record record;
	ssize_t len = read(w->fd, &record, sizeof(record));
	int status;

	if (len == sizeof(record)) {
		w->at = record;
		if (record.begins)
			return true;
		add(sums, &record);
		if (record.result.violated)
			on_violation(s, sums, &record);
		return true;
	}
	close(w->fd);
	w->fd = -1;
	waitpid(w->pid, &status, 0);
	if (WIFSIGNALED(status) && w->at.begins) {
		snprintf(w->at.result.violation, sizeof(w->at.result.violation),
			 "L3: the code under test died of signal %d", WTERMSIG(status));
		w->at.result.violated = true;
		sums->seeds++;
		on_violation(s, sums, &w->at);
	} else if (!WIFEXITED(status) || WEXITSTATUS(status)) {
		exit(EXIT_USAGE); /* it has said why */
	}
	return false;
}

static void print_summary(const struct settings *s, const struct sums *sums, double seconds)
{
	const struct sim_result *a = &sums->all;
	double seeds = sums->seeds ? (double)sums->seeds : 1;

	printf("on average: %.0f operations, %.2f view changes, %.2f restarts with files, "
	       "%.2f without, %.2f recoveries, %.1f s of virtual time\n",
	       (double)a->operations / seeds, (double)a->view_changes / seeds,
	       (double)a->crashes_files / seeds, (double)a->crashes_amnesia / seeds,
	       (double)a->recoveries / seeds, (double)a->virtual_ns / SECOND / seeds);
	printf("faults:");
	for (int k = 0; k < SIM_FAULT_COUNT; k++)
		printf(" %s %.2f", fault_names[k], (double)a->faults[k] / seeds);
	printf("\nacks made by the kernel: %.1f %%; %.1f seeds a minute with %" PRIu64 " jobs\n",
	       100.0 * (double)a->acks_kernel / (double)(a->acks_kernel + a->acks_user + 1),
	       (double)sums->seeds * 60 / seconds, s->jobs);
}

static double now_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void start_workers(struct settings *s, struct worker *worker)
{
	for (uint32_t j = 0; j < s->jobs; j++) {
		int pipes[2];

		if (pipe(pipes) || (worker[j].pid = fork()) < 0) {
			options_say(PROGRAM, "cannot start a worker: %s", strerror(errno));
			exit(EXIT_USAGE);
		}
		if (!worker[j].pid) {
			close(pipes[0]);
			_exit(work(s, j, pipes[1]));
		}
		close(pipes[1]);
		worker[j].fd = pipes[0];
	}
}

static int run_many(struct settings *s)
{
	struct worker worker[JOBS_MAX] = {0};
	struct pollfd polled[JOBS_MAX];
	struct sums sums = {0};
	uint32_t alive;
	double from = now_s(), told = 0, seconds;

	if (!s->jobs)
		s->jobs = sysconf(_SC_NPROCESSORS_ONLN);
	if (s->jobs > s->seeds)
		s->jobs = s->seeds;
	printf("seeds %" PRIu64 "..%" PRIu64 "\n", s->seed, s->seed + s->seeds - 1);
	fflush(stdout);
	start_workers(s, worker);
	for (alive = s->jobs; alive;) {
		for (uint32_t j = 0; j < s->jobs; j++)
			polled[j] = (struct pollfd){worker[j].fd, POLLIN, 0};
		poll(polled, s->jobs, -1);
		for (uint32_t j = 0; j < s->jobs; j++)
			if (polled[j].revents && !hear(s, &worker[j], &sums))
				alive--;
		if (s->first && sums.violations) {
			for (uint32_t j = 0; j < s->jobs; j++)
				if (worker[j].fd >= 0)
					kill(worker[j].pid, SIGKILL);
			break;
		}
		if (isatty(STDERR_FILENO) && now_s() - told > 0.5) {
			told = now_s();
			fprintf(stderr, "\r\033[K%" PRIu64 " of %" PRIu64 " seeds, %" PRIu64
				" violations, %.0f a minute", sums.seeds, s->seeds, sums.violations,
				(double)sums.seeds * 60 / (told - from));
		}
	}
	seconds = now_s() - from;
	if (told)
		fputs("\r\033[K", stderr);
	if (sums.violations) {
		const struct combination *c = &s->combination[sums.first.combination];

		printf("seed %" PRIu64 ": %s\n", sums.first.seed, sums.first.result.violation);
		fflush(stdout);
		if (!s->first && !load(c))
			print_tail(s, c, sums.first.seed);
	}
	print_summary(s, &sums, seconds);
	printf("%" PRIu64 " seeds, %" PRIu64 " violations, %.0f events/s\n", sums.seeds,
	       sums.violations, (double)sums.all.events / seconds);
	return sums.violations ? EXIT_VIOLATION : EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
	struct settings s = {
		.seed = UNSET,
		.seeds = 1,
		.steps = 1000,
		.replicas = "3",
		.offload = "all",
		.faults = "all",
	};
	int ret = parse(&s, argc, argv);

	if (ret >= 0)
		return ret;
	/* Memory that is given back and taken again for each seed stays with the process. */
	mallopt(M_MMAP_THRESHOLD, 1 << 20);
	mallopt(M_TRIM_THRESHOLD, 64 << 20);
	return s.seeds == 1 ? run_one(&s) : run_many(&s);
}
