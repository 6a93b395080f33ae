// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "topo/stats_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <bpf/bpf.h>

#include "netns/ns.h"
#include "topo/percpu.h"
#include "topo/seconds.h"

int stats_pinned(const struct rack *rack, const char *folder, const char *name)
{
	char path[RACK_PATH_MAX];
	int fd = bpf_obj_get(rack_path(path, rack->name, "%s/%s", folder, name));

	if (fd < 0)
		errno = -fd;
	return fd < 0 ? -1 : fd;
}

uint32_t stats_map_id(int fd)
{
	struct bpf_map_info info = {};
	uint32_t size = sizeof(info);

	return fd >= 0 && !bpf_obj_get_info_by_fd(fd, &info, &size) ? info.id : 0;
}

void *stats_grow(void *array, size_t count, size_t size)
{
	/* doubled at each power of two */
	if (count & (count - 1))
		return array;
	return reallocarray(array, count ? 2 * count : 1, size);
}

/* ---- devices ---- */

struct devices {
	struct stats *s;
	const struct rack *rack;
	enum stats_side side;
	int socket;
	struct rtnl *rtnl;
};

static void on_link(void *arg, const struct look_link *link)
{
	struct devices *d = arg;
	unsigned int node = link->ifindex - TOR_IFINDEX;

	if (node < d->rack->count)
		d->s->node[node].end[d->side].link = *link;
}

static int read_end(struct devices *d, struct stats_end *end)
{
	int ret;

	if (!end->link.ifindex) /* somebody removed it */
		return 0;
	ret = look_filters(d->rtnl, end->link.ifindex, false, &end->ingress)
		      ?: look_filters(d->rtnl, end->link.ifindex, true, &end->egress);
	if (ret)
		return ret;
	ret = look_queues(d->socket, end->link.name, end->queue, STATS_QUEUES_MAX);
	if (ret > 0)
		end->queues = ret < STATS_QUEUES_MAX ? ret : STATS_QUEUES_MAX;
	return 0; /* a device need not count by queue */
}

/* In the namespace of the devices: those from `first` before `end` are looked at closely. */
static int read_devices(struct devices *d, unsigned int first, unsigned int end)
{
	int ret = rtnl_open(&d->rtnl);

	d->socket = -1;
	if (ret)
		return ret;
	d->socket = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	ret = d->socket < 0 ? -errno : look_links(d->rtnl, on_link, d);
	for (unsigned int i = first; !ret && i < end; i++) {
		if (d->rack->nodes[i].here)
			ret = read_end(d, &d->s->node[i].end[d->side]);
	}
	if (d->socket >= 0)
		close(d->socket);
	rtnl_close(d->rtnl);
	return ret;
}

static int enter_and_read(struct devices *d, const char *node, unsigned int first, unsigned int end)
{
	int ns = rack_netns(d->rack, node), ret;

	if (ns < 0)
		return -1;
	ret = ns_enter(ns) ?: read_devices(d, first, end);
	close(ns);
	return ret ? rack_say("cannot look into %s-%s: %s", d->rack->name, node, strerror(-ret))
		   : 0;
}

static int take_devices(struct stats *s, const struct rack *rack)
{
	struct devices d = {.s = s, .rack = rack, .side = STATS_PORT};
	int home = ns_current(), ret;

	if (home < 0)
		return rack_say("cannot open this network namespace: %s", strerror(-home));
	ret = enter_and_read(&d, "tor", 0, rack->count);
	d.side = STATS_NODE;
	for (unsigned int i = 0; !ret && i < rack->count; i++) {
		if (rack->nodes[i].here)
			ret = enter_and_read(&d, rack->nodes[i].name, i, i + 1);
	}
	if (ns_enter(home))
		ret = rack_say("cannot come back from a node: %s", strerror(errno));
	close(home);
	return ret;
}

/* ---- the switch's counters ---- */

