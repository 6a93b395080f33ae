/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Steering in a rack that is up: paths of ports, the table of flows (docs/egress.md). How they are
 * written:
 *
 *   FLOW   tcp:SOURCE:PORT:DESTINATION:PORT or udp:...; a name of a node or an IPv4 address each
 *   TO     a node, or nodes with commas: the flow's hash chooses one; mac: the frame's own
 *   PATH   tc, xdp, bridge, afxdp
 *
 * All of it lives in the ToR's maps. While a port needs them its device has the XDP program
 * tor_steer, the nodes poll (else a native redirect to them is dropped), one process takes
 * what is on the path afxdp, and a program listens for redirects that failed. What a command asks
 * for is in force when it returns, or nothing is changed.
 *
 * Functions return 0 or -1 having said why, as in topo/rack.h.
 */
#ifndef PAXRACK_STEER_TOPO_H
#define PAXRACK_STEER_TOPO_H

#include <stddef.h>

#include "bpf/steer.h"
#include "bpf/tor.h"
#include "topo/rack.h"

#define STEER_DAEMON "rack-steer"

/* ---- words (steer_words.c); they say nothing: on -1 `error` is the sentence ---- */

struct steer_rule {
	struct steer_key key;
	unsigned int path;  /* enum tor_path + 1, 0: its port's */
	unsigned int count; /* of ports it names; 0: the port of the frame's destination */
	uint16_t port[STEER_GROUP_PORTS_MAX]; /* ascending */
};

int steer_path_parse(unsigned int *path, const char *text, char *error, size_t size);
const char *steer_path_name(unsigned int path); /* enum tor_path */
/* From its words: FLOW [TO [PATH]]; argv ends with NULL. */
int steer_rule_parse(struct steer_rule *rule, const struct rack *rack, char **argv, char *error,
		     size_t size);
/* A file with a rule on each line, # begins a comment. Free *rules. 1: a line is wrong. */
int steer_file_parse(struct steer_rule **rules, size_t *count, const struct rack *rack,
		     const char *path, char *error, size_t size);
/* Index of the node that sends the flow; not below its rack's count: none does. */
unsigned int steer_source(const struct rack *rack, const struct steer_key *key);
void steer_flow_text(const struct steer_key *key, const struct rack *rack, char *text, size_t size);

/* ---- in force (steer.c); flows whose rule or path is set, that were moved to the bridge, are
 * given another chance ---- */

struct steer;

/* With the ToR's lock, which steer_close() gives back. */
int steer_open(struct steer **s, const struct rack *rack);
void steer_close(struct steer *s);

/* All of them or none; a flow that is there gets the new rule. */
int steer_add(struct steer *s, const struct steer_rule *rules, size_t count);
/* Would they find room? */
int steer_may_add(struct steer *s, const struct steer_rule *rules, size_t count);
int steer_remove(struct steer *s, const struct steer_key *key);
int steer_remove_all(struct steer *s);
/* The rule of a flow; false: none. */
bool steer_find(struct steer *s, const struct steer_key *key, struct steer_rule *rule);
/* Those in the table, as they stand there. Free *rules. */
int steer_list(struct steer *s, struct steer_rule **rules, size_t *count);

struct steer_port_path {
	unsigned int path;	 /* enum tor_path */
	unsigned int share_path; /* enum tor_path, of `share` of 65536 flows */
	unsigned int share;
};

void steer_port_path(const struct steer *s, unsigned int port, struct steer_port_path *path);
int steer_set_port_path(struct steer *s, unsigned int port, const struct steer_port_path *path);
bool steer_has_table(const struct steer *s, unsigned int port);

/* How many flows are moved. */
unsigned int steer_moved(struct steer *s);
/* Counts, live: the steer's, or without the lock. */
const struct steer_state *steer_counts(const struct steer *s);
int steer_counts_open(const struct steer_state **state, const struct rack *rack);
void steer_counts_close(const struct steer_state *state);
int steer_verdicts(struct steer *s, unsigned int port, struct tor_counts *counts);

#endif
