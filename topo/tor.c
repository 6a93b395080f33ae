// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/membarrier.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "bpf/fault.h"
#include "bpf/load.h"
#include "topo/tor.h"
#include "tor.skel.h"

void tor_describe(struct tor_port *port, const struct rack *rack, const struct rack_node *node)
{
	*port = (struct tor_port){.addr = node->addr, .tor = node->tor};
	port->spine = node->here ? TOR_SPINE_IFINDEX + node->tor : TOR_VXLAN_IFINDEX;
	memcpy(port->mac, node->mac, sizeof(port->mac));
	if (node->spoof)
		port->flags |= TOR_SPOOF;
	/*
	 * Generic XDP does not run on what TC redirected. bpf_redirect_peer() would
	 * do for what comes from sockets, not for clones that TC made at the sender
	 * (0 of 1000 ran the program on Linux 6.18), and it hides VLAN tags from it.
	 * What the bridge forwards is seen as it was sent.
	 */
	if (rack->xdp == RACK_GENERIC && node->role == RACK_REPLICA)
		port->flags |= TOR_STACK;
}

static int fill_ports(const struct tor_bpf *bpf, const struct rack *rack)
{
	for (unsigned int i = 0; i < rack->count; i++) {
		const struct rack_node *node = &rack->nodes[i];
		struct tor_port port;

		tor_describe(&port, rack, node);
		if (bpf_map_update_elem(bpf_map__fd(bpf->maps.tor_ports), &i, &port, BPF_ANY))
			return rack_say("cannot tell the ToR about %s: %s", node->name,
					strerror(errno));
	}
	return 0;
}

/* Everything below bpf/tor/, by the names in bpf/tor.bpf.c. */
static int pin_all(const struct rack *rack, const struct bpf_object *object)
{
	char path[RACK_PATH_MAX];
	struct bpf_program *program;
	struct bpf_map *map;

	bpf_object__for_each_program(program, object)
	{
		const char *name = bpf_program__name(program);

		if (bpf_obj_pin(bpf_program__fd(program),
				rack_path(path, rack->name, "bpf/tor/%s", name)))
			return rack_say("cannot pin %s: %s", path, strerror(errno));
	}
	bpf_object__for_each_map(map, object)
	{
		if (bpf_map__is_internal(map))
			continue;
		if (bpf_obj_pin(bpf_map__fd(map),
				rack_path(path, rack->name, "bpf/tor/%s", bpf_map__name(map))))
			return rack_say("cannot pin %s: %s", path, strerror(errno));
	}
	return 0;
}

bool tor_bounces(const struct rack *rack, const struct rack_node *node)
{
	return rack->xdp == RACK_NATIVE && node->role == RACK_REPLICA;
}

int tor_lock(const struct rack *rack)
{
	char path[RACK_PATH_MAX];
	int fd = open(rack_path(path, rack->name, "tor.lock"), O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	while (fd >= 0 && flock(fd, LOCK_EX)) {
		if (errno != EINTR) {
			close(fd);
			fd = -1;
		}
	}
	return fd < 0 ? rack_say("cannot lock the ToR of %s: %s", rack->name, strerror(errno)) : fd;
}

int tor_pinned(const struct rack *rack, const char *name)
{
	char path[RACK_PATH_MAX];
	int fd = bpf_obj_get(rack_path(path, rack->name, "bpf/tor/%s", name));

	return fd < 0 ? rack_say("cannot open %s: %s", path, strerror(errno)) : fd;
}

void *tor_shared(const struct rack *rack, const char *name, size_t size, int protection)
{
	int fd = tor_pinned(rack, name);
	void *memory;

	if (fd < 0)
		return NULL;
	memory = mmap(NULL, size, protection, MAP_SHARED, fd, 0);
	close(fd);
	if (memory != MAP_FAILED)
		return memory;
	rack_say("cannot share %s of %s: %s", name, rack->name, strerror(errno));
	return NULL;
}

/* synchronize_rcu() by another name. */
void tor_wait_for_programs(void)
{
	syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0);
}

/*
 * Room for `each` of every link and kind, up to what the map was declared with: an empty hash
 * map of 2^18 takes 13 ms to make.
 */
static void set_links(struct bpf_map *map, const struct rack *rack, uint64_t each)
{
	uint64_t links = (uint64_t)rack->count * (rack->count + 1) * TOR_KIND_COUNT * each;

	if (links < bpf_map__max_entries(map))
		bpf_map__set_max_entries(map, links);
}

int tor_load(struct tor *tor, const struct rack *rack)
{
	struct tor_bpf *bpf = tor_bpf__open();
	char path[RACK_PATH_MAX], error[4096];

	if (!bpf)
		return rack_say("cannot open the ToR's programs: %s", strerror(errno));
	bpf_map__set_max_entries(bpf->maps.tor_ports, rack->count);
	bpf_map__set_max_entries(bpf->maps.tor_counts, rack->count);
	bpf_map__set_max_entries(bpf->maps.tor_cut, rack->count);
	bpf_map__set_max_entries(bpf->maps.tor_devices, rack->count);
	bpf_map__set_max_entries(bpf->maps.tor_sockets, rack->count * rack->queues);
	set_links(bpf->maps.tor_links, rack, 1);
	set_links(bpf->maps.tor_flows, rack, TOR_RULES_MAX);
	bpf->rodata->nodes = rack->count;
	bpf->rodata->queues = rack->queues;
	if (bpf_load(bpf->obj, error, sizeof(error))) {
		rack_say("%s", error);
		goto fail;
	}
	if (mkdir(rack_path(path, rack->name, "bpf/tor"), 0700)) {
		rack_say("cannot make %s: %s", path, strerror(errno));
		goto fail;
	}
	tor->bpf = bpf;
	tor->ingress = bpf_program__fd(bpf->progs.tor_ingress);
	tor->uplink = bpf_program__fd(bpf->progs.tor_uplink);
	tor->pass = bpf_program__fd(bpf->progs.tor_pass);
	if (fill_ports(bpf, rack) || pin_all(rack, bpf->obj))
		goto fail;
	return 0;
fail:
	tor_bpf__destroy(bpf);
	tor->bpf = NULL;
	return -1;
}

void tor_close(struct tor *tor)
{
	if (tor->bpf)
		tor_bpf__destroy(tor->bpf);
	tor->bpf = NULL;
}
