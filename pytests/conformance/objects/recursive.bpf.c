/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The same, but TC broadcasts as the published program does: a clone passes the program again and
 * makes the next one, and what returns from it goes out itself. The clones' place in the row stands
 * in the first byte of the type name meanwhile.
 */
#define FastBroadCast_main loop_main
#include "pytests/conformance/objects/electrode.bpf.c"
#undef FastBroadCast_main

#define MARK 'M' /* in the second byte: the first one is an index */

static __always_inline __u32 after(__u32 i, __u32 self)
{
	return i + 1 == self ? i + 2 : i + 1;
}

SEC("Recursive")
int FastBroadCast_main(struct __sk_buff *skb)
{
	struct replica *r = replica();
	__u32 *fast, at, next, self, old;
	__u64 type_is_prepare;
	struct member *m;
	struct frame f;
	__u8 *type;

	bpf_skb_pull_data(skb, skb->len < 256 ? skb->len : 256);
	f = frame_at((void *)(long)skb->data, (void *)(long)skb->data_end);
	type = f.payload + WIRE_TYPE_AT;
	if (!r || type + 8 > (__u8 *)f.end || f.eth->h_proto != bpf_htons(ETH_P_IP) ||
	    *(__u8 *)f.ip != 0x45 || f.ip->protocol != IPPROTO_UDP || skb->gso_size ||
	    (f.ip->frag_off & bpf_htons(0xbfff)) || f.udp->source != PORT ||
	    *(__u32 *)f.payload != WIRE_MAGIC)
		return TC_ACT_OK;
	self = r->self;
	if (type[1] == MARK) {
		at = type[0];
	} else {
		at = after(-1, self);
	}
	type[0] = 's';
	type[1] = 'p';
	type_is_prepare = is_named(f.payload, f.end, WIRE_TYPE_PREPARE, WIRE_T_PREPARE);
	if (!type_is_prepare && !is_named(f.payload, f.end, WIRE_TYPE_COMMIT, WIRE_T_COMMIT))
		return TC_ACT_OK;
	fast = (void *)type + (type_is_prepare ? WIRE_T_PREPARE : WIRE_T_COMMIT);
	if ((void *)(fast + 5) > f.end || !(fast[0] & WIRE_BROADCAST) || !may_broadcast(skb, &f, r) ||
	    *(__u64 *)(fast + 3) != skb->len - ((__u64)(fast + 5) - (__u64)f.eth))
		return TC_ACT_OK;

	next = after(at, self);
	if (next < REPLICAS) {
		type[0] = next;
		type[1] = MARK;
		bpf_clone_redirect(skb, skb->ifindex, 0);
		f = frame_at((void *)(long)skb->data, (void *)(long)skb->data_end);
		type = f.payload + WIRE_TYPE_AT;
		fast = (void *)type + (type_is_prepare ? WIRE_T_PREPARE : WIRE_T_COMMIT);
		if ((void *)(fast + 5) > f.end)
			return TC_ACT_SHOT;
		type[0] = 's';
		type[1] = 'p';
	}
	fast[0] &= ~WIRE_BROADCAST;
	m = member_at(at);
	if (!m)
		return TC_ACT_SHOT;
	__builtin_memcpy(f.eth->h_dest, m->mac, ETH_ALEN);
	old = f.ip->daddr;
	f.ip->daddr = m->addr;
	f.ip->check = ~fold((__u64)(__u16)~f.ip->check + (__u32)~old + m->addr);
	f.udp->dest = m->port;
	f.udp->check = 0;
	return TC_ACT_OK;
}
