// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "replica/ids.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define BOOT_ID "/proc/sys/kernel/random/boot_id"

/* FNV-1a, 64 bits: it tells clusters apart, it keeps no secret. */
static __u64 hash(__u64 h, const void *data, size_t len)
{
	const unsigned char *at = data;

	while (len--)
		h = (h ^ *at++) * 0x100000001b3ULL;
	return h;
}

static __u64 hash_members(const struct cluster *cluster)
{
	__u64 h = 0xcbf29ce484222325ULL;

	for (uint32_t i = 0; i < cluster->n; i++) {
		const struct sockaddr_in *member = &cluster->replica[i];

		h = hash(h, &member->sin_addr, sizeof(member->sin_addr));
		h = hash(h, &member->sin_port, sizeof(member->sin_port));
	}
	return h;
}

/* The text is a UUID: 32 hexadecimal digits, with dashes. */
static int read_boot(__u8 boot[16])
{
	char text[64] = "";
	unsigned int digits = 0;
	FILE *in = fopen(BOOT_ID, "re");

	if (!in)
		return -errno;
	if (!fgets(text, sizeof(text), in))
		text[0] = '\0';
	fclose(in);
	memset(boot, 0, 16);
	for (const char *c = text; *c && digits < 32; c++) {
		char digit[2] = {*c};

		if (!isxdigit((unsigned char)*c))
			continue;
		boot[digits / 2] = boot[digits / 2] << 4 | strtoul(digit, NULL, 16);
		digits++;
	}
	return digits == 32 ? 0 : -EBADMSG;
}

int ids_make(struct elec_ids *ids, const struct cluster *cluster, uint32_t replica, char *error,
	     size_t error_size)
{
	struct elec_ids made = {.cluster = hash_members(cluster), .replica = replica};
	int ret = read_boot(made.boot);

	if (ret) {
		snprintf(error, error_size, "cannot read this boot's id from " BOOT_ID ": %s",
			 strerror(-ret));
		return ret;
	}
	while (!made.instance)
		if (getrandom(&made.instance, sizeof(made.instance), 0) < 0 && errno != EINTR) {
			ret = -errno;
			snprintf(error, error_size, "cannot draw a random number: %s",
				 strerror(errno));
			return ret;
		}
	*ids = made;
	return 0;
}

bool ids_equal(const struct elec_ids *a, const struct elec_ids *b)
{
	return memcmp(a, b, sizeof(*a)) == 0;
}
