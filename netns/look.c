// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "netns/look.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/ethtool.h>
#include <linux/if_bridge.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>
#include <linux/sockios.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "netns/rtnl_core.h"

/* ---- devices ---- */

struct links {
	look_link_fn fn;
	void *arg;
};

static void read_xdp(struct look_link *link, const struct nlattr *xdp)
{
	const struct nlattr *attr;

	mnl_attr_for_each_nested(attr, xdp)
	{
		if (mnl_attr_get_type(attr) == IFLA_XDP_ATTACHED)
			link->attached = mnl_attr_get_u8(attr);
		else if (mnl_attr_get_type(attr) == IFLA_XDP_PROG_ID)
			link->xdp = mnl_attr_get_u32(attr);
	}
}

static void read_mac(uint8_t mac[6], const struct nlattr *attr)
{
	if (mnl_attr_get_payload_len(attr) == 6)
		memcpy(mac, mnl_attr_get_payload(attr), 6);
}

/* What only a port of a bridge has. */
static void read_port(struct look_link *link, const struct nlattr *info)
{
	const struct nlattr *attr, *port;

	mnl_attr_for_each_nested(attr, info)
	{
		if (mnl_attr_get_type(attr) != IFLA_INFO_SLAVE_DATA)
			continue;
		mnl_attr_for_each_nested(port, attr)
		{
			if (mnl_attr_get_type(port) == IFLA_BRPORT_STATE)
				link->forwards = mnl_attr_get_u8(port) == BR_STATE_FORWARDING;
			else if (mnl_attr_get_payload_len(port) == 1 && mnl_attr_get_u8(port))
				link->port_on |= 1ull << mnl_attr_get_type(port);
		}
	}
}

static int on_link(const struct nlmsghdr *nlh, void *arg)
{
	const struct ifinfomsg *head = mnl_nlmsg_get_payload(nlh);
	struct look_link link = {.ifindex = head->ifi_index, .up = head->ifi_flags & IFF_UP};
	struct rtnl_link_stats64 stats = {};
	struct links *links = arg;
	const struct nlattr *attr;
	size_t len;

	mnl_attr_for_each(attr, nlh, sizeof(*head))
	{
		switch (mnl_attr_get_type(attr)) {
		case IFLA_IFNAME:
			snprintf(link.name, sizeof(link.name), "%s", mnl_attr_get_str(attr));
			break;
		case IFLA_STATS64:
			len = mnl_attr_get_payload_len(attr);
			memcpy(&stats, mnl_attr_get_payload(attr),
			       len < sizeof(stats) ? len : sizeof(stats));
			break;
		case IFLA_XDP:
			read_xdp(&link, attr);
			break;
		case IFLA_ADDRESS:
			read_mac(link.mac, attr);
			break;
		case IFLA_QDISC:
			snprintf(link.qdisc, sizeof(link.qdisc), "%s", mnl_attr_get_str(attr));
			break;
		case IFLA_MTU:
			link.mtu = mnl_attr_get_u32(attr);
			break;
		case IFLA_GRO_MAX_SIZE:
			link.gro_max = mnl_attr_get_u32(attr);
			break;
		case IFLA_MASTER:
			link.master = mnl_attr_get_u32(attr);
			break;
		case IFLA_LINKINFO:
			read_port(&link, attr);
			break;
		}
	}
	link.rx_packets = stats.rx_packets;
	link.rx_bytes = stats.rx_bytes;
	link.rx_dropped = stats.rx_dropped;
	link.tx_packets = stats.tx_packets;
	link.tx_bytes = stats.tx_bytes;
	link.tx_dropped = stats.tx_dropped;
	links->fn(links->arg, &link);
	return MNL_CB_OK;
}

int look_links(struct rtnl *r, look_link_fn fn, void *arg)
{
	struct links links = {fn, arg};

	return rtnl_dump(r, RTM_GETLINK, AF_UNSPEC, on_link, &links);
}

/* ---- neighbours ---- */

struct neighbours {
	look_neighbour_fn fn;
	void *arg;
};

static int on_neighbour(const struct nlmsghdr *nlh, void *arg)
{
	const struct ndmsg *head = mnl_nlmsg_get_payload(nlh);
	struct look_neighbour one = {.ifindex = head->ndm_ifindex,
				     .fixed = head->ndm_state & (NUD_PERMANENT | NUD_NOARP),
				     .sticky = head->ndm_flags & NTF_STICKY};
	struct neighbours *neighbours = arg;
	const struct nlattr *attr;

	mnl_attr_for_each(attr, nlh, sizeof(*head))
	{
		if (mnl_attr_get_type(attr) == NDA_LLADDR)
			read_mac(one.mac, attr);
		else if (mnl_attr_get_type(attr) == NDA_DST && mnl_attr_get_payload_len(attr) == 4)
			one.addr = mnl_attr_get_u32(attr);
	}
	neighbours->fn(neighbours->arg, &one);
	return MNL_CB_OK;
}

