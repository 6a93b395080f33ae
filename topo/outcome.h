/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What build/client and build/replica print when they end: one JSON object each. */
#ifndef PAXRACK_OUTCOME_H
#define PAXRACK_OUTCOME_H

#include <stddef.h>
#include <stdint.h>

struct outcome_client { /* of client --json */
	uint64_t ops, retransmits;
	double ops_per_s;
	struct outcome_latency {
		double p50, p99, p999, max;
	} latency_us;
};

struct outcome_replica {
	uint64_t prepares; /* new ones sent, as the leader */
	uint64_t view, op, executed;
	char status[16]; /* normal, view-change, recovering */
};

/* From the len bytes at text. Return 0, or -1: not such an object; *o is untouched then. */
int outcome_read_client(struct outcome_client *o, const char *text, size_t len);
int outcome_read_replica(struct outcome_replica *o, const char *text, size_t len);

#endif
