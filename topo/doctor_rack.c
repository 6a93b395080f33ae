// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * A rack that is up, against its description: what the kernel has is read through netlink,
 * ethtool and the pinned maps; what of it is wrong, others say (doctor_rack.h).
 *
 *   node [eth0]=========[port] switch      both ends of each link; then what each has of its own
 *   bridge [up]=========[down] spine       and what joins ToRs (tors.h)
 */
#include "topo/doctor_rack.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "netns/ns.h"
#include "netns/rtnl.h"
#include "topo/tor.h"

#define IDLE_MS 1500 /* for ports that are up to forward */
#define LOOK_MS 10
#define GRO_NOTHING 1 /* a largest size that no two frames fit: nothing is merged */

struct look {
	const struct rack *rack;
	const struct rack_node *node;
	struct features *features;
	struct rtnl *tor; /* in the switch's namespace */
	struct rack_facts facts;
	struct node_facts *now; /* of `node` */
	struct end_facts *end;
	int ports; /* tor_ports */
};

static int blind(const struct look *l, const char *what, int error)
{
	return rack_say("%s: cannot look at %s: %s", l->node ? l->node->name : "tor", what,
			strerror(-error));
}

/* Calls fn for each node on this host, with `node` and `now` set, until one fails. */
static int each_node(struct look *l, int (*fn)(struct look *l))
{
	int ret = 0;

	for (unsigned int i = 0; i < l->rack->count && !ret; i++) {
		if (!l->rack->nodes[i].here)
			continue;
		l->node = &l->rack->nodes[i];
		l->now = &l->facts.node[i];
		ret = fn(l);
	}
	l->node = NULL;
	return ret;
}

/* ---- offloads ---- */

static void on_feature(void *arg, const struct feature *f)
{
	struct look *l = arg;
	enum harm harm = strstr(f->name, "checksum") ? HARM_CHECKSUM
			 : strstr(f->name, "vlan")   ? HARM_VLAN
						     : HARM_MERGE;
	size_t len = strlen(l->end->on[harm]);

	/* Native XDP on veth switches GRO on by itself (veth_enable_xdp), unasked. */
	if (!f->offload || !f->on || !f->asked)
		return;
	/* Somebody has the device poll, as `rack steer` does, and merge nothing. */
	if (!strcmp(f->name, "rx-gro") && l->end->link.gro_max == GRO_NOTHING)
		return;
	snprintf(l->end->on[harm] + len, OFFLOADS_MAX - len, " %s off", f->name);
}

static int read_offloads(struct look *l, struct end_facts *end, const char *device)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), ret;

	l->end = end;
	ret = fd < 0 ? -errno : features_each(l->features, fd, device, on_feature, l);
	if (fd >= 0)
		close(fd);
	return ret ? blind(l, "its offloads", ret) : 0;
}

/* ---- a node ---- */

static void on_eth0(void *arg, const struct look_link *link)
{
	struct look *l = arg;

	if (link->ifindex == l->node->ifindex && !strcmp(link->name, RACK_IFACE))
		l->now->eth0.link = *link;
}

static void on_prefix(void *arg, const char *kind, uint32_t prefix, unsigned int bits, int ifindex)
{
	struct look *l = arg;

	if (ifindex != l->node->ifindex)
		return;
	if (!strcmp(kind, "route")) {
		l->now->routed |= ntohl(prefix) == l->rack->subnet && bits == l->rack->prefix;
	} else if (prefix == l->node->addr && bits == l->rack->prefix) {
		l->now->addressed = true;
	} else {
		l->now->also = prefix;
		l->now->bits = bits;
	}
}

static void on_neighbour(void *arg, const struct look_neighbour *neighbour)
{
	struct look *l = arg;

	for (unsigned int i = 0; i < l->rack->replicas; i++) {
		const struct rack_node *peer = &l->rack->nodes[i];

		if (neighbour->addr == peer->addr && neighbour->fixed &&
		    !memcmp(neighbour->mac, peer->mac, 6))
			l->now->neighbour[i] = true;
	}
}

static int enter(struct look *l, const char *node)
{
	int ns = rack_netns(l->rack, node), ret;

	if (ns < 0)
		return -1;
	ret = ns_enter(ns);
	close(ns);
	return ret ? blind(l, "its namespace", ret) : 0;
}

