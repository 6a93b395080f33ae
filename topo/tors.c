// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "topo/tors.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "bpf/tor.h"
#include "topo/private.h"

#define VXLAN_PORT 4789 /* IANA's */
#define VXLAN_ID_MAX ((1u << 24) - 1)
#define NOWHERE UINT32_MAX /* a node that no ToR has named yet */

/* ---- the description ---- */

bool tors_stretched(const struct rack_file *file)
{
	return file->tors_count && file->tors[0].host;
}

static int assign(struct rack *rack, const char *path, const char *text, unsigned int tor)
{
	char first[8], last[8];
	const char *end = text;
	struct rack_node *from, *to;
	int used = 0;

	if (sscanf(text, "%7[a-z0-9]%n", first, &used) != 1)
		return rack_wrong(path, "tors", "'%.20s' is no node", text);
	memcpy(last, first, sizeof(last));
	end += used;
	if (*end == '-' && sscanf(end + 1, "%7[a-z0-9]%n", last, &used) == 1)
		end += 1 + used;
	from = rack_node(rack, first);
	to = rack_node(rack, last);
	if (*end || !from || !to || from->role != to->role || from > to)
		return rack_wrong(path, "tors",
				  "'%.20s' is neither a node of this rack nor a range of them, "
				  "like c0-c9",
				  text);
	for (; from <= to; from++) {
		if (from->tor != NOWHERE)
			return rack_wrong(path, "tors", "%s is behind ToR %u and ToR %u",
					  from->name, from->tor, tor);
		from->tor = tor;
	}
	return 0;
}

/* One ToR that names no nodes has all that the others do not. */
static int assign_all(struct rack *rack, const char *path)
{
	const struct rack_file *file = rack->file;
	unsigned int rest = NOWHERE;

	for (unsigned int i = 0; i < rack->count; i++)
		rack->nodes[i].tor = NOWHERE;
	for (unsigned int t = 0; t < rack->tors; t++) {
		const struct rack_file_tor *tor = &file->tors[t];

		if (!tor->nodes_count && rest != NOWHERE)
			return rack_wrong(path, "tors",
					  "ToR %u and ToR %u name no nodes: one of them can have "
					  "the rest",
					  rest, t);
		if (!tor->nodes_count)
			rest = t;
		for (unsigned int i = 0; i < tor->nodes_count; i++) {
			if (assign(rack, path, tor->nodes[i], t))
				return -1;
		}
	}
	for (unsigned int i = 0; i < rack->count; i++) {
		struct rack_node *node = &rack->nodes[i];

		if (node->tor == NOWHERE && rest == NOWHERE)
			return rack_wrong(path, "tors", "%s is behind none of them", node->name);
		if (node->tor == NOWHERE)
			node->tor = rest;
	}
	return 0;
}

/* The device of this host that has the address; ifa_name "" when none has. */
static void device_of(uint32_t addr, char name[IF_NAMESIZE])
{
	struct ifaddrs *all = NULL, *one;

	name[0] = '\0';
	if (getifaddrs(&all))
		return;
	for (one = all; one; one = one->ifa_next) {
		if (one->ifa_addr && one->ifa_addr->sa_family == AF_INET &&
		    ((struct sockaddr_in *)one->ifa_addr)->sin_addr.s_addr == addr)
			snprintf(name, IF_NAMESIZE, "%s", one->ifa_name);
	}
	freeifaddrs(all);
}

static int read_hosts(struct rack *rack, const char *path)
{
	const struct rack_file *file = rack->file;
	char device[IF_NAMESIZE];
	struct in_addr addr;

	for (unsigned int t = 0; t < rack->tors; t++) {
		const char *host = file->tors_count ? file->tors[t].host : NULL;

		if (!host != !rack->stretched)
			return rack_wrong(path, "tors", "all of them name a host, or none does");
		if (host && (inet_pton(AF_INET, host, &addr) != 1 || !addr.s_addr ||
			     IN_MULTICAST(ntohl(addr.s_addr)) || addr.s_addr == INADDR_NONE))
			return rack_wrong(path, "host", "'%.40s' is no IPv4 address of a host",
					  host);
		rack->tor[t].here = !host;
		if (!host)
			continue;
		device_of(addr.s_addr, device);
		rack->tor[t].host = addr.s_addr;
		rack->tor[t].here = device[0];
	}
	return 0;
}

