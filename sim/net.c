/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Between devices: what leaves one arrives at another, or does not. */
#include "sim/sim.h"

#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/udp.h>
#include <string.h>

#include "replica/wire.h"

#define NET 0x0a000000u /* 10.0.0.0/24: node i is .i+1; clients come after the most replicas */
#define TTL 64
#define ECHO_CHANCE 250000 /* in a million */
#define ECHO_LEAST_NS (10 * MS)
#define ECHO_MOST_NS (3 * SECOND)

static uint32_t position(const struct sim *s, uint32_t node)
{
	return node < s->n ? node : SIM_REPLICAS_MAX + node - s->n;
}

static int node_at(const struct sim *s, uint32_t last_byte)
{
	uint32_t at = last_byte - 1;

	if (at < s->n)
		return at;
	if (at >= SIM_REPLICAS_MAX && at < SIM_REPLICAS_MAX + s->clients)
		return at - SIM_REPLICAS_MAX + s->n;
	return -1;
}

uint32_t net_addr(uint32_t at)
{
	return htonl(NET + at + 1);
}

void net_mac(uint32_t at, uint8_t mac[6])
{
	memcpy(mac, (uint8_t[6]){2, 0, 0, 0, 0, at + 1}, 6);
}

uint16_t net_port(const struct sim *s, uint32_t node)
{
	return htons(node < s->n ? WIRE_PORT : NET_CLIENT_PORT + node - s->n);
}

/* ---- sums (RFC 1071) ---- */

static uint32_t sum(const uint8_t *data, size_t len, uint32_t so_far)
{
	uint64_t total = so_far;

	for (; len >= 8; data += 8, len -= 8) {
		uint64_t word;

		memcpy(&word, data, 8);
		total += (word & 0xffffffff) + (word >> 32);
	}
	for (; len >= 2; data += 2, len -= 2)
		total += data[0] | data[1] << 8;
	if (len)
		total += data[0];
	while (total >> 32)
		total = (total & 0xffffffff) + (total >> 32);
	return total;
}

static uint16_t fold(uint32_t total)
{
	total = (total & 0xffff) + (total >> 16);
	total = (total & 0xffff) + (total >> 16);
	return total;
}

static uint16_t udp_sum(const struct iphdr *ip, const struct udphdr *udp, size_t len)
{
	uint32_t total = sum((const uint8_t *)&ip->saddr, 8, 0);

	total = sum((const uint8_t[]){0, IPPROTO_UDP, len >> 8, len}, 4, total);
	return fold(sum((const uint8_t *)udp, len, total));
}

static void fill_sums(struct frame *f)
{
	struct iphdr *ip = (void *)(f->data + 14);
	struct udphdr *udp = (void *)(f->data + 34);
	uint16_t check;

	ip->check = 0;
	ip->check = ~fold(sum((void *)ip, sizeof(*ip), 0));
	udp->check = 0;
	check = ~udp_sum(ip, udp, f->len - 34);
	udp->check = check ? check : 0xffff;
}

struct frame *net_frame(struct sim *s, uint32_t from, uint32_t to, const uint8_t *data, size_t len)
{
	struct frame *f = need(sizeof(*f) + NET_PAYLOAD_AT + len);
	struct iphdr *ip;
	struct udphdr *udp;

	f->len = NET_PAYLOAD_AT + len;
	net_mac(position(s, to), f->data);
	net_mac(position(s, from), f->data + 6);
	f->data[12] = ETH_P_IP >> 8;
	f->data[13] = ETH_P_IP & 0xff;
	ip = (void *)(f->data + 14);
	*ip = (struct iphdr){
		.version = 4,
		.ihl = 5,
		.tot_len = htons(20 + 8 + len),
		.id = htons(s->order),
		.frag_off = htons(0x4000),
		.ttl = TTL,
		.protocol = IPPROTO_UDP,
		.saddr = net_addr(position(s, from)),
		.daddr = net_addr(position(s, to)),
	};
	udp = (void *)(f->data + 34);
	*udp = (struct udphdr){net_port(s, from), net_port(s, to), htons(8 + len), 0};
	memcpy(f->data + NET_PAYLOAD_AT, data, len);
	fill_sums(f);
	return f;
}

bool net_accepts(const struct sim *s, uint32_t node, const struct frame *f)
{
	const struct iphdr *ip = (const void *)(f->data + 14);
	const struct udphdr *udp = (const void *)(f->data + 34);
	uint8_t mac[6];

	net_mac(position(s, node), mac);
	if (f->len < NET_PAYLOAD_AT || memcmp(f->data, mac, 6) || f->data[12] != 8 || f->data[13] ||
	    ip->version != 4 || ip->ihl != 5 || ip->protocol != IPPROTO_UDP || !ip->ttl ||
	    ip->frag_off & ~htons(0x4000) || ip->daddr != net_addr(position(s, node)) ||
	    ntohs(ip->tot_len) != f->len - 14 || ntohs(udp->len) != f->len - 34 ||
	    udp->dest != net_port(s, node))
		return false;
	if (fold(sum((const void *)ip, sizeof(*ip), 0)) != 0xffff)
		return false;
	return !udp->check || udp_sum(ip, udp, f->len - 34) == 0xffff;
}

uint32_t net_sender(const struct frame *f)
{
	return ((const struct iphdr *)(f->data + 14))->saddr;
}

int net_node(const struct sim *s, uint32_t addr, uint16_t port)
{
	int node = node_at(s, ntohl(addr) - NET);

	return node >= 0 && port == net_port(s, node) ? node : -1;
}

/* ---- faults ---- */

/*
 * Damage that a right checksum hides must be damage that a reader can see: nothing in VR
 * (nor in any protocol without signatures) stands against bytes that were made to lie.
 */
