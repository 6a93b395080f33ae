// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * How many socket buffers the machine frees. Most are allocated in bulk, past every tracepoint;
 * but each is freed, and that is told of (but for some of TCP's own).
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} skb_freed SEC(".maps");

static __always_inline int count(void)
{
	__u32 zero = 0;
	__u64 *freed = bpf_map_lookup_elem(&skb_freed, &zero);

	if (freed)
		(*freed)++;
	return 0;
}

SEC("raw_tp/consume_skb")
int skb_consumed(void *ctx)
{
	(void)ctx;
	return count();
}

SEC("raw_tp/kfree_skb")
int skb_dropped(void *ctx)
{
	(void)ctx;
	return count();
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
