/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The ToR's verdict on one frame: is its source the node's own, and where does it go.
 * It reads bytes only, so that every program through which a frame can enter the ToR
 * may include it; exactly one of them judges a frame.
 */
#ifndef PAXRACK_VERDICT_BPF_H
#define PAXRACK_VERDICT_BPF_H

#include <stdbool.h>
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "bpf/moved.bpf.h"
#include "bpf/steer.bpf.h"
#include "bpf/tor.h"

#define VLAN_TAGS 2

/* Ethernet, tags, a header that holds a source address: more than that a five-tuple needs. */
#define VERDICT_BYTES STEER_BYTES

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1); /* set to the number of nodes before loading */
	__type(key, __u32);
	__type(value, struct tor_port);
} tor_ports SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct tor_counts);
} tor_counts SEC(".maps");

struct arp_ipv4 {
	__be16 hardware, protocol;
	__u8 hardware_len, protocol_len;
	__be16 operation;
	__u8 sender_mac[6];
	__u8 sender_addr[4];
	__u8 target_mac[6];
	__u8 target_addr[4];
} __attribute__((packed));

static __always_inline bool same(const __u8 *a, const __u8 *b, __u32 n)
{
	__u8 differ = 0;

#pragma unroll
	for (__u32 i = 0; i < n; i++)
		differ |= a[i] ^ b[i];
	return !differ;
}

/* TOR_R_COUNT when the source is the port's own, else the reason to drop the frame. */
static __always_inline enum tor_reason judge_source(const struct tor_port *port, void *data,
						    void *end)
{
	struct ethhdr *eth = data;
	__be16 proto;
	void *next;

	if ((void *)(eth + 1) > end)
		return TOR_R_SHORT;
	if (!same(eth->h_source, port->mac, 6))
		return TOR_R_SPOOF_MAC;
	proto = eth->h_proto;
	next = eth + 1;
#pragma unroll
	for (int i = 0; i < VLAN_TAGS; i++) {
		if (proto != bpf_htons(ETH_P_8021Q) && proto != bpf_htons(ETH_P_8021AD))
			break;
		if (next + 4 > end)
			return TOR_R_SHORT;
		proto = *(__be16 *)(next + 2);
		next += 4;
	}
	switch (bpf_ntohs(proto)) {
	case ETH_P_8021Q:
	case ETH_P_8021AD:
		return TOR_R_VLAN_DEPTH;
	case ETH_P_IPV6:
		return TOR_R_SPOOF_IP6;
	case ETH_P_IP: {
		struct iphdr *ip = next;

		if ((void *)(ip + 1) > end)
			return TOR_R_SHORT;
		return ip->saddr == port->addr ? TOR_R_COUNT : TOR_R_SPOOF_IP;
	}
	case ETH_P_ARP: {
		struct arp_ipv4 *arp = next;

		if ((void *)(arp + 1) > end)
			return TOR_R_SHORT;
		/* A sender address of 0 is a probe (RFC 5227): it claims nothing. */
		if (!same(arp->sender_mac, port->mac, 6) ||
		    (*(__be32 *)arp->sender_addr && *(__be32 *)arp->sender_addr != port->addr))
			return TOR_R_SPOOF_ARP;
		return TOR_R_COUNT;
	}
	default:
		return TOR_R_COUNT;
	}
}

struct verdict {
	__u32 to;    /* index of a port */
	__u32 tor;   /* of the node that sent it */
	bool faults; /* what is not dropped is for judge_link() (fault.bpf.h) to judge too */
	bool detour; /* ... in the TC program only */
	bool ruled;  /* the steering table named the port */
	struct steer_key key; /* its flow, when the port it came from is steered */
};

static __always_inline void link_key(struct steer_key *key, __u32 from, __u32 to)
{
	__builtin_memset(key, 0, sizeof(*key));
	key->sport = from;
	key->dport = to;
}

