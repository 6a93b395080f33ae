/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Random stories on the loaded programs, against the model; one process per core. Story k
 * of a seed is always the same one, whoever plays it; process j of n plays j, j + n, ...
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "pytests/fuzz/generate.h"
#include "pytests/fuzz/print.h"
#include "pytests/fuzz/serve.h"
#include "pytests/fuzz/shrink.h"

#define JOBS_MAX 256
#define SHOWN 2 /* failures that one process shrinks and prints */

struct options {
	uint64_t seed, at;
	double seconds;
	uint64_t stories; /* 0: as many as there is time for */
	uint64_t cases;	  /* print so many stories and stop */
	int jobs;
	bool one; /* play story `at` alone */
	bool serve;
	enum model_wrong wrong;
};

/* Shared by all processes. */
struct results {
	sem_t output;
	uint64_t packets[JOBS_MAX], failures[JOBS_MAX];
	uint64_t reached[JOBS_MAX][ELEC_R_COUNT];
};

static double seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec + now.tv_nsec / 1e9;
}

/* The story is generated while it is played: frames depend on the state. */
static bool play_new(struct player *p, struct story *story, uint64_t seed, uint64_t number)
{
	struct random r;
	int steps = generate_start(story, seed, number, &r);

	if (!player_start(p, story))
		return false;
	while (steps-- > 0) {
		enum played played;

		generate_step(story, &p->subject->model, &r);
		played = player_step(p, &story->step[story->steps - 1]);
		if (played == PLAYED_DIFFERS)
			return true;
		if (played == PLAYED_NOT)
			story->steps--;
	}
	return player_end(p) == PLAYED_DIFFERS;
}

static void show(struct player *p, struct story *story, const struct options *o, sem_t *output)
{
	char name[64], *text = NULL, first[sizeof(p->text)];
	size_t size = 0;
	FILE *to = open_memstream(&text, &size);
	bool again;

	if (!to)
		return;
	strcpy(first, p->text);
	snprintf(name, sizeof(name), "fuzz-%" PRIu64 "-%" PRIu64, o->seed, story->number);
	again = shrink(p, story);
	fprintf(to, "\n# make fuzz SEED=%" PRIu64 " AT=%" PRIu64 " plays this story alone.\n",
		o->seed, story->number);
	if (again)
		fprintf(to, "# Step %d, the programs said: %s\n", story->steps, p->text);
	else
		fprintf(to, "# Seen once, not when played again. The programs said: %s\n", first);
	print_case(to, story, name, o->wrong);
	fclose(to);
	sem_wait(output);
	fputs(text, stdout);
	fflush(stdout);
	sem_post(output);
	free(text);
}

static void pin_to_cpu(int job)
{
	cpu_set_t allowed, one;
	int n;

	if (sched_getaffinity(0, sizeof(allowed), &allowed))
		return;
	n = job % CPU_COUNT(&allowed);
	CPU_ZERO(&one);
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
		if (CPU_ISSET(cpu, &allowed) && n-- == 0)
			CPU_SET(cpu, &one);
	sched_setaffinity(0, sizeof(one), &one);
}

static int work(int job, const struct options *o, struct results *results)
{
	struct player *p = calloc(1, sizeof(*p));
	struct story *story = calloc(1, sizeof(*story));
	char error[4096];
	double until;

	if (!p || !story || bench_open(&p->bench, error, sizeof(error))) {
		fprintf(stderr, "fuzz: %s\n", p && story ? error : "out of memory");
		return 2;
	}
	p->wrong = o->wrong;
	until = seconds() + o->seconds;
	for (uint64_t i = job; o->stories ? i < o->stories : seconds() < until; i += o->jobs) {
		if (play_new(p, story, o->seed, o->one ? o->at : i) &&
		    ++results->failures[job] <= SHOWN)
			show(p, story, o, &results->output);
		results->packets[job] = p->compared;
		memcpy(results->reached[job], p->reached, sizeof(p->reached));
	}
	bench_close(p->bench);
	free(story);
	free(p);
	return 0;
}

static int run_jobs(const struct options *o, struct results *results)
{
	int status, ret = 0;

	for (int job = 0; job < o->jobs; job++) {
		pid_t pid = fork();

		if (pid < 0)
			return 2;
		if (pid == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			pin_to_cpu(job);
			exit(work(job, o, results));
		}
	}
	for (int job = 0; job < o->jobs; job++)
		if (wait(&status) < 0 || !WIFEXITED(status) || WEXITSTATUS(status))
			ret = 2;
	return ret;
}

/* What was reached and how often, then what was not. */
static void print_reached(const struct options *o, const struct results *results)
{
	uint64_t times[ELEC_R_COUNT] = {0};

	for (int job = 0; job < o->jobs; job++)
		for (int reason = 0; reason < ELEC_R_COUNT; reason++)
			times[reason] += results->reached[job][reason];
	for (int reason = 0; reason < ELEC_R_COUNT; reason++)
		if (times[reason])
			printf("  %-18s %" PRIu64 "\n", reason_names[reason], times[reason]);
	fputs("not reached:", stdout); /* frozen-late needs a second thread, resize Linux 6.18 */
	for (int reason = 0; reason < ELEC_R_COUNT; reason++)
		if (!times[reason])
			printf(" %s", reason_names[reason]);
	putchar('\n');
}

