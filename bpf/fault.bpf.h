/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What fault rules and the partition say about one frame on one link. Nothing here touches
 * the frame: whichever program judges it does afterwards what struct judgement says.
 */
#ifndef PAXRACK_FAULT_BPF_H
#define PAXRACK_FAULT_BPF_H

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/udp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "bpf/fault.h"
#include "bpf/kind.bpf.h"
#include "bpf/tor.h"

/* What has to be in the linear part to tell the kind: all headers, and the longest name. */
#define KIND_BYTES (ETH_HLEN + 60 + 8 + WIRE_TYPE_AT + WIRE_TYPE_MAX)

#define IP_MORE_FRAGMENTS 0x2000
#define IP_OFFSET 0x1fff

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, TOR_RULES_MAX);
	__type(key, __u32);
	__type(value, struct tor_rule);
} tor_rules SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct tor_fault_state);
} tor_fault_state SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, TOR_RULES_MAX + 1);
	__type(key, __u32);
	__type(value, struct tor_fault_counts);
} tor_fault_counts SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1); /* set to the number of nodes before loading */
	__type(key, __u32);
	__type(value, struct tor_cut);
} tor_cut SEC(".maps");

struct tor_flow {
	__u64 number;  /* of its last packet */
	__u64 free_ns; /* RATE: when the link has sent what was given to it so far */
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1 << 18);
	__type(key, struct tor_flow_key);
	__type(value, struct tor_flow);
} tor_flows SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 20);
} tor_log SEC(".maps");

struct judgement {
	/* given */
	__u16 from, to;
	__u32 kind;
	__u32 len;			       /* of the frame */
	__u32 covered_at, covered_len, gap_at; /* see struct frame */
	__u64 now;
	/* found */
	bool drop, duplicate, hold;
	__u8 corrupt_bits; /* to flip at corrupt_at; 0: none */
	__u32 corrupt_at;
	__u64 delay_ns;
	__u64 number, behind; /* as in struct tor_held */
	__u32 rule, serial;
};

/* What the rules want to know of a frame's bytes. */
struct frame {
	__u32 kind; /* enum wire_kind, enum tor_kind */
	/*
	 * Bytes that a checksum in the packet covers: covered_len from covered_at, without the
	 * four at gap_at (UDP's length, which counts twice, and UDP's checksum, which may
	 * become "none").
	 */
	__u32 covered_at, covered_len, gap_at;
};

#define GAP_LEN 4

/* The kind of the UDP payload at p. */
static __always_inline __u32 kind_of(const __u8 *p, void *end)
{
	__u32 magic;
	__u64 T;

	if ((void *)p + 4 > end)
		return TOR_KIND_OTHER;
	magic = load4(p);
	if (magic == WIRE_MAGIC_FRAGMENT)
		return WIRE_FRAGMENT;
	if (magic != WIRE_MAGIC || (void *)p + WIRE_TYPE_AT > end)
		return TOR_KIND_OTHER;
	T = load8(p + 4);
#define X(id, name, type)                                                                          \
	if (IS_KIND(id, p, end, T))                                                                \
		return WIRE_##id;
	WIRE_KINDS(X)
#undef X
	return TOR_KIND_OTHER;
}

/*
 * `tagged`: there was a VLAN tag, which the kernel has put beside the frame. A message that
 * IP cut into fragments is known by the first; the others are of kind other.
 */
static __always_inline void frame_read(struct frame *f, void *data, void *end, bool tagged)
{
	struct ethhdr *eth = data;
	struct iphdr *ip = data + ETH_HLEN;
	__u32 head, total, fragment;
	struct udphdr *udp;

	f->kind = TOR_KIND_OTHER;
	f->covered_at = f->covered_len = f->gap_at = 0;
	if ((void *)ip > end || tagged)
		return;
	if (eth->h_proto == bpf_htons(ETH_P_ARP)) {
		f->kind = TOR_KIND_ARP;
		return;
	}
	if (eth->h_proto != bpf_htons(ETH_P_IP) || (void *)(ip + 1) > end)
		return;
	head = ip->ihl * 4;
	total = bpf_ntohs(ip->tot_len);
	if (head < sizeof(*ip) || total < head)
		return;
	f->covered_at = ETH_HLEN;
	f->covered_len = f->gap_at = head;
	fragment = bpf_ntohs(ip->frag_off);
	if (fragment & IP_OFFSET)
		return;
	fragment &= IP_MORE_FRAGMENTS;
	if (ip->protocol == IPPROTO_TCP || ip->protocol == IPPROTO_ICMP) {
		if (!fragment)
			f->covered_len = f->gap_at = total;
		return;
	}
	udp = (void *)ip + head;
	if (ip->protocol != IPPROTO_UDP || (void *)(udp + 1) > end)
		return;
	if (udp->check && !fragment && total >= head + sizeof(*udp)) {
		f->covered_len = total - GAP_LEN;
		f->gap_at = head + 4;
	}
	f->kind = kind_of((const __u8 *)(udp + 1), end);
}

