/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Counts exceptions of XDP programs (bpf/watch.h). They run when something goes wrong, never
 * for a packet that fares well. Plain tracepoints: their records have the same fields on every
 * kernel (events/xdp/<name>/format), so the kernel's own types, whose lookup would cost
 * `rack up` more than all else it loads, are not needed.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "bpf/watch.h"

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, WATCH_ENTRIES);
	__type(key, struct watch_key);
	__type(value, __u64);
} watch_counts SEC(".maps");

/* Both records begin so. */
struct record {
	__u64 common;
	__s32 program;
	__u32 action;
	__s32 ifindex;
	/* xdp_redirect_err alone */
	__s32 error;
	__s32 to_ifindex;
};

static __always_inline void count(const struct watch_key *key)
{
	__u64 *counter = bpf_map_lookup_elem(&watch_counts, key), none = 0;

	if (!counter) {
		bpf_map_update_elem(&watch_counts, key, &none, BPF_NOEXIST);
		counter = bpf_map_lookup_elem(&watch_counts, key);
	}
	if (counter)
		__sync_fetch_and_add(counter, 1);
}

SEC("tp/xdp/xdp_exception")
int watch_exception(struct record *r)
{
	struct watch_key key = {r->program, r->action, 0, r->ifindex, 0};

	count(&key);
	return 0;
}

SEC("tp/xdp/xdp_redirect_err")
int watch_redirect(struct record *r)
{
	struct watch_key key = {r->program, r->action, r->error, r->ifindex, r->to_ifindex};

	count(&key);
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
