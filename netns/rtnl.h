/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * rtnetlink in batches. A socket belongs to the network namespace in which it was
 * opened and can be used from any other:
 *
 *   rtnl_open(&r)                     inside the namespace
 *   rtnl_link_...(r, ...), ...        queue one message each; nothing is sent yet
 *   rtnl_commit(r)                    sends them, waits for the kernel, 0 or -errno
 *   rtnl_error(r)                     of the first that failed: what, and the kernel's own words
 *
 * A verb never fails by itself: a full batch is sent on the way, and its failure is
 * kept for the next rtnl_commit(). Addresses are in network order.
 */
#ifndef PAXRACK_RTNL_H
#define PAXRACK_RTNL_H

#include <net/if.h>
#include <stdbool.h>
#include <stdint.h>

struct rtnl;

/* In the network namespace of the caller. 0 or -errno. */
int rtnl_open(struct rtnl **r);
/* Now in the namespace that the caller has moved to; what is queued is dropped. 0 or -errno. */
int rtnl_reopen(struct rtnl *r);
/* The socket itself, for ioctl(2) on devices of its namespace (features_off()). */
int rtnl_fd(const struct rtnl *r);
void rtnl_close(struct rtnl *r); /* NULL is allowed; what is queued is dropped */
int rtnl_commit(struct rtnl *r);
/* One line, valid until the next rtnl_commit(). */
const char *rtnl_error(const struct rtnl *r);

/* One end of a veth pair. */
struct rtnl_veth_end {
	const char *name;
	int ifindex; /* 0: any */
	uint8_t mac[6];
	bool here;	 /* in the caller's namespace, which need not be the socket's */
	uint32_t group;	 /* 0: the default group */
	uint32_t queues; /* to transmit and to receive; 0: one of each */
	int bridge;	 /* a port of this one; 0: of none; `end` only */
};

/* Both ends, `end` up, `peer` down. */
void rtnl_veth_add(struct rtnl *r, const struct rtnl_veth_end *end,
		   const struct rtnl_veth_end *peer, uint32_t mtu);
/* Up, without spanning tree and multicast snooping: it sends nothing on its own. */
void rtnl_bridge_add(struct rtnl *r, const char *name, int ifindex, const uint8_t mac[6]);
void rtnl_link_up(struct rtnl *r, int ifindex);
/* Up, and a port of the bridge. */
void rtnl_port_up(struct rtnl *r, int ifindex, int bridge);
/* A native XDP program. */
void rtnl_xdp_set(struct rtnl *r, int ifindex, int prog_fd);
/*
 * Made with a socket of the namespace whose network is to carry it, put into the caller's. It
 * learns nothing and carries 16 bits of a packet's mark.
 */
struct rtnl_vxlan {
	const char *name;
	int ifindex;
	uint8_t mac[6];
	uint32_t group;
	uint32_t id;
	uint16_t port;	/* UDP */
	uint32_t local; /* address */
};
void rtnl_vxlan_add(struct rtnl *r, const struct rtnl_vxlan *vxlan, uint32_t mtu);
/* What is for `mac`, or (NULL) for a group or nobody, goes to the host with this address. */
void rtnl_vxlan_dst(struct rtnl *r, int ifindex, const uint8_t mac[6], uint32_t host);
/* How many ports of bridges do not forward yet (they do soon after they are up), or -errno. */
int rtnl_ports_idle(struct rtnl *r);
/* The largest frame that the link may merge received ones to. */
void rtnl_gro_max(struct rtnl *r, int ifindex, uint32_t bytes);
void rtnl_link_del(struct rtnl *r, int ifindex);
/* Every link of the group. */
void rtnl_group_del(struct rtnl *r, uint32_t group);

void rtnl_addr_add(struct rtnl *r, int ifindex, uint32_t addr, unsigned int prefix);
/* A neighbour that is never asked for and never forgotten. */
void rtnl_neigh_add(struct rtnl *r, int ifindex, uint32_t addr, const uint8_t mac[6]);
/* The bridge sends frames for `mac` to this port, whatever it may see elsewhere. */
void rtnl_fdb_add(struct rtnl *r, int port, const uint8_t mac[6]);

void rtnl_clsact_add(struct rtnl *r, int ifindex);
/* A direct-action program on the clsact's ingress, priority and handle 1. */
void rtnl_ingress_add(struct rtnl *r, int ifindex, int prog_fd, const char *name);

/* Each IPv4 prefix that the namespace has an address in or a route to (default routes left out). */
typedef void (*rtnl_prefix_fn)(void *arg, const char *kind, uint32_t prefix, unsigned int bits,
			       int ifindex);
int rtnl_prefixes(struct rtnl *r, rtnl_prefix_fn fn, void *arg);

#endif
