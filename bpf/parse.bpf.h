/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * From a frame to a framed message. Nothing is believed that was not tested: the frame
 * ends where IP says, UDP where IP says, the body where UDP says (promise S8).
 */
#ifndef PAXRACK_PARSE_BPF_H
#define PAXRACK_PARSE_BPF_H

#include <linux/if_ether.h>

#include "bpf/csum.bpf.h"
#include "bpf/kind.bpf.h"

#define IP_AT ((__u32)sizeof(struct ethhdr))
#define UDP_AT (IP_AT + (__u32)sizeof(struct iphdr))
#define PAYLOAD_AT (UDP_AT + (__u32)sizeof(struct udphdr))

#define IP_VERSION_IHL 0x45 /* IPv4, five words */
#define IP_DF 0x4000

#define PARSED (-1) /* no reason against it */

#define HEADERS_LEN PAYLOAD_AT

/* Where the headers of a frame stand (not one packed struct: that would read byte by byte). */
struct headers {
	struct ethhdr *eth;
	struct iphdr *ip;
	struct udphdr *udp;
	__u8 *payload;
};

struct message {
	__u32 kind;    /* WIRE_PREPARE, WIRE_PREPARE_OK or WIRE_MY_PREPARE_OK */
	__u32 len;     /* of the UDP payload, bytes */
	__u32 fast[3]; /* the fast header */
};

static __always_inline struct headers headers_at(void *frame)
{
	return (struct headers){frame, frame + IP_AT, frame + UDP_AT, frame + PAYLOAD_AT};
}

/* Ethernet, IPv4 and UDP for the replica's port. PARSED or a reason. */
static __always_inline int parse_headers(const struct headers *h, void *end, __u32 frame_len)
{
	__u32 total;

	if ((void *)h->ip > end)
		return ELEC_R_FRAME_SHORT;
	if (h->eth->h_proto != bpf_htons(ETH_P_IP))
		return ELEC_R_NOT_IP;
	if ((void *)h->udp > end)
		return ELEC_R_FRAME_SHORT;
	if (*(__u8 *)h->ip != IP_VERSION_IHL)
		return ELEC_R_IP_OPTIONS;
	if (h->ip->protocol != IPPROTO_UDP)
		return ELEC_R_NOT_UDP;
	if (h->ip->frag_off & ~bpf_htons(IP_DF))
		return ELEC_R_IP_FRAGMENT;
	if ((void *)h->payload > end)
		return ELEC_R_FRAME_SHORT;
	if (h->udp->dest != port)
		return ELEC_R_NOT_OURS;
	total = bpf_ntohs(h->ip->tot_len);
	if (IP_AT + total > frame_len)
		return ELEC_R_FRAME_SHORT;
	if (IP_AT + total < frame_len)
		return ELEC_R_FRAME_LONG;
	if (bpf_ntohs(h->udp->len) + sizeof(struct iphdr) != total)
		return ELEC_R_UDP_LENGTH;
	if (!h->ip->ttl)
		return ELEC_R_TTL_ZERO;
	if (csum_fold(csum_ip(h->ip)) != 0xffff)
		return ELEC_R_IP_CHECKSUM;
	if (!h->udp->check)
		return ELEC_R_NO_CHECKSUM;
	return PARSED;
}

/* The framing of the UDP payload that starts at p and is len bytes long. PARSED or a reason. */
static __always_inline int parse_message(struct message *m, __u8 *p, void *end, __u32 len)
{
	__u32 magic;
	__u8 *head;
	__u64 T;

	if (p + 4 > (__u8 *)end)
		return ELEC_R_NOT_A_MESSAGE;
	magic = load4(p);
	if (magic == WIRE_MAGIC_FRAGMENT)
		return ELEC_R_FRAGMENT_MAGIC;
	if (magic != WIRE_MAGIC)
		return ELEC_R_NOT_A_MESSAGE;

	if (p + WIRE_TYPE_AT > (__u8 *)end)
		return ELEC_R_OTHER_KIND;
	T = load8(p + 4);
	if (IS_KIND(PREPARE, p, end, T)) {
		m->kind = WIRE_PREPARE;
		T = WIRE_T_PREPARE;
	} else if (IS_KIND(PREPARE_OK, p, end, T)) {
		m->kind = WIRE_PREPARE_OK;
		T = WIRE_T_PREPARE_OK;
	} else if (IS_KIND(MY_PREPARE_OK, p, end, T)) {
		m->kind = WIRE_MY_PREPARE_OK;
		T = WIRE_T_MY_PREPARE_OK;
	} else {
		return ELEC_R_OTHER_KIND;
	}
	head = p + WIRE_TYPE_AT + T;
	if (head + WIRE_FAST_LEN + 8 > (__u8 *)end)
		return ELEC_R_BODY_LENGTH;
	if (load8(head + WIRE_FAST_LEN) != len - WIRE_HEAD_LEN(T))
		return ELEC_R_BODY_LENGTH;
	m->len = len;
	m->fast[0] = load4(head);
	m->fast[1] = load4(head + 4);
	m->fast[2] = load4(head + 8);
	return PARSED;
}

static __always_inline bool mac_same(const __u8 *a, const __u8 *b)
{
	return !((*(const __u32 *)a ^ *(const __u32 *)b) |
		 (*(const __u16 *)(a + 4) ^ *(const __u16 *)(b + 4)));
}

static __always_inline bool sent_by(const struct headers *h, const struct elec_member *m)
{
	return h->ip->saddr == m->addr && h->udp->source == m->port &&
	       mac_same(h->eth->h_source, m->mac);
}

#endif
