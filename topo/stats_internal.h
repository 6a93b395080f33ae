/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Between the files that gather (topo/stats.h). */
#ifndef PAXRACK_STATS_INTERNAL_H
#define PAXRACK_STATS_INTERNAL_H

#include "topo/stats.h"

/* After nodes and replicas. */
int stats_take_programs(struct stats *s, const struct rack *rack);
void stats_take_replicas(struct stats *s, const struct rack *rack);
/* A pinned map or program below the rack's folder, or -1 with errno. */
int stats_pinned(const struct rack *rack, const char *folder, const char *name);
uint32_t stats_map_id(int fd);
/* Room for one more element: the array, moved perhaps, or NULL. */
void *stats_grow(void *array, size_t count, size_t size);

#endif
