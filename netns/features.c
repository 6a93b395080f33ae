// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Offload switches: one ETHTOOL_SFEATURES a device, by the kernel's own names. */
#include <errno.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "netns/ns.h"

#define BLOCKS 4 /* 32 features each; Linux 6.18 has 61 */

struct features {
	unsigned int blocks;
	struct ethtool_set_features_block off[BLOCKS]; /* valid: to be switched off */
	struct ethtool_gstrings *names;
};

static const char *const prefixes[] = {
	"tx-checksum-",
	"rx-checksum",
	"tx-scatter-gather",
	"tx-tcp",
	"tx-generic-segmentation",
	"tx-udp",
	"tx-gso-",
	"tx-gre-",
	"tx-ipxip",
	"tx-sctp-segmentation",
	"rx-gro",
	"rx-lro",
	"tx-vlan-",
	"rx-vlan-",
	"rx-udp-gro-forwarding",
	"tx-esp-segmentation",
	"tx-fcoe-segmentation",
	"tx-macsec",
};

static int call(int socket, const char *iface, void *command)
{
	struct ifreq ifr = {.ifr_data = command};

	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", iface);
	return ioctl(socket, SIOCETHTOOL, &ifr);
}

static bool is_offload(const char *name)
{
	for (size_t i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++) {
		if (!strncmp(name, prefixes[i], strlen(prefixes[i])))
			return true;
	}
	return false;
}

int features_open(struct features **out, int socket, const char *iface)
{
	struct {
		struct ethtool_sset_info info;
		__u32 count;
	} set = {.info = {.cmd = ETHTOOL_GSSET_INFO, .sset_mask = 1ULL << ETH_SS_FEATURES}};
	struct ethtool_gstrings *names = NULL;
	struct features *f = NULL;
	int ret = -ENOMEM;

	if (call(socket, iface, &set))
		return -errno;
	if (!set.info.sset_mask || set.count > BLOCKS * 32)
		return -EOPNOTSUPP;
	names = calloc(1, sizeof(*names) + set.count * ETH_GSTRING_LEN);
	f = calloc(1, sizeof(*f));
	if (!names || !f)
		goto out;
	names->cmd = ETHTOOL_GSTRINGS;
	names->string_set = ETH_SS_FEATURES;
	names->len = set.count;
	if (call(socket, iface, names)) {
		ret = -errno;
		goto out;
	}
	f->names = names;
	f->blocks = (set.count + 31) / 32;
	for (__u32 i = 0; i < set.count; i++) {
		if (is_offload((const char *)names->data + i * ETH_GSTRING_LEN))
			f->off[i / 32].valid |= 1u << (i % 32);
	}
	*out = f;
	return 0;
out:
	free(names);
	free(f);
	return ret;
}

void features_close(struct features *features)
{
	if (features)
		free(features->names);
	free(features);
}

int link_settle(int socket, const char *iface)
{
	struct ethtool_value carrier = {.cmd = ETHTOOL_GLINK};

	return call(socket, iface, &carrier) ? -errno : 0;
}

/* What the kernel answers to ETHTOOL_GFEATURES. */
struct switches {
	struct ethtool_gfeatures head;
	struct ethtool_get_features_block block[BLOCKS];
};

static int get(const struct features *features, int socket, const char *iface,
	       struct switches *switches)
{
	switches->head = (struct ethtool_gfeatures){ETHTOOL_GFEATURES, features->blocks};
	return call(socket, iface, switches) < 0 ? -errno : 0;
}

int features_off(const struct features *features, int socket, const char *iface)
{
	struct {
		struct ethtool_sfeatures head;
		struct ethtool_set_features_block block[BLOCKS];
	} set = {.head = {.cmd = ETHTOOL_SFEATURES, .size = features->blocks}};
	struct switches now;
	int ret;

	memcpy(set.block, features->off, sizeof(set.block));
	/* A positive answer says that some of them cannot change: fine when they are off. */
	if (call(socket, iface, &set) < 0)
		return -errno;
	ret = get(features, socket, iface, &now);
	if (ret)
		return ret;
	for (unsigned int i = 0; i < features->blocks; i++) {
		if (now.block[i].active & features->off[i].valid)
			return -EOPNOTSUPP;
	}
	return 0;
}

int features_gro(int socket, const char *iface, bool on)
{
	struct ethtool_value set = {.cmd = ETHTOOL_SGRO, .data = on};

	return call(socket, iface, &set) ? -errno : 0;
}

int features_each(const struct features *features, int socket, const char *iface, features_fn fn,
		  void *arg)
{
	struct switches now;
	int ret = get(features, socket, iface, &now);

	for (__u32 i = 0; i < features->names->len && !ret; i++) {
		const __u32 bit = 1u << (i % 32);
		const struct feature feature = {
			.name = (const char *)features->names->data + i * ETH_GSTRING_LEN,
			.offload = features->off[i / 32].valid & bit,
			.on = now.block[i / 32].active & bit,
			.asked = now.block[i / 32].requested & bit,
		};

		fn(arg, &feature);
	}
	return ret;
}

int features_driver(int socket, const char *iface, char driver[32])
{
	struct ethtool_drvinfo info = {.cmd = ETHTOOL_GDRVINFO};

	if (call(socket, iface, &info))
		return -errno;
	memcpy(driver, info.driver, 32);
	return 0;
}
