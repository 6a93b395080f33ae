/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Programs in the published Electrode layout that behave: three replicas, port 12345, one CPU.
 * An object for tests of the conformance suite, which also runs it with one line made wrong.
 *
 *   XDP  fastPaxos_main -0-> HandlePrepare_main -3-> WriteBuffer_main -4-> PrepareFastReply_main
 *                       -2-> HandlePrepareOK_main
 *   TC   FastBroadCast_main
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/pkt_cls.h>
#include <linux/udp.h>
#include <stdbool.h>
#include <stddef.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "bpf/wire.h"

#define PORT bpf_htons(12345)
#define REPLICAS 3
#define QUORUM 1 /* acks of others that commit */
#define BATCH_MAX 64
#define RECORD 64
#define ENTRIES 1024
#define FRAME_MAX 2048
#define PAYLOAD_AT (sizeof(struct ethhdr) + sizeof(struct iphdr) + sizeof(struct udphdr))
#define LENGTH_AT (PAYLOAD_AT + WIRE_TYPE_AT + WIRE_T_PREPARE + WIRE_FAST_LEN)

enum { HANDLE_PREPARE = 0, HANDLE_PREPARE_OK = 2, WRITE_BUFFER = 3, PREPARE_REPLY = 4 };
enum { NORMAL = 0 };

struct member {
	__be32 addr;
	__be16 port;
	__u8 mac[ETH_ALEN];
};

struct replica {
	__u32 status;
	__s32 self, leader, batch;
	__u64 view, last;
};

struct votes {
	__u32 view, op, bits;
};

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(key_size, 4);
	__uint(value_size, 4);
	__uint(max_entries, 5);
} map_progs_xdp SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct member);
	__uint(max_entries, REPLICAS);
} map_configure SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct replica);
	__uint(max_entries, 1);
} map_ctr_state SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, __u64);
	__uint(max_entries, 1);
} map_msg_lastOp SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct votes);
	__uint(max_entries, ENTRIES);
} map_quorum SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 16);
} map_prepare_buffer SEC(".maps");

struct frame {
	struct ethhdr *eth;
	struct iphdr *ip;
	struct udphdr *udp;
	__u8 *payload;
	void *end;
};

static __always_inline struct frame frame_at(void *data, void *end)
{
	return (struct frame){data, data + 14, data + 34, data + PAYLOAD_AT, end};
}

static __always_inline __u64 size_of(const struct xdp_md *ctx)
{
	__u64 size = (void *)(long)ctx->data_end - (void *)(long)ctx->data;

	/* Else clang 14 subtracts later, and keeps half a packet pointer on the stack until then. */
	asm volatile("" : "+r"(size));
	return size;
}

static __always_inline __u16 fold(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + ((sum >> 16) & 0xffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	return (sum & 0xffff) + (sum >> 16);
}

static __always_inline __u64 ip_sum(const struct iphdr *ip)
{
	const __u32 *word = (const void *)ip;

	return (__u64)word[0] + word[1] + word[2] + word[3] + word[4];
}

static __always_inline bool is_named(const __u8 *p, void *end, const char *name, __u32 n)
{
	const __u8 *type = p + WIRE_TYPE_AT;
	__u64 word, differs;

	if (type + n > (__u8 *)end || *(__u64 *)(p + 4) != n)
		return false;
	__builtin_memcpy(&word, name + n - 8, 8);
	differs = word ^ *(__u64 *)(type + n - 8);
#pragma unroll
	for (__u32 i = 0; i + 8 <= n; i += 8) {
		__builtin_memcpy(&word, name + i, 8);
		differs |= word ^ *(__u64 *)(type + i);
	}
	return !differs;
}

/* Plain IPv4 and UDP to our port, lengths that agree, a right IP checksum. */
static __always_inline bool is_plain(const struct frame *f, __u32 size)
{
	__u32 total;

	if ((void *)f->payload > f->end || f->eth->h_proto != bpf_htons(ETH_P_IP))
		return false;
	total = bpf_ntohs(f->ip->tot_len);
	return *(__u8 *)f->ip == 0x45 && f->ip->protocol == IPPROTO_UDP && f->ip->ttl &&
	       !(f->ip->frag_off & bpf_htons(0xbfff)) && f->udp->dest == PORT &&
	       sizeof(struct ethhdr) + total == size &&
	       bpf_ntohs(f->udp->len) + sizeof(struct iphdr) == total && fold(ip_sum(f->ip)) == 0xffff;
}

/* The UDP checksum, word by word; 0 means that there is none. */
static __always_inline bool is_whole(const struct frame *f)
{
	__u64 sum = (__u64)f->ip->saddr + f->ip->daddr + bpf_htons(IPPROTO_UDP) + f->udp->len;
	__u8 *p = (__u8 *)f->udp;

	if (!f->udp->check)
		return true;
	for (int i = 0; i < FRAME_MAX / 4 && p + 4 <= (__u8 *)f->end; i++, p += 4)
		sum += *(__u32 *)p;
	if (p + 2 <= (__u8 *)f->end) {
		sum += *(__u16 *)p;
		p += 2;
	}
	if (p + 1 <= (__u8 *)f->end)
		sum += *p;
	return fold(sum) == 0xffff;
}

static __always_inline bool same_mac(const __u8 *a, const __u8 *b)
{
	return *(__u32 *)a == *(__u32 *)b && *(__u16 *)(a + 4) == *(__u16 *)(b + 4);
}

static __always_inline struct member *member_at(__u32 i)
{
	return bpf_map_lookup_elem(&map_configure, &i);
}

static __always_inline struct replica *replica(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&map_ctr_state, &zero);
}

