/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * build/sim. One seed: its transcript on standard output. Many: spread over the
 * combinations of cluster size and offloads and over all processors; for each violation
 * the command that shows it, the story of the first, and a summary.
 */
#include <inttypes.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "bpf/offloads.h"
#include "replica/options.h"
#include "sim/run.h"

#define UNSET UINT64_MAX


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
		       (strlen(sim_fault_names[k]) != len || memcmp(sim_fault_names[k], text, len) != 0))
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
			snprintf(some + at, sizeof(some) - at, "%s%.*s", at ? "," : "", (int)len,
				 text);
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
		{"faults", "NAME,...",
		 "all, none, or some of: loss duplicate delay corrupt "
		 "partition crash amnesia all-crash stop pause detach slow (all)",
		 .text = &s->faults},
		{"trace", NULL, "print every frame and every step", .flag = &s->trace},
		{"first", NULL, "end at the first violation", .flag = &s->first},
		{"jobs", "N", "processes for many seeds (all processors)", .number = &s->jobs,
		 .min = 1, .max = JOBS_MAX},
	};
	struct combination offload[8];
	uint32_t offloads;
	int ret = options_parse(PROGRAM, "a cluster of replicas in virtual time, out of a seed",
				rows, sizeof(rows) / sizeof(*rows), argc, argv);

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
	return s.seeds == 1 ? sim_run_one(&s) : sim_run_many(&s);
}
