/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The process around the pure core: one socket, the elec library, the clock. It carries
 * out what vr_step() puts out, in order, and keeps the rules of the fence (vr.h).
 */
#ifndef PAXRACK_PROCESS_H
#define PAXRACK_PROCESS_H

#include <signal.h>
#include <stdio.h>

#include "replica/cluster.h"
#include "replica/elec.h"
#include "replica/vr.h"

struct process;

struct process_options {
	const struct cluster *cluster;
	uint32_t index;
	const char *iface; /* NULL: no kernel programs */
	unsigned int offloads;
	enum elec_xdp_mode mode;
	const char *pin; /* folder for the maps' pins, or NULL */
	const char *journal; /* file; NULL: nothing outlives the process */
	const char *status; /* file that says what it is (status.h), or NULL */
	bool format;	     /* make the journal first: a new replica */
	const struct elec_keeper *keeper; /* who does what needs privileges, or NULL */
	bool echo;	     /* no replication: without offloads and journal */
	const struct app *app;
	volatile sig_atomic_t *report; /* when not 0: process_report() to stdout, then 0; or NULL */
	uint32_t lease_ms, log_slots, wake_backlog; /* 0: elec's defaults */
	uint32_t busy_us; /* look again for so long before each sleep */
};

/* 0 or -errno with one sentence in `error`; nothing is left behind then. */
int process_open(struct process **p, const struct process_options *options, char *error,
		 size_t error_size);
/* What it does without, one sentence each: elec_given_up(). */
const char *process_given_up(const struct process *p, unsigned int i);
/* Serves until *stop is set. 0, or -errno: the journal cannot be written. */
int process_run(struct process *p, const volatile sig_atomic_t *stop);
/*
 * One line of JSON: what this replica is (op: last in the log, applied: last that the state
 * comes from), what it counted since it started, and the programs since the maps were pinned.
 */
void process_report(struct process *p, FILE *out);
void process_close(struct process *p);

#endif
