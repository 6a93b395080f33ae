/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A closed loop of clients against a cluster: each has one operation in flight, sends
 * the next when its reply is there, and sends it again, to everybody, when it is not.
 */
#ifndef PAXRACK_LOAD_H
#define PAXRACK_LOAD_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#include "replica/cluster.h"
#include "replica/histogram.h"
#include "replica/history.h"

#define LOAD_CLIENTS_MAX 4096

struct load_result {
	uint64_t done;	      /* operations answered, the wrongly answered among them */
	uint64_t elapsed_ns;  /* first send to last reply */
	uint64_t retransmits; /* operations sent again, each time counted */
	uint64_t wrong;	      /* replies that were not what the operation must give */
	uint64_t view;	      /* of the last reply */
	bool interrupted;     /* by *stop */
	struct histogram latency_ns;
};

struct load_options {
	const struct cluster *cluster;
	uint32_t clients;     /* 1..LOAD_CLIENTS_MAX */
	uint64_t ops;	      /* of all clients together; 0: as many as `seconds` hold */
	uint32_t seconds;     /* 0: until `ops` are done */
	uint32_t mix;	      /* percent of SET */
	uint32_t value_bytes; /* 1..WORKLOAD_VALUE_MAX */
	uint32_t keys;
	bool shared;		 /* see workload.h */
	struct history *history; /* gets every operation; or NULL */
	uint64_t seed;		 /* of keys and operations; client ids are always random */
	uint32_t busy_us;	 /* look again for so long before each sleep */
	uint32_t give_up_s;	 /* fail when no reply at all came for so long */
	const volatile sig_atomic_t *stop; /* not 0: end at the next chance */
	/* Called five times a second, unless NULL: the result so far; rate and p99 since the last
	 * call. */
	void (*progress)(const struct load_result *result, double ops_per_s, uint64_t p99_ns);
};

/*
 * Returns 0, or -errno with one sentence in error: -ETIMEDOUT, no reply for give_up_s;
 * -EBADMSG, there were wrong replies. The result holds what was done in any case.
 */
int load_run(const struct load_options *options, struct load_result *result, char *error,
	     size_t error_size);

#endif
