/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Counting frames by link and kind while somebody looks (struct tor_looking in tor.h). */
#ifndef PAXRACK_LINKS_BPF_H
#define PAXRACK_LINKS_BPF_H

#include "bpf/fault.bpf.h"
#include "bpf/tor.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct tor_looking);
} tor_looking SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1 << 18);
	__type(key, struct tor_link);
	__type(value, struct tor_link_counts);
} tor_links SEC(".maps");

static __always_inline struct tor_looking *looking(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&tor_looking, &zero);
}

/* All that a frame pays while nobody does. */
static __always_inline bool looked_at(void)
{
	struct tor_looking *l = looking();

	return l && l->until_ns;
}

/* A look that is over is ended by the next frame, but only that one. */
static __always_inline bool look_over(struct tor_looking *l)
{
	__u64 until = *(volatile __u64 *)&l->until_ns;

	if (!until)
		return true;
	if (until == ~0ull || bpf_ktime_get_ns() < until)
		return false;
	(void)__sync_val_compare_and_swap(&l->until_ns, until, 0);
	return true;
}

static __always_inline void link_count(struct tor_looking *l, const struct tor_link *link,
				       __u32 len)
{
	struct tor_link_counts *counts = bpf_map_lookup_elem(&tor_links, link), none = {};

	if (!counts) {
		bpf_map_update_elem(&tor_links, link, &none, BPF_NOEXIST);
		counts = bpf_map_lookup_elem(&tor_links, link);
	}
	if (!counts) {
		__sync_fetch_and_add(&l->uncounted, 1);
		return;
	}
	__sync_fetch_and_add(&counts->packets, 1);
	__sync_fetch_and_add(&counts->bytes, len);
}

#endif
