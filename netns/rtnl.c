// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The core: a buffer of messages, one send, the answers. Only the last message of a
 * batch asks for an acknowledgement; the kernel reports errors of the others anyway.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "netns/rtnl_core.h"

#define BATCH_BYTES 32768 /* sent when so full */
#define MESSAGE_MAX 1024  /* bytes of one message, and then some */
#define BATCH_COUNT (BATCH_BYTES / 32)

#ifndef SOL_NETLINK
#define SOL_NETLINK 270
#endif

struct rtnl {
	struct mnl_socket *socket;
	uint32_t seq; /* of the last message queued */
	int failed;   /* -errno of the first failure since the last commit */
	char error[256];
	size_t used; /* bytes of finished messages */
	struct nlmsghdr *open;
	unsigned int count;
	struct {
		const char *what;
		int ifindex;
		char name[IFNAMSIZ];
	} label[BATCH_COUNT]; /* of each message in the batch */
	char batch[BATCH_BYTES + MESSAGE_MAX] __attribute__((aligned(MNL_ALIGNTO)));
	char answer[65536] __attribute__((aligned(MNL_ALIGNTO)));
};

static int open_socket(struct rtnl *r)
{
	int one = 1;

	r->socket = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);
	if (!r->socket || mnl_socket_bind(r->socket, 0, MNL_SOCKET_AUTOPID) < 0)
		return -errno;
	/* Without these the library still works, with poorer errors. */
	mnl_socket_setsockopt(r->socket, NETLINK_EXT_ACK, &one, sizeof(one));
	mnl_socket_setsockopt(r->socket, NETLINK_CAP_ACK, &one, sizeof(one));
	mnl_socket_setsockopt(r->socket, NETLINK_GET_STRICT_CHK, &one, sizeof(one));
	return 0;
}

int rtnl_open(struct rtnl **out)
{
	struct rtnl *r = calloc(1, sizeof(*r));
	int ret;

	if (!r)
		return -ENOMEM;
	r->seq = time(NULL);
	ret = open_socket(r);
	if (ret) {
		rtnl_close(r);
		return ret;
	}
	*out = r;
	return 0;
}

int rtnl_reopen(struct rtnl *r)
{
	if (r->socket)
		mnl_socket_close(r->socket);
	r->open = NULL;
	r->used = 0;
	r->count = 0;
	r->failed = 0;
	return open_socket(r);
}

int rtnl_fd(const struct rtnl *r)
{
	return mnl_socket_get_fd(r->socket);
}

void rtnl_close(struct rtnl *r)
{
	if (!r)
		return;
	if (r->socket)
		mnl_socket_close(r->socket);
	free(r);
}

const char *rtnl_error(const struct rtnl *r)
{
	return r->error;
}

/* The kernel's own words in an error message, or NULL. */
static const char *extended_ack(const struct nlmsghdr *nlh)
{
	const struct nlmsgerr *err = mnl_nlmsg_get_payload(nlh);
	size_t skip = sizeof(*err);
	const struct nlattr *attr;

	if (!(nlh->nlmsg_flags & NLM_F_ACK_TLVS))
		return NULL;
	if (!(nlh->nlmsg_flags & NLM_F_CAPPED))
		skip += err->msg.nlmsg_len - sizeof(err->msg);
	mnl_attr_for_each(attr, nlh, skip)
	{
		if (mnl_attr_get_type(attr) == NLMSGERR_ATTR_MSG)
			return mnl_attr_get_str(attr);
	}
	return NULL;
}

static void fail(struct rtnl *r, const struct nlmsghdr *nlh, int error)
{
	const char *words = nlh ? extended_ack(nlh) : NULL;
	unsigned int at = nlh ? nlh->nlmsg_seq - (r->seq - r->count + 1) : r->count;

	if (r->failed)
		return;
	r->failed = error;
	if (at >= r->count)
		snprintf(r->error, sizeof(r->error), "netlink: %s", strerror(-error));
	else if (r->label[at].name[0])
		snprintf(r->error, sizeof(r->error), "%s %s: %s%s%s", r->label[at].what,
			 r->label[at].name, strerror(-error), words ? ": " : "", words ?: "");
	else
		snprintf(r->error, sizeof(r->error), "%s %d: %s%s%s", r->label[at].what,
			 r->label[at].ifindex, strerror(-error), words ? ": " : "", words ?: "");
}