/* Steele, Lea, Flood, "Fast splittable pseudorandom number generators" (OOPSLA 2014). */
static __always_inline __u64 splitmix64(__u64 x)
{
	x += 0x9e3779b97f4a7c15ull;
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ x >> 27) * 0x94d049bb133111ebull;
	return x ^ x >> 31;
}

static __always_inline struct tor_fault_state *fault_state(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&tor_fault_state, &zero);
}

/* The number of this packet, by `serial`; 0 when there is no room to count. */
static __always_inline __u64 take_number(const struct judgement *j, __u32 serial,
					 struct tor_flow **flow)
{
	struct tor_flow_key key = {serial, j->from, j->to, j->kind, 0};
	struct tor_flow *f = bpf_map_lookup_elem(&tor_flows, &key), none = {};
	struct tor_fault_state *state;

	if (!f) {
		bpf_map_update_elem(&tor_flows, &key, &none, BPF_NOEXIST);
		f = bpf_map_lookup_elem(&tor_flows, &key);
	}
	*flow = f;
	if (f)
		return __sync_fetch_and_add(&f->number, 1) + 1;
	state = fault_state();
	if (state)
		__sync_fetch_and_add(&state->numberless, 1);
	return 0;
}

static __always_inline void log_verdict(const struct judgement *j, __u32 rule, __u32 action,
					__u64 number, __u64 delay_ns)
{
	struct tor_fault *record = bpf_ringbuf_reserve(&tor_log, sizeof(*record), 0);
	struct tor_fault_counts *counts = bpf_map_lookup_elem(&tor_fault_counts, &rule);
	struct tor_fault_state *state;

	if (counts)
		__sync_fetch_and_add(&counts->taken, 1);
	if (!record) {
		state = fault_state();
		if (state)
			__sync_fetch_and_add(&state->log_lost, 1);
		return;
	}
	record->time_ns = j->now;
	record->number = number;
	record->delay_ns = delay_ns;
	record->from = j->from;
	record->to = j->to;
	record->kind = j->kind;
	record->action = action;
	record->rule = rule;
	bpf_ringbuf_submit(record, 0);
}

static __always_inline void count_seen(__u32 rule)
{
	struct tor_fault_counts *counts = bpf_map_lookup_elem(&tor_fault_counts, &rule);

	if (counts)
		__sync_fetch_and_add(&counts->seen, 1);
}

static __always_inline bool takes(const struct tor_rule *rule, __u64 number, __u64 hash, __u64 now)
{
	if (now < rule->begin_ns || now >= rule->end_ns)
		return false;
	switch (rule->which) {
	case TOR_EVERY:
		return rule->k && number % rule->k == 0;
	case TOR_NTH:
		return number == rule->k;
	case TOR_PROBABILITY:
		return hash < rule->k;
	default:
		return true;
	}
}

/* One bit, of those that a checksum covers: what is corrupt can be seen to be. */
static __always_inline bool corrupt(struct judgement *j, __u64 hash)
{
	__u64 bit;

	if (!j->covered_len)
		return false;
	bit = hash % (j->covered_len * 8);
	j->corrupt_at = bit / 8;
	if (j->corrupt_at >= j->gap_at)
		j->corrupt_at += GAP_LEN;
	j->corrupt_at += j->covered_at;
	j->corrupt_bits = 1 << (bit & 7);
	return true;
}

