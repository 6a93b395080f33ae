/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What is in a namespace: its devices, what they have counted, programs on them, neighbours. */
#ifndef PAXRACK_NETNS_LOOK_H
#define PAXRACK_NETNS_LOOK_H

#include <stdbool.h>
#include <stdint.h>

#include "netns/rtnl.h"

struct look_link {
	int ifindex, master; /* master: of the bridge that it is a port of, or 0 */
	char name[IF_NAMESIZE];
	char qdisc[IF_NAMESIZE]; /* kind of the one at its root; a veth that is up: "noqueue" */
	uint8_t mac[6];
	uint32_t mtu;	   /* bytes */
	uint32_t gro_max;  /* bytes of what GRO merges at most */
	bool up, forwards; /* forwards: as a port of a bridge */
	uint64_t port_on;  /* 1 << IFLA_BRPORT_...: what is on of a bridge's port */
	uint64_t rx_packets, rx_bytes, rx_dropped, tx_packets, tx_bytes, tx_dropped;
	uint32_t xdp;	  /* id of its XDP program; 0: none */
	uint8_t attached; /* XDP_ATTACHED_DRV, _SKB, _HW, _MULTI */
};

/* Each device of the namespace. 0 or -errno. */
typedef void (*look_link_fn)(void *arg, const struct look_link *link);
int look_links(struct rtnl *r, look_link_fn fn, void *arg);

/* Who is known at which MAC. */
struct look_neighbour {
	int ifindex;   /* of the device behind which it is */
	uint32_t addr; /* network order; in a bridge's table 0, or the host that VXLAN sends to */
	uint8_t mac[6];
	bool fixed;  /* not learnt, and never forgotten */
	bool sticky; /* in a bridge's table: it moves to no other port */
};

/* IPv4 neighbours; what bridges know. 0 or -errno. */
typedef void (*look_neighbour_fn)(void *arg, const struct look_neighbour *neighbour);
int look_neighbours(struct rtnl *r, look_neighbour_fn fn, void *arg);
int look_bridges(struct rtnl *r, look_neighbour_fn fn, void *arg);

/* Ids of the BPF programs at a device's clsact, in the order in which they run. */
#define LOOK_FILTERS_MAX 8
struct look_filters {
	uint32_t id[LOOK_FILTERS_MAX];
	unsigned int count;
};
/* A device without a clsact has none. 0 or -errno. */
int look_filters(struct rtnl *r, int ifindex, bool egress, struct look_filters *filters);

/* What a veth counts for each receive queue, from when it has an XDP program (or GRO) on. */
struct look_queue {
	uint64_t packets, bytes;
	uint64_t drops;				  /* found no room in the queue */
	uint64_t xdp_drops, xdp_redirect, xdp_tx; /* ABORTED is among the drops */
	uint64_t xdp_tx_errors;
};

/*
 * Of device `name`, asked by `socket`, of its namespace: how many there are, at most `max` of
 * them filled in, or -errno.
 */
int look_queues(int socket, const char *name, struct look_queue *queues, unsigned int max);

#endif
