/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Load, attach, pin. The XDP link belongs to the process, so that the kernel detaches it
 * when the process dies however it dies. The TC filter has a fixed priority and handle: a
 * keeper removes it after its process, else the next process replaces it, and without a
 * process nobody sends what it looks for.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_link.h>
#include <net/if.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "bpf/load.h"
#include "bpf/offloads.h"
#include "replica/elec_attach.h"
#include "replica/elec_internal.h"
#include "replica/neighbour.h"

#include "replica.skel.h"

#define KEPT 3 /* maps that are pinned */
#define KEEPER_MS 30000

struct elec_kernel {
	struct replica_bpf *skel;
	struct ring_buffer *wake;
	uint32_t ifindex;
	struct elec_attached attached;
	const struct elec_keeper *keeper;
	int pin_fd; /* locked while the process lives */
	bool pins_found;
	size_t state_size, log_size;
};

static size_t page_round(size_t size)
{
	size_t page = sysconf(_SC_PAGESIZE);

	return (size + page - 1) / page * page;
}

/* The maps that outlive a process. */
static void kept_maps(struct elec_kernel *k, struct bpf_map *maps[KEPT])
{
	maps[0] = k->skel->maps.elec_state;
	maps[1] = k->skel->maps.elec_log;
	maps[2] = k->skel->maps.elec_counts;
}

static bool map_fits(int fd, const struct bpf_map *map)
{
	struct bpf_map_info info = {0};
	uint32_t size = sizeof(info);

	return !bpf_obj_get_info_by_fd(fd, &info, &size) && info.type == bpf_map__type(map) &&
	       info.value_size == bpf_map__value_size(map) &&
	       info.max_entries == bpf_map__max_entries(map) &&
	       info.map_flags == bpf_map__map_flags(map);
}

/* The keeper of a process that was killed a moment ago has yet to remove what it attached. */
static int wait_for_keeper(int folder)
{
	for (int ms = 0; elec_attach_is_marked(folder); ms++) {
		if (ms == KEEPER_MS)
			return -EBUSY;
		poll(NULL, 0, 1);
	}
	return 0;
}

/* Locks the folder, then takes the maps in it, all of them or none, before loading. */
static int find_pins(struct elec_kernel *k, const char *folder, char *error, size_t size)
{
	struct bpf_map *maps[KEPT];
	int fd[KEPT], found = 0, ret = 0;
	char path[256];

	if (mkdir(folder, 0700) && errno != EEXIST)
		goto failed;
	k->pin_fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (k->pin_fd < 0)
		goto failed;
	if (flock(k->pin_fd, LOCK_EX | LOCK_NB)) {
		if (errno != EWOULDBLOCK)
			goto failed;
		snprintf(error, size, "another process has the maps in %s", folder);
		return -EBUSY;
	}
	if (wait_for_keeper(k->pin_fd)) {
		snprintf(error, size, "what a process with the maps in %s attached is still there",
			 folder);
		return -EBUSY;
	}
	kept_maps(k, maps);
	for (int i = 0; i < KEPT; i++) {
		snprintf(path, sizeof(path), "%s/%s", folder, bpf_map__name(maps[i]));
		fd[i] = bpf_obj_get(path);
		found += fd[i] >= 0 && map_fits(fd[i], maps[i]);
	}
	for (int i = 0; i < KEPT; i++) {
		if (found == KEPT && !ret)
			ret = bpf_map__reuse_fd(maps[i], fd[i]);
		if (fd[i] >= 0)
			close(fd[i]);
	}
	k->pins_found = found == KEPT;
	if (ret)
		snprintf(error, size, "cannot use the maps in %s: %s", folder, strerror(-ret));
	return ret;
failed:
	ret = -errno;
	snprintf(error, size, "cannot use the folder %s: %s", folder, strerror(-ret));
	return ret;
}

