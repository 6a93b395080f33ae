/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Between what the kernel has of a rack (doctor_rack.c) and what of it is wrong
 * (doctor_findings.c). */
#ifndef PAXRACK_DOCTOR_RACK_H
#define PAXRACK_DOCTOR_RACK_H

#include "bpf/tor.h"
#include "netns/look.h"
#include "topo/doctor.h"

/* What the offloads that somebody switched on do to a rack. */
enum harm { HARM_CHECKSUM, HARM_VLAN, HARM_MERGE, HARM_COUNT };

#define OFFLOADS_MAX 512 /* characters of a list of switches */

struct end_facts {
	struct look_link link;		   /* ifindex 0: there is none */
	char on[HARM_COUNT][OFFLOADS_MAX]; /* as ethtool switches them off: " NAME off"... */
};

struct node_facts {
	struct end_facts eth0, port;
	bool addressed;	     /* with its own address */
	bool *neighbour;     /* for each replica: a permanent one */
	bool entry;	     /* the bridge knows it, for good */
	uint32_t filter;     /* id of the first program at the port's ingress, or 0 */
	struct tor_port tor; /* what the switch's map says of it */
};

/* Of two ends that are up: the bridge leaves the port out. */
bool doctor_is_idle(const struct node_facts *facts);

/* Adds a line for everything of one node that is not as described. `ingress`: id of tor_ingress. */
void doctor_findings(struct doctor *d, const struct rack *rack, const struct rack_node *node,
		     const struct node_facts *facts, uint32_t ingress);

#endif