static void damage_framing(struct sim *s, struct frame *f)
{
	uint8_t *payload = f->data + NET_PAYLOAD_AT;
	uint32_t len = f->len - NET_PAYLOAD_AT, T;

	if (len < WIRE_TYPE_AT + 1)
		return;
	T = payload[4] < WIRE_TYPE_MAX ? payload[4] : 1;
	/* Of a fragment only the magic: its other fields are not framing that shows damage. */
	switch (payload[0] == (WIRE_MAGIC & 0xff) ? rng_below(&s->net.rng, 5) : 0) {
	case 0:
		payload[rng_below(&s->net.rng, 4)] ^= 0x40;
		break;
	case 1:
		payload[4 + rng_below(&s->net.rng, 8)] ^= 1 << rng_below(&s->net.rng, 8);
		break;
	case 2:
		payload[WIRE_TYPE_AT + rng_below(&s->net.rng, T) % (len - WIRE_TYPE_AT)] ^= 0x20;
		break;
	case 3: /* the length of the body */
		if (len > WIRE_TYPE_AT + T + WIRE_FAST_LEN + 8)
			payload[WIRE_TYPE_AT + T + WIRE_FAST_LEN + rng_below(&s->net.rng, 8)] ^=
				1 << rng_below(&s->net.rng, 8);
		else
			payload[0] ^= 1;
		break;
	case 4: /* cut short */
		f->len -= 1 + rng_below(&s->net.rng, len - 1);
		((struct iphdr *)(f->data + 14))->tot_len = htons(f->len - 14);
		((struct udphdr *)(f->data + 34))->len = htons(f->len - 34);
		break;
	}
	fill_sums(f);
}

static void damage(struct sim *s, struct frame *f)
{
	if (rng_below(&s->net.rng, 2)) {
		damage_framing(s, f);
		return;
	}
	/* One bit anywhere behind the Ethernet header: a sum shows it. */
	f->data[14 + rng_below(&s->net.rng, f->len - 14)] ^= 1 << rng_below(&s->net.rng, 8);
}

static struct frame *copy(const struct frame *f)
{
	struct frame *twin = need(sizeof(*f) + f->len);

	memcpy(twin, f, sizeof(*f) + f->len);
	return twin;
}

static void deliver(struct sim *s, uint32_t to, struct frame *f)
{
	uint64_t delay = s->net.latency_ns + rng_below(&s->net.rng, s->net.latency_ns);

	if (rng_chance(&s->net.rng, s->net.late))
		delay += rng_below(&s->net.rng, s->net.late_ns);
	world_at(s, delay, (struct event){.kind = EVENT_FRAME, .node = to, .frame = f});
}

/* Votes and answers are few, and what they say is true for a while only: some come again much later. */
static void echo(struct sim *s, uint32_t to, const struct frame *f)
{
	struct wire_head head;

	if (!(s->o.faults & 1 << SIM_FAULT_DELAY) ||
	    wire_decode_head(&head, f->data + NET_PAYLOAD_AT, f->len - NET_PAYLOAD_AT) != WIRE_OK ||
	    head.kind < WIRE_START_VIEW_CHANGE || head.kind > WIRE_RECOVERY_RESPONSE ||
	    !rng_chance(&s->net.rng, ECHO_CHANCE))
		return;
	world_at(s, rng_spread(&s->net.rng, ECHO_LEAST_NS, ECHO_MOST_NS),
		 (struct event){.kind = EVENT_FRAME, .node = to, .frame = copy(f)});
}

void net_send(struct sim *s, uint32_t from, struct frame *f)
{
	int to = node_at(s, f->data[5]);

	if (to < 0 || (uint32_t)to == from || s->net.cut[from][to] ||
	    rng_chance(&s->net.rng, s->net.loss[from][to])) {
		detail(s, "lost   %s", trace_frame(f));
		unneed(f);
		return;
	}
	if (rng_chance(&s->net.rng, s->net.corrupt)) {
		detail(s, "damage %s", trace_frame(f));
		damage(s, f);
	}
	if (rng_chance(&s->net.rng, s->net.duplicate))
		deliver(s, to, copy(f));
	echo(s, to, f);
	deliver(s, to, f);
}

/* What a seed has of each kind at all times; plan.c adds its storms. */
void net_open(struct sim *s)
{
	struct rng *r = &s->net.rng;

	s->net.latency_ns = rng_spread(r, 3 * US, 100 * US);
	s->net.late_ns = 20 * s->net.latency_ns;
	if (s->o.faults & 1 << SIM_FAULT_LOSS)
		s->net.loss_usual = (uint32_t[]){0, 1000, 5000, 20000}[rng_below(r, 4)];
	if (s->o.faults & 1 << SIM_FAULT_DUPLICATE)
		s->net.duplicate_usual = (uint32_t[]){0, 2000, 20000}[rng_below(r, 3)];
	if (s->o.faults & 1 << SIM_FAULT_DELAY)
		s->net.late_usual = (uint32_t[]){0, 5000, 50000}[rng_below(r, 3)];
	if (s->o.faults & 1 << SIM_FAULT_CORRUPT)
		s->net.corrupt_usual = (uint32_t[]){0, 1000, 10000}[rng_below(r, 3)];
	net_calm(s);
}

void net_calm(struct sim *s)
{
	struct net *net = &s->net;

	for (uint32_t i = 0; i < SIM_NODES_MAX; i++)
		for (uint32_t j = 0; j < SIM_NODES_MAX; j++)
			net->loss[i][j] = net->loss_usual;
	net->duplicate = net->duplicate_usual;
	net->late = net->late_usual;
	net->late_ns = 20 * net->latency_ns;
	net->corrupt = net->corrupt_usual;
}
