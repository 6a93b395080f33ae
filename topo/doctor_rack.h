/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Between what the kernel has of a rack (doctor_rack.c) and what of it is wrong: of any end of a
 * link (doctor_end.c), of nodes and their ports (doctor_findings.c), of what joins ToRs
 * (doctor_tors.c).
 */
#ifndef PAXRACK_DOCTOR_RACK_H
#define PAXRACK_DOCTOR_RACK_H

#include "bpf/tor.h"
#include "netns/look.h"
#include "topo/doctor.h"
#include "topo/tors.h"

/* ---- what the kernel has ---- */

/* What the offloads that somebody switched on do to a rack. */
enum harm { HARM_CHECKSUM, HARM_VLAN, HARM_MERGE, HARM_COUNT };

#define OFFLOADS_MAX 512 /* characters of a list of switches */

struct end_facts {
	struct look_link link;		   /* ifindex 0: there is none */
	char on[HARM_COUNT][OFFLOADS_MAX]; /* as ethtool switches them off: " NAME off"... */
	/* of what should be a port of a bridge */
	const struct end_facts *bridge; /* that one */
	const struct end_facts *peer;	/* NULL: it is no pair */
	uint32_t ingress;		/* id of the first program at its TC ingress, or 0 */
	bool egress;			/* has a program at its TC egress */
	uint32_t tcx[2]; /* ids of the first tcx programs, ingress and egress, or 0 */
};

struct node_facts {
	struct end_facts eth0, port;
	bool addressed;	     /* with its own address */
	uint32_t also;	     /* another address of eth0, or 0; network order */
	unsigned int bits;   /* of that */
	bool routed;	     /* has the route to the subnet */
	bool *neighbour;     /* for each replica: a permanent one */
	bool entry;	     /* the bridge knows it, for good */
	bool told;	     /* vxlan knows its host; of one that is on another host */
	struct tor_port tor; /* what the switch's map says of it */
};

struct tors_facts {
	struct tors_device want;
	struct end_facts is;
};

struct rack_facts {
	struct node_facts *node; /* by index */
	struct tors_facts tors[TORS_DEVICES_MAX];
	unsigned int tors_count;
	bool flooded[TOR_TORS_MAX];	       /* vxlan sends what is for all to that ToR's host */
	uint32_t ingress, uplink, pass, steer; /* ids of the switch's programs */
};

/* Of two ends that are up, like the bridge: it leaves the port out. */
bool doctor_is_idle(const struct end_facts *port);

/* ---- what is wrong with it: each adds a line for every thing ---- */

/* One end of a link, of which something is said. */
struct doctor_end {
	struct doctor *d;
	const struct rack *rack;
	const struct rack_node *node; /* NULL: of the ToRs' own */
	const char *name;	      /* "eth0", "port", or the device of the ToRs' own */
	const char *place;	      /* whose namespace it is in, as `rack exec` takes it */
	const char *device;	      /* its name there */
	uint8_t mac[6];		      /* that it should have */
	const char *cut, *mac_so;     /* what follows when it is down, has another MAC */
};

__attribute__((format(printf, 3, 4))) void doctor_wrong(const struct doctor_end *e, const char *key,
							const char *fmt, ...);
/* A command in the end's namespace. */
__attribute__((format(printf, 2, 3))) void doctor_mend(const struct doctor_end *e, const char *fmt,
						       ...);

#define DOCTOR_MAC_MAX 18
#define DOCTOR_ADDR_MAX 16
const char *doctor_mac(char buf[DOCTOR_MAC_MAX], const uint8_t mac[6]);
const char *doctor_addr(char buf[DOCTOR_ADDR_MAX], uint32_t addr); /* network order */

/* Whether it is there and up. False: it is not there, and there is no more to say. */
bool doctor_check_device(const struct doctor_end *e, const struct end_facts *facts);
/* MAC, MTU, queueing, offloads. */
void doctor_check_link(const struct doctor_end *e, const struct end_facts *facts);
/* As a port of the bridge `bridge`. */
void doctor_check_port(const struct doctor_end *e, const struct end_facts *facts,
		       const char *bridge);
/* Programs of traffic control: at the ingress only the one pinned as `name`, of this id. */
void doctor_check_tc(const struct doctor_end *e, const struct end_facts *facts, const char *name,
		     uint32_t id);
/*
 * The command that puts the program pinned as `name` (NULL: none) in place of the one that is
 * there, native or generic.
 */
void doctor_mend_xdp(const struct doctor_end *e, const struct look_link *link, const char *name,
		     bool generic);

void doctor_node(struct doctor *d, const struct rack *rack, const struct rack_node *node,
		 const struct rack_facts *facts);
void doctor_tors(struct doctor *d, const struct rack *rack, const struct rack_facts *facts);

#endif