static int neighbours(struct rtnl *r, unsigned char family, look_neighbour_fn fn, void *arg)
{
	const struct ndmsg head = {.ndm_family = family};
	struct neighbours neighbours = {fn, arg};

	return rtnl_dump_head(r, RTM_GETNEIGH, &head, sizeof(head), on_neighbour, &neighbours);
}

int look_neighbours(struct rtnl *r, look_neighbour_fn fn, void *arg)
{
	return neighbours(r, AF_INET, fn, arg);
}

int look_bridges(struct rtnl *r, look_neighbour_fn fn, void *arg)
{
	return neighbours(r, AF_BRIDGE, fn, arg);
}

/* ---- programs of traffic control ---- */

static int on_filter(const struct nlmsghdr *nlh, void *arg)
{
	const struct nlattr *attr, *option;
	struct look_filters *filters = arg;
	const char *kind = "";

	mnl_attr_for_each(attr, nlh, sizeof(struct tcmsg))
	{
		if (mnl_attr_get_type(attr) == TCA_KIND)
			kind = mnl_attr_get_str(attr);
		if (mnl_attr_get_type(attr) != TCA_OPTIONS || strcmp(kind, "bpf"))
			continue;
		mnl_attr_for_each_nested(option, attr)
		{
			if (mnl_attr_get_type(option) == TCA_BPF_ID &&
			    filters->count < LOOK_FILTERS_MAX)
				filters->id[filters->count++] = mnl_attr_get_u32(option);
		}
	}
	return MNL_CB_OK;
}

int look_filters(struct rtnl *r, int ifindex, bool egress, struct look_filters *filters)
{
	struct tcmsg head = {
		.tcm_ifindex = ifindex,
		.tcm_parent = TC_H_MAKE(TC_H_CLSACT, egress ? TC_H_MIN_EGRESS : TC_H_MIN_INGRESS),
	};
	int ret;

	filters->count = 0;
	ret = rtnl_dump_head(r, RTM_GETTFILTER, &head, sizeof(head), on_filter, filters);
	return ret == -EINVAL || ret == -ENOENT ? 0 : ret; /* no clsact there */
}

/* ---- queues ---- */

static int call(int socket, const char *name, void *command)
{
	struct ifreq ifr = {.ifr_data = command};

	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", name);
	return ioctl(socket, SIOCETHTOOL, &ifr) ? -errno : 0;
}

static const struct {
	const char *name;
	size_t at;
} fields[] = {
	{"xdp_packets", offsetof(struct look_queue, packets)},
	{"xdp_bytes", offsetof(struct look_queue, bytes)},
	{"drops", offsetof(struct look_queue, drops)},
	{"xdp_drops", offsetof(struct look_queue, xdp_drops)},
	{"xdp_redirect", offsetof(struct look_queue, xdp_redirect)},
	{"xdp_tx", offsetof(struct look_queue, xdp_tx)},
	{"xdp_tx_errors", offsetof(struct look_queue, xdp_tx_errors)},
};

/* "rx_queue_0_xdp_packets" and the like (drivers/net/veth.c). */
static void read_counter(const char *text, uint64_t value, struct look_queue *queues,
			 unsigned int max, unsigned int *count)
{
	unsigned int queue;
	int used = 0;

	if (sscanf(text, "rx_queue_%4u_%n", &queue, &used) != 1 || !used)
		return;
	if (queue >= *count)
		*count = queue + 1;
	for (size_t i = 0; queue < max && i < sizeof(fields) / sizeof(*fields); i++) {
		if (!strcmp(text + used, fields[i].name))
			*(uint64_t *)((char *)&queues[queue] + fields[i].at) = value;
	}
}

int look_queues(int socket, const char *name, struct look_queue *queues, unsigned int max)
{
	struct {
		struct ethtool_sset_info head;
		uint32_t count;
	} set = {.head = {.cmd = ETHTOOL_GSSET_INFO, .sset_mask = 1ull << ETH_SS_STATS}};
	struct ethtool_gstrings *names = NULL;
	struct ethtool_stats *values = NULL;
	unsigned int count = 0;
	int ret = call(socket, name, &set);

	if (ret)
		return ret;
	names = calloc(1, sizeof(*names) + (size_t)set.count * ETH_GSTRING_LEN);
	values = calloc(1, sizeof(*values) + (size_t)set.count * sizeof(uint64_t));
	if (!names || !values) {
		ret = -ENOMEM;
		goto out;
	}
	names->cmd = ETHTOOL_GSTRINGS;
	names->string_set = ETH_SS_STATS;
	values->cmd = ETHTOOL_GSTATS;
	names->len = values->n_stats = set.count;
	ret = call(socket, name, names) ?: call(socket, name, values);
	if (ret)
		goto out;
	memset(queues, 0, max * sizeof(*queues));
	for (uint32_t i = 0; i < set.count; i++) {
		char text[ETH_GSTRING_LEN + 1] = "";

		memcpy(text, names->data + (size_t)i * ETH_GSTRING_LEN, ETH_GSTRING_LEN);
		read_counter(text, values->data[i], queues, max, &count);
	}
	ret = count;
out:
	free(names);
	free(values);
	return ret;
}
