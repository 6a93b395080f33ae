// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * What of a node is not as `rack up` made it (up.c), what follows, and the command that mends it.
 * Their order is that in which to mend: a device that is set down, or gets another MAC, forgets
 * its neighbours; a port that leaves the bridge its entry.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_link.h>
#include <stdarg.h>
#include <string.h>

#include "topo/doctor_rack.h"
#include "topo/tors.h"

static const struct {
	const char *key, *found, *so;
} harms[HARM_COUNT] = {
	[HARM_CHECKSUM] = {"checksum_offload", "checksum offload is on",
			   "frames leave with partial checksums: programs pass them by, captures "
			   "show them as wrong"},
	[HARM_VLAN] = {"vlan_offload", "VLAN offload is on",
		       "native XDP does not see the tag of a tagged frame"},
	[HARM_MERGE] = {"segmentation_offload", "segmentation or receive offload is on",
			"frames are merged: programs see what was never on the wire, and generic "
			"XDP stalls TCP"},
};

/* One end of a link, of which something is said. */
struct end {
	struct doctor *d;
	const struct rack *rack;
	const struct rack_node *node;
	const char *name;   /* "eth0", "port" */
	const char *place;  /* whose namespace it is in, as `rack exec` takes it */
	const char *device; /* its name there */
	uint8_t mac[6];	    /* that it should have */
};

__attribute__((format(printf, 3, 4))) static void wrong(const struct end *e, const char *key,
							const char *fmt, ...)
{
	char found[256], what[32];
	va_list args;

	va_start(args, fmt);
	vsnprintf(found, sizeof(found), fmt, args);
	va_end(args);
	snprintf(what, sizeof(what), "%s %s", e->node->name, e->name);
	doctor_add(e->d, DOCTOR_WRONG, key, what, "%s", found);
	doctor_where(e->d, e->node, e->name);
}

/* A command in the end's namespace. */
__attribute__((format(printf, 2, 3))) static void mend(const struct end *e, const char *fmt, ...)
{
	char command[2 * OFFLOADS_MAX];
	va_list args;

	va_start(args, fmt);
	vsnprintf(command, sizeof(command), fmt, args);
	va_end(args);
	doctor_remedy(e->d, "%s exec %s %s -- %s", program_invocation_name, e->rack->name, e->place,
		      command);
}

