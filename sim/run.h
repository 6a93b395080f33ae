/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Between the command line, one seed and many. */
#ifndef PAXRACK_SIM_RUN_H
#define PAXRACK_SIM_RUN_H

#include "sim/sim.h"

#define PROGRAM "sim"
#define EXIT_VIOLATION 1
#define EXIT_USAGE 2
#define COMBINATIONS_MAX 64
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

/* The programs for this way to run. 0, or -1 after one sentence on standard error. */
int sim_load(const struct combination *c);
struct sim_options sim_options_of(const struct settings *s, const struct combination *c,
				  uint64_t seed);
void sim_print_command(const struct settings *s, const struct combination *c, uint64_t seed);
/* What led to it: the last lines of the same run, told in full. */
void sim_print_tail(const struct settings *s, const struct combination *c, uint64_t seed);

/* Exit statuses. */
int sim_run_one(const struct settings *s);
int sim_run_many(struct settings *s);

#endif