static int read_node(struct look *l)
{
	struct rtnl *r = NULL;
	int ret;

	if (enter(l, l->node->name))
		return -1;
	ret = rtnl_open(&r);
	if (!ret)
		ret = look_links(r, on_eth0, l)
			      ?: rtnl_prefixes(r, on_prefix, l) ?: look_neighbours(r, on_neighbour, l);
	rtnl_close(r);
	if (ret)
		return blind(l, "its namespace", ret);
	return l->now->eth0.link.ifindex ? read_offloads(l, &l->now->eth0, RACK_IFACE) : 0;
}

/* ---- the switch ---- */

static void on_device(void *arg, const struct look_link *link)
{
	struct look *l = arg;
	struct rack_facts *facts = &l->facts;
	unsigned int i = link->ifindex - TOR_IFINDEX;

	if (i < l->rack->count && !strcmp(link->name, l->rack->nodes[i].name))
		facts->node[i].port.link = *link;
	for (i = 0; i < facts->tors_count; i++) {
		struct tors_facts *device = &facts->tors[i];

		if (link->ifindex == device->want.ifindex && !strcmp(link->name, device->want.name))
			device->is.link = *link;
	}
}

/* Whom, or (with no MAC) whether what is for all, VXLAN sends to a host. */
static void on_destination(struct look *l, const struct look_neighbour *entry)
{
	static const uint8_t any[6];
	const struct rack *rack = l->rack;

	for (unsigned int t = 0; t < rack->tors && !memcmp(entry->mac, any, 6); t++)
		l->facts.flooded[t] |= rack->tor[t].host == entry->addr;
	for (unsigned int i = 0; i < rack->count; i++) {
		const struct rack_node *node = &rack->nodes[i];

		if (rack->tor[node->tor].host == entry->addr && !memcmp(entry->mac, node->mac, 6))
			l->facts.node[i].told = true;
	}
}

static void on_entry(void *arg, const struct look_neighbour *entry)
{
	struct look *l = arg;
	unsigned int i = entry->ifindex - TOR_IFINDEX;

	if (i < l->rack->count && entry->fixed && entry->sticky &&
	    !memcmp(entry->mac, l->rack->nodes[i].mac, 6))
		l->facts.node[i].entry = true;
	else if (entry->ifindex == TOR_VXLAN_IFINDEX && entry->addr)
		on_destination(l, entry);
}

static bool any_idle(const struct look *l)
{
	for (unsigned int i = 0; i < l->rack->count; i++) {
		if (l->rack->nodes[i].here && doctor_is_idle(&l->facts.node[i].port))
			return true;
	}
	for (unsigned int i = 0; i < l->facts.tors_count; i++) {
		const struct tors_facts *device = &l->facts.tors[i];

		if (device->want.bridge && doctor_is_idle(&device->is))
			return true;
	}
	return false;
}

/* A port that was set up a moment ago forwards once the kernel's link watch has seen it. */
static int read_devices(struct look *l)
{
	int left_ms = IDLE_MS, ret;

	while (!(ret = look_links(l->tor, on_device, l)) && any_idle(l) && left_ms > 0) {
		poll(NULL, 0, LOOK_MS);
		left_ms -= LOOK_MS;
	}
	return ret;
}

/* 0 also on a kernel without tcx (before 6.6). */
static uint32_t first_tcx(int ifindex, enum bpf_attach_type type)
{
	uint32_t id = 0, count = 1;
	int ret = bpf_prog_query(ifindex, type, 0, NULL, &id, &count);

	return !ret || ret == -ENOSPC ? id : 0; /* -ENOSPC: there are more */
}

/* Programs and offloads of a port that is there. */
static int read_port(struct look *l, struct end_facts *port)
{
	struct look_filters filters;
	int ret = look_filters(l->tor, port->link.ifindex, false, &filters);

	if (!ret) {
		port->ingress = filters.count ? filters.id[0] : 0;
		ret = look_filters(l->tor, port->link.ifindex, true, &filters);
	}
	if (ret)
		return blind(l, "its TC programs", ret);
	port->egress = filters.count;
	port->tcx[0] = first_tcx(port->link.ifindex, DOCTOR_TCX_INGRESS);
	port->tcx[1] = first_tcx(port->link.ifindex, DOCTOR_TCX_EGRESS);
	return read_offloads(l, port, port->link.name);
}

static int read_node_port(struct look *l)
{
	if (bpf_map_lookup_elem(l->ports, &l->node->index, &l->now->tor))
		return blind(l, "the switch's map tor_ports", -errno);
	return l->now->port.link.ifindex ? read_port(l, &l->now->port) : 0;
}

