// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "topo/frame_text.h"

#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/udp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "replica/message.h"
#include "topo/stats.h"

#define IP_OFFSET 0x1fff
#define IP_MORE 0x2000

struct text {
	char *at;
	size_t len;
};

__attribute__((format(printf, 2, 3))) static void say(struct text *t, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	t->len += vsnprintf(t->at + t->len, FRAME_TEXT_MAX - t->len, format, args);
	va_end(args);
	if (t->len >= FRAME_TEXT_MAX)
		t->len = FRAME_TEXT_MAX - 1;
}

/* The rack's node with this MAC, or what the MAC says. */
static const char *name_of(char buf[20], const struct rack *rack, const uint8_t mac[ETH_ALEN])
{
	static const uint8_t all[ETH_ALEN] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
	unsigned int index = mac[4] << 8 | mac[5];

	if (index < rack->count && !memcmp(rack->nodes[index].mac, mac, ETH_ALEN))
		return rack->nodes[index].name;
	if (!memcmp(mac, all, ETH_ALEN))
		return "all";
	snprintf(buf, 20, "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3], mac[4],
		 mac[5]);
	return buf;
}

static void ops(struct text *t, uint64_t first, uint64_t last)
{
	if (first && first < last)
		say(t, "  op %llu-%llu", (unsigned long long)first, (unsigned long long)last);
	else
		say(t, "  op %llu", (unsigned long long)last);
}

static void say_fields(struct text *t, const struct message *m)
{
	const struct entry *request = m->entries.count ? entries_at(&m->entries, 0) : NULL;

	switch (m->kind) {
	case WIRE_REQUEST:
	case WIRE_UNLOGGED_REQUEST:
		if (request)
			say(t, "client %016llx request %llu", (unsigned long long)request->clientid,
			    (unsigned long long)request->reqid);
		return;
	case WIRE_UNLOGGED_REPLY:
		return;
	case WIRE_RECOVERY:
		say(t, "replica %u nonce %016llx", m->index, (unsigned long long)m->nonce);
		return;
	case WIRE_PREPARE:
		say(t, "view %llu", (unsigned long long)m->view);
		ops(t, m->batchstart, m->opnum);
		if (m->has_committed)
			say(t, "  committed %llu", (unsigned long long)m->committed);
		return;
	case WIRE_START_VIEW_CHANGE:
		say(t, "view %llu  replica %u  committed %llu", (unsigned long long)m->view,
		    m->index, (unsigned long long)m->committed);
		return;
	case WIRE_REPLY:
		say(t, "view %llu", (unsigned long long)m->view);
		ops(t, 0, m->opnum);
		say(t, "  request %llu", (unsigned long long)m->reqid);
		return;
	default:
		say(t, "view %llu", (unsigned long long)m->view);
		ops(t, 0, m->opnum);
		if (m->entries.count)
			say(t, "  %u entries", m->entries.count);
	}
}

static void say_message(struct text *t, const uint8_t *data, size_t len, size_t whole)
{
	static struct entry room[MESSAGE_ENTRIES_MAX];
	struct wire_fragment f;
	struct wire_head head;
	struct message m;
	enum wire_error error = wire_decode_head(&head, data, len);

	if (error) {
		say(t, "%-20s %zu bytes: %s", "udp", whole,
		    error == WIRE_E_MAGIC || error == WIRE_E_SHORT ? "no message"
								   : wire_error_names[error]);
		return;
	}
	say(t, "%-20s ", wire_kind_names[head.kind]);
	if (head.kind == WIRE_FRAGMENT) {
		if (!wire_decode_fragment(&f, data, len))
			say(t, "of %llu: %llu to %llu", (unsigned long long)f.total,
			    (unsigned long long)f.offset, (unsigned long long)(f.offset + f.len));
		return;
	}
	error = message_decode(&m, data, len, room, MESSAGE_ENTRIES_MAX);
	if (error)
		say(t, "bad body: %s", wire_error_names[error]);
	else
		say_fields(t, &m);
}