static void close_message(struct rtnl *r)
{
	if (!r->open)
		return;
	r->used += NLMSG_ALIGN(r->open->nlmsg_len);
	r->open = NULL;
}

/* Answers up to the one for message `last`; an answer is an error or (error 0) an ack. */
static int read_answers(struct rtnl *r, uint32_t last)
{
	for (;;) {
		int len = mnl_socket_recvfrom(r->socket, r->answer, sizeof(r->answer));
		const struct nlmsghdr *nlh = (const void *)r->answer;

		if (len < 0 && errno == EINTR)
			continue;
		if (len < 0)
			return -errno;
		for (; mnl_nlmsg_ok(nlh, len); nlh = mnl_nlmsg_next(nlh, &len)) {
			const struct nlmsgerr *err = mnl_nlmsg_get_payload(nlh);

			if (nlh->nlmsg_type != NLMSG_ERROR)
				continue;
			if (err->error)
				fail(r, nlh, err->error);
			if (nlh->nlmsg_seq == last)
				return 0;
		}
	}
}

static void flush(struct rtnl *r)
{
	struct nlmsghdr *last = r->open;
	int ret = 0;

	close_message(r);
	if (!r->count)
		return;
	last->nlmsg_flags |= NLM_F_ACK;
	if (mnl_socket_sendto(r->socket, r->batch, r->used) < 0)
		ret = -errno;
	else
		ret = read_answers(r, last->nlmsg_seq);
	if (ret)
		fail(r, NULL, ret);
	r->used = 0;
	r->count = 0;
}

int rtnl_commit(struct rtnl *r)
{
	int ret;

	flush(r);
	ret = r->failed;
	r->failed = 0;
	return ret;
}

void *rtnl_begin(struct rtnl *r, uint16_t type, uint16_t flags, size_t size, const char *what,
		 const char *name, int ifindex)
{
	if (r->used + (r->open ? r->open->nlmsg_len : 0) >= BATCH_BYTES || r->count == BATCH_COUNT)
		flush(r);
	close_message(r);
	r->label[r->count].what = what;
	r->label[r->count].ifindex = ifindex;
	snprintf(r->label[r->count].name, IFNAMSIZ, "%s", name ?: "");
	r->count++;
	r->open = mnl_nlmsg_put_header(r->batch + r->used);
	r->open->nlmsg_type = type;
	r->open->nlmsg_flags = NLM_F_REQUEST | flags;
	r->open->nlmsg_seq = ++r->seq;
	return mnl_nlmsg_put_extra_header(r->open, size);
}

struct nlmsghdr *rtnl_message(struct rtnl *r)
{
	return r->open;
}

int rtnl_dump_head(struct rtnl *r, uint16_t type, const void *head, size_t size, mnl_cb_t fn,
		   void *arg)
{
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(r->batch);
	int ret;

	nlh->nlmsg_type = type;
	nlh->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	nlh->nlmsg_seq = ++r->seq;
	memcpy(mnl_nlmsg_put_extra_header(nlh, size), head, size);
	if (mnl_socket_sendto(r->socket, nlh, nlh->nlmsg_len) < 0)
		return -errno;
	do {
		ret = mnl_socket_recvfrom(r->socket, r->answer, sizeof(r->answer));
		if (ret > 0)
			ret = mnl_cb_run(r->answer, ret, nlh->nlmsg_seq,
					 mnl_socket_get_portid(r->socket), fn, arg);
	} while (ret > 0);
	return ret < 0 ? -errno : 0;
}

int rtnl_dump(struct rtnl *r, uint16_t type, unsigned char family, mnl_cb_t fn, void *arg)
{
	/* Strict checking wants the whole family header, which begins with the family. */
	union {
		struct rtgenmsg general;
		struct rtmsg route;
		struct ifinfomsg link;
		struct ifaddrmsg address;
	} head = {.general.rtgen_family = family};

	return rtnl_dump_head(r, type, &head,
			      type == RTM_GETROUTE  ? sizeof(head.route)
			      : type == RTM_GETLINK ? sizeof(head.link)
						    : sizeof(head.address),
			      fn, arg);
}
