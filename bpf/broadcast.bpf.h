/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Broadcast at TC egress: one flagged message becomes one clone for each peer.
 *
 * The flag is cleared before the first clone. Every clone passes this program again on
 * its way out and is known by the missing flag, so nothing recurses (the kernel cuts
 * recursion at 8). A failed clone is counted and the loop goes on (promise S9).
 */
#ifndef PAXRACK_BROADCAST_BPF_H
#define PAXRACK_BROADCAST_BPF_H

#include <linux/pkt_cls.h>
#include <stddef.h>

#include "bpf/parse.bpf.h"

#define IP_CSUM_AT (IP_AT + (__u32)offsetof(struct iphdr, check))
#define UDP_CSUM_AT (UDP_AT + (__u32)offsetof(struct udphdr, check))
#define HEAD_MAX (PAYLOAD_AT + WIRE_HEAD_LEN(WIRE_TYPE_MAX))

/* At least `len` bytes of the packet in its linear part, if it has them. */
static __always_inline struct headers linear(struct __sk_buff *skb, __u32 len)
{
	if (len > skb->len)
		len = skb->len;
	if ((void *)(long)skb->data + len > (void *)(long)skb->data_end)
		bpf_skb_pull_data(skb, len);
	return headers_at((void *)(long)skb->data);
}

/* Is this a flagged message that may be broadcast? PARSED and where its flag stands, or a reason.
 */
static __always_inline int flagged(struct __sk_buff *skb, __u32 *flag_at)
{
	struct headers h = linear(skb, HEAD_MAX);
	void *end = (void *)(long)skb->data_end;
	__u8 *p = h.payload;
	__u32 len, magic, total;
	__u64 T;

	if ((void *)h.udp > end || h.eth->h_proto != bpf_htons(ETH_P_IP) ||
	    *(__u8 *)h.ip != IP_VERSION_IHL || h.ip->protocol != IPPROTO_UDP)
		return ELEC_R_TC_OTHER;
	if (h.ip->frag_off & ~bpf_htons(IP_DF))
		return ELEC_R_TC_FRAGMENT; /* only the first one would show its port */
	if (p + sizeof(magic) > (__u8 *)end || h.udp->source != port)
		return ELEC_R_TC_OTHER;
	magic = load4(p);
	if (magic == WIRE_MAGIC_FRAGMENT)
		return ELEC_R_TC_FRAGMENT;
	if (p + WIRE_TYPE_AT > (__u8 *)end)
		return ELEC_R_TC_OTHER;
	T = load8(p + 4);
	one_register(T);
	if (magic != WIRE_MAGIC || T > WIRE_TYPE_MAX ||
	    p + WIRE_TYPE_AT + T + WIRE_FAST_LEN > (__u8 *)end)
		return ELEC_R_TC_OTHER;
	if (skb->gso_size)
		return ELEC_R_TC_FRAGMENT;
	if (!(load4(p + WIRE_TYPE_AT + T) & WIRE_BROADCAST))
		return ELEC_R_TC_PLAIN;
	if (IS_KIND(PREPARE, p, end, T))
		T = WIRE_T_PREPARE;
	else if (IS_KIND(COMMIT, p, end, T))
		T = WIRE_T_COMMIT;
	else
		return ELEC_R_TC_KIND;

	total = bpf_ntohs(h.ip->tot_len);
	len = skb->len - PAYLOAD_AT;
	if (IP_AT + total != skb->len || bpf_ntohs(h.udp->len) + sizeof(*h.ip) != total ||
	    !h.ip->ttl)
		return ELEC_R_TC_ODD;
	if (p + WIRE_HEAD_LEN(T) > (__u8 *)end ||
	    load8(p + WIRE_TYPE_AT + T + WIRE_FAST_LEN) != len - WIRE_HEAD_LEN(T))
		return ELEC_R_TC_ODD;
	*flag_at = PAYLOAD_AT + WIRE_TYPE_AT + T +
		   3; /* bit 31 of a little-endian word: its last byte */
	return PARSED;
}

