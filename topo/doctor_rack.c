// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * A rack that is up, against its description: what `rack up` made (up.c) and somebody changed.
 *
 *   node [eth0]=========[port] switch      both ends of each link; then what each has of its own
 *
 * What the kernel has is read through netlink, ethtool and the pinned maps. Each finding comes
 * with the command that mends it. Their order is that in which to mend: a device that is set
 * down, or gets another MAC, forgets its neighbours; a port that leaves the bridge its entry.
 */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <linux/if_link.h>
#include <poll.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bpf/tor.h"
#include "netns/look.h"
#include "netns/ns.h"
#include "netns/rtnl.h"
#include "topo/doctor.h"

#define OFFLOADS_MAX 512 /* characters of a list of switches */
#define IDLE_MS 1500	 /* for ports that are up to forward */
#define LOOK_MS 10

/* What the offloads that somebody switched on do to a rack. */
enum harm { HARM_CHECKSUM, HARM_VLAN, HARM_MERGE, HARM_COUNT };

static const struct {
	const char *key, *so;
} harms[HARM_COUNT] = {
	[HARM_CHECKSUM] = {"checksum_offload",
			   "frames leave with partial checksums: programs pass them, captures show "
			   "them as wrong"},
	[HARM_VLAN] = {"vlan_offload", "native XDP does not see the tag of a tagged frame"},
	[HARM_MERGE] =
		{"segmentation_offload",
		 "frames are merged: programs see what was never on the wire, and generic XDP "
		 "stalls TCP"},
};

struct node_facts {
	struct look_link eth0, port; /* ifindex 0: there is none */
	bool addressed, entry;	     /* entry: the bridge knows its MAC */
	bool *neighbour;	     /* one for each replica */
	uint32_t filter;	     /* the first program at the port's ingress, or 0 */
};

struct look {
	struct doctor *d;
	const struct rack *rack;
	const struct rack_node *node;
	const char *end; /* "eth0" or "port" */
	struct features *features;
	struct rtnl *tor;		/* in the switch's namespace */
	struct node_facts *facts, *now; /* of all nodes; of `node` */
	int ports;			/* tor_ports */
	uint32_t ingress;		/* id of tor_ingress */
	char on[HARM_COUNT][OFFLOADS_MAX];
};

/* ---- saying ---- */

/* The name of a command that works in the end's namespace and calls it by its name there. */
static const char *place(const struct look *l)
{
	return !strcmp(l->end, "port") ? "tor" : l->node->name;
}

static const char *device(const struct look *l)
{
	return !strcmp(l->end, "port") ? l->node->name : RACK_IFACE;
}

__attribute__((format(printf, 3, 4))) static void wrong(struct look *l, const char *key,
							const char *fmt, ...)
{
	char found[OFFLOADS_MAX + 128], what[32];
	va_list args;

	va_start(args, fmt);
	vsnprintf(found, sizeof(found), fmt, args);
	va_end(args);
	snprintf(what, sizeof(what), "%s %s", l->node->name, l->end);
	doctor_add(l->d, DOCTOR_WRONG, key, what, "%s", found);
	doctor_where(l->d, l->node, l->end);
}

/* A command in the end's namespace. */
__attribute__((format(printf, 2, 3))) static void mend(struct look *l, const char *fmt, ...)
{
	char command[2 * OFFLOADS_MAX];
	va_list args;

	va_start(args, fmt);
	vsnprintf(command, sizeof(command), fmt, args);
	va_end(args);
	doctor_remedy(l->d, "%s exec %s %s -- %s", program_invocation_name, l->rack->name, place(l),
		      command);
}

static int blind(const struct look *l, const char *what, int error)
{
	return rack_say("%s: cannot look at %s: %s", l->node ? l->node->name : "tor", what,
			strerror(-error));
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

static void on_feature(void *arg, const struct feature *f)
{
	struct look *l = arg;
	enum harm harm = strstr(f->name, "checksum") ? HARM_CHECKSUM
			 : strstr(f->name, "vlan")   ? HARM_VLAN
						     : HARM_MERGE;
	size_t len = strlen(l->on[harm]);

	/* Native XDP on veth switches GRO on by itself (veth_enable_xdp), unasked. */
	if (f->offload && f->on && f->asked)
		snprintf(l->on[harm] + len, OFFLOADS_MAX - len, " %s off", f->name);
}

static int check_offloads(struct look *l)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), ret;

	memset(l->on, 0, sizeof(l->on));
	ret = fd < 0 ? -errno : features_each(l->features, fd, device(l), on_feature, l);
	if (fd >= 0)
		close(fd);
	if (ret)
		return blind(l, "its offloads", ret);
	for (int i = 0; i < HARM_COUNT; i++) {
		if (!l->on[i][0])
			continue;
		wrong(l, harms[i].key, "offloads are on that must be off");
		doctor_so(l->d, "%s", harms[i].so);
		mend(l, "ethtool -K %s%s", device(l), l->on[i]);
	}
	return 0;
}

