/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The replica's kernel programs: XDP on the device that reaches the other replicas
 * (a follower's acks, a leader's wait for a quorum) and TC at its egress (broadcast).
 * What they share with user space: bpf/state.h. What they may do: bpf/reasons.h.
 */
#include "bpf/broadcast.bpf.h"
#include "bpf/leader.bpf.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* S4: a process that stopped stamping no longer has the kernel answer for it. */
static __always_inline bool lease_over(struct elec_state *state)
{
	__u64 now = READ_ONCE(state->now_ns);

	if (!now)
		now = bpf_ktime_get_coarse_ns();
	return !state->lease_ns ||
	       (__s64)(now - READ_ONCE(state->stamp_ns)) > (__s64)state->lease_ns;
}

static __always_inline int on_ingress(struct xdp_md *ctx)
{
	struct headers h = headers_at((void *)(long)ctx->data);
	void *end = (void *)(long)ctx->data_end;
	struct elec_state *state = state_get();
	const struct elec_member *own;
	struct elec_control *control;
	struct message m;
	__u64 gate;
	int reason;

	reason = parse_headers(&h, end, ctx->data_end - ctx->data);
	if (reason != PARSED)
		return reason;
	if ((void *)h.payload > end || !state)
		return ELEC_R_FRAME_SHORT;
	reason = parse_message(&m, h.payload, end, bpf_ntohs(h.udp->len) - sizeof(*h.udp));
	if (reason != PARSED)
		return reason;
	if (!(offloads & (m.kind == WIRE_PREPARE ? ELEC_OFFLOAD_ACK : ELEC_OFFLOAD_QUORUM)))
		return ELEC_R_OFF;

	/* The gate first: what is read after it holds only while its epoch does. */
	gate = READ_ONCE(state->gate);
	if (gate & ELEC_FROZEN)
		return ELEC_R_FROZEN;
	control = control_get(state, gate);
	if (!control || control->status != ELEC_STATUS_NORMAL)
		return ELEC_R_NOT_NORMAL;
	if (lease_over(state))
		return ELEC_R_LEASE;
	own = member_at(control, control->self);
	if (h.ip->daddr != own->addr || !mac_same(h.eth->h_dest, own->mac))
		return ELEC_R_NOT_OWN_ADDRESS;

	if (m.kind == WIRE_PREPARE)
		return on_prepare(ctx, state, control, gate, &h, &m);
	return on_ack(ctx, state, control, gate, &h, &m, end);
}

SEC("xdp")
int replica_xdp(struct xdp_md *ctx)
{
	int reason = on_ingress(ctx);

	count(reason);
	switch (reason) {
#define pass XDP_PASS
#define tx XDP_TX
#define drop XDP_DROP
#define note XDP_PASS
#define X(id, name, program, verdict, text)                                                        \
	case ELEC_R_##id:                                                                          \
		return verdict;
		ELEC_REASONS(X)
#undef X
#undef pass
#undef tx
#undef drop
#undef note
	}
	return XDP_PASS;
}

SEC("tc")
int replica_tc(struct __sk_buff *skb)
{
	int reason = on_egress(skb);

	count(reason);
	/* Stolen, not shot: the sender's send() succeeded. */
	return reason == ELEC_R_TC_BROADCAST ? TC_ACT_STOLEN : TC_ACT_OK;
}
