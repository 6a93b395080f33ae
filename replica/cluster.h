/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * cluster.conf: who the replicas are, in the published format. One word per line says
 * what it is; # starts a comment:
 *
 *   f 1                      failures to survive; 2f + 1 replicas follow, in index order
 *   replica 10.0.0.1:12345   HOST:PORT, an IPv4 address or a name that resolves to one
 */
#ifndef PAXRACK_CLUSTER_H
#define PAXRACK_CLUSTER_H

#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>

#include "bpf/state.h"

struct cluster {
	uint32_t f; /* 0.. */
	uint32_t n; /* 2f + 1, 1..ELEC_REPLICAS_MAX */
	struct sockaddr_in replica[ELEC_REPLICAS_MAX];
};

/*
 * Read the file at path. Returns 0, or -errno with one sentence in error that names
 * file and line; *c is untouched then. -EINVAL: the file says something wrong.
 */
int cluster_read(struct cluster *c, const char *path, char *error, size_t error_size);

/* Index of the replica at this address and port, -1: none. */
int cluster_find(const struct cluster *c, const struct sockaddr_in *from);

#endif