/* 1: there is no such device. */
static int check_end(struct look *l, const struct look_link *link)
{
	uint8_t mac[6];
	char is[18], want[18];

	if (!link->ifindex) {
		wrong(l, "device_gone", "there is no device");
		doctor_so(l->d, "the node is cut off");
		doctor_remedy(l->d, "%s down %s, and up again", program_invocation_name,
			      l->rack->name);
		return 1;
	}
	if (!link->up) {
		wrong(l, "down", "is down");
		doctor_so(l->d, "the node is cut off");
		mend(l, "ip link set %s up", device(l));
	}
	memcpy(mac, l->node->mac, 6);
	if (!strcmp(l->end, "port"))
		mac[0] |= 0x04; /* as in up.c */
	if (memcmp(link->mac, mac, 6)) {
		wrong(l, "mac", "MAC %s, not %s", mac_text(is, link->mac), mac_text(want, mac));
		doctor_so(l->d,
			  !strcmp(l->end, "port")
				  ? "the bridge may keep the node's frames for itself"
				  : "the switch drops what it sends, the node what is sent to it");
		mend(l, "ip link set %s address %s", device(l), want);
	}
	if (link->mtu != l->rack->mtu) {
		wrong(l, "mtu", "MTU %u, not %u", link->mtu, l->rack->mtu);
		doctor_so(l->d, "frames of one end are too long for the other, which drops them");
		mend(l, "ip link set %s mtu %u", device(l), l->rack->mtu);
	}
	return check_offloads(l);
}

/* ---- a node ---- */

static void on_eth0(void *arg, const struct look_link *link)
{
	struct look *l = arg;

	if (link->ifindex == l->node->ifindex && !strcmp(link->name, RACK_IFACE))
		l->now->eth0 = *link;
}

static void on_prefix(void *arg, const char *kind, uint32_t prefix, unsigned int bits, int ifindex)
{
	struct look *l = arg;

	if (!strcmp(kind, "address") && prefix == l->node->addr && bits == l->rack->prefix &&
	    ifindex == l->node->ifindex)
		l->now->addressed = true;
}

static void on_neighbour(void *arg, const struct look_neighbour *neigh)
{
	struct look *l = arg;

	for (unsigned int i = 0; i < l->rack->replicas; i++) {
		const struct rack_node *peer = &l->rack->nodes[i];

		if (neigh->addr == peer->addr && neigh->fixed && !memcmp(neigh->mac, peer->mac, 6))
			l->now->neighbour[i] = true;
	}
}

static void check_neighbours(struct look *l)
{
	char addr[16], mac[18];

	for (unsigned int i = 0; i < l->rack->replicas; i++) {
		const struct rack_node *peer = &l->rack->nodes[i];

		if (peer == l->node || l->now->neighbour[i])
			continue;
		wrong(l, "neighbour", "no permanent neighbour %s, which is %s",
		      addr_text(addr, peer->addr), peer->name);
		doctor_so(l->d,
			  "frames wait for an answer to ARP, and a broadcast is lost meanwhile");
		mend(l, "ip neigh replace %s lladdr %s dev %s nud permanent", addr,
		     mac_text(mac, peer->mac), RACK_IFACE);
	}
}

static int check_node(struct look *l)
{
	struct rtnl *r;
	int ret = rtnl_open(&r);
	char addr[16];

	l->end = RACK_IFACE;
	if (!ret)
		ret = look_links(r, on_eth0, l)
			      ?: rtnl_prefixes(r, on_prefix, l) ?: look_neighbours(r, on_neighbour, l);
	rtnl_close(r);
	if (ret)
		return blind(l, "its namespace", ret);
	ret = check_end(l, &l->now->eth0);
	if (ret)
		return ret > 0 ? 0 : ret;
	if (!l->now->addressed) {
		wrong(l, "address", "has no address %s/%u", addr_text(addr, l->node->addr),
		      l->rack->prefix);
		doctor_so(l->d, "nothing is received");
		mend(l, "ip addr add %s/%u dev %s", addr, l->rack->prefix, RACK_IFACE);
	}
	check_neighbours(l);
	return 0;
}

/* ---- a port ---- */

static void on_port(void *arg, const struct look_link *link)
{
	struct look *l = arg;
	unsigned int i = link->ifindex - TOR_IFINDEX;

	if (i < l->rack->count && !strcmp(link->name, l->rack->nodes[i].name))
		l->facts[i].port = *link;
}

