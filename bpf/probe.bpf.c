// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * What `rack doctor` finds out by doing (topo/doctor_link.c): programs that count the probe's
 * own frames. Each is loaded alone: a kernel that refuses one may run the others.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "bpf/probe.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} probe_seen SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_XSKMAP);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} probe_xsk SEC(".maps");

static __always_inline int count(long data, long end, int ours, int others)
{
	const struct ethhdr *eth = (void *)data;
	__u32 zero = 0;
	__u64 *seen;

	if ((void *)(eth + 1) > (void *)end || eth->h_proto != bpf_htons(PROBE_ETHERTYPE))
		return others;
	seen = bpf_map_lookup_elem(&probe_seen, &zero);
	if (seen)
		__sync_fetch_and_add(seen, 1);
	return ours;
}

SEC("xdp")
int probe_pass(struct xdp_md *ctx)
{
	return count(ctx->data, ctx->data_end, XDP_PASS, XDP_PASS);
}

SEC("xdp")
int probe_bounce(struct xdp_md *ctx)
{
	return count(ctx->data, ctx->data_end, XDP_TX, XDP_PASS);
}

SEC("xdp")
int probe_abort(struct xdp_md *ctx)
{
	return count(ctx->data, ctx->data_end, XDP_ABORTED, XDP_PASS);
}

SEC("xdp")
int probe_nowhere(struct xdp_md *ctx)
{
	if (count(ctx->data, ctx->data_end, 1, 0))
		return bpf_redirect(PROBE_NOWHERE, 0);
	return XDP_PASS;
}

SEC("xdp")
int probe_socket(struct xdp_md *ctx)
{
	if (count(ctx->data, ctx->data_end, 1, 0))
		return bpf_redirect_map(&probe_xsk, 0, XDP_PASS);
	return XDP_PASS;
}

SEC("tc")
int probe_tc(struct __sk_buff *skb)
{
	return count(skb->data, skb->data_end, 0, 0); /* TC_ACT_OK */
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
