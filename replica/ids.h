/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The ids of a replica's memory (struct elec_ids, bpf/state.h). */
#ifndef PAXRACK_IDS_H
#define PAXRACK_IDS_H

#include <stdbool.h>
#include <stddef.h>

#include "bpf/state.h"
#include "replica/cluster.h"

/*
 * The ids of this replica, on this boot, with a new instance. 0 or -errno with one
 * sentence in error; *ids is untouched then.
 */
int ids_make(struct elec_ids *ids, const struct cluster *cluster, uint32_t replica, char *error,
	     size_t error_size);

bool ids_equal(const struct elec_ids *a, const struct elec_ids *b);

#endif
