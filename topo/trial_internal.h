/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Between trial.c, which does it, and trial_facts.c, which writes down what was done. */
#ifndef PAXRACK_TRIAL_INTERNAL_H
#define PAXRACK_TRIAL_INTERNAL_H

#include "topo/capture.h"
#include "topo/timeline.h"
#include "topo/trial.h"

struct trial_client {
	struct child child;
	const struct rack_node *node;
	double rate, p99_us; /* as it last said */
};

struct trial {
	const struct trial_options *o;
	const struct experiment *e;
	const char *offload;
	struct replicas replicas;
	struct timeline timeline;
	struct trial_client *client;
	unsigned int clients;
	struct capture *capture;
	int64_t capture_until_ns; /* 0: it is off */
	bool captured[EXPERIMENT_ROOM_MAX];
	uint64_t before[ELEC_R_COUNT], counts[ELEC_R_COUNT];
	uint64_t cpu_begin_us, cpu_end_us;
	int64_t end_ns;
	bool failed, interrupted;
};

/* Begins and ends capturing as is due. */
int trial_capture(struct trial *t, int64_t now);
int trial_capture_more(struct trial *t);	  /* something has just been done */
int64_t trial_capture_due(const struct trial *t); /* when to call trial_capture() next */

/* Everything that the rack has and would lose; `report` is the last word of each replica, or NULL.
 */
int trial_keep(const struct trial *t, char *report[ELEC_REPLICAS_MAX]);

#endif
