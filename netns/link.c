// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Links: veth pairs, the bridge and its ports. */
#include <arpa/inet.h>
#include <linux/if_bridge.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/veth.h>
#include <string.h>
#include <unistd.h>

#include "netns/rtnl_core.h"

static struct ifinfomsg *begin(struct rtnl *r, uint16_t type, uint16_t flags, const char *what,
			       const char *name, int ifindex, bool up)
{
	struct ifinfomsg *ifi = rtnl_begin(r, type, flags, sizeof(*ifi), what, name, ifindex);

	ifi->ifi_index = ifindex;
	if (up)
		ifi->ifi_flags = ifi->ifi_change = IFF_UP;
	return ifi;
}

static void put_end(struct nlmsghdr *nlh, const struct rtnl_veth_end *end, uint32_t mtu)
{
	mnl_attr_put_strz(nlh, IFLA_IFNAME, end->name);
	mnl_attr_put(nlh, IFLA_ADDRESS, sizeof(end->mac), end->mac);
	mnl_attr_put_u32(nlh, IFLA_MTU, mtu);
	mnl_attr_put_u32(nlh, IFLA_NUM_TX_QUEUES, end->queues ?: 1);
	mnl_attr_put_u32(nlh, IFLA_NUM_RX_QUEUES, end->queues ?: 1);
	if (end->group)
		mnl_attr_put_u32(nlh, IFLA_GROUP, end->group);
	if (end->here)
		mnl_attr_put_u32(nlh, IFLA_NET_NS_PID, gettid());
	if (end->bridge)
		mnl_attr_put_u32(nlh, IFLA_MASTER, end->bridge);
}

void rtnl_veth_add(struct rtnl *r, const struct rtnl_veth_end *end,
		   const struct rtnl_veth_end *peer, uint32_t mtu)
{
	struct nlattr *info, *data, *other;
	struct ifinfomsg *peer_ifi;
	struct nlmsghdr *nlh;

	begin(r, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, "create link", end->name, end->ifindex,
	      true);
	nlh = rtnl_message(r);
	put_end(nlh, end, mtu);
	info = mnl_attr_nest_start(nlh, IFLA_LINKINFO);
	mnl_attr_put_str(nlh, IFLA_INFO_KIND, "veth");
	data = mnl_attr_nest_start(nlh, IFLA_INFO_DATA);
	other = mnl_attr_nest_start(nlh, VETH_INFO_PEER);
	peer_ifi = mnl_nlmsg_get_payload_tail(nlh);
	memset(peer_ifi, 0, sizeof(*peer_ifi));
	peer_ifi->ifi_index = peer->ifindex;
	nlh->nlmsg_len += NLMSG_ALIGN(sizeof(*peer_ifi));
	put_end(nlh, peer, mtu);
	mnl_attr_nest_end(nlh, other);
	mnl_attr_nest_end(nlh, data);
	mnl_attr_nest_end(nlh, info);
}

void rtnl_bridge_add(struct rtnl *r, const char *name, int ifindex, const uint8_t mac[6])
{
	struct nlattr *info, *data;
	struct nlmsghdr *nlh;

	begin(r, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, "create bridge", name, ifindex, true);
	nlh = rtnl_message(r);
	mnl_attr_put_strz(nlh, IFLA_IFNAME, name);
	mnl_attr_put(nlh, IFLA_ADDRESS, 6, mac);
	info = mnl_attr_nest_start(nlh, IFLA_LINKINFO);
	mnl_attr_put_str(nlh, IFLA_INFO_KIND, "bridge");
	data = mnl_attr_nest_start(nlh, IFLA_INFO_DATA);
	mnl_attr_put_u32(nlh, IFLA_BR_STP_STATE, 0);
	mnl_attr_put_u8(nlh, IFLA_BR_MCAST_SNOOPING, 0);
	mnl_attr_nest_end(nlh, data);
	mnl_attr_nest_end(nlh, info);
}

void rtnl_link_up(struct rtnl *r, int ifindex)
{
	begin(r, RTM_SETLINK, 0, "set up link", NULL, ifindex, true);
}

void rtnl_port_up(struct rtnl *r, int ifindex, int bridge)
{
	begin(r, RTM_SETLINK, 0, "set up port", NULL, ifindex, true);
	mnl_attr_put_u32(rtnl_message(r), IFLA_MASTER, bridge);
}

