/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Internet checksums (RFC 1071). Sums are of 16-bit words in network order, not folded. */
#ifndef PAXRACK_CSUM_BPF_H
#define PAXRACK_CSUM_BPF_H

#include <linux/ip.h>
#include <linux/udp.h>
#include <linux/in.h>

#include "bpf/maps.bpf.h"

/* Each width twice: the first fold may carry once more. */
static __always_inline __u16 csum_fold(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

/* Of a 20-byte header; a right one sums to 0xffff. */
static __always_inline __u64 csum_ip(const struct iphdr *ip)
{
	const __u32 *word = (const void *)ip;

	return (__u64)word[0] + word[1] + word[2] + word[3] + word[4];
}

/* Of the UDP pseudo-header and header. */
static __always_inline __u64 csum_udp_head(const struct iphdr *ip, const struct udphdr *udp)
{
	return (__u64)ip->saddr + ip->daddr + bpf_htons(IPPROTO_UDP) + udp->len + udp->source +
	       udp->dest + udp->len + udp->check;
}

/*
 * Of len bytes in a slot (1..ELEC_SLOT_DATA). In pieces: before Linux 6.13 bpf_csum_diff
 * refuses more than 512 bytes in one call. Zeroes up to three bytes after the end.
 */
static __always_inline __u64 csum_slot(struct elec_slot *slot, __u32 len)
{
	__u64 whole = len & ~3u, odd = len & 3;
	__s64 sum = 0;

	if (odd) {
		__u64 at = whole;

		one_register(at);
		if (at > ELEC_SLOT_DATA - 4)
			return 0;
		*(__u32 *)(slot->data + at) &= (1u << (8 * odd)) - 1;
		whole += 4;
	}
#pragma unroll
	for (__u32 at = 0; at < ELEC_SLOT_DATA; at += 512) {
		__u64 most = ELEC_SLOT_DATA - at < 512 ? ELEC_SLOT_DATA - at : 512;
		__u64 n = whole - at;

		if (whole <= at)
			break;
		one_register(n);
		if (n > most)
			n = most;
		sum = bpf_csum_diff(NULL, 0, (__be32 *)(slot->data + at), n, sum);
	}
	return sum & 0xffffffff;
}

#endif
