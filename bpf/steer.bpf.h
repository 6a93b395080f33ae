/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The steering table: a frame's five-tuple, what the table says, and a send that cannot fail
 * unseen. */
#ifndef PAXRACK_STEER_BPF_H
#define PAXRACK_STEER_BPF_H

#include <stdbool.h>
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "bpf/steer.h"
#include "bpf/steer_state.bpf.h"

/* What has to be in the linear part to read a five-tuple. */
#define STEER_BYTES (ETH_HLEN + 60 + 4)

#define STEER_FRAGMENT 0x3fff /* more fragments, or an offset */

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, STEER_FLOWS_MAX);
	__type(key, struct steer_key);
	__type(value, __u32);
} steer_table SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, STEER_GROUP_SLOTS);
	__type(key, __u32);
	__type(value, struct steer_group);
} steer_groups SEC(".maps");

/*
 * False: no flow that a table could name. IP fragments are not, not even the first, or they
 * would overtake each other; tagged frames neither: the table knows no VLANs.
 */
static __always_inline bool steer_key_read(struct steer_key *key, void *data, void *end)
{
	struct ethhdr *eth = data;
	struct iphdr *ip = (void *)(eth + 1);
	__be16 *ports;

	if ((void *)(ip + 1) > end || eth->h_proto != bpf_htons(ETH_P_IP) || ip->version != 4 ||
	    ip->ihl < 5 || ip->frag_off & bpf_htons(STEER_FRAGMENT) ||
	    (ip->protocol != IPPROTO_TCP && ip->protocol != IPPROTO_UDP))
		return false;
	ports = (void *)ip + ip->ihl * 4;
	if ((void *)(ports + 2) > end)
		return false;
	__builtin_memset(key, 0, sizeof(*key));
	key->saddr = ip->saddr;
	key->daddr = ip->daddr;
	key->sport = ports[0];
	key->dport = ports[1];
	key->protocol = ip->protocol;
	return true;
}

/* The finalizer of MurmurHash3 (Appleby), over the words of the key. */
static __always_inline __u32 steer_hash(const struct steer_key *key)
{
	__u64 h = (__u64)key->saddr << 32 | key->daddr;

	h ^= ((__u64)key->sport << 32 | (__u64)key->dport << 16 | key->protocol) *
	     0x9e3779b97f4a7c15ull;
	h = (h ^ h >> 33) * 0xff51afd7ed558ccdull;
	h = (h ^ h >> 33) * 0xc4ceb9fe1a85ec53ull;
	return h >> 32;
}

/* The port that a value of the table names; STEER_BY_MAC: none of its own. */
static __always_inline __u32 steer_port(__u32 value, const struct steer_key *key)
{
	struct steer_group *group;
	__u32 to = value & STEER_TO, i;

	if (!(value & STEER_GROUP))
		return to;
	group = bpf_map_lookup_elem(&steer_groups, &to);
	if (!group || !group->count)
		return STEER_BY_MAC;
	i = steer_hash(key) % group->count;
	return i < STEER_GROUP_PORTS_MAX ? group->port[i] : STEER_BY_MAC;
}

/* A copy to the device, and if that fails another. False: it failed every time. */
static __always_inline bool steer_clone(struct __sk_buff *skb, __u32 ifindex)
{
	struct steer_state *state;
	__u64 begin;

	if (!bpf_clone_redirect(skb, ifindex, 0))
		return true;
	begin = bpf_ktime_get_ns();
	for (int i = 0; i < STEER_TRIES && bpf_ktime_get_ns() - begin < STEER_TRY_NS; i++) {
		state = steer_state_get();
		if (state)
			__sync_fetch_and_add(&state->clone_retries, 1);
		if (!bpf_clone_redirect(skb, ifindex, 0))
			return true;
	}
	return false;
}

#endif
