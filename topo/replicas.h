/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The replicas of a rack as processes: one in each node rN, ours, or the foreign program
 * that the rack's file names. Functions return 0 or -1 having said why.
 */
#ifndef PAXRACK_REPLICAS_H
#define PAXRACK_REPLICAS_H

#include <poll.h>
#include <stdbool.h>
#include <stdint.h>

#include "bpf/reasons.h"
#include "bpf/state.h"
#include "topo/child.h"

struct replicas {
	const struct rack *rack;
	const char *programs;  /* folder with the program replica */
	const char *offload;   /* as elec_offload_parse() takes it */
	unsigned int offloads; /* the same, parsed */
	int interrupt;	       /* a descriptor that turns readable when all shall end */
	struct child child[ELEC_REPLICAS_MAX];
};

/* The other fields are the caller's. */
void replicas_open(struct replicas *r);
void replicas_close(struct replicas *r); /* ends those that run */

/* `format`: a new replica, whatever was in its journal before. */
int replicas_start(struct replicas *r, unsigned int i, bool format);
int replicas_wait_ready(struct replicas *r, unsigned int i);
/* All of them, new ones, and waits until they serve. */
int replicas_start_all(struct replicas *r);
/* SIGKILL; it is over when this returns. */
void replicas_kill(struct replicas *r, unsigned int i);

/*
 * Wait until one of `count` descriptors is ready: 1, 0 after timeout_ms (-1: never), or
 * -1: interrupted, or a replica ended by itself, which has been said.
 */
int replicas_wait(struct replicas *r, struct pollfd *more, unsigned int count, int timeout_ms);

/* Add what the kernel programs of all replicas counted so far, by enum elec_reason. */
int replicas_counts(struct replicas *r, uint64_t counts[ELEC_R_COUNT]);

int64_t replicas_now_ns(void); /* CLOCK_MONOTONIC */

#endif
