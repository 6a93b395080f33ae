// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * One packet socket for the whole namespace: all ports share its ring. Off is another
 * protocol: a socket bound to all of them costs every packet a clone, one bound to a
 * protocol that nobody speaks costs nothing.
 */
#include "topo/tap.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bpf/tor.h"
#include "netns/ns.h"

#define BLOCK (1u << 20)
#define BLOCKS 32 /* about 100,000 short frames */
#define FRAME 2048
#define ETH_P_NOBODY 0x88b5 /* IEEE 802 local experimental ethertype 1 */
#define TAG_LEN 4
#define TAGGED_MAX (64 * 1024 + TAG_LEN)

struct tap {
	const struct rack *rack;
	int socket, ifindex;
	uint8_t *ring;
	unsigned int next; /* block */
	uint64_t lost;
	uint8_t tagged[TAGGED_MAX]; /* a frame with the tag that the kernel took out */
};

static int failed(const char *what)
{
	return rack_say("capture: cannot %s: %s", what, strerror(errno));
}

static int listen_to(struct tap *t, unsigned int protocol)
{
	struct sockaddr_ll all = {.sll_family = AF_PACKET,
				  .sll_protocol = htons(protocol),
				  .sll_ifindex = t->ifindex};

	return bind(t->socket, (struct sockaddr *)&all, sizeof(all));
}

static int open_ring(struct tap *t, uint32_t bytes)
{
	struct tpacket_req3 req = {.tp_block_size = BLOCK,
				   .tp_block_nr = BLOCKS,
				   .tp_frame_size = FRAME,
				   .tp_frame_nr = BLOCK / FRAME * BLOCKS,
				   .tp_retire_blk_tov = TAP_RETIRE_MS};
	/* accept, the first bytes only */
	struct sock_filter head[] = {BPF_STMT(BPF_RET | BPF_K, bytes)};
	struct sock_fprog filter = {1, head};
	int version = TPACKET_V3;

	if (setsockopt(t->socket, SOL_PACKET, PACKET_VERSION, &version, sizeof(version)) ||
	    setsockopt(t->socket, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof(filter)) ||
	    setsockopt(t->socket, SOL_PACKET, PACKET_RX_RING, &req, sizeof(req)))
		return -1;
	t->ring = mmap(NULL, (size_t)BLOCK * BLOCKS, PROT_READ | PROT_WRITE, MAP_SHARED, t->socket,
		       0);
	return t->ring == MAP_FAILED ? -1 : 0;
}

static int open_socket(struct tap *t, bool only_in)
{
	int home = ns_current(), tor = rack_netns(t->rack, "tor"), yes = only_in, ret = -1;

	if (home >= 0 && tor >= 0 && !ns_enter(tor)) {
		t->socket = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
		ret = ns_enter(home) || t->socket < 0 ||
		      setsockopt(t->socket, SOL_PACKET, PACKET_IGNORE_OUTGOING, &yes, sizeof(yes));
	}
	if (home >= 0)
		close(home);
	if (tor >= 0)
		close(tor);
	return ret;
}

int tap_open(struct tap **out, const struct rack *rack, const struct tap_options *options)
{
	struct tap *t = calloc(1, sizeof(*t));

	if (!t)
		return rack_say("no memory");
	t->rack = rack;
	t->socket = -1;
	t->ifindex = options->node ? options->node->ifindex : 0;
	t->ring = MAP_FAILED;
	if (open_socket(t, options->only_in) || open_ring(t, options->bytes) ||
	    listen_to(t, ETH_P_NOBODY)) {
		failed("listen in the switch");
		tap_close(t);
		return -1;
	}
	*out = t;
	return 0;
}

void tap_close(struct tap *t)
{
	if (!t)
		return;
	if (t->ring != MAP_FAILED)
		munmap(t->ring, (size_t)BLOCK * BLOCKS);
	if (t->socket >= 0)
		close(t->socket);
	free(t);
}

