/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Fault rules and partitions of a rack that is up. What they mean: bpf/fault.h. How they
 * are written:
 *
 *   [--from NODE|*] [--to NODE|*] [--kind KIND|*]            which packets are counted
 *   [--every K | --nth K | --probability P] [--seed S]       which of those are taken
 *   [--between T1 T2]                                        and when, since the rule was added
 *   drop | duplicate | corrupt | delay D [jitter J] | reorder K | rate R
 *
 * A time is a number and ns, us, ms or s; a rate a number and bit, kbit, mbit or gbit (per
 * second); a kind a short name of bpf/wire.h, fragment, arp or other.
 *
 * Rules live in the ToR's maps, not in a process. While there is a rule or a partition a
 * process writes the verdicts to faults.jsonl; while a rule makes packets wait another one
 * holds them, at most 16384 at a time (more are lost). Both are started and ended here and die with
 * the rack.
 *
 * Functions return 0 or -1 having said why, as in topo/rack.h.
 */
#ifndef PAXRACK_FAULT_TOPO_H
#define PAXRACK_FAULT_TOPO_H

#include <stddef.h>

#include "bpf/fault.h"
#include "topo/rack.h"

#define FAULT_LOG "faults.jsonl" /* below the rack's folder: rack_path() */

/* Longest of each, which the wire has to live with. */
#define FAULT_DELAY_MAX_NS 10000000000ull
#define FAULT_REORDER_MAX 1000
#define FAULT_RATE_MIN 8000 /* bits per second */

/*
 * One rule from its words; argv ends with NULL. Says nothing: on -1 `error` is the
 * sentence that says why it cannot be.
 */
int fault_parse(struct tor_rule *rule, const struct rack *rack, char **argv, char *error,
		size_t size);
/* A number and a unit, e.g. 5ms, within bounds; says nothing. */
int fault_time_parse(uint64_t *ns, const char *text, uint64_t least, uint64_t most);
bool fault_makes_wait(const struct tor_rule *rule); /* so it needs the wire */
/* The words again, for people. */
void fault_text(const struct tor_rule *rule, const struct rack *rack, char *text, size_t size);
const char *fault_kind_name(unsigned int kind);
const char *fault_action_name(unsigned int action);
const char *fault_node_name(const struct rack *rack, unsigned int index); /* "*" for TOR_ANY */

/* In force when it returns; *id from 1, the lowest that is free. */
int fault_add(const struct rack *rack, const struct tor_rule *rule, unsigned int *id);
/*
 * Not in force any more when it returns. The last rule that makes packets wait is gone
 * only when the packets are: they leave when they are due.
 */
int fault_remove(const struct rack *rack, unsigned int id);
int fault_clear(const struct rack *rack); /* every rule; a partition stays */

/*
 * Which frames are cut off: bit `to` of row `from`. The matrix replaces the one before,
 * at once, also for packets that a rule holds.
 */
struct fault_matrix {
	struct tor_cut *row; /* one for each node of the rack */
};

/*
 * From groups of nodes: a,b / c / d. Frames between nodes of different groups are cut, of
 * first groups only to later ones when one_way. Nodes in no group keep all their links.
 * Free m->row. On -1 `error` says why.
 */
int fault_matrix_parse(struct fault_matrix *m, const struct rack *rack, char **argv, bool one_way,
		       char *error, size_t size);
int fault_partition(const struct rack *rack, const struct fault_matrix *m);
int fault_heal(const struct rack *rack);

struct fault_status {
	struct tor_rule rule[TOR_RULES_MAX];		   /* by id - 1; serial 0: none */
	struct tor_fault_counts counts[TOR_RULES_MAX + 1]; /* by id; [0] of the partition */
	struct tor_fault_state state;
	struct fault_matrix matrix; /* free matrix.row */
	pid_t log, wire;	    /* 0: does not run */
	double late_us[3]; /* of what it released: p50, p99, max, in steps of TOR_LATE_NS */
};

int fault_status(const struct rack *rack, struct fault_status *status);

#endif
