/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * An experiment's events, done when they are due and taken back when their time is over.
 * Times are CLOCK_MONOTONIC. Functions return 0 or -1 having said why.
 */
#ifndef PAXRACK_TIMELINE_H
#define PAXRACK_TIMELINE_H

#include "topo/experiment.h"
#include "topo/programs.h"
#include "topo/replicas.h"

struct timeline_event {
	int64_t begin_ns, end_ns; /* 0: not yet, not at all */
	unsigned int rule;	  /* FAULT: its number while it is in force */
	uint64_t seen, taken;	  /* FAULT, PARTITION: packets, once it has ended */
	bool skipped;		  /* this run has no such program */
};

struct timeline {
	const struct experiment *e;
	unsigned int offloads; /* of this run */
	const struct rack *rack;
	struct replicas *replicas;
	struct programs programs[ELEC_REPLICAS_MAX];
	int64_t start_ns;
	struct timeline_event *event; /* like the experiment's */
};

/* The first fields are the caller's. */
int timeline_open(struct timeline *t);
void timeline_close(struct timeline *t);

/* When something is due next; INT64_MAX: nothing is. */
int64_t timeline_next_ns(const struct timeline *t);
int timeline_do(struct timeline *t, int64_t now_ns);
/* The load is over: whatever lasts ends, whatever was to come does not. */
int timeline_end(struct timeline *t);
/* What lasts now, for people: "kill r0, partition r1 / r2". */
void timeline_text(const struct timeline *t, char *text, size_t size);

#endif