/* Clear the flag. The checksum counts 16-bit words, so the word is replaced that holds the byte. */
static __always_inline bool clear_flag(struct __sk_buff *skb, __u32 flag_at)
{
	__u32 at = flag_at & ~1u;
	__u8 old[2], new[2];

	if (bpf_skb_load_bytes(skb, at, old, 2))
		return false;
	new[0] = old[0];
	new[1] = old[1];
	if (flag_at & 1)
		new[1] &= 0x7f;
	else
		new[0] &= 0x7f;
	/* A checksum of 0 (the published leader's) stays 0; a partial one needs no change. */
	return !bpf_l4_csum_replace(skb, UDP_CSUM_AT, *(__u16 *)old, *(__u16 *)new,
				    BPF_F_MARK_MANGLED_0 | 2) &&
	       !bpf_skb_store_bytes(skb, at, new, 2, 0);
}

/* Address the packet to one member. Helpers do the UDP sum: it may be partial (DESIGN: offloads
 * on). */
static __always_inline bool address_to(struct __sk_buff *skb, const struct elec_member *member)
{
	struct headers h = headers_at((void *)(long)skb->data);
	__be32 addr = member->addr, old_addr;
	__be16 to = member->port, old_to;

	if ((void *)h.payload > (void *)(long)skb->data_end)
		return false;
	old_addr = h.ip->daddr;
	old_to = h.udp->dest;
	if (old_addr != addr && bpf_l4_csum_replace(skb, UDP_CSUM_AT, old_addr, addr,
						    BPF_F_PSEUDO_HDR | BPF_F_MARK_MANGLED_0 | 4))
		return false;
	if (old_to != to &&
	    bpf_l4_csum_replace(skb, UDP_CSUM_AT, old_to, to, BPF_F_MARK_MANGLED_0 | 2))
		return false;
	h = headers_at((void *)(long)skb->data); /* the helpers may have moved it */
	if ((void *)h.payload > (void *)(long)skb->data_end)
		return false;
	__builtin_memcpy(h.eth->h_dest, member->mac, ETH_ALEN);
	h.ip->daddr = addr;
	h.udp->dest = to;
	/* RFC 1624, so that a wrong sum stays wrong. */
	h.ip->check = ~csum_fold((__u64)(__u16)~h.ip->check + (__u32)~old_addr + addr);
	return true;
}

struct broadcast {
	struct __sk_buff *skb;
	const struct elec_control *control;
};

/* One turn of it. A function of its own (bpf_loop), so that the verifier walks it once, not 64
 * times. */
static long clone_to(__u32 i, struct broadcast *b)
{
	if (i == b->control->self)
		return 0;
	if (!address_to(b->skb, member_at(b->control, i)) ||
	    bpf_clone_redirect(b->skb, b->skb->ifindex, 0))
		count(ELEC_R_TC_CLONE_FAILED);
	else
		count(ELEC_R_TC_CLONE);
	return 0;
}

/* The verdict on a packet that leaves: a reason; ELEC_R_TC_BROADCAST ends it. */
static __always_inline int on_egress(struct __sk_buff *skb)
{
	struct elec_state *state = state_get();
	struct elec_control *control;
	struct headers h;
	struct broadcast b;
	__u32 flag_at = 0;
	int reason;

	reason = flagged(skb, &flag_at);
	if (reason != PARSED)
		return reason;
	if (!state)
		return ELEC_R_TC_NOT_READY;
	control = control_get(state, READ_ONCE(state->gate));
	h = headers_at((void *)(long)skb->data);
	if (!control || (void *)h.payload > (void *)(long)skb->data_end)
		return ELEC_R_TC_NOT_READY;
	if (!sent_by(&h, member_at(control, control->self)))
		return ELEC_R_TC_NOT_READY;

	if (!clear_flag(skb, flag_at))
		return ELEC_R_TC_ODD;
	b = (struct broadcast){skb, control};
	bpf_loop(control->n, clone_to, &b, 0);
	return ELEC_R_TC_BROADCAST;
}

#endif