/* The frame goes to v->to by its MAC: by which path, or somewhere else? */
static __always_inline enum tor_reason steer(const struct tor_port *port, __u32 from, void *data,
					     void *end, bool tagged, struct verdict *v)
{
	bool flow = !tagged && steer_key_read(&v->key, data, end);
	__u32 path = port->path, to, *rule;
	struct steer_state *state;

	if (port->flags & TOR_TABLE) {
		if (!flow)
			return TOR_R_NO_FLOW;
		rule = bpf_map_lookup_elem(&steer_table, &v->key);
		if (!rule)
			return TOR_R_MISS;
		to = steer_port(*rule, &v->key);
		if (to != STEER_BY_MAC) {
			v->to = to;
			v->ruled = true;
			/* The bridge knows MACs only. */
			path = path == TOR_PATH_BRIDGE ? TOR_PATH_TC : path;
		}
		if (*rule >> STEER_PATH_SHIFT & STEER_PATH_MASK)
			path = (*rule >> STEER_PATH_SHIFT & STEER_PATH_MASK) - 1;
	} else if (port->share && flow && (__u16)steer_hash(&v->key) < port->share) {
		path = port->share_path;
	}
	switch (path) {
	case TOR_PATH_BRIDGE:
		return TOR_R_BRIDGE;
	case TOR_PATH_AFXDP:
		return TOR_R_AFXDP;
	case TOR_PATH_XDP:
		if (!flow)
			link_key(&v->key, from, v->to);
		state = steer_state_get();
		if (state && state->moved && bpf_map_lookup_elem(&tor_moved, &v->key))
			return TOR_R_MOVED;
		return TOR_R_XDP;
	default:
		return TOR_R_REDIRECT;
	}
}

/*
 * `from` is the index of the port that the frame came in by. TOR_R_UPLINK: it is to go up to the
 * spine, for port v->to; TOR_R_REDIRECT, TOR_R_XDP,
 * TOR_R_AFXDP: it is to go to port v->to, by that path; TOR_R_BRIDGE, TOR_R_MISS, TOR_R_NO_FLOW,
 * TOR_R_MOVED, TOR_R_FLOOD: to the stack; else: dropped. Nothing is changed or counted here: the
 * program that then handles the frame counts it. `tagged`: there was a VLAN tag, which the
 * kernel has put beside the frame.
 */
static __always_inline enum tor_reason judge(__u32 from, void *data, void *end, bool tagged,
					     struct verdict *v)
{
	struct tor_port *port = bpf_map_lookup_elem(&tor_ports, &from), *dest;
	struct ethhdr *eth = data;
	enum tor_reason reason;

	if (!port)
		return TOR_R_NO_PORT;
	v->faults = port->flags & TOR_FAULTS;
	v->detour = port->flags & TOR_DETOUR;
	if ((void *)(eth + 1) > end)
		return TOR_R_SHORT;
	if (!(port->flags & TOR_SPOOF)) {
		reason = judge_source(port, data, end);
		if (reason != TOR_R_COUNT)
			return reason;
	}
	v->to = eth->h_dest[4] << 8 | eth->h_dest[5];
	dest = bpf_map_lookup_elem(&tor_ports, &v->to);
	if (!dest || !same(eth->h_dest, dest->mac, 6))
		return TOR_R_FLOOD;
	if (v->to == from)
		return TOR_R_HAIRPIN;
	v->tor = port->tor;
	if (!(port->flags & TOR_TABLE)) {
		if (dest->tor != port->tor)
			return TOR_R_UPLINK;
		if (dest->flags & TOR_STACK)
			return TOR_R_BRIDGE;
		if (!port->path && !port->share)
			return TOR_R_REDIRECT;
	} else if (dest->tor == port->tor && dest->flags & TOR_STACK) {
		return TOR_R_BRIDGE;
	}
	reason = steer(port, from, data, end, tagged, v);
	if (v->to == from)
		return TOR_R_HAIRPIN;
	/* Where it goes now: a rule may have named a port that is behind another ToR, or this one. */
	dest = bpf_map_lookup_elem(&tor_ports, &v->to);
	return dest && dest->tor != port->tor ? TOR_R_UPLINK : reason;
}

static __always_inline void tor_count(__u32 from, enum tor_reason reason)
{
	struct tor_counts *counts = bpf_map_lookup_elem(&tor_counts, &from);

	if (counts && reason < TOR_R_COUNT)
		counts->by_reason[reason]++;
}

#endif