static int run(const struct options *o)
{
	struct results *results = mmap(NULL, sizeof(*results), PROT_READ | PROT_WRITE,
				       MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	uint64_t packets = 0, failures = 0;
	double start = seconds();
	int ret;

	if (results == MAP_FAILED || sem_init(&results->output, 1, 1)) {
		perror("fuzz");
		return 2;
	}
	ret = run_jobs(o, results);
	if (ret)
		return ret;
	for (int job = 0; job < o->jobs; job++) {
		packets += results->packets[job];
		failures += results->failures[job];
	}
	print_reached(o, results);
	printf("%" PRIu64 " packets, %.0f packets/s, %" PRIu64 " failures\n", packets,
	       packets / (seconds() - start), failures);
	return failures > 0;
}

/* Stories as cases, by the model alone. */
static int print_cases(const struct options *o)
{
	struct story *story = calloc(1, sizeof(*story));
	struct outcome out;
	struct model m;
	struct random r;
	uint8_t frame[FRAME_MAX];
	char name[64];
	int ret = story ? 0 : -ENOMEM;

	for (uint64_t i = 0; !ret && i < o->cases; i++) {
		int steps = generate_start(story, o->seed, o->at + i, &r), size;
		const struct start *s = &story->start;

		ret = model_init(&m, start_value(s, BEFORE_LOG_SIZE),
				 start_value(s, BEFORE_OFFLOADS), start_value(s, BEFORE_PORT));
		if (ret)
			break;
		start_apply(s, &m, 0);
		while (story->steps < steps) {
			struct step *step = &story->step[story->steps];

			generate_step(story, &m, &r);
			change_apply(&step->set, &m, false, 0);
			size = frame_build(&step->frame, &m, start_members(s), story->tc, frame);
			if (!story->tc)
				model_xdp(&m, frame, size, &step->context, &out);
		}
		model_free(&m);
		snprintf(name, sizeof(name), "fuzz-%" PRIu64 "-%" PRIu64, o->seed, o->at + i);
		ret = print_case(stdout, story, name, o->wrong);
	}
	free(story);
	return ret ? 2 : 0;
}

static int usage(FILE *to)
{
	fputs("usage: fuzz [--time SECONDS] [--seed N] [--jobs N] [--stories N] [--at N]\n"
	      "       fuzz --cases N [--seed N] [--at N]\n"
	      "       fuzz --model\n"
	      "Random stories on the kernel programs against the model, SECONDS (10) or --stories "
	      "of\n"
	      "them; --at plays one story again. A failure is printed as a conformance case.\n"
	      "--cases prints stories as cases; --model answers on standard output (serve.h).\n",
	      to);
	return to == stderr ? 2 : 0;
}

static bool wrong_named(const char *name, enum model_wrong *wrong)
{
	static const char *const names[] = {"",
#define X(id, name) name,
					    MODEL_WRONGS(X)
#undef X
	};

	for (size_t i = 1; i < sizeof(names) / sizeof(*names); i++)
		if (!strcmp(name, names[i])) {
			*wrong = i;
			return true;
		}
	return false;
}

static bool number(const char *text, uint64_t *value)
{
	char *end;

	errno = 0;
	*value = strtoull(text, &end, 10);
	return *text >= '0' && *text <= '9' && !*end && !errno;
}

static bool parse(int argc, char **argv, struct options *o)
{
	static const struct option options[] = {
		{"time", required_argument, NULL, 't'},
		{"seed", required_argument, NULL, 's'},
		{"jobs", required_argument, NULL, 'j'},
		{"stories", required_argument, NULL, 'n'},
		{"at", required_argument, NULL, 'a'},
		{"cases", required_argument, NULL, 'c'},
		{"model", no_argument, NULL, 'm'},
		{"wrong", required_argument, NULL, 'w'},
		{0},
	};
	uint64_t value = 0;
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == '?' || (option != 'm' && option != 'w' && !number(optarg, &value)))
			return false;
		switch (option) {
		case 't':
			o->seconds = value;
			break;
		case 's':
			o->seed = value;
			break;
		case 'j':
			o->jobs = value > JOBS_MAX ? 0 : value;
			break;
		case 'n':
			o->stories = value;
			break;
		case 'a':
			o->at = value;
			o->one = true;
			break;
		case 'c':
			o->cases = value;
			break;
		case 'm':
			o->serve = true;
			break;
		case 'w': /* for the test of this program: not in the usage */
			if (!wrong_named(optarg, &o->wrong))
				return false;
			break;
		}
	}
	return optind == argc && o->jobs >= 1;
}

int main(int argc, char **argv)
{
	struct options o = {.seed = 1, .seconds = 10, .jobs = sysconf(_SC_NPROCESSORS_ONLN)};

	if (argc == 2 && !strcmp(argv[1], "--help"))
		return usage(stdout);
	if (!parse(argc, argv, &o))
		return usage(stderr);
	if (o.serve)
		return serve();
	if (o.cases)
		return print_cases(&o);
	if (o.one)
		o.stories = o.jobs = 1;
	return run(&o);
}
