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
/* The bridges, and with several ToRs the spine. `host` is a socket of the host's namespace. */
int tors_build(const struct rack *rack, struct rtnl *r, struct rtnl *host,
	       const struct features *features, int program);

#endif