static __always_inline bool is_from(const struct frame *f, __u32 i)
{
	struct member *m = member_at(i);

	return m && f->ip->saddr == m->addr && f->udp->source == m->port &&
	       same_mac(f->eth->h_source, m->mac);
}

static __always_inline bool is_to_us(const struct frame *f, const struct replica *r)
{
	struct member *m = member_at(r->self);

	return m && f->ip->daddr == m->addr && same_mac(f->eth->h_dest, m->mac);
}

/* The fast header, when the body is as long as it says. */
static __always_inline __u32 *fast_header(const struct frame *f, __u32 T)
{
	__u8 *fast = f->payload + WIRE_TYPE_AT + T, *body = fast + WIRE_FAST_LEN + 8;

	if (body > (__u8 *)f->end || *(__u64 *)(fast + WIRE_FAST_LEN) != (__u64)((__u8 *)f->end - body))
		return NULL;
	return (__u32 *)fast;
}

SEC("fastPaxos")
int fastPaxos_main(struct xdp_md *ctx)
{
	struct frame f = frame_at((void *)(long)ctx->data, (void *)(long)ctx->data_end);
	__u8 *p = f.payload;

	if (!is_plain(&f, size_of(ctx)) || p + WIRE_TYPE_AT > (__u8 *)f.end ||
	    *(__u32 *)p != WIRE_MAGIC)
		return XDP_PASS;
	if (is_named(p, f.end, WIRE_TYPE_PREPARE, WIRE_T_PREPARE))
		bpf_tail_call(ctx, &map_progs_xdp, HANDLE_PREPARE);
	else if (is_named(p, f.end, WIRE_TYPE_PREPARE_OK, WIRE_T_PREPARE_OK) ||
		 is_named(p, f.end, WIRE_TYPE_MY_PREPARE_OK, WIRE_T_MY_PREPARE_OK))
		bpf_tail_call(ctx, &map_progs_xdp, HANDLE_PREPARE_OK);
	return XDP_PASS;
}

SEC("HandlePrepare")
int HandlePrepare_main(struct xdp_md *ctx)
{
	struct frame f = frame_at((void *)(long)ctx->data, (void *)(long)ctx->data_end);
	struct replica *r = replica();
	__u32 *fast, zero = 0;
	__u64 op, first, *handed = bpf_map_lookup_elem(&map_msg_lastOp, &zero);

	if (!r || !handed || (void *)f.payload > f.end)
		return XDP_PASS;
	fast = fast_header(&f, WIRE_T_PREPARE);
	if (!fast || r->status != NORMAL || !is_to_us(&f, r) || r->self == r->leader ||
	    !is_from(&f, r->leader) || fast[0] != r->view)
		return XDP_PASS;
	op = fast[1];
	first = fast[2];
	if (!op || !first || first > op || op - first >= BATCH_MAX || !is_whole(&f))
		return XDP_PASS;
	*handed = op;
	if (op <= r->last)
		bpf_tail_call(ctx, &map_progs_xdp, PREPARE_REPLY);
	else if (first == r->last + 1)
		bpf_tail_call(ctx, &map_progs_xdp, WRITE_BUFFER);
	return XDP_PASS;
}