/* How long until the link has sent it, and all before it; ~0: too long. */
static __always_inline __u64 rate_delay(const struct tor_rule *rule, struct tor_flow *flow,
					const struct judgement *j)
{
	__u64 send_ns = rule->amount ? j->len * 8000000000ull / rule->amount : 0;
	__u64 free, start;

#pragma unroll
	for (int i = 0; i < 8; i++) {
		free = *(volatile __u64 *)&flow->free_ns;
		start = free > j->now ? free : j->now;
		if (start - j->now > TOR_RATE_QUEUE_NS)
			return ~0ull;
		if (__sync_val_compare_and_swap(&flow->free_ns, free, start + send_ns) == free)
			return start + send_ns - j->now;
	}
	return ~0ull; /* eight times in a row another CPU was first: a queue that is full */
}

static long rule_judge(__u32 slot, void *context)
{
	const struct tor_rule *rule = bpf_map_lookup_elem(&tor_rules, &slot);
	struct judgement *j = context;
	__u64 number, hash, delay_ns = 0;
	__u32 id = slot + 1, action;
	struct tor_flow *flow;

	if (!rule || !rule->serial || (rule->from != TOR_ANY && rule->from != j->from) ||
	    (rule->to != TOR_ANY && rule->to != j->to) ||
	    (rule->kind != TOR_ANY && rule->kind != j->kind))
		return 0;
	number = take_number(j, rule->serial, &flow);
	if (!number || !flow)
		return 0;
	count_seen(id);
	action = rule->action;
	/* The others of its link and kind are those that it is to fall behind. */
	if (action == TOR_ACT_REORDER && !j->rule) {
		j->hold = true;
		j->rule = id;
		j->serial = rule->serial;
		j->number = number;
	}
	hash = splitmix64(splitmix64(rule->seed ^ ((__u64)id << 48 | (__u64)j->from << 32 |
						   (__u64)j->to << 16 | j->kind)) +
			  number);
	if (!takes(rule, number, hash, j->now))
		return 0;
	hash = splitmix64(hash);
	switch (action) {
	case TOR_ACT_DROP:
		j->drop = true;
		break;
	case TOR_ACT_DUPLICATE:
		j->duplicate = true;
		break;
	case TOR_ACT_CORRUPT:
		if (!corrupt(j, hash))
			return 0;
		break;
	case TOR_ACT_DELAY:
		delay_ns = rule->delay_ns - rule->jitter_ns + hash % (2 * rule->jitter_ns + 1);
		j->hold = true;
		break;
	case TOR_ACT_REORDER:
		if (j->rule == id)
			j->behind = number + rule->amount;
		break;
	case TOR_ACT_RATE:
		delay_ns = rate_delay(rule, flow, j);
		j->hold = true;
		if (delay_ns == ~0ull) {
			action = TOR_ACT_RATE_DROP;
			delay_ns = 0;
			j->drop = true;
		}
		break;
	}
	j->delay_ns += delay_ns;
	log_verdict(j, id, action, number, delay_ns);
	return 0;
}

/* Is the link cut? Then that is counted and logged. */
static __always_inline bool is_cut(const struct judgement *j)
{
	struct tor_fault_state *state = fault_state();
	__u32 from = j->from;
	struct tor_cut *row = bpf_map_lookup_elem(&tor_cut, &from);
	struct tor_flow *flow;

	if (!state || !state->partition || !row ||
	    !(row->to[j->to / 64 & (TOR_CUT_WORDS - 1)] >> (j->to & 63) & 1))
		return false;
	count_seen(0);
	log_verdict(j, 0, TOR_ACT_PARTITION, take_number(j, state->partition, &flow), 0);
	return true;
}

/*
 * Fills what is to be found. All rules count the packet, also when one of them drops it. Global
 * (so 0 is returned), like whatever else is called more than once or after many branches: the
 * verifier looks at a global function once, at any other again for each way to it.
 */
__noinline int judge_link(struct judgement *out)
{
	struct tor_fault_state *state = fault_state();
	struct judgement j; /* on this stack: what bpf_loop() hands on has to be */

	if (!out || !state)
		return 0;
	j = *out;
	j.drop = j.duplicate = j.hold = false;
	j.corrupt_bits = 0;
	j.delay_ns = j.number = j.behind = 0;
	j.rule = j.serial = 0;
	bpf_loop(state->slots, rule_judge, &j, 0);
	if (is_cut(&j))
		j.drop = true;
	*out = j;
	return 0;
}

#endif
