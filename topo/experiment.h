/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * An experiment as its file describes it (docs/experiments.md): a rack, a load, a timeline
 * of faults, checks. Same conventions as topo/rack.h.
 */
#ifndef PAXRACK_EXPERIMENT_H
#define PAXRACK_EXPERIMENT_H

#include <stdbool.h>
#include <stdint.h>

#include "topo/fault.h"
#include "topo/rack.h"

#define EXPERIMENT_EVENTS_MAX 256
#define EXPERIMENT_OFFLOADS_MAX 16
#define EXPERIMENT_ROOM_MAX 16 /* times of `capture: at:` */

/* X(enumerator, key in the file, takes a node, can be taken back after `for`) */
#define EXPERIMENT_EVENTS(X)                                                                       \
	X(KILL, "kill", true, false)                                                               \
	X(STOP, "stop", true, true)                                                                \
	X(CONT, "cont", true, false)                                                               \
	X(RESTART, "restart", true, false)                                                         \
	X(FORMAT, "format", true, false)                                                           \
	X(DETACH, "detach", true, true)                                                            \
	X(ATTACH, "attach", true, false)                                                           \
	X(PARTITION, "partition", false, true)                                                     \
	X(FAULT, "fault", false, true)

enum experiment_kind {
#define X(id, name, node, back) EXPERIMENT_##id,
	EXPERIMENT_EVENTS(X)
#undef X
		EXPERIMENT_KIND_COUNT
};

struct experiment_event {
	enum experiment_kind kind;
	uint64_t at_ns, for_ns; /* since the load began; for_ns 0: until the load ends */
	char *what;		/* "kill r0": kind and words, for people */
	unsigned int replica;	/* those that take a node */
	bool tc;		/* DETACH, ATTACH: the TC program, not the XDP program */
	struct tor_rule rule;	/* FAULT */
	struct fault_matrix matrix;
};

#define EXPERIMENT_CHECKS(X)                                                                       \
	X(LINEARIZABLE, linearizable)                                                              \
	X(LOGS_AGREE, logs_agree) X(NO_ACKED_OP_LOST, no_acked_op_lost)

enum experiment_check {
#define X(id, name) EXPERIMENT_CHECK_##id,
	EXPERIMENT_CHECKS(X)
#undef X
		EXPERIMENT_CHECK_COUNT
};

struct experiment {
	const char *name, *about, *path; /* about: NULL */
	struct rack *rack;		 /* with the attach mode that is wanted */
	uint64_t seed;
	struct {
		const char *name;
		unsigned int set;
	} offload[EXPERIMENT_OFFLOADS_MAX];
	unsigned int offloads;
	struct {
		uint64_t clients, seconds, ops, mix, value_bytes,
			keys; /* of seconds and ops one is 0 */
	} load;
	struct experiment_event *event; /* as in the file */
	unsigned int events;
	uint64_t around_ns;	 /* of capture; 0: none */
	uint64_t around_packets; /* no more than that; UINT64_MAX: no such limit */
	uint64_t capture_at_ns[EXPERIMENT_ROOM_MAX];
	unsigned int captures_at;
	bool expect[EXPERIMENT_CHECK_COUNT];
	struct experiment_file *file; /* owns the strings */
};

/* What the command line says beside the file. */
struct experiment_wish {
	const uint64_t *seed;	    /* NULL: the file's */
	const char *const *offload; /* of `offloads`; 0 of them: the file's */
	unsigned int offloads;
};

#define EXPERIMENT_KEY "experiment" /* what has it is no rack file */

/* Free with experiment_free(). */
int experiment_load(struct experiment **e, const char *path, const struct experiment_wish *wish);
void experiment_free(struct experiment *e); /* NULL is allowed */

extern const char *const experiment_check_names[EXPERIMENT_CHECK_COUNT];

#endif
