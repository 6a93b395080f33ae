// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* What a device can do with XDP: the kernel's generic netlink family "netdev". */
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/genetlink.h>

#include "netns/ns.h"

/* linux/netdev.h, which Debian 12's headers do not have: Linux 6.3 brought it */
#define NETDEV_FAMILY "netdev"
#define NETDEV_CMD_DEV_GET 1
#define NETDEV_A_DEV_IFINDEX 1
#define NETDEV_A_DEV_XDP_FEATURES 3

#define BUFFER_BYTES 8192

struct answer {
	uint16_t want;
	uint64_t value;
};

/* Keeps the value of one attribute, of 16 or 64 bits. */
static int on_answer(const struct nlmsghdr *nlh, void *arg)
{
	struct answer *answer = arg;
	const struct nlattr *attr;

	mnl_attr_for_each(attr, nlh, sizeof(struct genlmsghdr))
	{
		if (mnl_attr_get_type(attr) != answer->want)
			continue;
		answer->value = mnl_attr_get_payload_len(attr) == sizeof(uint16_t)
					? mnl_attr_get_u16(attr)
					: mnl_attr_get_u64(attr);
	}
	return MNL_CB_OK;
}

static struct nlmsghdr *begin(char *buffer, uint16_t family, uint8_t command)
{
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buffer);
	struct genlmsghdr *genl;

	nlh->nlmsg_type = family;
	nlh->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
	genl = mnl_nlmsg_put_extra_header(nlh, sizeof(*genl));
	genl->cmd = command;
	genl->version = 1;
	return nlh;
}

static int ask(struct mnl_socket *socket, struct nlmsghdr *nlh, struct answer *answer)
{
	char buffer[BUFFER_BYTES];
	int ret = mnl_socket_sendto(socket, nlh, nlh->nlmsg_len);

	while (ret > 0) {
		ret = mnl_socket_recvfrom(socket, buffer, sizeof(buffer));
		if (ret > 0)
			ret = mnl_cb_run(buffer, ret, 0, mnl_socket_get_portid(socket), on_answer,
					 answer);
	}
	return ret < 0 ? -errno : 0;
}

int features_xdp(int ifindex, uint64_t *can)
{
	struct answer family = {.want = CTRL_ATTR_FAMILY_ID};
	struct answer features = {.want = NETDEV_A_DEV_XDP_FEATURES};
	struct mnl_socket *socket = mnl_socket_open2(NETLINK_GENERIC, SOCK_CLOEXEC);
	char buffer[BUFFER_BYTES];
	struct nlmsghdr *nlh;
	int ret;

	if (!socket)
		return -errno;
	if (mnl_socket_bind(socket, 0, MNL_SOCKET_AUTOPID) < 0) {
		ret = -errno;
		goto out;
	}
	nlh = begin(buffer, GENL_ID_CTRL, CTRL_CMD_GETFAMILY);
	mnl_attr_put_strz(nlh, CTRL_ATTR_FAMILY_NAME, NETDEV_FAMILY);
	ret = ask(socket, nlh, &family);
	if (ret)
		goto out;
	nlh = begin(buffer, family.value, NETDEV_CMD_DEV_GET);
	mnl_attr_put_u32(nlh, NETDEV_A_DEV_IFINDEX, ifindex);
	ret = ask(socket, nlh, &features);
	if (!ret)
		*can = features.value;
out:
	mnl_socket_close(socket);
	return ret;
}