int tors_read(struct rack *rack, const char *path)
{
	const struct rack_file_vxlan *vxlan = &rack->file->vxlan;

	rack->stretched = tors_stretched(rack->file);
	if ((vxlan->id || vxlan->port) && !rack->stretched)
		return rack_wrong(path, "vxlan",
				  "joins ToRs of several hosts, but no ToR has a host");
	if (vxlan->id > VXLAN_ID_MAX)
		return rack_wrong(path, "id", "%u is more than %u", vxlan->id, VXLAN_ID_MAX);
	if (vxlan->port > UINT16_MAX)
		return rack_wrong(path, "port", "%u is more than %u", vxlan->port, UINT16_MAX);
	rack->vxlan_id = vxlan->id ?: rack_hash(rack->name) & VXLAN_ID_MAX;
	rack->vxlan_port = vxlan->port ?: VXLAN_PORT;
	if ((rack->file->tors_count && assign_all(rack, path)) || read_hosts(rack, path))
		return -1;
	for (unsigned int i = 0; i < rack->count; i++)
		rack->nodes[i].here = rack->tor[rack->nodes[i].tor].here;
	return 0;
}

/* ---- this host ---- */

static int check_mtu(const struct rack *rack, const struct rack_tor *tor)
{
	struct ifreq ifr = {};
	char dotted[16];
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), ret;

	device_of(tor->host, ifr.ifr_name);
	ret = fd < 0 ? -1 : ioctl(fd, SIOCGIFMTU, &ifr);
	if (fd >= 0)
		close(fd);
	if (ret)
		return rack_say("cannot ask %s for its MTU: %s", ifr.ifr_name, strerror(errno));
	if (rack->mtu + VXLAN_BYTES <= (unsigned int)ifr.ifr_mtu)
		return 0;
	return rack_say("mtu %u of %s and VXLAN's %d bytes are more than the %d of %s (%s): at "
			"most `link: {mtu: %d}`",
			rack->mtu, rack->name, VXLAN_BYTES, ifr.ifr_mtu, ifr.ifr_name,
			inet_ntop(AF_INET, &tor->host, dotted, sizeof(dotted)),
			ifr.ifr_mtu - VXLAN_BYTES);
}

int tors_check(const struct rack *rack)
{
	const struct rack_tor *ours = NULL;

	if (!rack->stretched)
		return 0;
	for (unsigned int t = 0; t < rack->tors; t++) {
		if (!rack->tor[t].here)
			continue;
		if (ours && ours->host != rack->tor[t].host)
			return rack_say("two addresses that ToRs of %s have as their host are both "
					"of this host: name it by one",
					rack->name);
		ours = &rack->tor[t];
	}
	if (!ours)
		return rack_say("no ToR of %s is on this host: none of their hosts is an address "
				"of it",
				rack->name);
	return check_mtu(rack, ours);
}

/* ---- the devices ---- */

int tors_bridge(unsigned int tor)
{
	return tor ? (int)(TOR_BRIDGES_IFINDEX + tor) : TOR_BRIDGE_IFINDEX;
}

bool tors_first(const struct rack *rack, unsigned int tor)
{
	for (unsigned int t = 0; t < tor; t++) {
		if (rack->tor[t].host == rack->tor[tor].host)
			return false;
	}
	return true;
}

static void describe(struct tors_device *device, const struct rack *rack, enum tors_kind kind,
		     unsigned int tor)
{
	static const struct {
		const char *name;
		int ifindex;
		uint8_t mac; /* above every node's index */
	} of[] = {
		[TORS_BRIDGE] = {"br%u", 0, 0xfe},
		[TORS_SPINE] = {"spine", TOR_SPINE_BRIDGE_IFINDEX, 0xff},
		[TORS_UP] = {"up%u", TOR_UPLINK_IFINDEX, 0xfd},
		[TORS_DOWN] = {"down%u", TOR_SPINE_IFINDEX, 0xfc},
		[TORS_VXLAN] = {"vxlan", TOR_VXLAN_IFINDEX, 0xfb},
	};

	*device = (struct tors_device){.kind = kind, .tor = tor};
	snprintf(device->name, sizeof(device->name), of[kind].name, tor);
	device->ifindex = kind == TORS_BRIDGE ? tors_bridge(tor) : of[kind].ifindex + (int)tor;
	memcpy(device->mac, rack->nodes[0].mac, 6);
	device->mac[0] |= 0x04; /* like the ports': not a node's */
	device->mac[4] = of[kind].mac;
	device->mac[5] = tor;
	if (kind == TORS_UP)
		device->bridge = tors_bridge(tor);
	else if (kind == TORS_DOWN || kind == TORS_VXLAN)
		device->bridge = TOR_SPINE_BRIDGE_IFINDEX;
}

