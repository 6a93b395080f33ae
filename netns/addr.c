// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* IPv4 addresses, neighbours, and which prefixes are in use. */
#include <arpa/inet.h>
#include <linux/if_addr.h>
#include <linux/neighbour.h>
#include <string.h>

#include "netns/rtnl_core.h"

void rtnl_addr_add(struct rtnl *r, int ifindex, uint32_t addr, unsigned int prefix)
{
	struct ifaddrmsg *ifa = rtnl_begin(r, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, sizeof(*ifa),
					   "add address of link", NULL, ifindex);

	ifa->ifa_family = AF_INET;
	ifa->ifa_prefixlen = prefix;
	ifa->ifa_index = ifindex;
	mnl_attr_put_u32(rtnl_message(r), IFA_LOCAL, addr);
	mnl_attr_put_u32(rtnl_message(r), IFA_ADDRESS, addr);
}

void rtnl_neigh_add(struct rtnl *r, int ifindex, uint32_t addr, const uint8_t mac[6])
{
	struct ndmsg *ndm = rtnl_begin(r, RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_EXCL, sizeof(*ndm),
				       "add neighbour on link", NULL, ifindex);

	ndm->ndm_family = AF_INET;
	ndm->ndm_ifindex = ifindex;
	ndm->ndm_state = NUD_PERMANENT;
	mnl_attr_put_u32(rtnl_message(r), NDA_DST, addr);
	mnl_attr_put(rtnl_message(r), NDA_LLADDR, 6, mac);
}

struct prefix_call {
	rtnl_prefix_fn fn;
	void *arg;
};

static int on_address(const struct nlmsghdr *nlh, void *arg)
{
	const struct ifaddrmsg *ifa = mnl_nlmsg_get_payload(nlh);
	const struct prefix_call *call = arg;
	const struct nlattr *attr;

	mnl_attr_for_each(attr, nlh, sizeof(*ifa))
	{
		if (mnl_attr_get_type(attr) == IFA_ADDRESS)
			call->fn(call->arg, "address", mnl_attr_get_u32(attr), ifa->ifa_prefixlen,
				 ifa->ifa_index);
	}
	return MNL_CB_OK;
}

static int on_route(const struct nlmsghdr *nlh, void *arg)
{
	const struct rtmsg *rtm = mnl_nlmsg_get_payload(nlh);
	const struct prefix_call *call = arg;
	const struct nlattr *attr, *dst = NULL;
	int oif = 0;

	mnl_attr_for_each(attr, nlh, sizeof(*rtm))
	{
		if (mnl_attr_get_type(attr) == RTA_DST)
			dst = attr;
		else if (mnl_attr_get_type(attr) == RTA_OIF)
			oif = mnl_attr_get_u32(attr);
	}
	/* The local table repeats the addresses; a default route covers everything and owns
	 * nothing. */
	if (dst && rtm->rtm_dst_len && rtm->rtm_table != RT_TABLE_LOCAL)
		call->fn(call->arg, "route", mnl_attr_get_u32(dst), rtm->rtm_dst_len, oif);
	return MNL_CB_OK;
}

int rtnl_prefixes(struct rtnl *r, rtnl_prefix_fn fn, void *arg)
{
	struct prefix_call call = {fn, arg};
	int ret = rtnl_dump(r, RTM_GETADDR, AF_INET, on_address, &call);

	return ret ?: rtnl_dump(r, RTM_GETROUTE, AF_INET, on_route, &call);
}