static void say_udp(struct text *t, const uint8_t *data, size_t len)
{
	const struct udphdr *udp = (const void *)data;
	size_t whole;

	if (len < sizeof(*udp) || ntohs(udp->len) < sizeof(*udp)) {
		say(t, "%-20s cut short", "udp");
		return;
	}
	whole = ntohs(udp->len) - sizeof(*udp);
	len -= sizeof(*udp);
	say_message(t, data + sizeof(*udp), len < whole ? len : whole, whole);
}

static void say_ip(struct text *t, const uint8_t *data, size_t len)
{
	const struct iphdr *ip = (const void *)data;
	size_t head, total;

	if (len < sizeof(*ip) || ip->version != 4 || (head = ip->ihl * 4) < sizeof(*ip) ||
	    head > len) {
		say(t, "%-20s odd header", "ip");
		return;
	}
	total = ntohs(ip->tot_len);
	if (ntohs(ip->frag_off) & (IP_OFFSET | IP_MORE))
		say(t, "%-20s id %u at %u", "ip fragment", ntohs(ip->id),
		    (ntohs(ip->frag_off) & IP_OFFSET) * 8);
	else if (ip->protocol == IPPROTO_UDP)
		say_udp(t, data + head, (len < total ? len : total) - head);
	else
		say(t, "%-20s protocol %u",
		    ip->protocol == IPPROTO_TCP	   ? "tcp"
		    : ip->protocol == IPPROTO_ICMP ? "icmp"
						   : "ip",
		    ip->protocol);
}

/* Of a frame that comes in: is it a source that antispoof drops? Of tagged frames and ARP not told. */
static enum tor_reason judge_source(const struct rack_node *node, const struct tap_frame *f)
{
	const struct ethhdr *eth = (const void *)f->data;
	const struct iphdr *ip = (const void *)(eth + 1);

	if (node->spoof)
		return TOR_R_COUNT;
	if (memcmp(eth->h_source, node->mac, ETH_ALEN))
		return TOR_R_SPOOF_MAC;
	if (ntohs(eth->h_proto) == ETH_P_IP && f->captured >= sizeof(*eth) + sizeof(*ip) &&
	    ip->saddr != node->addr)
		return TOR_R_SPOOF_IP;
	return TOR_R_COUNT;
}

/* What is not as the port says by which it comes in or leaves. */
static void say_otherwise(struct text *t, const struct rack *rack, const struct tap_frame *f)
{
	const struct ethhdr *eth = (const void *)f->data;
	const struct iphdr *ip = (const void *)(eth + 1);
	const struct rack_node *node = &rack->nodes[f->node];
	enum tor_reason reason = f->out ? TOR_R_COUNT : judge_source(node, f);
	char name[20];

	if (memcmp(f->out ? eth->h_dest : eth->h_source, node->mac, ETH_ALEN))
		say(t, "  (%s %s", f->out ? "to" : "as",
		    name_of(name, rack, f->out ? eth->h_dest : eth->h_source));
	else if (reason == TOR_R_SPOOF_IP)
		say(t, "  (as %s", inet_ntop(AF_INET, &ip->saddr, name, sizeof(name)));
	else
		return;
	if (reason != TOR_R_COUNT)
		say(t, ": dropped, %s", stats_reason_name(reason));
	say(t, ")");
}

void frame_text(char text[FRAME_TEXT_MAX], const struct rack *rack, const struct tap_frame *f)
{
	const struct ethhdr *eth = (const void *)f->data;
	const char *port = rack->nodes[f->node].name;
	struct text t = {text, 0};
	char name[20];

	if (f->captured < sizeof(*eth)) {
		say(&t, "%-4s  %u bytes", port, f->len);
		return;
	}
	if (f->out)
		say(&t, "%-4s => %-4s", name_of(name, rack, eth->h_source), port);
	else
		say(&t, "%-4s -> %-4s", port, name_of(name, rack, eth->h_dest));
	say(&t, " %5u B  ", f->len);
	switch (ntohs(eth->h_proto)) {
	case ETH_P_IP:
		say_ip(&t, f->data + sizeof(*eth), f->captured - sizeof(*eth));
		break;
	case ETH_P_ARP:
		say(&t, "arp");
		break;
	case ETH_P_8021Q:
		say(&t, "vlan");
		break;
	default:
		say(&t, "%-20s 0x%04x", "ethertype", ntohs(eth->h_proto));
	}
	say_otherwise(&t, rack, f);
}