static int take_reasons(struct stats *s, const struct rack *rack)
{
	int fd = stats_pinned(rack, "bpf/tor", "tor_counts"), ret = fd < 0 ? -errno : 0;

	for (unsigned int i = 0; !ret && i < rack->count; i++)
		ret = percpu_add(fd, i, s->node[i].reasons, TOR_R_COUNT);
	if (fd >= 0)
		close(fd);
	return ret ? rack_say("cannot read the switch's counters: %s", strerror(-ret)) : 0;
}

static int by_link(const void *a, const void *b)
{
	const struct tor_link *x = &((const struct stats_link *)a)->link;
	const struct tor_link *y = &((const struct stats_link *)b)->link;

	return x->from != y->from ? x->from - y->from
	       : x->to != y->to	  ? x->to - y->to
				  : x->kind - y->kind;
}

static int add_link(struct stats *s, const struct stats_link *link)
{
	struct stats_link *more = stats_grow(s->link, s->links, sizeof(*more));

	if (!more)
		return -ENOMEM;
	s->link = more;
	s->link[s->links++] = *link;
	return 0;
}

static int take_links(struct stats *s, const struct rack *rack)
{
	int fd = stats_pinned(rack, "bpf/tor", "tor_links"), ret = fd < 0 ? -errno : 0;
	int look = stats_pinned(rack, "bpf/tor", "tor_looking");
	struct stats_link one;
	uint32_t zero = 0;

	if (look < 0 || bpf_map_lookup_elem(look, &zero, &s->looking))
		ret = -errno;
	/* Entries only ever come: a key that was given leads to the next. */
	for (void *last = NULL; !ret && !bpf_map_get_next_key(fd, last, &one.link);
	     last = &one.link) {
		if (!bpf_map_lookup_elem(fd, &one.link, &one.counts))
			ret = add_link(s, &one);
	}
	if (s->links)
		qsort(s->link, s->links, sizeof(*s->link), by_link);
	if (fd >= 0)
		close(fd);
	if (look >= 0)
		close(look);
	return ret ? rack_say("cannot read the switch's links: %s", strerror(-ret)) : 0;
}

int stats_look(const struct rack *rack, uint64_t until_ns)
{
	int fd = stats_pinned(rack, "bpf/tor", "tor_looking");
	struct tor_looking *looking = MAP_FAILED;

	if (fd >= 0)
		looking = mmap(NULL, sizeof(*looking), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (looking == MAP_FAILED) {
		rack_say("cannot have links counted: %s", strerror(errno));
		if (fd >= 0)
			close(fd);
		return -1;
	}
	close(fd);
	if (until_ns && !looking->since_ns)
		looking->since_ns = now_ns();
	/* Never shortens what somebody else asked for, but to end it. */
	if (!until_ns || until_ns > looking->until_ns)
		__atomic_store_n(&looking->until_ns, until_ns, __ATOMIC_RELEASE);
	munmap(looking, sizeof(*looking));
	return 0;
}

int stats_time_programs(void)
{
	int fd = bpf_enable_stats(BPF_STATS_RUN_TIME);

	return fd < 0 ? -1 : fd;
}

/* ---- all ---- */

int stats_take(struct stats **out, const struct rack *rack)
{
	struct stats *s = calloc(1, sizeof(*s));

	if (s)
		s->node = calloc(rack->count, sizeof(*s->node));
	if (!s || !s->node) {
		stats_free(s);
		return rack_say("no memory");
	}
	s->time_ns = now_ns();
	if (take_devices(s, rack) || take_reasons(s, rack) || take_links(s, rack)) {
		stats_free(s);
		return -1;
	}
	stats_take_replicas(s, rack);
	if (stats_take_programs(s, rack)) {
		stats_free(s);
		return -1;
	}
	*out = s;
	return 0;
}

void stats_free(struct stats *s)
{
	if (!s)
		return;
	free(s->node);
	free(s->link);
	free(s->program);
	free(s->exception);
	free(s);
}