static void on_entry(void *arg, const struct look_neighbour *entry)
{
	struct look *l = arg;
	unsigned int i = entry->ifindex - TOR_IFINDEX;

	if (i < l->rack->count && entry->fixed && entry->sticky &&
	    !memcmp(entry->mac, l->rack->nodes[i].mac, 6))
		l->facts[i].entry = true;
}

/* Of two ends that are up. */
static bool is_idle(const struct node_facts *facts)
{
	return facts->port.up && facts->eth0.up && facts->port.master && !facts->port.forwards;
}

static void check_bridge(struct look *l)
{
	const struct look_link *port = &l->now->port;
	char mac[18];

	if (port->master != TOR_BRIDGE_IFINDEX) {
		wrong(l, "bridge", "is no port of the bridge");
		doctor_so(l->d, "group frames, ARP and all that takes the stack's path are lost");
		mend(l, "ip link set %s master br0", device(l));
	} else if (is_idle(l->now)) {
		wrong(l, "bridge_state", "the bridge does not forward on it");
		doctor_so(l->d, "group frames, ARP and all that takes the stack's path are lost");
		mend(l, "bridge link set dev %s state 3", device(l));
	}
	if (!l->now->entry) {
		wrong(l, "bridge_entry", "the bridge has no fixed entry for %s",
		      mac_text(mac, l->node->mac));
		doctor_so(l->d,
			  "frames to the node are flooded, or go where somebody claims to be it");
		mend(l, "bridge fdb replace %s dev %s master static sticky", mac, device(l));
	}
}

/* In what mode does XDP run, or would it, in the node? */
static bool is_generic(const struct look *l)
{
	uint8_t xdp = l->now->eth0.attached;

	if (xdp == XDP_ATTACHED_DRV || xdp == XDP_ATTACHED_SKB)
		return xdp == XDP_ATTACHED_SKB;
	return l->rack->xdp == RACK_GENERIC && l->node->role == RACK_REPLICA;
}

static void check_programs(struct look *l)
{
	const char *name = l->rack->name;
	char pin[RACK_PATH_MAX];

	if (l->now->filter != l->ingress) {
		wrong(l, "tc_program", "%s at its TC ingress",
		      l->now->filter ? "a program that is not the switch's" : "no program");
		doctor_so(l->d,
			  "nobody judges what the node sends: no antispoof, no faults, and the "
			  "slow path");
		mend(l,
		     "sh -c 'tc qdisc replace dev %s clsact && tc filter replace dev %s ingress "
		     "protocol all prio 1 handle 1 bpf da pinned %s'",
		     device(l), device(l), rack_path(pin, name, "bpf/tor/tor_ingress"));
	}
	if (l->node->role == RACK_REPLICA && !is_generic(l) &&
	    l->now->port.attached != XDP_ATTACHED_DRV) {
		wrong(l, "xdp_pass", "no native XDP program");
		doctor_so(l->d, "acks that the node's program bounces are never delivered");
		mend(l, "bpftool net attach xdpdrv pinned %s dev %s",
		     rack_path(pin, name, "bpf/tor/tor_pass"), device(l));
	}
}

/* What the switch's map says of the node: its MAC and address, and the path to it. */
static int check_entry(struct look *l)
{
	struct tor_port is, want;
	const uint8_t *k = (const void *)&l->node->index, *v = (const void *)&want;
	char key[32] = "", value[64] = "", pin[RACK_PATH_MAX];

	if (bpf_map_lookup_elem(l->ports, &l->node->index, &is))
		return blind(l, "the switch's map tor_ports", -errno);
	want = is;
	want.addr = l->node->addr;
	memcpy(want.mac, l->node->mac, 6);
	want.flags &= ~(TOR_STACK | TOR_SPOOF);
	if (is_generic(l))
		want.flags |= TOR_STACK;
	if (l->node->spoof)
		want.flags |= TOR_SPOOF;
	if (!memcmp(&is, &want, sizeof(is)))
		return 0;
	if ((is.flags ^ want.flags) & TOR_STACK) {
		wrong(l, "redirect", "frames to it %s, and its XDP is %s",
		      is.flags & TOR_STACK ? "take the bridge" : "are redirected",
		      is_generic(l) ? "generic" : "native");
		doctor_so(l->d, is_generic(l) ? "generic XDP does not run on what TC redirected"
					      : "the bridge is slower than a redirect");
	} else {
		wrong(l, "switch_entry", "the switch has another MAC, address or licence to spoof");
		doctor_so(l->d, "its frames are dropped, or anybody's pass");
	}
	for (size_t i = 0; i < sizeof(l->node->index); i++)
		sprintf(key + strlen(key), " %u", k[i]);
	for (size_t i = 0; i < sizeof(want); i++)
		sprintf(value + strlen(value), " %u", v[i]);
	mend(l, "bpftool map update pinned %s key%s value%s",
	     rack_path(pin, l->rack->name, "bpf/tor/tor_ports"), key, value);
	return 0;
}