static int read_tor(struct look *l)
{
	int ret;

	if (enter(l, "tor"))
		return -1;
	ret = rtnl_open(&l->tor);
	if (!ret)
		ret = read_devices(l) ?: look_bridges(l->tor, on_entry, l);
	if (ret)
		return blind(l, "its namespace", ret);
	for (unsigned int i = 0; i < l->facts.tors_count && !ret; i++) {
		struct tors_facts *device = &l->facts.tors[i];

		if (device->want.bridge && device->is.link.ifindex)
			ret = read_port(l, &device->is);
	}
	return ret ?: each_node(l, read_node_port);
}

/* ---- all of it ---- */

static struct end_facts *device_facts(struct look *l, int ifindex)
{
	struct rack_facts *facts = &l->facts;
	unsigned int i = 0;

	while (i + 1 < facts->tors_count && facts->tors[i].want.ifindex != ifindex)
		i++;
	return &facts->tors[i].is;
}

static void prepare_tors(struct look *l)
{
	struct rack_facts *facts = &l->facts;
	struct tors_device devices[TORS_DEVICES_MAX];

	facts->tors_count = tors_devices(l->rack, devices);
	for (unsigned int i = 0; i < facts->tors_count; i++)
		facts->tors[i].want = devices[i];
	for (unsigned int i = 0; i < facts->tors_count; i++) {
		const struct tors_device *want = &devices[i];
		struct end_facts *is = &facts->tors[i].is;

		if (want->bridge)
			is->bridge = device_facts(l, want->bridge);
		if (want->kind == TORS_UP)
			is->peer = device_facts(l, TOR_SPINE_IFINDEX + want->tor);
		else if (want->kind == TORS_DOWN)
			is->peer = device_facts(l, TOR_UPLINK_IFINDEX + want->tor);
	}
}

static int prepare(struct look *l)
{
	unsigned int count = l->rack->count, replicas = l->rack->replicas;
	struct node_facts *nodes;
	int fd, ret;
	bool *known;

	/* One block: facts of all nodes, then what each knows of each replica. */
	l->facts.node = nodes = calloc(count, sizeof(*nodes) + replicas);
	if (!nodes)
		return rack_say("no memory");
	prepare_tors(l);
	known = (bool *)(nodes + count);
	for (unsigned int i = 0; i < count; i++) {
		nodes[i].neighbour = known + i * replicas;
		nodes[i].port.peer = &nodes[i].eth0;
		nodes[i].port.bridge = device_facts(l, tors_bridge(l->rack->nodes[i].tor));
	}
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	ret = fd < 0 ? -errno : features_open(&l->features, fd, "lo");
	if (fd >= 0)
		close(fd);
	if (ret)
		return blind(l, "the names of offloads", ret);
	l->ports = tor_pinned(l->rack, "tor_ports");
	return l->ports < 0 ? -1 : 0;
}

static int read_program(const struct rack *rack, const char *name, uint32_t *id)
{
	struct bpf_prog_info info = {0};
	uint32_t len = sizeof(info);
	int fd = tor_pinned(rack, name), ret;

	if (fd < 0)
		return -1;
	ret = bpf_obj_get_info_by_fd(fd, &info, &len);
	close(fd);
	if (ret)
		return rack_say("cannot look at the switch's program %s: %s", name,
				strerror(errno));
	*id = info.id;
	return 0;
}

static int read_programs(struct look *l)
{
	struct rack_facts *facts = &l->facts;

	return read_program(l->rack, "tor_ingress", &facts->ingress)
		       ?: read_program(l->rack, "tor_uplink", &facts->uplink)
		       ?: read_program(l->rack, "tor_pass", &facts->pass)
		       ?: read_program(l->rack, "tor_steer", &facts->steer);
}

int doctor_rack(struct doctor *d, const struct rack *rack)
{
	struct look l = {.rack = rack, .ports = -1};
	int home = ns_current(), ret;

	if (home < 0)
		return blind(&l, "this namespace", home);
	ret = prepare(&l) ?: read_programs(&l) ?: each_node(&l, read_node) ?: read_tor(&l);
	if (ns_enter(home) && !ret)
		ret = rack_say("cannot return to this network namespace: %s", strerror(errno));
	doctor_group(d, rack->name);
	if (!ret)
		doctor_tors(d, rack, &l.facts);
	for (unsigned int i = 0; i < rack->count && !ret; i++) {
		if (rack->nodes[i].here)
			doctor_node(d, rack, &rack->nodes[i], &l.facts);
	}
	close(home);
	rtnl_close(l.tor);
	features_close(l.features);
	if (l.ports >= 0)
		close(l.ports);
	free(l.facts.node);
	return ret;
}
