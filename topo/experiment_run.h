/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A whole experiment: its rack, each of its runs, results and verdicts. */
#ifndef PAXRACK_EXPERIMENT_RUN_H
#define PAXRACK_EXPERIMENT_RUN_H

#include "topo/experiment.h"

struct experiment_options {
	struct experiment_wish wish;
	const char *folder; /* NULL: results/NAME-SEED */
	bool force;	    /* also if the folder is there */
};

/* The exit status: 0 only if every check came out as expected. */
int experiment_run(const char *path, const struct experiment_options *options);

/* The verdicts over its folder, and its report, again; the exit status. */
int experiment_check(const char *folder);
#define SCRIPT_ARGUMENTS_MAX 64
/* `arguments`, the folder among them, as topo/report.py takes them. */
int experiment_report(const char *folder, const char *const *arguments);

#endif