unsigned int tors_devices(const struct rack *rack, struct tors_device devices[TORS_DEVICES_MAX])
{
	static const enum tors_kind each[] = {TORS_BRIDGE, TORS_UP, TORS_DOWN};
	bool spine = rack->file->tors_count;
	unsigned int count = 0;

	if (spine)
		describe(&devices[count++], rack, TORS_SPINE, 0);
	for (unsigned int t = 0; t < rack->tors; t++) {
		for (int i = 0; i < (spine ? 3 : 1) && rack->tor[t].here; i++)
			describe(&devices[count++], rack, each[i], t);
	}
	if (rack->stretched)
		describe(&devices[count++], rack, TORS_VXLAN, 0);
	return count;
}

static void add_uplink(const struct rack *rack, struct rtnl *r, const struct tors_device *up,
		       const struct tors_device *down, int program)
{
	struct rtnl_veth_end end = {.name = up->name,
				    .ifindex = up->ifindex,
				    .group = RACK_PORT_GROUP,
				    .bridge = up->bridge};
	struct rtnl_veth_end peer = {
		.name = down->name, .ifindex = down->ifindex, .group = RACK_PORT_GROUP};

	memcpy(end.mac, up->mac, 6);
	memcpy(peer.mac, down->mac, 6);
	rtnl_veth_add(r, &end, &peer, rack->mtu);
	rtnl_clsact_add(r, up->ifindex);
	rtnl_ingress_add(r, up->ifindex, program, "tor_uplink");
	rtnl_clsact_add(r, down->ifindex);
	rtnl_ingress_add(r, down->ifindex, program, "tor_uplink");
	rtnl_port_up(r, down->ifindex, down->bridge);
}

static int settle(struct rtnl *r, const struct features *features, const char *name)
{
	int ret = features_off(features, rtnl_fd(r), name) ?: link_settle(rtnl_fd(r), name);

	return ret ? rack_say("tor: cannot switch off offloads of %s: %s", name, strerror(-ret))
		   : 0;
}

/* Its socket is the host's, though it is itself in the ToRs' namespace, which the caller is in. */
static int add_vxlan(const struct rack *rack, struct rtnl *r, struct rtnl *host,
		     const struct features *features, const struct tors_device *device, int program)
{
	struct rtnl_vxlan vxlan = {.name = device->name,
				   .ifindex = device->ifindex,
				   .group = RACK_PORT_GROUP,
				   .id = rack->vxlan_id,
				   .port = rack->vxlan_port};
	int ret;

	for (unsigned int t = 0; t < rack->tors; t++) {
		if (rack->tor[t].here)
			vxlan.local = rack->tor[t].host;
	}
	memcpy(vxlan.mac, device->mac, 6);
	rtnl_vxlan_add(host, &vxlan, rack->mtu);
	if (rtnl_commit(host))
		return rack_say("vxlan: %s", rtnl_error(host));
	for (unsigned int t = 0; t < rack->tors; t++) {
		if (!rack->tor[t].here && tors_first(rack, t))
			rtnl_vxlan_dst(r, TOR_VXLAN_IFINDEX, NULL, rack->tor[t].host);
	}
	for (unsigned int i = 0; i < rack->count; i++) {
		const struct rack_node *node = &rack->nodes[i];

		if (!node->here)
			rtnl_vxlan_dst(r, TOR_VXLAN_IFINDEX, node->mac, rack->tor[node->tor].host);
	}
	rtnl_clsact_add(r, TOR_VXLAN_IFINDEX);
	rtnl_ingress_add(r, TOR_VXLAN_IFINDEX, program, "tor_uplink");
	rtnl_port_up(r, TOR_VXLAN_IFINDEX, device->bridge);
	if (rtnl_commit(r))
		return rack_say("tor: %s", rtnl_error(r));
	ret = features_off(features, rtnl_fd(r), vxlan.name);
	return ret ? rack_say("tor: cannot switch off offloads of vxlan: %s", strerror(-ret)) : 0;
}

int tors_build(const struct rack *rack, struct rtnl *r, struct rtnl *host,
	       const struct features *features, int program)
{
	struct tors_device devices[TORS_DEVICES_MAX];
	unsigned int count = tors_devices(rack, devices);
	int ret = 0;

	for (unsigned int i = 0; i < count; i++) {
		const struct tors_device *device = &devices[i];

		if (!device->bridge)
			rtnl_bridge_add(r, device->name, device->ifindex, device->mac);
		else if (device->kind == TORS_UP)
			add_uplink(rack, r, device, device + 1, program);
	}
	if (rtnl_commit(r))
		return rack_say("tor: %s", rtnl_error(r));
	for (unsigned int i = 0; i < count && !ret; i++) {
		const struct tors_device *device = &devices[i];

		if (device->kind == TORS_VXLAN)
			ret = add_vxlan(rack, r, host, features, device, program);
		else if (device->bridge)
			ret = settle(r, features, device->name);
	}
	return ret;
}