/* What follows the fast header goes to the ring: the length of the body and the body. */
SEC("WriteBuffer")
int WriteBuffer_main(struct xdp_md *ctx)
{
	__u64 less = size_of(ctx) - LENGTH_AT - 1, *handed;
	struct replica *r = replica();
	__u32 zero = 0;
	void *record;

	handed = bpf_map_lookup_elem(&map_msg_lastOp, &zero);
	if (!r || !handed || less >= RECORD)
		return XDP_PASS;
	record = bpf_ringbuf_reserve(&map_prepare_buffer, RECORD, 0);
	if (!record)
		return XDP_PASS;
	if (bpf_xdp_load_bytes(ctx, LENGTH_AT, record, less + 1)) {
		bpf_ringbuf_discard(record, 0);
		return XDP_PASS;
	}
	bpf_ringbuf_submit(record, 0);
	r->last = *handed;
	bpf_tail_call(ctx, &map_progs_xdp, PREPARE_REPLY);
	return XDP_PASS;
}

struct ack {
	__u32 magic;
	__u64 T;
	char type[WIRE_T_MY_PREPARE_OK];
	__u32 fast[3];
	__u64 length;
	struct wire_my_prepare_ok body;
} __attribute__((packed));

SEC("PrepareFastReply")
int PrepareFastReply_main(struct xdp_md *ctx)
{
	int size = size_of(ctx);
	struct replica *r = replica();
	struct member *leader = r ? member_at(r->leader) : NULL;
	__u64 *handed, op, word;
	__u32 zero = 0, addr;
	struct frame f;
	struct ack *ack;
	__u8 mac[ETH_ALEN];

	handed = bpf_map_lookup_elem(&map_msg_lastOp, &zero);
	if (!handed || !leader || bpf_xdp_adjust_tail(ctx, (int)(PAYLOAD_AT + sizeof(*ack)) - size))
		return XDP_PASS;
	op = *handed;
	f = frame_at((void *)(long)ctx->data, (void *)(long)ctx->data_end);
	ack = (void *)f.payload;
	if ((void *)(ack + 1) > f.end)
		return XDP_PASS;
	__builtin_memcpy(mac, f.eth->h_dest, ETH_ALEN);
	__builtin_memcpy(f.eth->h_dest, f.eth->h_source, ETH_ALEN);
	__builtin_memcpy(f.eth->h_source, mac, ETH_ALEN);
	addr = f.ip->daddr;
	f.ip->saddr = addr;
	f.ip->daddr = leader->addr;
	f.ip->tot_len = bpf_htons(sizeof(*f.ip) + sizeof(*f.udp) + sizeof(*ack));
	f.ip->check = 0;
	f.ip->check = ~fold(ip_sum(f.ip));
	f.udp->source = PORT;
	f.udp->dest = leader->port;
	f.udp->len = bpf_htons(sizeof(*f.udp) + sizeof(*ack));
	f.udp->check = 0;
	ack->magic = WIRE_MAGIC;
	ack->T = WIRE_T_MY_PREPARE_OK;
#pragma unroll
	for (int i = 0; i < WIRE_T_MY_PREPARE_OK; i += 8) {
		__builtin_memcpy(&word, WIRE_TYPE_MY_PREPARE_OK + i, 8); /* a constant, no .rodata */
		__builtin_memcpy(ack->type + i, &word, 8);
	}
	ack->fast[0] = r->view;
	ack->fast[1] = op;
	ack->fast[2] = r->self;
	ack->length = sizeof(ack->body);
	ack->body.view = r->view;
	ack->body.opnum = op;
	ack->body.index = r->self;
	return XDP_TX;
}

static __always_inline struct votes *votes_of(__u32 op)
{
	__u32 index = op % ENTRIES;

	return bpf_map_lookup_elem(&map_quorum, &index);
}

