/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Whose memory is it? The journal and the pinned maps of a replica carry the same ids.
 * Where all of them agree, both were written by the same life of the same replica on a
 * machine that has not restarted since.
 */
#ifndef PAXRACK_IDS_H
#define PAXRACK_IDS_H

#include <linux/types.h>
#include <stdbool.h>
#include <stddef.h>

#include "replica/cluster.h"

struct elec_ids {
	__u64 cluster;	/* hash of the member list: addresses and ports, in order */
	__u64 instance; /* random, new with each format and reset; 0: nobody has written here */
	__u32 replica;	/* own index */
	__u32 zero;
	__u8 boot[16]; /* of the machine: /proc/sys/kernel/random/boot_id, as bytes */
};

/*
 * The ids of this replica, on this boot, with a new instance. 0 or -errno with one
 * sentence in error; *ids is untouched then.
 */
int ids_make(struct elec_ids *ids, const struct cluster *cluster, uint32_t replica, char *error,
	     size_t error_size);

bool ids_equal(const struct elec_ids *a, const struct elec_ids *b);

#endif
