// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * What of a node is not as `rack up` made it (up.c), what follows, and the command that mends it.
 * Their order is that in which to mend: a device that is set down, or gets another MAC, forgets
 * its neighbours; a port that leaves the bridge its entry.
 */
#include <arpa/inet.h>
#include <linux/if_link.h>
#include <string.h>

#include "topo/doctor_rack.h"
#include "topo/tor.h"

/* ---- the node ---- */

static void check_addresses(const struct doctor_end *e, const struct node_facts *facts)
{
	char addr[DOCTOR_ADDR_MAX], subnet[DOCTOR_ADDR_MAX];
	unsigned int bits = e->rack->prefix;

	if (facts->also) {
		doctor_wrong(e, "second_address", "also has the address %s/%u",
			     doctor_addr(addr, facts->also), facts->bits);
		doctor_so(e->d, e->node->spoof ? "frames may leave with it as their source"
					       : "the switch drops what is sent from it");
		doctor_mend(e, "ip addr del %s/%u dev %s", addr, facts->bits, e->device);
	}
	doctor_addr(addr, e->node->addr);
	if (!facts->addressed) {
		doctor_wrong(e, "address", "has no address %s/%u", addr, bits);
		doctor_so(e->d, "nothing is received");
		doctor_mend(e, "ip addr add %s/%u dev %s", addr, bits, e->device);
	} else if (!facts->routed && facts->eth0.link.up) { /* else it comes with the address */
		doctor_addr(subnet, htonl(e->rack->subnet));
		doctor_wrong(e, "route", "no route to %s/%u", subnet, bits);
		doctor_so(e->d, "nothing is sent: the network is unreachable");
		doctor_mend(e, "ip route add %s/%u dev %s proto kernel scope link src %s", subnet,
			    bits, e->device, addr);
	}
}

static void check_node(const struct doctor_end *e, const struct node_facts *facts)
{
	char addr[DOCTOR_ADDR_MAX], mac[DOCTOR_MAC_MAX];

	if (!doctor_check_device(e, &facts->eth0))
		return;
	doctor_check_link(e, &facts->eth0);
	check_addresses(e, facts);
	for (unsigned int i = 0; i < e->rack->replicas; i++) {
		const struct rack_node *peer = &e->rack->nodes[i];

		if (peer == e->node || facts->neighbour[i])
			continue;
		doctor_wrong(e, "neighbour", "no permanent neighbour %s, which is %s",
			     doctor_addr(addr, peer->addr), peer->name);
		doctor_so(e->d, "frames wait for an answer to ARP; a broadcast is lost meanwhile");
		doctor_mend(e, "ip neigh replace %s lladdr %s dev %s nud permanent", addr,
			    doctor_mac(mac, peer->mac), e->device);
	}
}

/* ---- its port ---- */

static void check_fixed(const struct doctor_end *e, const struct node_facts *facts)
{
	char mac[DOCTOR_MAC_MAX];

	if (facts->entry || !facts->port.bridge->link.ifindex)
		return;
	doctor_wrong(e, "bridge_entry", "the bridge has no fixed entry for %s",
		     doctor_mac(mac, e->node->mac));
	doctor_so(e->d, "frames to the node are flooded, or go to who claims to be it");
	doctor_mend(e, "bridge fdb replace %s dev %s master static sticky", mac, e->device);
}

/* In what mode does XDP run, or would it, in the node? */
static bool is_generic(const struct doctor_end *e, const struct node_facts *facts)
{
	uint8_t xdp = facts->eth0.link.attached;

	if (xdp == XDP_ATTACHED_DRV || xdp == XDP_ATTACHED_SKB)
		return xdp == XDP_ATTACHED_SKB;
	return e->rack->xdp == RACK_GENERIC && e->node->role == RACK_REPLICA;
}

/* Do frames of the node need the port's program? Those of a steering table may, or may not. */
static bool is_steered(const struct tor_port *port)
{
	const unsigned int by_program = 1 << TOR_PATH_XDP | 1 << TOR_PATH_AFXDP;

	return !(port->flags & TOR_TABLE) && ((by_program >> port->path & 1) ||
					      (port->share && by_program >> port->share_path & 1));
}