void rtnl_vxlan_add(struct rtnl *r, const struct rtnl_vxlan *vxlan, uint32_t mtu)
{
	struct nlattr *info, *data;
	struct nlmsghdr *nlh;

	begin(r, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, "create link", vxlan->name, vxlan->ifindex,
	      false);
	nlh = rtnl_message(r);
	mnl_attr_put_strz(nlh, IFLA_IFNAME, vxlan->name);
	mnl_attr_put(nlh, IFLA_ADDRESS, sizeof(vxlan->mac), vxlan->mac);
	mnl_attr_put_u32(nlh, IFLA_MTU, mtu);
	mnl_attr_put_u32(nlh, IFLA_GROUP, vxlan->group);
	mnl_attr_put_u32(nlh, IFLA_NET_NS_PID, gettid());
	info = mnl_attr_nest_start(nlh, IFLA_LINKINFO);
	mnl_attr_put_str(nlh, IFLA_INFO_KIND, "vxlan");
	data = mnl_attr_nest_start(nlh, IFLA_INFO_DATA);
	mnl_attr_put_u32(nlh, IFLA_VXLAN_ID, vxlan->id);
	mnl_attr_put_u32(nlh, IFLA_VXLAN_LOCAL, vxlan->local);
	mnl_attr_put_u16(nlh, IFLA_VXLAN_PORT, htons(vxlan->port));
	mnl_attr_put_u8(nlh, IFLA_VXLAN_LEARNING, 0);
	mnl_attr_put(nlh, IFLA_VXLAN_GBP, 0, NULL);
	mnl_attr_nest_end(nlh, data);
	mnl_attr_nest_end(nlh, info);
}

void rtnl_vxlan_dst(struct rtnl *r, int ifindex, const uint8_t mac[6], uint32_t host)
{
	static const uint8_t any[6];
	struct ndmsg *ndm = rtnl_begin(r, RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_APPEND, sizeof(*ndm),
				       "add destination to link", NULL, ifindex);

	ndm->ndm_family = AF_BRIDGE;
	ndm->ndm_ifindex = ifindex;
	ndm->ndm_state = NUD_NOARP | NUD_PERMANENT;
	ndm->ndm_flags = NTF_SELF;
	mnl_attr_put(rtnl_message(r), NDA_LLADDR, 6, mac ?: any);
	mnl_attr_put_u32(rtnl_message(r), NDA_DST, host);
}

void rtnl_xdp_set(struct rtnl *r, int ifindex, int prog_fd)
{
	struct nlmsghdr *nlh;
	struct nlattr *xdp;

	begin(r, RTM_SETLINK, 0, "attach XDP program to link", NULL, ifindex, false);
	nlh = rtnl_message(r);
	xdp = mnl_attr_nest_start(nlh, IFLA_XDP);
	mnl_attr_put_u32(nlh, IFLA_XDP_FD, prog_fd);
	mnl_attr_put_u32(nlh, IFLA_XDP_FLAGS, XDP_FLAGS_DRV_MODE);
	mnl_attr_nest_end(nlh, xdp);
}

static int on_port(const struct nlmsghdr *nlh, void *arg)
{
	const struct nlattr *attr, *info;
	int *idle = arg;

	mnl_attr_for_each(attr, nlh, sizeof(struct ifinfomsg))
	{
		if (mnl_attr_get_type(attr) != IFLA_PROTINFO)
			continue;
		mnl_attr_for_each_nested(info, attr)
		{
			if (mnl_attr_get_type(info) == IFLA_BRPORT_STATE)
				*idle += mnl_attr_get_u8(info) != BR_STATE_FORWARDING;
		}
	}
	return MNL_CB_OK;
}

int rtnl_ports_idle(struct rtnl *r)
{
	int idle = 0, ret = rtnl_dump(r, RTM_GETLINK, AF_BRIDGE, on_port, &idle);

	return ret ?: idle;
}

void rtnl_gro_max(struct rtnl *r, int ifindex, uint32_t bytes)
{
	begin(r, RTM_SETLINK, 0, "limit merging of link", NULL, ifindex, false);
	mnl_attr_put_u32(rtnl_message(r), IFLA_GRO_MAX_SIZE, bytes);
}

void rtnl_link_del(struct rtnl *r, int ifindex)
{
	begin(r, RTM_DELLINK, 0, "delete link", NULL, ifindex, false);
}

void rtnl_group_del(struct rtnl *r, uint32_t group)
{
	begin(r, RTM_DELLINK, 0, "delete link group", NULL, 0, false);
	mnl_attr_put_u32(rtnl_message(r), IFLA_GROUP, group);
}

void rtnl_fdb_add(struct rtnl *r, int port, const uint8_t mac[6])
{
	struct ndmsg *ndm = rtnl_begin(r, RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_EXCL, sizeof(*ndm),
				       "add forwarding entry of port", NULL, port);

	ndm->ndm_family = AF_BRIDGE;
	ndm->ndm_ifindex = port;
	ndm->ndm_state = NUD_NOARP;
	/* Sticky: else a frame with this source from another port would move even a static entry.
	 */
	ndm->ndm_flags = NTF_MASTER | NTF_STICKY;
	mnl_attr_put(rtnl_message(r), NDA_LLADDR, 6, mac);
}