static const char *mac_text(char buf[18], const uint8_t m[6])
{
	snprintf(buf, 18, "%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4], m[5]);
	return buf;
}

static const char *addr_text(char buf[16], uint32_t addr)
{
	inet_ntop(AF_INET, &addr, buf, 16);
	return buf;
}

/* ---- both ends ---- */

/* False: there is no such device, and no more to say. */
static bool check_end(const struct end *e, const struct end_facts *facts, const char *mac_so)
{
	const struct look_link *link = &facts->link;
	char is[18], want[18];

	if (!link->ifindex) {
		wrong(e, "device_gone", "there is no device");
		doctor_so(e->d, "the node is cut off");
		doctor_remedy(e->d, "%s down %s, and up again", program_invocation_name,
			      e->rack->name);
		return false;
	}
	if (!link->up) {
		wrong(e, "down", "is down");
		doctor_so(e->d, "the node is cut off");
		mend(e, "ip link set %s up", e->device);
	}
	if (memcmp(link->mac, e->mac, 6)) {
		wrong(e, "mac", "MAC %s, not %s", mac_text(is, link->mac), mac_text(want, e->mac));
		doctor_so(e->d, "%s", mac_so);
		mend(e, "ip link set %s address %s", e->device, want);
	}
	if (link->mtu != e->rack->mtu) {
		wrong(e, "mtu", "MTU %u, not %u", link->mtu, e->rack->mtu);
		doctor_so(e->d, "frames of one end are too long for the other, which drops them");
		mend(e, "ip link set %s mtu %u", e->device, e->rack->mtu);
	}
	for (int i = 0; i < HARM_COUNT; i++) {
		if (!facts->on[i][0])
			continue;
		wrong(e, harms[i].key, "%s", harms[i].found);
		doctor_so(e->d, "%s", harms[i].so);
		mend(e, "ethtool -K %s%s", e->device, facts->on[i]);
	}
	return true;
}

/* ---- the node ---- */

static void check_node(const struct end *e, const struct node_facts *facts)
{
	char addr[16], mac[18];

	if (!check_end(e, &facts->eth0,
		       "the switch drops what it sends, the node what is sent to it"))
		return;
	if (!facts->addressed) {
		wrong(e, "address", "has no address %s/%u", addr_text(addr, e->node->addr),
		      e->rack->prefix);
		doctor_so(e->d, "nothing is received");
		mend(e, "ip addr add %s/%u dev %s", addr, e->rack->prefix, e->device);
	}
	for (unsigned int i = 0; i < e->rack->replicas; i++) {
		const struct rack_node *peer = &e->rack->nodes[i];

		if (peer == e->node || facts->neighbour[i])
			continue;
		wrong(e, "neighbour", "no permanent neighbour %s, which is %s",
		      addr_text(addr, peer->addr), peer->name);
		doctor_so(e->d, "frames wait for an answer to ARP; a broadcast is lost meanwhile");
		mend(e, "ip neigh replace %s lladdr %s dev %s nud permanent", addr,
		     mac_text(mac, peer->mac), e->device);
	}
}

/* ---- its port ---- */

bool doctor_is_idle(const struct node_facts *facts)
{
	const struct look_link *port = &facts->port.link;

	return port->up && facts->eth0.link.up && port->master && !port->forwards;
}

static void check_bridge(const struct end *e, const struct node_facts *facts)
{
	const char *so = "group frames, ARP and all that takes the stack's path are lost";
	char mac[18];

	if (facts->port.link.master != tors_bridge(e->node->tor)) {
		wrong(e, "bridge", "is no port of the bridge");
		doctor_so(e->d, "%s", so);
		mend(e, "ip link set %s master br%u", e->device, e->node->tor);
	} else if (doctor_is_idle(facts)) {
		wrong(e, "bridge_state", "the bridge does not forward on it");
		doctor_so(e->d, "%s", so);
		mend(e, "bridge link set dev %s state 3", e->device);
	}
	if (!facts->entry) {
		wrong(e, "bridge_entry", "the bridge has no fixed entry for %s",
		      mac_text(mac, e->node->mac));
		doctor_so(e->d, "frames to the node are flooded, or go to who claims to be it");
		mend(e, "bridge fdb replace %s dev %s master static sticky", mac, e->device);
	}
}

/* In what mode does XDP run, or would it, in the node? */
static bool is_generic(const struct end *e, const struct node_facts *facts)
{
	uint8_t xdp = facts->eth0.link.attached;

	if (xdp == XDP_ATTACHED_DRV || xdp == XDP_ATTACHED_SKB)
		return xdp == XDP_ATTACHED_SKB;
	return e->rack->xdp == RACK_GENERIC && e->node->role == RACK_REPLICA;
}

static void check_programs(const struct end *e, const struct node_facts *facts, uint32_t ingress)
{
	char pin[RACK_PATH_MAX];

	if (facts->filter != ingress) {
		wrong(e, "tc_program", "%s at its TC ingress",
		      facts->filter ? "a program that is not the switch's" : "no program");
		doctor_so(e->d,
			  "nobody judges what the node sends: no antispoof, no faults, and the "
			  "slow path");
		mend(e,
		     "sh -c 'tc qdisc replace dev %s clsact && tc filter replace dev %s ingress "
		     "protocol all prio 1 handle 1 bpf da pinned %s'",
		     e->device, e->device, rack_path(pin, e->rack->name, "bpf/tor/tor_ingress"));
	}
	if (e->node->role == RACK_REPLICA && !is_generic(e, facts) &&
	    facts->port.link.attached != XDP_ATTACHED_DRV) {
		wrong(e, "xdp_pass", "no native XDP program");
		doctor_so(e->d, "acks that the node's program bounces are never delivered");
		mend(e, "bpftool net attach xdpdrv pinned %s dev %s",
		     rack_path(pin, e->rack->name, "bpf/tor/tor_pass"), e->device);
	}
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

static void check_entry(const struct end *e, const struct node_facts *facts)
{
	const struct tor_port *is = &facts->tor;
	bool generic = is_generic(e, facts);
	char key[4 * sizeof(uint32_t) + 1], value[4 * sizeof(*is) + 1], pin[RACK_PATH_MAX];
	struct tor_port want = *is;

	want.addr = e->node->addr;
	memcpy(want.mac, e->node->mac, 6);
	want.flags &= ~(TOR_STACK | TOR_SPOOF); /* the others come and go with rules */
	if (generic)
		want.flags |= TOR_STACK;
	if (e->node->spoof)
		want.flags |= TOR_SPOOF;
	if (!memcmp(is, &want, sizeof(want)))
		return;
	if ((is->flags ^ want.flags) & TOR_STACK) {
		wrong(e, "redirect", "frames to it %s, and its XDP is %s",
		      is->flags & TOR_STACK ? "take the bridge" : "are redirected",
		      generic ? "generic" : "native");
		doctor_so(e->d, generic ? "generic XDP does not run on what TC redirected"
					: "the bridge is slower than a redirect");
	} else {
		wrong(e, "switch_entry", "the switch has another MAC, address or licence to spoof");
		doctor_so(e->d, "its frames are dropped, or anybody's pass");
	}
	mend(e, "bpftool map update pinned %s key%s value%s",
	     rack_path(pin, e->rack->name, "bpf/tor/tor_ports"),
	     bytes_text(key, &e->node->index, sizeof(uint32_t)),
	     bytes_text(value, &want, sizeof(want)));
}

void doctor_findings(struct doctor *d, const struct rack *rack, const struct rack_node *node,
		     const struct node_facts *facts, uint32_t ingress)
{
	struct end eth0 = {d, rack, node, RACK_IFACE, node->name, RACK_IFACE, {0}};
	struct end port = {d, rack, node, "port", "tor", node->name, {0}};

	memcpy(eth0.mac, node->mac, 6);
	memcpy(port.mac, node->mac, 6);
	port.mac[0] |= 0x04; /* as in up.c */
	check_node(&eth0, facts);
	if (!check_end(&port, &facts->port, "the bridge may keep the node's frames for itself"))
		return;
	check_bridge(&port, facts);
	check_programs(&port, facts, ingress);
	check_entry(&port, facts);
}
