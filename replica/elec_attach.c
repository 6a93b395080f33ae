/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "replica/elec_attach.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_link.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <bpf/bpf.h>

#include "bpf/offloads.h"

static int attach_xdp(struct elec_attached *a, const struct elec_attach *what, const char *iface,
		      char *error, size_t size)
{
	bool native = what->mode == ELEC_XDP_NATIVE;
	LIBBPF_OPTS(bpf_link_create_opts, opts,
		    .flags = native ? XDP_FLAGS_DRV_MODE : XDP_FLAGS_SKB_MODE);
	int fd = bpf_link_create(what->program, what->ifindex, BPF_XDP, &opts);

	if (fd >= 0) {
		a->xdp_link = fd;
		return 0;
	}
	if (fd == -EBUSY || fd == -EEXIST)
		snprintf(error, size, "%s already has an XDP program: `ip link show %s` names it",
			 iface, iface);
	else if (fd == -EOPNOTSUPP && native)
		snprintf(error, size, "%s has no native XDP; --xdp generic may do", iface);
	else
		snprintf(error, size, "cannot attach XDP (%s) to %s: %s",
			 native ? "native" : "generic", iface, strerror(-fd));
	return fd;
}

static int attach_tc(struct elec_attached *a, const struct elec_attach *what, const char *iface,
		     char *error, size_t size)
{
	LIBBPF_OPTS(bpf_tc_opts, opts, .prog_fd = what->program, .handle = ELEC_TC_HANDLE,
		    .priority = ELEC_TC_PRIORITY, .flags = BPF_TC_F_REPLACE);
	int ret;

	a->hook = (struct bpf_tc_hook){
		.sz = sizeof(a->hook), .ifindex = what->ifindex, .attach_point = BPF_TC_EGRESS};
	ret = bpf_tc_hook_create(&a->hook);
	a->made_hook = !ret;
	if (!ret || ret == -EEXIST)
		ret = bpf_tc_attach(&a->hook, &opts);
	if (elec_is_lacking(ret))
		snprintf(error, size, "no clsact, or no BPF classifier, here (%s)", strerror(-ret));
	else if (ret)
		snprintf(error, size, "cannot attach TC egress to %s: %s", iface, strerror(-ret));
	a->made_filter = !ret;
	return ret;
}

bool elec_is_lacking(int error)
{
	return error == -EOPNOTSUPP || error == -ENOENT; /* ENOENT: no such qdisc or classifier */
}

int elec_attach(struct elec_attached *a, const struct elec_attach *what, char *error, size_t size)
{
	char iface[IF_NAMESIZE] = "?";

	if_indextoname(what->ifindex, iface);
	return what->tc ? attach_tc(a, what, iface, error, size)
			: attach_xdp(a, what, iface, error, size);
}

void elec_detach(struct elec_attached *a)
{
	LIBBPF_OPTS(bpf_tc_opts, filter, .handle = ELEC_TC_HANDLE, .priority = ELEC_TC_PRIORITY);

	if (a->xdp_link >= 0)
		close(a->xdp_link);
	if (a->made_filter)
		bpf_tc_detach(&a->hook, &filter);
	if (a->made_hook) {
		a->hook.attach_point = BPF_TC_INGRESS | BPF_TC_EGRESS; /* the qdisc itself */
		bpf_tc_hook_destroy(&a->hook);
	}
	*a = (struct elec_attached)ELEC_ATTACHED_NONE;
}

int elec_attach_mark(int folder)
{
	struct flock lock = {.l_type = F_RDLCK, .l_whence = SEEK_SET}; /* of all of it */
	char path[32];
	int fd, ret;

	/* Opened anew: the descriptor that came shares the lock of flock(2) with its sender's. */
	snprintf(path, sizeof(path), "/proc/self/fd/%d", folder);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (!fcntl(fd, F_OFD_SETLK, &lock))
		return fd;
	ret = -errno;
	close(fd);
	return ret;
}

bool elec_attach_is_marked(int folder)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

	return !fcntl(folder, F_OFD_GETLK, &lock) && lock.l_type != F_UNLCK;
}

int elec_attach_counts(int map, uint64_t counts[ELEC_R_COUNT])
{
	int cpus = libbpf_num_possible_cpus(), ret = 0;
	uint64_t *values = cpus > 0 ? calloc(cpus, sizeof(*values)) : NULL;

	if (!values)
		return -ENOMEM;
	for (uint32_t reason = 0; reason < ELEC_R_COUNT; reason++) {
		ret = bpf_map_lookup_elem(map, &reason, values);
		if (ret)
			break;
		counts[reason] = 0;
		for (int cpu = 0; cpu < cpus; cpu++)
			counts[reason] += values[cpu];
	}
	free(values);
	return ret;
}
