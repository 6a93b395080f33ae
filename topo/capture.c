// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * One packet socket for the whole namespace: all ports share its ring. Off is another
 * protocol: a socket bound to all of them costs every packet a clone, one bound to a
 * protocol that nobody speaks costs nothing.
 */
#include "topo/capture.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bpf/tor.h"
#include "netns/ns.h"

#define BLOCK (1u << 20)
#define BLOCKS 32 /* about 100,000 packets */
#define FRAME 2048
#define RETIRE_MS 10		 /* a block that is not full is handed over after so long */
#define ETH_P_NOBODY 0x88b5	 /* IEEE 802 local experimental ethertype 1 */
#define PCAP_MAGIC_NS 0xa1b23c4d /* times in nanoseconds; pcap-savefile(5) */
#define LINKTYPE_ETHERNET 1

struct capture {
	const struct rack *rack;
	int socket;
	uint8_t *ring;
	unsigned int next; /* block */
	uint64_t packets, lost;
	char folder[RACK_PATH_MAX];
	FILE **file; /* by node; NULL: nothing yet */
};

static int failed(const char *what)
{
	return rack_say("capture: cannot %s: %s", what, strerror(errno));
}

static int listen_to(struct capture *c, unsigned int protocol)
{
	struct sockaddr_ll all = {.sll_family = AF_PACKET, .sll_protocol = htons(protocol)};

	return bind(c->socket, (struct sockaddr *)&all, sizeof(all));
}

static int open_ring(struct capture *c)
{
	struct tpacket_req3 req = {.tp_block_size = BLOCK,
				   .tp_block_nr = BLOCKS,
				   .tp_frame_size = FRAME,
				   .tp_frame_nr = BLOCK / FRAME * BLOCKS,
				   .tp_retire_blk_tov = RETIRE_MS};
	/* accept, the first bytes only */
	struct sock_filter head[] = {BPF_STMT(BPF_RET | BPF_K, CAPTURE_BYTES)};
	struct sock_fprog filter = {1, head};
	int version = TPACKET_V3;

	if (setsockopt(c->socket, SOL_PACKET, PACKET_VERSION, &version, sizeof(version)) ||
	    setsockopt(c->socket, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof(filter)) ||
	    setsockopt(c->socket, SOL_PACKET, PACKET_RX_RING, &req, sizeof(req)))
		return -1;
	c->ring = mmap(NULL, (size_t)BLOCK * BLOCKS, PROT_READ | PROT_WRITE, MAP_SHARED, c->socket,
		       0);
	return c->ring == MAP_FAILED ? -1 : 0;
}

static int open_socket(struct capture *c)
{
	int home = ns_current(), tor = rack_netns(c->rack, "tor"), ret = -1;

	if (home >= 0 && tor >= 0 && !ns_enter(tor)) {
		c->socket = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
		ret = ns_enter(home) || c->socket < 0 ? -1 : 0;
	}
	if (home >= 0)
		close(home);
	if (tor >= 0)
		close(tor);
	return ret;
}

int capture_open(struct capture **out, const struct rack *rack, const char *folder)
{
	struct capture *c = calloc(1, sizeof(*c));

	if (!c)
		return rack_say("no memory");
	c->rack = rack;
	c->socket = -1;
	c->ring = MAP_FAILED;
	snprintf(c->folder, sizeof(c->folder), "%s", folder);
	c->file = calloc(rack->count, sizeof(*c->file));
	if (!c->file || open_socket(c) || open_ring(c) || listen_to(c, ETH_P_NOBODY)) {
		failed("listen in the switch");
		capture_close(c);
		return -1;
	}
	*out = c;
	return 0;
}

void capture_close(struct capture *c)
{
	if (!c)
		return;
	for (unsigned int i = 0; c->file && i < c->rack->count; i++) {
		if (c->file[i])
			fclose(c->file[i]);
	}
	if (c->ring != MAP_FAILED)
		munmap(c->ring, (size_t)BLOCK * BLOCKS);
	if (c->socket >= 0)
		close(c->socket);
	free(c->file);
	free(c);
}

