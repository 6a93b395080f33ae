/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * One load on a rack that is up: start the replicas, wait until they serve, run the
 * client, take what it and the kernel programs counted, stop the replicas.
 */
#ifndef PAXRACK_RUN_H
#define PAXRACK_RUN_H

#include <stdint.h>

#include "bpf/reasons.h"
#include "topo/rack.h"

struct run_options {
	const struct rack *rack;
	const char *programs;			 /* folder with the programs replica and client */
	const char *offload;			 /* as elec_offload_parse() takes it */
	unsigned int offloads;			 /* the same, parsed */
	const char *ops, *clients, *value_bytes; /* numbers, for the client */
	int interrupt; /* a descriptor that turns readable when all shall end */
};

struct run_result {
	/* as the client says */
	uint64_t ops, retransmits;
	double ops_per_s;
	struct {
		double p50, p99, p999, max;
	} latency_us;
	/* of the whole machine, while the client ran */
	double cpu_us_per_op;
	/* of all replicas together */
	uint64_t prepares;	       /* new ones sent, not those sent again */
	uint64_t counts[ELEC_R_COUNT]; /* of the kernel programs, by enum elec_reason */
};

/*
 * Returns 0, or -1 when it has said why not. No process is left in any case, and
 * nothing of a progress line on the terminal.
 */
int run_load(const struct run_options *options, struct run_result *result);

#endif