static void check_xdp(const struct doctor_end *e, const struct node_facts *facts,
		      const struct rack_facts *all)
{
	const struct look_link *link = &facts->port.link;
	bool bounces = e->node->role == RACK_REPLICA && !is_generic(e, facts);
	bool steered = is_steered(&facts->tor);
	const char *want = NULL;

	if (link->xdp && link->xdp != all->pass && link->xdp != all->steer) {
		doctor_wrong(e, "xdp_program", "an XDP program that is not the switch's");
		doctor_so(e->d,
			  "it may drop or change what the node sends before anybody judges it");
	} else if (steered && link->xdp != all->steer) {
		doctor_wrong(e, "xdp_steer", "not the XDP program that its steering path needs");
		doctor_so(e->d, "frames from it take the bridge instead");
	} else if (bounces && link->attached != XDP_ATTACHED_DRV) {
		doctor_wrong(e, "xdp_pass", "no native XDP program");
		doctor_so(e->d, "acks that the node's program bounces are never delivered");
	} else {
		return;
	}
	if (steered)
		want = "tor_steer";
	else if (bounces)
		want = "tor_pass";
	doctor_mend_xdp(e, link, want, !bounces && e->rack->xdp == RACK_GENERIC);
}

/* " 1 2 255": as bpftool takes bytes. */
static const char *bytes_text(char *buf, const void *data, size_t len)
{
	const uint8_t *byte = data;

	buf[0] = '\0';
	for (size_t i = 0; i < len; i++)
		sprintf(buf + strlen(buf), " %u", byte[i]);
	return buf;
}

static void check_entry(const struct doctor_end *e, const struct node_facts *facts)
{
	const struct tor_port *is = &facts->tor;
	bool generic = is_generic(e, facts);
	char key[4 * sizeof(uint32_t) + 1], value[4 * sizeof(*is) + 1], pin[RACK_PATH_MAX];
	struct tor_port want;

	tor_describe(&want, e->rack, e->node);
	want.path = is->path; /* steering, and flags of rules, come and go */
	want.share_path = is->share_path;
	want.share = is->share;
	want.flags = (want.flags & TOR_SPOOF) | (generic ? TOR_STACK : 0) |
		     (is->flags & ~(TOR_SPOOF | TOR_STACK));
	if (!memcmp(is, &want, sizeof(want)))
		return;
	if ((is->flags ^ want.flags) & TOR_STACK) {
		doctor_wrong(e, "redirect", "frames to it %s, and its XDP is %s",
			     is->flags & TOR_STACK ? "take the bridge" : "are redirected",
			     generic ? "generic" : "native");
		doctor_so(e->d, generic ? "generic XDP does not run on what TC redirected"
					: "the bridge is slower than a redirect");
	} else {
		doctor_wrong(e, "switch_entry",
			     "the switch has another MAC, address, ToR or licence to spoof");
		doctor_so(e->d, "frames from or to it are dropped, or anybody's pass");
	}
	doctor_mend(e, "bpftool map update pinned %s key%s value%s",
		    rack_path(pin, e->rack->name, "bpf/tor/tor_ports"),
		    bytes_text(key, &e->node->index, sizeof(uint32_t)),
		    bytes_text(value, &want, sizeof(want)));
}

void doctor_node(struct doctor *d, const struct rack *rack, const struct rack_node *node,
		 const struct rack_facts *all)
{
	const struct node_facts *facts = &all->node[node->index];
	struct doctor_end eth0 = {.d = d,
				  .rack = rack,
				  .node = node,
				  .name = RACK_IFACE,
				  .place = node->name,
				  .device = RACK_IFACE,
				  .cut = "the node is cut off",
				  .mac_so = "the switch drops what it sends, the node what is sent "
					    "to it"};
	struct doctor_end port = eth0;
	char bridge[IFNAMSIZ];

	port.name = "port";
	port.place = "tor";
	port.device = node->name;
	port.mac_so = "the bridge may keep the node's frames for itself";
	memcpy(eth0.mac, node->mac, 6);
	memcpy(port.mac, node->mac, 6);
	port.mac[0] |= 0x04; /* as in up.c */
	check_node(&eth0, facts);
	if (!doctor_check_device(&port, &facts->port))
		return;
	doctor_check_link(&port, &facts->port);
	snprintf(bridge, sizeof(bridge), "br%u", node->tor);
	doctor_check_port(&port, &facts->port, bridge);
	check_fixed(&port, facts);
	doctor_check_tc(&port, &facts->port, "tor_ingress", all->ingress);
	check_xdp(&port, facts, all);
	check_entry(&port, facts);
}
