/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Frames out of what they say, and back. The body of a Prepare starts with its variant and
 * goes on with bytes that depend on view, ops and variant, so that a slot with pieces of
 * two copies is none of either.
 */
#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/udp.h>
#include <string.h>

#include "race/race.h"
#include "replica/wire.h"

#define BODY_LEAST 32 /* bytes */
#define BODY_SPREAD 1900
#define HEAD WIRE_HEAD_LEN(WIRE_T_PREPARE)

#define MEMBER(i)                                                                                  \
	{                                                                                          \
		{2, 0, 0, 0, 0, 1 + i}, __builtin_bswap16(WIRE_PORT),                              \
			__builtin_bswap32(0x0a000001 + i)                                          \
	}

/* Byte orders by hand: htons() is no constant. Little-endian machines, as the wire. */
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "addresses are swapped");
const struct elec_member frame_members[REPLICAS] = {
	MEMBER(0), MEMBER(1), MEMBER(2), MEMBER(3), MEMBER(4),
};

uint32_t frame_leader(uint32_t view)
{
	/* Runs of four: some programs meet the page of their epoch again, two epochs later. */
	return view % 8 < 4 ? SELF : (SELF + 1 + view % (REPLICAS - 1)) % REPLICAS;
}

static uint64_t body_seed(uint32_t view, uint32_t first, uint32_t op, uint32_t variant)
{
	return mix64(((uint64_t)view << 32 | op) ^ mix64((uint64_t)variant << 32 | first));
}

/* Writes the body, its length returned. */
static size_t put_body(uint8_t *body, uint32_t view, uint32_t first, uint32_t op, uint32_t variant)
{
	uint64_t seed = body_seed(view, first, op, variant);
	size_t len = BODY_LEAST + seed % BODY_SPREAD;

	memcpy(body, &variant, sizeof(variant));
	for (size_t at = sizeof(variant); at < len; at += sizeof(seed)) {
		seed = seed * 0x9e3779b97f4a7c15 + 1;
		memcpy(body + at, &seed, len - at < sizeof(seed) ? len - at : sizeof(seed));
	}
	return len;
}

static uint64_t sum_words(const uint8_t *at, size_t len)
{
	uint64_t sum = 0;
	uint32_t word;

	for (; len >= sizeof(word); at += sizeof(word), len -= sizeof(word)) {
		memcpy(&word, at, sizeof(word));
		sum += word;
	}
	word = 0;
	memcpy(&word, at, len);
	return sum + word;
}

/* RFC 1071 */
static uint16_t fold(uint64_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

static uint16_t udp_sum(const struct iphdr *ip, const struct udphdr *udp)
{
	return fold(sum_words((const uint8_t *)&ip->saddr, 8) + htons(IPPROTO_UDP) + udp->len +
		    sum_words((const uint8_t *)udp, ntohs(udp->len)));
}

static size_t put_message(uint8_t *at, const struct spec *s)
{
	uint32_t fast[3] = {s->view, s->op, s->kind == WIRE_PREPARE ? s->first : s->from};
	struct wire_my_prepare_ok ok = {s->view, s->op, s->from};
	size_t head = wire_head_len(s->kind), body;

	if (s->kind == WIRE_MY_PREPARE_OK) {
		body = sizeof(ok);
		memcpy(at + head, &ok, body);
	} else {
		/* A PrepareOK's body is user space's; a long one makes the program take longer. */
		body = put_body(at + head, s->view, s->first, s->op, s->variant);
	}
	wire_encode_head(at, s->kind, fast, body);
	return head + body;
}

size_t frame_build(uint8_t *frame, const struct spec *s)
{
	struct ethhdr *eth = (void *)frame;
	struct iphdr *ip = (void *)(eth + 1);
	struct udphdr *udp = (void *)(ip + 1);
	size_t len = put_message((uint8_t *)(udp + 1), s);

	memcpy(eth->h_dest, frame_members[SELF].mac, ETH_ALEN);
	memcpy(eth->h_source, frame_members[s->from].mac, ETH_ALEN);
	eth->h_proto = htons(ETH_P_IP);
	*ip = (struct iphdr){
		.version = 4,
		.ihl = 5,
		.tot_len = htons(sizeof(*ip) + sizeof(*udp) + len),
		.ttl = 64,
		.protocol = IPPROTO_UDP,
		.saddr = frame_members[s->from].addr,
		.daddr = frame_members[SELF].addr,
	};
	ip->check = ~fold(sum_words((const uint8_t *)ip, sizeof(*ip)));
	*udp = (struct udphdr){
		.source = frame_members[s->from].port,
		.dest = frame_members[SELF].port,
		.len = htons(sizeof(*udp) + len),
	};
	udp->check = ~udp_sum(ip, udp);
	if (!udp->check)
		udp->check = 0xffff; /* RFC 768: 0 would mean "no checksum" */
	if (s->corrupt)
		frame[PAYLOAD_AT + len - 1] ^= 1 << (s->op & 7);
	return PAYLOAD_AT + len;
}

int64_t frame_variant(const uint8_t *payload, size_t len, uint32_t view, uint32_t first,
		      uint32_t op)
{
	struct spec s = {.kind = WIRE_PREPARE, .view = view, .op = op, .first = first};
	uint8_t expected[FRAME_MAX];

	if (len < HEAD + BODY_LEAST)
		return -1;
	memcpy(&s.variant, payload + HEAD, sizeof(s.variant));
	if (put_message(expected, &s) != len || memcmp(expected, payload, len))
		return -1;
	return s.variant;
}

bool frame_is_ack(const uint8_t *frame, size_t len, const struct spec *prepare)
{
	struct spec ack = {
		.kind = WIRE_MY_PREPARE_OK,
		.view = prepare->view,
		.op = prepare->op,
		.from = SELF,
	};
	uint8_t payload[WIRE_MY_PREPARE_OK_LEN];

	put_message(payload, &ack);
	return len == PAYLOAD_AT + sizeof(payload) &&
	       !memcmp(frame + PAYLOAD_AT, payload, sizeof(payload)) &&
	       !memcmp(frame, frame_members[prepare->from].mac, ETH_ALEN);
}