/* A VLAN tag has been put beside the frame by the time it is captured. */
static void put_tag_back(struct tap *t, struct tap_frame *f, const struct tpacket3_hdr *h)
{
	const uint16_t tag[] = {
		htons(h->tp_status & TP_STATUS_VLAN_TPID_VALID ? h->hv1.tp_vlan_tpid : ETH_P_8021Q),
		htons(h->hv1.tp_vlan_tci)};

	if (!(h->tp_status & TP_STATUS_VLAN_VALID) || f->captured < 2 * ETH_ALEN ||
	    f->captured + TAG_LEN > TAGGED_MAX)
		return;
	memcpy(t->tagged, f->data, 2 * ETH_ALEN);
	memcpy(t->tagged + 2 * ETH_ALEN, tag, TAG_LEN);
	memcpy(t->tagged + 2 * ETH_ALEN + TAG_LEN, f->data + 2 * ETH_ALEN,
	       f->captured - 2 * ETH_ALEN);
	f->data = t->tagged;
	f->captured += TAG_LEN;
	f->len += TAG_LEN;
}

static int hand_over(struct tap *t, const struct tpacket3_hdr *h, tap_fn fn, void *arg)
{
	const struct sockaddr_ll *from =
		(const void *)((const uint8_t *)h + TPACKET_ALIGN(sizeof(*h)));
	struct tap_frame f = {
		.node = from->sll_ifindex - TOR_IFINDEX,
		.out = from->sll_pkttype == PACKET_OUTGOING,
		.time_ns = h->tp_sec * 1000000000ull + h->tp_nsec,
		.len = h->tp_len,
		.captured = h->tp_snaplen,
		.data = (const uint8_t *)h + h->tp_mac,
	};

	if (f.node >= t->rack->count) /* the bridge, the wire */
		return 0;
	put_tag_back(t, &f, h);
	return fn(arg, &f);
}

static int hand_over_block(struct tap *t, struct tpacket_block_desc *block, tap_fn fn, void *arg)
{
	const uint8_t *at = (uint8_t *)block + block->hdr.bh1.offset_to_first_pkt;

	for (uint32_t i = 0; i < block->hdr.bh1.num_pkts; i++) {
		const struct tpacket3_hdr *h = (const void *)at;

		if (hand_over(t, h, fn, arg))
			return -1;
		at += h->tp_next_offset;
	}
	return 0;
}

int tap_empty(struct tap *t, tap_fn fn, void *arg)
{
	int ret = 0;

	for (unsigned int i = 0; i < BLOCKS; i++) {
		struct tpacket_block_desc *block = (void *)(t->ring + (size_t)t->next * BLOCK);

		/* the kernel fills a block before it hands it over */
		if (!(__atomic_load_n(&block->hdr.bh1.block_status, __ATOMIC_ACQUIRE) &
		      TP_STATUS_USER))
			break;
		if (!ret)
			ret = hand_over_block(t, block, fn, arg);
		__atomic_store_n(&block->hdr.bh1.block_status, TP_STATUS_KERNEL, __ATOMIC_RELEASE);
		t->next = (t->next + 1) % BLOCKS;
	}
	return ret;
}

int tap_fd(const struct tap *t)
{
	return t->socket;
}

int tap_begin(struct tap *t)
{
	return listen_to(t, ETH_P_ALL) ? failed("begin") : 0;
}

int tap_end(struct tap *t, tap_fn fn, void *arg)
{
	struct tpacket_stats_v3 stats = {};
	socklen_t size = sizeof(stats);

	if (listen_to(t, ETH_P_NOBODY))
		return failed("end");
	/* the last block is handed over when its time is over */
	usleep(2 * TAP_RETIRE_MS * 1000);
	if (!getsockopt(t->socket, SOL_PACKET, PACKET_STATISTICS, &stats, &size))
		t->lost += stats.tp_drops;
	return tap_empty(t, fn, arg);
}

uint64_t tap_lost(const struct tap *t)
{
	return t->lost;
}
