/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Counters of which each CPU has its own. */
#ifndef PAXRACK_PERCPU_H
#define PAXRACK_PERCPU_H

#include <stddef.h>
#include <stdint.h>

/* Adds element `key` of a per-CPU array, `words` counters long, over all CPUs. 0 or -errno. */
int percpu_add(int map, uint32_t key, uint64_t *sum, size_t words);

#endif
