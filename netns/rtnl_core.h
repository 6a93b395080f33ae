/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Private to netns/: how a verb queues its message. */
#ifndef PAXRACK_RTNL_CORE_H
#define PAXRACK_RTNL_CORE_H

#include <libmnl/libmnl.h>
#include <linux/rtnetlink.h>

#include "netns/rtnl.h"

/*
 * Begin a message with a zeroed family header of `size` bytes, returned. `what` and
 * `ifindex` or `name` are for the error: "add address 3: ...". `what` must live on.
 */
void *rtnl_begin(struct rtnl *r, uint16_t type, uint16_t flags, size_t size, const char *what,
		 const char *name, int ifindex);
/* The message that was begun, for attributes. */
struct nlmsghdr *rtnl_message(struct rtnl *r);

/* Ask for a dump and hand every message to `fn`. 0 or -errno. */
int rtnl_dump(struct rtnl *r, uint16_t type, unsigned char family, mnl_cb_t fn, void *arg);
/* The same with a family header that says more. */
int rtnl_dump_head(struct rtnl *r, uint16_t type, const void *head, size_t size, mnl_cb_t fn,
		   void *arg);

#endif
