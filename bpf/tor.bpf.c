// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The ToR. tor_ingress (TC, clsact ingress of every port) judges each frame and forwards
 * it; tor_pass (XDP, on ports of nodes that bounce frames with native XDP_TX) only has to
 * exist: veth delivers what a native program transmits to a peer that runs one too.
 */
#include <linux/pkt_cls.h>

#include "bpf/verdict.bpf.h"

SEC("tc")
int tor_ingress(struct __sk_buff *skb)
{
	__u32 from = skb->ingress_ifindex - TOR_IFINDEX, to = 0;
	enum tor_reason reason;

	/* Headers may lie outside the linear part; what is shorter than asked for stays as it is.
	 */
	if (skb->data + VERDICT_BYTES > skb->data_end)
		bpf_skb_pull_data(skb, skb->len < VERDICT_BYTES ? skb->len : VERDICT_BYTES);
	reason = judge(from, (void *)(long)skb->data, (void *)(long)skb->data_end, &to);
	tor_count(from, reason);
	switch (reason) {
	case TOR_R_REDIRECT:
		return bpf_redirect(TOR_IFINDEX + to, 0);
	case TOR_R_BRIDGE:
	case TOR_R_FLOOD:
		return TC_ACT_OK;
	default:
		return TC_ACT_SHOT;
	}
}

SEC("xdp")
int tor_pass(struct xdp_md *ctx)
{
	(void)ctx;
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
