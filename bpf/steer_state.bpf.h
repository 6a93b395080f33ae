/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What programs and user space say to each other of steering. */
#ifndef PAXRACK_STEER_STATE_BPF_H
#define PAXRACK_STEER_STATE_BPF_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "bpf/steer.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct steer_state);
} steer_state SEC(".maps");

static __always_inline struct steer_state *steer_state_get(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&steer_state, &zero);
}

#endif
