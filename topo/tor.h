/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The ToR's programs: loaded, told about the nodes, pinned below bpf/tor/. */
#ifndef PAXRACK_TOPO_TOR_H
#define PAXRACK_TOPO_TOR_H

#include "bpf/tor.h"
#include "topo/rack.h"

struct tor {
	struct tor_bpf *bpf;
	int ingress; /* program for the clsact ingress of every port */
	int uplink;  /* program for the clsact ingress of what joins several ToRs */
	int pass;    /* XDP program for ports of nodes that may bounce frames */
};

/* What the programs are told of a node, before anybody steers. */
void tor_describe(struct tor_port *port, const struct rack *rack, const struct rack_node *node);
/* Does the node send frames back by native XDP? Then its port runs tor_pass. */
bool tor_bounces(const struct rack *rack, const struct rack_node *node);
/* One command at a time changes the ToR's maps: a descriptor to close, or -1 having said why. */
int tor_lock(const struct rack *rack);
/* What is pinned as bpf/tor/<name>: a descriptor, or -1 having said why. */
int tor_pinned(const struct rack *rack, const char *name);
/*
 * The same, of an array that may be mapped: its first `size` bytes, shared with the programs
 * and to be given back by munmap(). `protection` as of mmap(). NULL having said why.
 */
void *tor_shared(const struct rack *rack, const char *name, size_t size, int protection);
/* Programs that began before now have ended. */
void tor_wait_for_programs(void);

int tor_load(struct tor *tor, const struct rack *rack);
/* What is attached or pinned stays. */
void tor_close(struct tor *tor);

#endif