static FILE *file_of(struct capture *c, unsigned int node)
{
	const struct {
		uint32_t magic;
		uint16_t major, minor;
		uint32_t zone, accuracy, length, link;
	} header = {PCAP_MAGIC_NS, 2, 4, 0, 0, CAPTURE_BYTES, LINKTYPE_ETHERNET};
	char path[RACK_PATH_MAX + 32];

	if (c->file[node])
		return c->file[node];
	snprintf(path, sizeof(path), "%s/%s.pcap", c->folder, c->rack->nodes[node].name);
	c->file[node] = fopen(path, "ae");
	if (c->file[node] && !ftell(c->file[node]) &&
	    fwrite(&header, sizeof(header), 1, c->file[node]) != 1)
		return NULL;
	return c->file[node];
}

static int write_packet(struct capture *c, const struct tpacket3_hdr *h)
{
	const struct sockaddr_ll *from =
		(const void *)((const uint8_t *)h + TPACKET_ALIGN(sizeof(*h)));
	const uint32_t head[] = {h->tp_sec, h->tp_nsec, h->tp_snaplen, h->tp_len};
	unsigned int node = from->sll_ifindex - TOR_IFINDEX;
	FILE *file;

	if (node >= c->rack->count) /* the bridge, the wire */
		return 0;
	if (c->packets == CAPTURE_PACKETS_MAX) {
		c->lost++;
		return 0;
	}
	file = file_of(c, node);
	if (!file || fwrite(head, sizeof(head), 1, file) != 1 ||
	    fwrite((const uint8_t *)h + h->tp_mac, h->tp_snaplen, 1, file) != 1)
		return failed("write a packet");
	c->packets++;
	return 0;
}

static int write_block(struct capture *c, struct tpacket_block_desc *block)
{
	const uint8_t *at = (uint8_t *)block + block->hdr.bh1.offset_to_first_pkt;

	for (uint32_t i = 0; i < block->hdr.bh1.num_pkts; i++) {
		const struct tpacket3_hdr *h = (const void *)at;

		if (write_packet(c, h))
			return -1;
		at += h->tp_next_offset;
	}
	return 0;
}

int capture_empty(struct capture *c)
{
	int ret = 0;

	for (unsigned int i = 0; i < BLOCKS; i++) {
		struct tpacket_block_desc *block = (void *)(c->ring + (size_t)c->next * BLOCK);

		/* the kernel fills a block before it hands it over */
		if (!(__atomic_load_n(&block->hdr.bh1.block_status, __ATOMIC_ACQUIRE) &
		      TP_STATUS_USER))
			break;
		if (!ret)
			ret = write_block(c, block);
		__atomic_store_n(&block->hdr.bh1.block_status, TP_STATUS_KERNEL, __ATOMIC_RELEASE);
		c->next = (c->next + 1) % BLOCKS;
	}
	return ret;
}

int capture_fd(const struct capture *c)
{
	return c->socket;
}

int capture_begin(struct capture *c)
{
	return listen_to(c, ETH_P_ALL) ? failed("begin") : 0;
}

int capture_end(struct capture *c)
{
	struct tpacket_stats_v3 stats = {};
	socklen_t size = sizeof(stats);

	if (listen_to(c, ETH_P_NOBODY))
		return failed("end");
	/* the last block is handed over when its time is over */
	usleep(2 * RETIRE_MS * 1000);
	if (!getsockopt(c->socket, SOL_PACKET, PACKET_STATISTICS, &stats, &size))
		c->lost += stats.tp_drops;
	return capture_empty(c);
}

void capture_counts(const struct capture *c, uint64_t *packets, uint64_t *lost)
{
	*packets = c->packets;
	*lost = c->lost;
}
