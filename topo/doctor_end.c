// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* What can be wrong with any end of a link, node's or ToR's: what follows, and what mends it. */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <linux/if_link.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

#include "topo/doctor_rack.h"

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

/* Of a port of a bridge, as bridge(8) names them. */
static const struct {
	int bit;
	const char *name;
	bool on;
	const char *so;
} flags[] = {
	{IFLA_BRPORT_ISOLATED, "isolated", false, "isolated ports do not reach each other"},
	{IFLA_BRPORT_LOCKED, "locked", false, "the bridge drops senders that it does not know"},
	{IFLA_BRPORT_NEIGH_SUPPRESS, "neigh_suppress", false, "ARP requests are not sent there"},
	{IFLA_BRPORT_MODE, "hairpin", false, "what is flooded comes back to who sent it"},
	{IFLA_BRPORT_UNICAST_FLOOD, "flood", true,
	 "frames for who is not known yet are not sent there"},
	{IFLA_BRPORT_MCAST_FLOOD, "mcast_flood", true, "multicast is not sent there"},
	{IFLA_BRPORT_BCAST_FLOOD, "bcast_flood", true, "broadcasts, like ARP, are not sent there"},
};

void doctor_wrong(const struct doctor_end *e, const char *key, const char *fmt, ...)
{
	char found[256], what[32];
	va_list args;

	va_start(args, fmt);
	vsnprintf(found, sizeof(found), fmt, args);
	va_end(args);
	snprintf(what, sizeof(what), "%s %s", e->node ? e->node->name : "tor", e->name);
	doctor_add(e->d, DOCTOR_WRONG, key, what, "%s", found);
	doctor_where(e->d, e->node, e->name);
}

void doctor_mend(const struct doctor_end *e, const char *fmt, ...)
{
	char command[2 * OFFLOADS_MAX];
	va_list args;

	va_start(args, fmt);
	vsnprintf(command, sizeof(command), fmt, args);
	va_end(args);
	doctor_remedy(e->d, "%s exec %s %s -- %s", program_invocation_name, e->rack->name, e->place,
		      command);
}

const char *doctor_mac(char buf[DOCTOR_MAC_MAX], const uint8_t m[6])
{
	snprintf(buf, DOCTOR_MAC_MAX, "%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4],
		 m[5]);
	return buf;
}

const char *doctor_addr(char buf[DOCTOR_ADDR_MAX], uint32_t addr)
{
	inet_ntop(AF_INET, &addr, buf, DOCTOR_ADDR_MAX);
	return buf;
}

/* ---- the device ---- */

/* The rack's own description goes with it, so it is kept meanwhile. */
static void rebuild(const struct doctor_end *e)
{
	const char *command = program_invocation_name, *name = e->rack->name;
	char file[RACK_PATH_MAX];

	doctor_remedy(e->d,
		      "file=$(mktemp) && cp %s $file && %s down %s && %s up $file && rm $file",
		      rack_path(file, name, "rack.yaml"), command, name, command);
}

bool doctor_check_device(const struct doctor_end *e, const struct end_facts *facts)
{
	if (!facts->link.ifindex) {
		doctor_wrong(e, "device_gone", "there is no device %s", e->device);
		doctor_so(e->d, "%s", e->cut);
		rebuild(e);
		return false;
	}
	if (!facts->link.up) {
		doctor_wrong(e, "down", "is down");
		doctor_so(e->d, "%s", e->cut);
		doctor_mend(e, "ip link set %s up", e->device);
	}
	return true;
}

void doctor_check_link(const struct doctor_end *e, const struct end_facts *facts)
{
	const struct look_link *link = &facts->link;
	char is[DOCTOR_MAC_MAX], want[DOCTOR_MAC_MAX];

	if (memcmp(link->mac, e->mac, 6)) {
		doctor_wrong(e, "mac", "MAC %s, not %s", doctor_mac(is, link->mac),
			     doctor_mac(want, e->mac));
		doctor_so(e->d, "%s", e->mac_so);
		doctor_mend(e, "ip link set %s address %s", e->device, want);
	}
	if (link->mtu != e->rack->mtu) {
		doctor_wrong(e, "mtu", "MTU %u, not %u", link->mtu, e->rack->mtu);
		doctor_so(e->d, "frames of one end are too long for the other, which drops them");
		doctor_mend(e, "ip link set %s mtu %u", e->device, e->rack->mtu);
	}
	if (link->up && strcmp(link->qdisc, "noqueue")) {
		doctor_wrong(e, "qdisc", "queues by %s", link->qdisc);
		doctor_so(e->d, "frames wait, or are lost, where no counter of the rack shows it");
		doctor_mend(e, "tc qdisc del dev %s root", e->device);
	}
	for (int i = 0; i < HARM_COUNT; i++) {
		if (!facts->on[i][0])
			continue;
		doctor_wrong(e, harms[i].key, "%s", harms[i].found);
		doctor_so(e->d, "%s", harms[i].so);
		doctor_mend(e, "ethtool -K %s%s", e->device, facts->on[i]);
	}
}

/* ---- a port of a bridge ---- */

static bool is_member(const struct end_facts *port)
{
	return port->link.master == port->bridge->link.ifindex;
}

bool doctor_is_idle(const struct end_facts *port)
{
	return port->link.up && (!port->peer || port->peer->link.up) && port->bridge->link.up &&
	       is_member(port) && !port->link.forwards;
}

