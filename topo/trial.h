/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * One run of an experiment on a rack that is up: the load, and while it lasts what the
 * timeline says. Leaves in its folder what results.py makes results of:
 *
 *   parts/RUN.json             what happened and when, counters, last words
 *   parts/RUN-NODE.jsonl       history of a client node
 *   parts/RUN-faults.jsonl     verdicts of the switch
 *   journal/, log/, capture/   as in docs/experiments.md
 */
#ifndef PAXRACK_TRIAL_H
#define PAXRACK_TRIAL_H

#include "topo/experiment.h"

struct trial_options {
	const struct experiment *experiment;
	const struct rack *rack; /* that is up */
	const char *programs;	 /* folder with replica, client and journal */
	const char *folder;
	unsigned int run; /* which of the experiment's */
	int interrupt;	  /* a descriptor that turns readable when all shall end */
};

/*
 * 0, or -1: it could not be carried out, or was interrupted, which has been said; what was
 * found out until then is in the folder all the same. No process and no fault is left.
 */
int trial_run(const struct trial_options *options);

#endif