SEC("HandlePrepareOK")
int HandlePrepareOK_main(struct xdp_md *ctx)
{
	struct frame f = frame_at((void *)(long)ctx->data, (void *)(long)ctx->data_end);
	struct wire_my_prepare_ok *body;
	struct replica *r = replica();
	__u32 *fast, op, index, before;
	struct votes *votes;
	bool fixed;

	if (!r || f.payload + WIRE_TYPE_AT > (__u8 *)f.end)
		return XDP_PASS;
	fixed = f.payload[4] == WIRE_T_MY_PREPARE_OK;
	fast = fixed ? fast_header(&f, WIRE_T_MY_PREPARE_OK) : fast_header(&f, WIRE_T_PREPARE_OK);
	if (!fast || (void *)(fast + 5) > f.end)
		return XDP_PASS;
	op = fast[1];
	index = fast[2];
	if (r->status != NORMAL || !is_to_us(&f, r) || r->self != r->leader || fast[0] != r->view ||
	    index >= REPLICAS || index == (__u32)r->self || !is_from(&f, index) || !is_whole(&f))
		return XDP_PASS;
	body = (void *)(fast + 5);
	if (fixed && (*(__u64 *)(fast + 3) != sizeof(*body) || (void *)(body + 1) > f.end || body->view != fast[0] || body->opnum != op ||
		      body->index != index))
		return XDP_PASS;
	votes = votes_of(op);
	if (!op || !votes || votes->view != r->view || votes->op != op)
		return XDP_PASS; /* not sent */
	before = votes->bits;
	votes->bits |= 1 << index;
	if (before != votes->bits && __builtin_popcountl(votes->bits) == QUORUM)
		return XDP_PASS;
	return XDP_DROP;
}

static __always_inline bool may_broadcast(struct __sk_buff *skb, const struct frame *f,
					  const struct replica *r)
{
	__u32 total = bpf_ntohs(f->ip->tot_len);
	struct member *m = member_at(r->self);

	return m && sizeof(struct ethhdr) + total == skb->len && f->ip->ttl &&
	       bpf_ntohs(f->udp->len) + sizeof(struct iphdr) == total &&
	       f->ip->saddr == m->addr && same_mac(f->eth->h_source, m->mac);
}

/* One clone to each other replica. */
static __always_inline void send_to(struct __sk_buff *skb, __u32 i)
{
	struct frame f = frame_at((void *)(long)skb->data, (void *)(long)skb->data_end);
	struct member *m = member_at(i);
	__u32 old;

	if (!m || (void *)f.payload > f.end)
		return;
	__builtin_memcpy(f.eth->h_dest, m->mac, ETH_ALEN);
	old = f.ip->daddr;
	f.ip->daddr = m->addr;
	f.ip->check = ~fold((__u64)(__u16)~f.ip->check + (__u32)~old + m->addr);
	f.udp->dest = m->port;
	f.udp->check = 0;
	bpf_clone_redirect(skb, skb->ifindex, 0);
}

SEC("FastBroadCast")
int FastBroadCast_main(struct __sk_buff *skb)
{
	struct replica *r = replica();
	bool is_prepare;
	struct frame f;
	__u32 *fast, self;

	bpf_skb_pull_data(skb, skb->len < 256 ? skb->len : 256);
	f = frame_at((void *)(long)skb->data, (void *)(long)skb->data_end);
	if (!r || f.payload + WIRE_TYPE_AT > (__u8 *)f.end || f.eth->h_proto != bpf_htons(ETH_P_IP) ||
	    *(__u8 *)f.ip != 0x45 || f.ip->protocol != IPPROTO_UDP || skb->gso_size ||
	    (f.ip->frag_off & bpf_htons(0xbfff)) || f.udp->source != PORT ||
	    *(__u32 *)f.payload != WIRE_MAGIC)
		return TC_ACT_OK;
	is_prepare = is_named(f.payload, f.end, WIRE_TYPE_PREPARE, WIRE_T_PREPARE);
	if (!is_prepare && !is_named(f.payload, f.end, WIRE_TYPE_COMMIT, WIRE_T_COMMIT))
		return TC_ACT_OK;
	fast = (void *)f.payload + WIRE_TYPE_AT + (is_prepare ? WIRE_T_PREPARE : WIRE_T_COMMIT);
	if ((void *)(fast + 5) > f.end || !(fast[0] & WIRE_BROADCAST) || !may_broadcast(skb, &f, r) ||
	    *(__u64 *)(fast + 3) != skb->len - ((__u64)(fast + 5) - (__u64)f.eth))
		return TC_ACT_OK;
	fast[0] &= ~WIRE_BROADCAST;
	if (is_prepare) {
		struct votes *votes = votes_of(fast[1]);

		if (votes && (votes->view != fast[0] || votes->op != fast[1]))
			*votes = (struct votes){fast[0], fast[1], 0};
	}
	self = r->self;
#pragma unroll
	for (__u32 i = 0; i < REPLICAS; i++)
		if (i != self)
			send_to(skb, i);
	return TC_ACT_STOLEN;
}

char _license[] SEC("license") = "Dual BSD/GPL";