void doctor_check_port(const struct doctor_end *e, const struct end_facts *facts,
		       const char *bridge)
{
	const char *so = "group frames, ARP and all that takes the stack's path are lost";

	if (!facts->bridge->link.ifindex)
		return; /* that is said of the bridge */
	if (!is_member(facts)) {
		doctor_wrong(e, "bridge", "is no port of the bridge %s", bridge);
		doctor_so(e->d, "%s", so);
		doctor_mend(e, "ip link set %s master %s", e->device, bridge);
		return;
	}
	if (doctor_is_idle(facts)) {
		doctor_wrong(e, "bridge_state", "the bridge does not forward on it");
		doctor_so(e->d, "%s", so);
		doctor_mend(e, "bridge link set dev %s state 3", e->device);
	}
	for (size_t i = 0; i < sizeof(flags) / sizeof(*flags); i++) {
		const char *want = flags[i].on ? "on" : "off";

		if ((facts->link.port_on >> flags[i].bit & 1) == flags[i].on)
			continue;
		doctor_wrong(e, "bridge_flag", "%s is %s in the bridge, not %s", flags[i].name,
			     flags[i].on ? "off" : "on", want);
		doctor_so(e->d, "%s", flags[i].so);
		doctor_mend(e, "bridge link set dev %s %s %s", e->device, flags[i].name, want);
	}
}

/* ---- programs ---- */

#define LINK_TCX 11 /* BPF_LINK_TYPE_TCX; Debian 12's headers are older */

/* The BPF link that holds a program at a device: netlink cannot take its place. 0: none does. */
static uint32_t link_of(unsigned int type, uint32_t program, int ifindex)
{
	uint32_t id = 0;

	while (!bpf_link_get_next_id(id, &id)) {
		struct bpf_link_info info = {0};
		uint32_t len = sizeof(info);
		int fd = bpf_link_get_fd_by_id(id);
		/* Of both types the device stands first. */
		bool held = fd >= 0 && !bpf_obj_get_info_by_fd(fd, &info, &len) &&
			    info.type == type && info.prog_id == program &&
			    (int)info.xdp.ifindex == ifindex;

		if (fd >= 0)
			close(fd);
		if (held)
			return id;
	}
	return 0;
}

/* They run before those of a clsact. */
static void check_tcx(const struct doctor_end *e, const struct end_facts *facts)
{
	static const char *const sides[] = {"ingress", "egress"};

	for (int i = 0; i < 2; i++) {
		uint32_t id = facts->tcx[i], held;

		if (!id)
			continue;
		doctor_wrong(e, "tcx_program", "a tcx program at its %s, where the switch has none",
			     sides[i]);
		doctor_so(e->d, "it may drop or change frames unseen by the switch");
		held = link_of(LINK_TCX, id, facts->link.ifindex);
		if (held)
			doctor_mend(e, "bpftool link detach id %u", held);
		else /* older tools cannot detach it */
			rebuild(e);
	}
}

void doctor_check_tc(const struct doctor_end *e, const struct end_facts *facts, const char *name,
		     uint32_t id)
{
	char pin[RACK_PATH_MAX];

	if (facts->ingress != id) {
		doctor_wrong(e, "tc_program", "%s at its TC ingress",
			     facts->ingress ? "a program that is not the switch's" : "no program");
		doctor_so(e->d, e->node ? "nobody judges what the node sends: no antispoof, no "
					  "faults, and the slow path"
					: "the bridges flood it, and what faults made for one node "
					  "goes to all");
		doctor_mend(e,
			    "sh -c 'tc qdisc replace dev %s clsact && tc filter del dev %s ingress "
			    "&& tc filter add dev %s ingress protocol all prio 1 handle 1 bpf da "
			    "pinned %s'",
			    e->device, e->device, e->device,
			    rack_path(pin, e->rack->name, "bpf/tor/%s", name));
	}
	if (facts->egress) {
		doctor_wrong(e, "tc_egress",
			     "a program at its TC egress, where the switch has none");
		doctor_so(e->d, "it may drop or change what the switch has sent");
		doctor_mend(e, "tc filter del dev %s egress", e->device);
	}
	check_tcx(e, facts);
}

void doctor_mend_xdp(const struct doctor_end *e, const struct look_link *link, const char *name,
		     bool generic)
{
	static const char *const modes[] = {"xdpdrv", "xdpgeneric"};
	bool is_generic = link->attached == XDP_ATTACHED_SKB;
	uint32_t held = link->xdp ? link_of(BPF_LINK_TYPE_XDP, link->xdp, link->ifindex) : 0;
	char detach[64], pin[RACK_PATH_MAX];

	if (held)
		snprintf(detach, sizeof(detach), "bpftool link detach id %u", held);
	else
		snprintf(detach, sizeof(detach), "bpftool net detach %s dev %s", modes[is_generic],
			 e->device);
	if (name)
		rack_path(pin, e->rack->name, "bpf/tor/%s", name);
	if (!name)
		doctor_mend(e, "%s", detach);
	else if (held || (link->attached && is_generic != generic)) /* both at a time: refused */
		doctor_mend(e, "sh -c '%s && bpftool net attach %s pinned %s dev %s'", detach,
			    modes[generic], pin, e->device);
	else
		doctor_mend(e, "bpftool net attach %s pinned %s dev %s%s", modes[generic], pin,
			    e->device, link->attached ? " overwrite" : "");
}
