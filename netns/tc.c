// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* A BPF program on a link's ingress, by clsact: the form that Linux 6.1 has too. */
#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>

#include "netns/rtnl_core.h"

#define PRIORITY 1
#define HANDLE 1

static struct tcmsg *begin(struct rtnl *r, uint16_t type, const char *what, int ifindex)
{
	struct tcmsg *tcm =
		rtnl_begin(r, type, NLM_F_CREATE | NLM_F_EXCL, sizeof(*tcm), what, NULL, ifindex);

	tcm->tcm_family = AF_UNSPEC;
	tcm->tcm_ifindex = ifindex;
	return tcm;
}

void rtnl_clsact_add(struct rtnl *r, int ifindex)
{
	struct tcmsg *tcm = begin(r, RTM_NEWQDISC, "add clsact to link", ifindex);

	tcm->tcm_parent = TC_H_CLSACT;
	tcm->tcm_handle = TC_H_MAKE(TC_H_CLSACT, 0);
	mnl_attr_put_strz(rtnl_message(r), TCA_KIND, "clsact");
}

void rtnl_ingress_add(struct rtnl *r, int ifindex, int prog_fd, const char *name)
{
	struct tcmsg *tcm = begin(r, RTM_NEWTFILTER, "attach program to link", ifindex);
	struct nlmsghdr *nlh = rtnl_message(r);
	struct nlattr *options;

	tcm->tcm_parent = TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS);
	tcm->tcm_handle = HANDLE;
	tcm->tcm_info = TC_H_MAKE(PRIORITY << 16, htons(ETH_P_ALL));
	mnl_attr_put_strz(nlh, TCA_KIND, "bpf");
	options = mnl_attr_nest_start(nlh, TCA_OPTIONS);
	mnl_attr_put_u32(nlh, TCA_BPF_FD, prog_fd);
	mnl_attr_put_strz(nlh, TCA_BPF_NAME, name);
	mnl_attr_put_u32(nlh, TCA_BPF_FLAGS, TCA_BPF_FLAG_ACT_DIRECT);
	mnl_attr_nest_end(nlh, options);
}
