// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Names and addresses that are taken. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "netns/rtnl.h"
#include "topo/private.h"

static bool overlap(uint32_t a, unsigned int a_bits, uint32_t b, unsigned int b_bits)
{
	unsigned int bits = a_bits < b_bits ? a_bits : b_bits;

	return !bits || !((a ^ b) >> (32 - bits));
}

static const char *subnet_text(char buf[32], uint32_t subnet, unsigned int bits)
{
	struct in_addr addr = {htonl(subnet)};

	inet_ntop(AF_INET, &addr, buf, 16);
	sprintf(buf + strlen(buf), "/%u", bits);
	return buf;
}

static int check_rack(const char *name, void *arg)
{
	const struct rack *rack = arg;
	char path[RACK_PATH_MAX], ours[32], theirs[32];
	struct rack *other;
	int ret = 0;

	/* A rack that is half gone has no addresses left to be wrong about once it is removed. */
	if (!strcmp(name, rack->name) || rack_state(name) != RACK_UP)
		return 0;
	/* Another version may have written what this one cannot read (and says so): no reason to
	 * stop. */
	if (rack_load(&other, rack_path(path, name, "rack.yaml")))
		return 0;
	if (overlap(rack->subnet, rack->prefix, other->subnet, other->prefix))
		ret = rack_say("subnet %s of %s overlaps %s of the rack %s, which is up",
			       subnet_text(ours, rack->subnet, rack->prefix), rack->name,
			       subnet_text(theirs, other->subnet, other->prefix), name);
	rack_free(other);
	return ret;
}

struct host_check {
	const struct rack *rack;
	bool taken;
};

static void check_prefix(void *arg, const char *kind, uint32_t prefix, unsigned int bits,
			 int ifindex)
{
	struct host_check *check = arg;
	const struct rack *rack = check->rack;
	char ours[32], theirs[32], device[IF_NAMESIZE] = "no device";

	if (check->taken || !overlap(rack->subnet, rack->prefix, ntohl(prefix), bits))
		return;
	check->taken = true;
	if_indextoname(ifindex, device);
	rack_say("subnet %s of %s overlaps %s %s of this host (%s)",
		 subnet_text(ours, rack->subnet, rack->prefix), rack->name, kind,
		 subnet_text(theirs, ntohl(prefix), bits), device);
}

static int check_host(const struct rack *rack)
{
	struct host_check check = {.rack = rack};
	struct rtnl *r;
	int ret = rtnl_open(&r);

	if (ret)
		return rack_say("cannot open a netlink socket: %s", strerror(-ret));
	ret = rtnl_prefixes(r, check_prefix, &check);
	rtnl_close(r);
	if (ret)
		return rack_say("cannot list this host's addresses: %s", strerror(-ret));
	return check.taken ? -1 : 0;
}

static int check_name(const struct rack *rack, const char *node)
{
	char path[PATH_MAX];
	struct stat st;

	snprintf(path, sizeof(path), RACK_NETNS "/%s-%s", rack->name, node);
	if (lstat(path, &st))
		return 0;
	return rack_say("the name %s-%s is taken: %s exists and is not ours; name the rack "
			"differently, or remove that",
			rack->name, node, path);
}

int conflict_check(const struct rack *rack)
{
	int ret = check_name(rack, "tor");

	for (unsigned int i = 0; i < rack->count && !ret; i++)
		ret = check_name(rack, rack->nodes[i].name);
	if (!ret)
		ret = state_each(check_rack, (void *)rack);
	return ret ?: check_host(rack);
}
