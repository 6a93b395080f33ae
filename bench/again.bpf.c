// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The same packet and the same state before each run of a program, inside the kernel's own loop
 * (BPF_PROG_TEST_RUN repeats a program but restores nothing): put both back, then jump there.
 *
 *   again_xdp, again_tc --> restore --tail call--> target[0]: the program, or an empty one
 */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>

#include "bpf/state.h"

#define FRAME_MAX 2048 /* bytes, a power of two */

struct again {
	__u64 gate, committed, acked[8];
	__u32 len; /* of the frame, bytes, 1..FRAME_MAX - 1 */
	__u32 zero;
	__u8 frame[FRAME_MAX];
};

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} target_xdp SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} target_tc SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct again);
} again SEC(".maps");

/* The replica's own map, in place of this one. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct elec_state);
} elec_state SEC(".maps");

static __always_inline struct again *restore_state(void)
{
	__u32 zero = 0;
	struct again *a = bpf_map_lookup_elem(&again, &zero);
	struct elec_state *state = bpf_map_lookup_elem(&elec_state, &zero);

	if (!a || !state)
		return NULL;
	state->gate = a->gate;
	state->committed = a->committed;
#pragma unroll
	for (int i = 0; i < 8; i++)
		state->acked[i] = a->acked[i];
	return a;
}

SEC("xdp")
int again_xdp(struct xdp_md *ctx)
{
	struct again *a = restore_state();
	__u32 len;

	if (!a)
		return XDP_ABORTED;
	len = a->len & (FRAME_MAX - 1);
	if (!len || bpf_xdp_adjust_tail(ctx, (int)len - (int)bpf_xdp_get_buff_len(ctx)) ||
	    bpf_xdp_store_bytes(ctx, 0, a->frame, len))
		return XDP_ABORTED;
	bpf_tail_call(ctx, &target_xdp, 0);
	return XDP_ABORTED;
}

SEC("tc")
int again_tc(struct __sk_buff *skb)
{
	struct again *a = restore_state();
	__u32 len;

	if (!a)
		return TC_ACT_UNSPEC;
	len = a->len & (FRAME_MAX - 1);
	if (!len || bpf_skb_store_bytes(skb, 0, a->frame, len, 0))
		return TC_ACT_UNSPEC;
	bpf_tail_call(skb, &target_tc, 0);
	return TC_ACT_UNSPEC;
}

SEC("xdp")
int empty_xdp(struct xdp_md *ctx)
{
	(void)ctx;
	return XDP_PASS;
}

SEC("tc")
int empty_tc(struct __sk_buff *skb)
{
	(void)skb;
	return TC_ACT_OK;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