static int pin_maps(struct elec_kernel *k, const char *folder, char *error, size_t size)
{
	struct bpf_map *maps[KEPT];
	char path[256];
	int ret = 0;

	kept_maps(k, maps);
	for (int i = 0; !ret && i < KEPT; i++) {
		snprintf(path, sizeof(path), "%s/%s", folder, bpf_map__name(maps[i]));
		if (unlink(path) && errno != ENOENT)
			ret = -errno;
		else
			ret = bpf_map__pin(maps[i], path);
	}
	if (ret)
		snprintf(error, size, "cannot pin maps in %s: %s; it must be on a bpf file system",
			 folder, strerror(-ret));
	return ret;
}

static int no_record(void *context, void *data, size_t size)
{
	(void)context, (void)data, (void)size;
	return 0; /* only the wake-up matters */
}

static int map_memory(struct elec *e, char *error, size_t size)
{
	struct elec_kernel *k = e->kernel;
	void *memory;

	k->state_size = page_round(sizeof(struct elec_state));
	k->log_size = page_round((size_t)e->slots * sizeof(struct elec_slot));
	memory = mmap(NULL, k->state_size, PROT_READ | PROT_WRITE, MAP_SHARED,
		      bpf_map__fd(k->skel->maps.elec_state), 0);
	if (memory == MAP_FAILED)
		goto failed;
	e->state = memory;
	memory = mmap(NULL, k->log_size, PROT_READ, MAP_SHARED, bpf_map__fd(k->skel->maps.elec_log),
		      0);
	if (memory == MAP_FAILED)
		goto failed;
	e->log = memory;
	k->wake = ring_buffer__new(bpf_map__fd(k->skel->maps.elec_wake), no_record, NULL, NULL);
	if (k->wake)
		return 0;
failed:
	snprintf(error, size, "cannot map the programs' memory: %s", strerror(errno));
	return -errno;
}

/* MACs: one's own is the device's, the others' are what the kernel's neighbour table says. */
static int find_macs(struct elec *e, const char *iface, char *error, size_t size)
{
	static const uint8_t unknown[6];
	int ret;

	for (uint32_t i = 0; i < e->n; i++) {
		struct elec_member *m = &e->members[i];

		if (memcmp(m->mac, unknown, sizeof(unknown)))
			continue;
		ret = i == e->self ? neighbour_own_mac(iface, m->mac)
				   : neighbour_mac(iface, m->addr, m->mac);
		if (ret) {
			struct in_addr addr = {m->addr};

			snprintf(error, size,
				 "no MAC address known for replica %u (%s) on %s: is it up? `ip "
				 "neigh show dev %s` lists what is known",
				 i, inet_ntoa(addr), iface, iface);
			return ret;
		}
	}
	return 0;
}

static int find_device(struct elec *e, const char *iface, char *error, size_t size)
{
	int mtu;

	e->kernel->ifindex = if_nametoindex(iface);
	if (!e->kernel->ifindex) {
		snprintf(error, size, "no interface %s here: `ip link` lists them", iface);
		return -ENODEV;
	}
	mtu = neighbour_mtu(iface);
	e->frame_max = mtu > 28 ? mtu - 28 : 0; /* IPv4 and UDP headers */
	return find_macs(e, iface, error, size);
}

int elec_kernel_open(struct elec *e, const struct elec_options *o, char *error, size_t size)
{
	struct elec_kernel *k;
	int ret;

	k = calloc(1, sizeof(*k));
	if (!k) {
		snprintf(error, size, "out of memory");
		return -ENOMEM;
	}
	e->kernel = k;
	k->attached = (struct elec_attached)ELEC_ATTACHED_NONE;
	k->pin_fd = -1;
	k->keeper = o->keeper;
	ret = o->iface ? find_device(e, o->iface, error, size) : 0;
	if (ret)
		return ret;

	libbpf_set_print(NULL);
	k->skel = replica_bpf__open();
	if (!k->skel) {
		snprintf(error, size, "cannot open the kernel programs: %s", strerror(errno));
		return -errno;
	}
	k->skel->rodata->offloads = e->offloads;
	k->skel->rodata->port = e->members[e->self].port;
	k->skel->rodata->log_slots = e->slots;
	bpf_map__set_max_entries(k->skel->maps.elec_log, e->slots);
	if (o->pin) {
		ret = find_pins(k, o->pin, error, size);
		if (ret)
			return ret;
	}
	ret = bpf_load(k->skel->obj, error, size);
	if (!ret)
		ret = map_memory(e, error, size);
	if (!ret && o->pin && !k->pins_found)
		ret = pin_maps(k, o->pin, error, size);
	return ret;
}

