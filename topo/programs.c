// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "topo/programs.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/if_link.h>
#include <string.h>
#include <unistd.h>

#include "bpf/offloads.h"
#include "netns/ns.h"

void programs_open(struct programs *p, const struct rack *rack, const struct rack_node *node)
{
	*p = (struct programs){.rack = rack, .node = node, .xdp = -1, .tc = -1, .link = -1};
}

static int failed(const struct programs *p, const char *what, int error)
{
	return rack_say("%s: cannot %s: %s", p->node->name, what, strerror(-error));
}

static void keep(int *place, int fd)
{
	if (*place >= 0)
		close(*place);
	*place = fd;
}

/* The process holds a link, which stays with it and leads nowhere once it was detached. */
static int detach_link(uint32_t program)
{
	uint32_t id = 0;

	while (!bpf_link_get_next_id(id, &id)) {
		struct bpf_link_info info = {};
		uint32_t size = sizeof(info);
		int fd = bpf_link_get_fd_by_id(id), ret = -1;
		bool found;

		if (fd < 0)
			continue;
		found = !bpf_obj_get_info_by_fd(fd, &info, &size) &&
			info.type == BPF_LINK_TYPE_XDP && info.prog_id == program;
		if (found)
			ret = bpf_link_detach(fd);
		close(fd);
		if (found)
			return ret;
	}
	return -ENOENT;
}

static int detach_xdp(struct programs *p)
{
	uint32_t id = 0;
	int ret = bpf_xdp_query_id(p->node->ifindex, 0, &id), fd;

	if (!ret && !id)
		ret = -ENOENT;
	if (ret)
		return failed(p, "find its XDP program", ret);
	fd = bpf_prog_get_fd_by_id(id);
	if (fd < 0)
		return failed(p, "hold its XDP program", fd);
	ret = detach_link(id);
	if (ret) {
		close(fd);
		return failed(p, "detach its XDP program", ret);
	}
	keep(&p->xdp, fd);
	if (p->link >= 0)
		keep(&p->link, -1);
	return 0;
}

static int detach_tc(struct programs *p)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = p->node->ifindex, .attach_point = BPF_TC_EGRESS);
	LIBBPF_OPTS(bpf_tc_opts, opts, .handle = ELEC_TC_HANDLE, .priority = ELEC_TC_PRIORITY);
	LIBBPF_OPTS(bpf_tc_opts, filter, .handle = ELEC_TC_HANDLE, .priority = ELEC_TC_PRIORITY);
	int ret = bpf_tc_query(&hook, &opts), fd;

	if (ret)
		return failed(p, "find its TC program", ret);
	fd = bpf_prog_get_fd_by_id(opts.prog_id);
	if (fd < 0)
		return failed(p, "hold its TC program", fd);
	ret = bpf_tc_detach(&hook, &filter);
	if (ret) {
		close(fd);
		return failed(p, "detach its TC program", ret);
	}
	keep(&p->tc, fd);
	return 0;
}

static int attach_xdp(struct programs *p)
{
	LIBBPF_OPTS(bpf_link_create_opts, opts,
		    .flags = p->rack->xdp == RACK_NATIVE ? XDP_FLAGS_DRV_MODE : XDP_FLAGS_SKB_MODE);
	int link;

	if (p->xdp < 0)
		return rack_say("%s: its XDP program was not detached", p->node->name);
	link = bpf_link_create(p->xdp, p->node->ifindex, BPF_XDP, &opts);
	if (link < 0)
		return failed(p, "attach its XDP program", link);
	keep(&p->link, link);
	keep(&p->xdp, -1);
	return 0;
}

static int attach_tc(struct programs *p)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = p->node->ifindex, .attach_point = BPF_TC_EGRESS);
	LIBBPF_OPTS(bpf_tc_opts, opts, .prog_fd = p->tc, .handle = ELEC_TC_HANDLE,
		    .priority = ELEC_TC_PRIORITY, .flags = BPF_TC_F_REPLACE);
	int ret;

	if (p->tc < 0)
		return rack_say("%s: its TC program was not detached", p->node->name);
	ret = bpf_tc_attach(&hook, &opts);
	if (ret)
		return failed(p, "attach its TC program", ret);
	keep(&p->tc, -1);
	return 0;
}

/* A device's index means something in its own namespace only. */
static int inside(struct programs *p, int (*fn)(struct programs *p))
{
	int home = ns_current(), node = rack_netns(p->rack, p->node->name), ret = -1;

	if (home < 0 || node < 0 || ns_enter(node))
		rack_say("cannot enter %s: %s", p->node->name, strerror(errno));
	else
		ret = fn(p);
	if (home >= 0 && ns_enter(home))
		ret = rack_say("cannot come back from %s: %s", p->node->name, strerror(errno));
	if (home >= 0)
		close(home);
	if (node >= 0)
		close(node);
	return ret;
}

int programs_detach(struct programs *p, bool tc)
{
	return inside(p, tc ? detach_tc : detach_xdp);
}

int programs_attach(struct programs *p, bool tc)
{
	return inside(p, tc ? attach_tc : attach_xdp);
}

void programs_close(struct programs *p)
{
	keep(&p->xdp, -1);
	keep(&p->tc, -1);
	keep(&p->link, -1);
}