static int check_port(struct look *l)
{
	int ret;

	l->end = "port";
	ret = check_end(l, &l->now->port);
	if (ret)
		return ret > 0 ? 0 : ret;
	check_bridge(l);
	check_programs(l);
	return check_entry(l);
}

/* ---- all of it ---- */

static int each_node(struct look *l, int (*check)(struct look *l))
{
	int ret = 0;

	for (unsigned int i = 0; i < l->rack->count && !ret; i++) {
		l->node = &l->rack->nodes[i];
		l->now = &l->facts[i];
		ret = check(l);
	}
	l->node = NULL;
	return ret;
}

static int enter_and_check(struct look *l)
{
	int ns = rack_netns(l->rack, l->node->name), ret;

	if (ns < 0)
		return -1;
	ret = ns_enter(ns);
	close(ns);
	return ret ? blind(l, "its namespace", ret) : check_node(l);
}

static int filters(struct look *l)
{
	struct look_filters filters = {0};
	int ret =
		l->now->port.ifindex ? look_filters(l->tor, l->node->ifindex, false, &filters) : 0;

	if (ret)
		return blind(l, "its TC programs", ret);
	l->now->filter = filters.count ? filters.id[0] : 0;
	return 0;
}

/* A port that was set up a moment ago forwards once the kernel's link watch has seen it. */
static int look_at_ports(struct look *l)
{
	int left_ms = IDLE_MS, ret;
	bool idle;

	for (;;) {
		ret = look_links(l->tor, on_port, l);
		idle = false;
		for (unsigned int i = 0; i < l->rack->count; i++)
			idle |= is_idle(&l->facts[i]);
		if (ret || !idle || left_ms <= 0)
			return ret;
		poll(NULL, 0, LOOK_MS);
		left_ms -= LOOK_MS;
	}
}

static int check_tor(struct look *l)
{
	int ns = rack_netns(l->rack, "tor"), ret;

	if (ns < 0)
		return -1;
	ret = ns_enter(ns);
	close(ns);
	if (!ret)
		ret = rtnl_open(&l->tor);
	if (!ret)
		ret = look_at_ports(l) ?: look_bridges(l->tor, on_entry, l);
	if (ret)
		return blind(l, "its namespace", ret);
	return each_node(l, filters) ?: each_node(l, check_port);
}

/* What is pinned, and room for what will be seen. */
static int prepare(struct look *l)
{
	unsigned int count = l->rack->count, replicas = l->rack->replicas;
	struct bpf_prog_info info = {0};
	uint32_t len = sizeof(info);
	char path[RACK_PATH_MAX];
	bool *known;
	int fd, ret;

	/* One block: facts of all nodes, then what each knows of each replica. */
	l->facts = calloc(1, count * (sizeof(*l->facts) + replicas));
	if (!l->facts)
		return rack_say("no memory");
	known = (bool *)(l->facts + count);
	for (unsigned int i = 0; i < count; i++)
		l->facts[i].neighbour = known + i * replicas;
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	ret = fd < 0 ? -errno : features_open(&l->features, fd, "lo");
	if (fd >= 0)
		close(fd);
	if (ret)
		return blind(l, "switches of devices", ret);
	l->ports = bpf_obj_get(rack_path(path, l->rack->name, "bpf/tor/tor_ports"));
	if (l->ports < 0)
		return blind(l, path, l->ports);
	fd = bpf_obj_get(rack_path(path, l->rack->name, "bpf/tor/tor_ingress"));
	ret = fd < 0 ? fd : bpf_obj_get_info_by_fd(fd, &info, &len);
	if (fd >= 0)
		close(fd);
	if (ret)
		return blind(l, path, ret);
	l->ingress = info.id;
	return 0;
}

int doctor_rack(struct doctor *d, const struct rack *rack)
{
	struct look l = {.d = d, .rack = rack, .ports = -1};
	int home = ns_current(), ret;

	if (home < 0)
		return blind(&l, "this namespace", home);
	ret = prepare(&l);
	doctor_group(d, "nodes");
	if (!ret)
		ret = each_node(&l, enter_and_check);
	doctor_group(d, "ports of the switch");
	if (!ret)
		ret = check_tor(&l);
	if (ns_enter(home) && !ret)
		ret = rack_say("cannot return to this network namespace: %s", strerror(errno));
	close(home);
	rtnl_close(l.tor);
	features_close(l.features);
	if (l.ports >= 0)
		close(l.ports);
	free(l.facts);
	return ret;
}