static void give_up(struct elec *e, uint32_t offloads, const char *what, const char *why)
{
	char *sentence = e->given_up[e->given_up[0][0] ? 1 : 0];

	e->offloads &= ~offloads;
	snprintf(sentence, sizeof(e->given_up[0]), "without %s in the kernel: %s", what, why);
}

static int attach(struct elec_kernel *k, enum elec_xdp_mode mode, bool tc, char *error, size_t size)
{
	struct elec_attach what = {
		.ifindex = k->ifindex,
		.mode = mode,
		.tc = tc,
		.program = bpf_program__fd(tc ? k->skel->progs.replica_tc
					      : k->skel->progs.replica_xdp),
		.counts = bpf_map__fd(k->skel->maps.elec_counts),
		.folder = k->pin_fd,
	};

	if (k->keeper)
		return k->keeper->attach(k->keeper->context, &what, &k->attached.xdp_link, error,
					 size);
	return elec_attach(&k->attached, &what, error, size);
}

int elec_kernel_attach(struct elec *e, const struct elec_options *o, char *error, size_t size)
{
	const uint32_t in_xdp = ELEC_OFFLOAD_ACK | ELEC_OFFLOAD_QUORUM;
	struct elec_kernel *k = e->kernel;
	int ret = 0;

	if (!o->iface)
		return 0;
	if (e->offloads & in_xdp) {
		ret = attach(k, o->mode, false, error, size);
		if (elec_is_lacking(ret)) {
			give_up(e, in_xdp, "ack and quorum", error);
			ret = 0;
		}
	}
	if (!ret && (e->offloads & ELEC_OFFLOAD_BROADCAST)) {
		ret = attach(k, o->mode, true, error, size);
		if (elec_is_lacking(ret)) {
			give_up(e, ELEC_OFFLOAD_BROADCAST, "broadcast", error);
			ret = 0;
		}
	}
	return ret;
}

const char *elec_given_up(const struct elec *e, unsigned int i)
{
	return i < ELEC_GIVEN_UP_MAX && e->given_up[i][0] ? e->given_up[i] : NULL;
}

void elec_kernel_close(struct elec *e)
{
	struct elec_kernel *k = e->kernel;

	elec_detach(&k->attached);
	ring_buffer__free(k->wake);
	if (e->log)
		munmap((void *)e->log, k->log_size);
	if (e->state)
		munmap(e->state, k->state_size);
	replica_bpf__destroy(k->skel);
	if (k->pin_fd >= 0)
		close(k->pin_fd);
	free(k);
}

int elec_kernel_wake_fd(const struct elec *e)
{
	return bpf_map__fd(e->kernel->skel->maps.elec_wake);
}

int elec_kernel_xdp_fd(const struct elec *e)
{
	return bpf_program__fd(e->kernel->skel->progs.replica_xdp);
}

int elec_kernel_tc_fd(const struct elec *e)
{
	return bpf_program__fd(e->kernel->skel->progs.replica_tc);
}

void elec_kernel_awake(struct elec *e)
{
	ring_buffer__consume(e->kernel->wake);
}

int elec_kernel_counts(const struct elec *e, uint64_t counts[ELEC_R_COUNT])
{
	const struct elec_kernel *k = e->kernel;

	if (k->keeper)
		return k->keeper->counts(k->keeper->context, counts);
	return elec_attach_counts(bpf_map__fd(k->skel->maps.elec_counts), counts);
}
