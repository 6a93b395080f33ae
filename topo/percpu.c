// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "topo/percpu.h"

#include <errno.h>
#include <stdlib.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

int percpu_add(int map, uint32_t key, uint64_t *sum, size_t words)
{
	int cpus = libbpf_num_possible_cpus(), ret;
	uint64_t *value = cpus > 0 ? calloc(cpus, words * sizeof(*value)) : NULL;

	if (!value)
		return cpus > 0 ? -ENOMEM : cpus;
	ret = bpf_map_lookup_elem(map, &key, value) ? -errno : 0;
	for (size_t i = 0; !ret && i < cpus * words; i++)
		sum[i % words] += value[i];
	free(value);
	return ret;
}
