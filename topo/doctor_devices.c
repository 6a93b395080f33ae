// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Real devices, and programs of other people on any device, of the caller's network namespace.
 * Only looked at: a program attached for a moment makes some drivers reset the device.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/if_link.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "netns/look.h"
#include "netns/ns.h"
#include "netns/rtnl.h"
#include "topo/doctor.h"

/* enum netdev_xdp_act of linux/netdev.h */
#define CAN_BASIC 1
#define CAN_REDIRECT 2
#define CAN_ZEROCOPY 8
#define CAN_OFFLOAD 16

#define TCX_PROGRAMS 16 /* that are listed */

struct devices {
	struct doctor *d;
	struct rtnl *r;
	int socket;
	struct features *features;
	struct look_link *links;
	size_t count;
	/* of the device looked at now */
	const struct look_link *link;
	bool offloads_tc;
};

static void keep_link(void *arg, const struct look_link *link)
{
	struct devices *devices = arg;
	struct look_link *more = reallocarray(devices->links, devices->count + 1, sizeof(*more));

	if (!more) {
		devices->d->out_of_memory = true;
		return;
	}
	devices->links = more;
	devices->links[devices->count++] = *link;
}

static void on_feature(void *arg, const struct feature *feature)
{
	struct devices *devices = arg;

	if (!strcmp(feature->name, "hw-tc-offload"))
		devices->offloads_tc = feature->on;
}

static void look_at_device(struct devices *devices)
{
	const struct look_link *link = devices->link;
	char driver[32] = "unknown", xdp[160], key[32];
	uint64_t can = 0;
	int ret = features_xdp(link->ifindex, &can);

	features_driver(devices->socket, link->name, driver);
	devices->offloads_tc = false;
	features_each(devices->features, devices->socket, link->name, on_feature, devices);
	if (ret)
		snprintf(xdp, sizeof(xdp), "this kernel does not tell what XDP it has");
	else if (!(can & CAN_BASIC))
		snprintf(xdp, sizeof(xdp), "generic XDP only");
	else
		snprintf(xdp, sizeof(xdp), "native XDP%s%s%s",
			 can & CAN_REDIRECT ? ", redirect" : "",
			 can & CAN_ZEROCOPY ? ", AF_XDP without copying" : "",
			 can & CAN_OFFLOAD ? ", programs in hardware" : "");
	snprintf(key, sizeof(key), "device.%s", link->name);
	doctor_add(devices->d, DOCTOR_INFO, key, link->name, "driver %.31s: %s; TC in hardware: %s",
		   driver, xdp, devices->offloads_tc ? "on" : "off");
}

static void add_program(struct devices *devices, const char *how, uint32_t id)
{
	int fd = bpf_prog_get_fd_by_id(id);
	struct bpf_prog_info info = {0};
	uint32_t len = sizeof(info);
	char key[64];

	if (fd >= 0) {
		bpf_obj_get_info_by_fd(fd, &info, &len);
		close(fd);
	}
	snprintf(key, sizeof(key), "program.%s.%u", devices->link->name, id);
	doctor_add(devices->d, DOCTOR_INFO, key, devices->link->name, "%s program %s (id %u)", how,
		   info.name[0] ? info.name : "without a name", id);
	doctor_so(devices->d, "somebody else's: no rack touches it");
}

static void look_at_clsact(struct devices *devices, bool egress, const char *how)
{
	struct look_filters filters;

	if (look_filters(devices->r, devices->link->ifindex, egress, &filters))
		return;
	for (unsigned int i = 0; i < filters.count; i++)
		add_program(devices, how, filters.id[i]);
}

static void look_at_tcx(struct devices *devices, enum bpf_attach_type type, const char *how)
{
	uint32_t ids[TCX_PROGRAMS], count = TCX_PROGRAMS;

	if (bpf_prog_query(devices->link->ifindex, type, 0, NULL, ids, &count))
		return; /* a kernel without it */
	for (uint32_t i = 0; i < count; i++)
		add_program(devices, how, ids[i]);
}

static void look_at_programs(struct devices *devices)
{
	const struct look_link *link = devices->link;

	if (link->xdp)
		add_program(devices,
			    link->attached == XDP_ATTACHED_SKB ? "generic XDP" : "native XDP",
			    link->xdp);
	look_at_clsact(devices, false, "TC ingress");
	look_at_clsact(devices, true, "TC egress");
	look_at_tcx(devices, DOCTOR_TCX_INGRESS, "tcx ingress");
	look_at_tcx(devices, DOCTOR_TCX_EGRESS, "tcx egress");
}

/* Has it a bus behind it? */
static bool is_real(const struct look_link *link)
{
	char path[64];

	snprintf(path, sizeof(path), "/sys/class/net/%s/device", link->name);
	return !access(path, F_OK);
}

void doctor_devices(struct doctor *d)
{
	struct devices devices = {.d = d};
	size_t before = d->count;
	int ret = rtnl_open(&devices.r);

	doctor_group(d, "devices of this host, which no rack uses");
	devices.socket = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (!ret)
		ret = devices.socket < 0 ? -errno
					 : features_open(&devices.features, devices.socket, "lo");
	if (!ret)
		ret = look_links(devices.r, keep_link, &devices);
	for (size_t i = 0; i < devices.count; i++) {
		devices.link = &devices.links[i];
		if (is_real(devices.link))
			look_at_device(&devices);
		look_at_programs(&devices);
	}
	if (ret)
		doctor_add(d, DOCTOR_WARN, "devices", "devices", "cannot be listed: %s",
			   strerror(-ret));
	else if (d->count == before)
		doctor_add(d, DOCTOR_OK, "devices", "devices", "no real one here");
	free(devices.links);
	features_close(devices.features);
	if (devices.socket >= 0)
		close(devices.socket);
	rtnl_close(devices.r);
}
