/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Several ToRs joined by a spine, on one host or on several:
 *
 *        spine ------------- vxlan ~~~ the hosts' network ~~~ vxlan, spine of the other host
 *     down0  down1
 *       |      |           pairs, both ends in the ToRs' namespace
 *      up0    up1
 *      br0    br1          one bridge for each ToR on this host
 *     r0 r1  r2 c0         ports, as of a single ToR
 */
#ifndef PAXRACK_TORS_H
#define PAXRACK_TORS_H

#include "bpf/tor.h"
#include "netns/ns.h"
#include "netns/rtnl.h"
#include "topo/file.h"
#include "topo/rack.h"

#define VXLAN_BYTES 50 /* Ethernet, IPv4, UDP and VXLAN headers (RFC 7348) */

/* Is it a rack over several hosts? */
bool tors_stretched(const struct rack_file *file);
/* The keys tors and vxlan; which ToRs and nodes are on this host. 0, or -1 having said why. */
int tors_read(struct rack *rack, const char *path);
/* Can this host's network carry it? */
int tors_check(const struct rack *rack);
int tors_bridge(unsigned int tor); /* device index of its bridge */

/* Has no ToR before it the same host? */
bool tors_first(const struct rack *rack, unsigned int tor);

/* What the ToRs' namespace has besides the ports of nodes. */
enum tors_kind { TORS_BRIDGE, TORS_SPINE, TORS_UP, TORS_DOWN, TORS_VXLAN };
struct tors_device {
	enum tors_kind kind;
	unsigned int tor; /* whose it is; 0 for the spine and vxlan */
	char name[IFNAMSIZ];
	int ifindex;
	uint8_t mac[6];
	int bridge; /* device index of the one that it is a port of; 0: of none */
};
/* Those on this host, a bridge before its ports: how many, at most TORS_DEVICES_MAX. */
#define TORS_DEVICES_MAX (3 * TOR_TORS_MAX + 2)
unsigned int tors_devices(const struct rack *rack, struct tors_device devices[TORS_DEVICES_MAX]);

/* The bridges, and with several ToRs the spine. `host` is a socket of the host's namespace. */
int tors_build(const struct rack *rack, struct rtnl *r, struct rtnl *host,
	       const struct features *features, int program);

#endif
