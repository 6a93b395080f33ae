// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "topo/pcapng.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

/* Types of blocks and of their options. */
enum { SECTION = 0x0a0d0d0a, INTERFACE = 1, PACKET = 6 };
enum {
	END_OF_OPTIONS,
	SHB_USERAPPL = 4,
	IF_NAME = 2,
	IF_DESCRIPTION = 3,
	IF_TSRESOL = 9,
	EPB_FLAGS = 2
};

#define BYTE_ORDER_MAGIC 0x1a2b3c4d
#define LINKTYPE_ETHERNET 1
#define NANOSECONDS 9 /* timestamps are in units of 10^-9 s */
#define INBOUND 1
#define OUTBOUND 2
#define ROOM 512

/* A block without its packet data is small. */
struct block {
	uint8_t bytes[ROOM];
	size_t len;
};

static void put(struct block *b, const void *data, size_t len)
{
	memcpy(b->bytes + b->len, data, len);
	memset(b->bytes + b->len + len, 0, -len & 3);
	b->len += (len + 3) & ~3ul;
}

static void put32(struct block *b, uint32_t value)
{
	put(b, &value, sizeof(value));
}

static void option(struct block *b, uint16_t code, const void *data, uint16_t len)
{
	const uint16_t head[] = {code, len};

	put(b, head, sizeof(head));
	put(b, data, len);
}

static struct block begin(uint32_t type)
{
	struct block b = {.len = 0};

	put32(&b, type);
	put32(&b, 0); /* its length, known at the end */
	return b;
}

/* With `len` bytes of data behind the first `at` of the block. */
static int write_block(FILE *file, struct block *b, size_t at, const uint8_t *data, uint32_t len)
{
	static const uint8_t zero[4];
	uint32_t total = b->len + 4 + ((len + 3) & ~3u);

	memcpy(b->bytes + 4, &total, sizeof(total));
	put32(b, total);
	if (fwrite(b->bytes, at, 1, file) != 1 || (len && fwrite(data, len, 1, file) != 1) ||
	    fwrite(zero, 1, -len & 3, file) != (-len & 3) ||
	    fwrite(b->bytes + at, b->len - at, 1, file) != 1)
		return errno ? -errno : -EIO;
	return 0;
}

static int write_interface(FILE *file, const struct rack_node *node)
{
	struct block b = begin(INTERFACE);
	const uint16_t link[] = {LINKTYPE_ETHERNET, 0};
	const uint8_t resolution = NANOSECONDS;
	char text[64], addr[16];

	inet_ntop(AF_INET, &node->addr, addr, sizeof(addr));
	snprintf(text, sizeof(text), "switch port of %s (%s)", node->name, addr);
	put(&b, link, sizeof(link));
	put32(&b, 0); /* no limit to the bytes of a packet */
	option(&b, IF_NAME, node->name, strlen(node->name));
	option(&b, IF_DESCRIPTION, text, strlen(text));
	option(&b, IF_TSRESOL, &resolution, sizeof(resolution));
	option(&b, END_OF_OPTIONS, NULL, 0);
	return write_block(file, &b, b.len, NULL, 0);
}

int pcapng_begin(FILE *file, const struct rack *rack, const struct rack_node *only)
{
	struct block b = begin(SECTION);
	const uint16_t version[] = {1, 0};
	const int64_t length = -1; /* of the section: not known yet */
	int ret;

	put32(&b, BYTE_ORDER_MAGIC);
	put(&b, version, sizeof(version));
	put(&b, &length, sizeof(length));
	option(&b, SHB_USERAPPL, "paxrack", strlen("paxrack"));
	option(&b, END_OF_OPTIONS, NULL, 0);
	ret = write_block(file, &b, b.len, NULL, 0);
	if (only)
		return ret ?: write_interface(file, only);
	for (unsigned int i = 0; !ret && i < rack->count; i++)
		ret = write_interface(file, &rack->nodes[i]);
	return ret;
}

int pcapng_frame(FILE *file, const struct tap_frame *f, const struct rack_node *only)
{
	struct block b = begin(PACKET);
	const uint32_t flags = f->out ? OUTBOUND : INBOUND;
	size_t at;

	put32(&b, only ? 0 : f->node);
	put32(&b, f->time_ns >> 32);
	put32(&b, f->time_ns);
	put32(&b, f->captured);
	put32(&b, f->len);
	at = b.len;
	option(&b, EPB_FLAGS, &flags, sizeof(flags));
	option(&b, END_OF_OPTIONS, NULL, 0);
	return write_block(file, &b, at, f->data, f->captured);
}
