// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * A rack that is up, against its description: what the kernel has is read through netlink,
 * ethtool and the pinned maps; what of it is wrong, doctor_findings.c says.
 *
 *   node [eth0]=========[port] switch      both ends of each link; then what each has of its own
 */
#include "topo/doctor_rack.h"

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
	struct rtnl *tor;		/* in the switch's namespace */
	struct node_facts *facts, *now; /* of all nodes; of `node` */
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
		l->now = &l->facts[i];
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

	if (!strcmp(kind, "address") && prefix == l->node->addr && bits == l->rack->prefix &&
	    ifindex == l->node->ifindex)
		l->now->addressed = true;
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

static void on_port(void *arg, const struct look_link *link)
{
	struct look *l = arg;
	unsigned int i = link->ifindex - TOR_IFINDEX;

	if (i < l->rack->count && !strcmp(link->name, l->rack->nodes[i].name))
		l->facts[i].port.link = *link;
}

static void on_entry(void *arg, const struct look_neighbour *entry)
{
	struct look *l = arg;
	unsigned int i = entry->ifindex - TOR_IFINDEX;

	if (i < l->rack->count && entry->fixed && entry->sticky &&
	    !memcmp(entry->mac, l->rack->nodes[i].mac, 6))
		l->facts[i].entry = true;
}

/* A port that was set up a moment ago forwards once the kernel's link watch has seen it. */
static int read_ports(struct look *l)
{
	int left_ms = IDLE_MS, ret;
	bool idle;

	for (;;) {
		ret = look_links(l->tor, on_port, l);
		idle = false;
		for (unsigned int i = 0; i < l->rack->count; i++)
			idle |= doctor_is_idle(&l->facts[i]);
		if (ret || !idle || left_ms <= 0)
			return ret;
		poll(NULL, 0, LOOK_MS);
		left_ms -= LOOK_MS;
	}
}

static int read_port(struct look *l)
{
	struct look_filters filters;
	int ret;

	if (bpf_map_lookup_elem(l->ports, &l->node->index, &l->now->tor))
		return blind(l, "the switch's map tor_ports", -errno);
	if (!l->now->port.link.ifindex)
		return 0;
	ret = look_filters(l->tor, l->node->ifindex, false, &filters);
	if (ret)
		return blind(l, "its TC programs", ret);
	l->now->filter = filters.count ? filters.id[0] : 0;
	return read_offloads(l, &l->now->port, l->node->name);
}

static int read_tor(struct look *l)
{
	int ret;

	if (enter(l, "tor"))
		return -1;
	ret = rtnl_open(&l->tor);
	if (!ret)
		ret = read_ports(l) ?: look_bridges(l->tor, on_entry, l);
	return ret ? blind(l, "its namespace", ret) : each_node(l, read_port);
}

/* ---- all of it ---- */

static int prepare(struct look *l)
{
	unsigned int count = l->rack->count, replicas = l->rack->replicas;
	int fd, ret;
	bool *known;

	/* One block: facts of all nodes, then what each knows of each replica. */
	l->facts = calloc(count, sizeof(*l->facts) + replicas);
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
		return blind(l, "the names of offloads", ret);
	l->ports = tor_pinned(l->rack, "tor_ports");
	return l->ports < 0 ? -1 : 0;
}

/* Id of the program at every port. */
static int read_ingress(const struct rack *rack, uint32_t *id)
{
	struct bpf_prog_info info = {0};
	uint32_t len = sizeof(info);
	int fd = tor_pinned(rack, "tor_ingress"), ret;

	if (fd < 0)
		return -1;
	ret = bpf_obj_get_info_by_fd(fd, &info, &len);
	close(fd);
	if (ret)
		return rack_say("cannot look at the switch's program: %s", strerror(errno));
	*id = info.id;
	return 0;
}

int doctor_rack(struct doctor *d, const struct rack *rack)
{
	struct look l = {.rack = rack, .ports = -1};
	int home = ns_current(), ret;
	uint32_t ingress = 0;

	if (home < 0)
		return blind(&l, "this namespace", home);
	ret = prepare(&l) ?: read_ingress(rack, &ingress) ?: each_node(&l, read_node) ?: read_tor(&l);
	if (ns_enter(home) && !ret)
		ret = rack_say("cannot return to this network namespace: %s", strerror(errno));
	doctor_group(d, rack->name);
	for (unsigned int i = 0; i < rack->count && !ret; i++) {
		if (rack->nodes[i].here)
			doctor_findings(d, rack, &rack->nodes[i], &l.facts[i], ingress);
	}
	close(home);
	rtnl_close(l.tor);
	features_close(l.features);
	if (l.ports >= 0)
		close(l.ports);
	free(l.facts);
	return ret;
}
