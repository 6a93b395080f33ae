/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Looking into a rack: everything that is counted in it, gathered at one moment. `show`, `stats`
 * and `top` print it, `top` the difference of two. Nothing in the rack is stopped or slowed
 * by it, but for what stats_look() switches on.
 *
 * Functions return 0 or -1 having said why.
 */
#ifndef PAXRACK_STATS_H
#define PAXRACK_STATS_H

#include <linux/bpf.h>
#include <stdio.h>

#include "bpf/fault.h"
#include "bpf/reasons.h"
#include "bpf/state.h"
#include "bpf/tor.h"
#include "netns/look.h"
#include "replica/status.h"
#include "topo/rack.h"

#define STATS_QUEUES_MAX 8 /* of one device; the rack's own have one */

/* The two ends of each link: a node's eth0 and its port in the switch. */
enum stats_side { STATS_NODE, STATS_PORT, STATS_SIDES };

struct stats_end {
	struct look_link link;
	struct look_filters ingress, egress;
	struct look_queue queue[STATS_QUEUES_MAX];
	unsigned int queues; /* at most STATS_QUEUES_MAX */
};

/* By the node's index. */
struct stats_node {
	struct stats_end end[STATS_SIDES];
	uint64_t reasons[TOR_R_COUNT]; /* frames that came in by its port */
};

struct stats_link {
	struct tor_link link;
	struct tor_link_counts counts;
};

enum stats_hook { STATS_XDP, STATS_TC_INGRESS, STATS_TC_EGRESS };

/* Verdicts: of XDP by enum xdp_action, of TC in this order. */
enum { STATS_OK, STATS_SHOT, STATS_STOLEN, STATS_REDIRECT };
#define STATS_VERDICTS 5

/* A program at one hook of the rack, wherever it is attached. */
struct stats_program {
	uint32_t id;
	char name[16];
	enum stats_hook hook;
	bool ours, counts;    /* it is the rack's own; it counts its verdicts itself */
	uint8_t attached;     /* XDP: as in struct look_link */
	enum stats_side side; /* the first place */
	unsigned int node, places;
	uint64_t runs, run_ns; /* while anybody on the machine had them counted */
	/*
	 * ABORTED from the tracepoint, our programs' others from their counters. Of a native
	 * program that is not ours, and of tor_pass, what its devices have counted, also before it
	 * came.
	 */
	uint64_t verdict[STATS_VERDICTS];
	uint8_t known;	 /* bit i: verdict[i] is */
	uint64_t failed; /* XDP_TX and redirects that the kernel could not carry out */
};

struct stats_exception {
	uint32_t program, action; /* as in struct watch_key */
	int error;
	enum stats_side side;
	unsigned int node;
	int to_ifindex;
	uint64_t count;
};

struct stats_replica {
	pid_t pid; /* of a process that serves, 0: none */
	bool told; /* it says itself what it is */
	struct status status;
	uint64_t silent_us; /* since it said so */
	bool offloaded;	    /* it has kernel programs, and these words: */
	uint64_t gate;
	struct elec_control control; /* of the gate's epoch */
	uint64_t committed, sent, consumed;
	uint64_t reasons[ELEC_R_COUNT];
};

struct stats {
	uint64_t time_ns; /* CLOCK_MONOTONIC */
	struct stats_node *node;
	struct stats_link *link; /* ordered by from, to, kind */
	size_t links;
	struct tor_looking looking;
	struct stats_program *program;
	size_t programs;
	struct stats_exception *exception;
	size_t exceptions;
	bool watched; /* exceptions are counted */
	struct stats_replica replica[ELEC_REPLICAS_MAX];
};

/* Free with stats_free(). */
int stats_take(struct stats **stats, const struct rack *rack);
void stats_free(struct stats *stats); /* NULL is allowed */

/* Frames are counted by link and kind until then (tor.h); 0: no longer. */
int stats_look(const struct rack *rack, uint64_t until_ns);
/*
 * Programs' runs and their time are counted, on the whole machine, until the descriptor is closed.
 * -1: the kernel does not (nothing is said).
 */
int stats_time_programs(void);

/* Names: of a verdict at a hook, of a hook, of how an XDP program is attached. */
const char *stats_verdict_name(enum stats_hook hook, unsigned int verdict);
const char *stats_hook_name(enum stats_hook hook);
const char *stats_attached_name(uint8_t attached);
/* "r0 eth0", "port r0", "4 ports". */
const char *stats_place(char text[32], const struct rack *rack, const struct stats_program *p);
const char *stats_reason_name(enum tor_reason reason);
const char *stats_elec_reason_name(enum elec_reason reason);

/* The whole of it as JSON (docs/looking-in.md). 0 or -errno. */
int stats_json(FILE *out, const struct rack *rack, const struct stats *stats);

#endif
