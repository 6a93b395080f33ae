/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* One seed: its transcript. */
#include <inttypes.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "replica/options.h"
#include "sim/run.h"

#define TAIL_LINES 150

const char *const sim_fault_names[SIM_FAULT_COUNT] = {
#define X(id, name, text) [SIM_FAULT_##id] = name,
	SIM_FAULTS(X)
#undef X
};

int sim_load(const struct combination *c)
{
	char error[4096] = "";

	if (!kernel_load(c->replicas, c->offloads, error, sizeof(error)))
		return 0;
	options_say(PROGRAM, "%s", error);
	return -1;
}

struct sim_options sim_options_of(const struct settings *s, const struct combination *c,
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

void sim_print_command(const struct settings *s, const struct combination *c, uint64_t seed)
{
	printf("build/sim --seed %" PRIu64 " --steps %" PRIu64
	       " --replicas %u --offload %s --faults %s",
	       seed, s->steps, c->replicas, c->offload, s->faults);
}

void sim_print_tail(const struct settings *s, const struct combination *c, uint64_t seed)
{
	struct sim_options o = sim_options_of(s, c, seed);
	struct sim_result again;

	printf("the last events:\n");
	o.tail = TAIL_LINES;
	world_run(&o, &again);
}

static void show_progress(uint32_t done, uint32_t steps)
{
	fprintf(stderr, "\r\033[K%u of %u operations", done, steps);
}

int sim_run_one(const struct settings *s)
{
	const struct combination *c = &s->combination[0];
	struct sim_options o = sim_options_of(s, c, s->seed);
	struct timespec from, to;
	struct sim_result r;
	double seconds;

	if (sim_load(c))
		return EXIT_USAGE;
	o.story = true;
	o.detail = s->trace;
	/* Where the transcript is looked at, it is progress itself. */
	if (isatty(STDERR_FILENO) && !isatty(STDOUT_FILENO))
		o.progress = show_progress;
	sim_print_command(s, c, s->seed);
	putchar('\n');
	clock_gettime(CLOCK_MONOTONIC, &from);
	world_run(&o, &r);
	clock_gettime(CLOCK_MONOTONIC, &to);
	seconds = (double)(to.tv_sec - from.tv_sec) + (double)(to.tv_nsec - from.tv_nsec) / 1e9;
	if (r.violated) {
		if (!s->trace)
			sim_print_tail(s, c, s->seed);
		printf("VIOLATION in seed %" PRIu64 ": %s\n", s->seed, r.violation);
	}
	fflush(stdout);
	if (o.progress)
		fputs("\r\033[K", stderr);
	fprintf(stderr, "1 seed, %u violations, %.0f events/s\n", r.violated,
		(double)r.events / seconds);
	return r.violated ? EXIT_VIOLATION : EXIT_SUCCESS;
}
