// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "topo/capture.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "topo/tap.h"

#define PCAP_MAGIC_NS 0xa1b23c4d /* times in nanoseconds; pcap-savefile(5) */
#define LINKTYPE_ETHERNET 1

struct capture {
	const struct rack *rack;
	struct tap *tap;
	uint64_t packets, left_out;
	uint64_t room; /* packets that are still kept, of those after limit_ns */
	uint64_t limit_ns;
	char folder[RACK_PATH_MAX];
	FILE **file; /* by node; NULL: nothing yet */
};

int capture_open(struct capture **out, const struct rack *rack, const char *folder)
{
	const struct tap_options all = {.bytes = CAPTURE_BYTES};
	struct capture *c = calloc(1, sizeof(*c));

	if (!c)
		return rack_say("no memory");
	c->rack = rack;
	c->room = UINT64_MAX;
	snprintf(c->folder, sizeof(c->folder), "%s", folder);
	c->file = calloc(rack->count, sizeof(*c->file));
	if (!c->file || tap_open(&c->tap, rack, &all)) {
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
	tap_close(c->tap);
	free(c->file);
	free(c);
}

static FILE *file_of(struct capture *c, unsigned int node)
{
	const struct {
		uint32_t magic;
		uint16_t major, minor;
		uint32_t zone, accuracy, length, link;
	} header = {PCAP_MAGIC_NS, 2, 4, 0, 0, UINT16_MAX, LINKTYPE_ETHERNET};
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

static int write_frame(void *arg, const struct tap_frame *f)
{
	const uint32_t head[] = {f->time_ns / 1000000000, f->time_ns % 1000000000, f->captured,
				 f->len};
	struct capture *c = arg;
	FILE *file;

	if (f->time_ns >= c->limit_ns) {
		if (!c->room)
			return 0;
		if (c->room != UINT64_MAX)
			c->room--;
	}
	if (c->packets == CAPTURE_PACKETS_MAX) {
		c->left_out++;
		return 0;
	}
	file = file_of(c, f->node);
	if (!file || fwrite(head, sizeof(head), 1, file) != 1 ||
	    fwrite(f->data, f->captured, 1, file) != 1)
		return rack_say("capture: cannot write a packet: %s", strerror(errno));
	c->packets++;
	return 0;
}

int capture_empty(struct capture *c)
{
	return tap_empty(c->tap, write_frame, c);
}

int capture_fd(const struct capture *c)
{
	return tap_fd(c->tap);
}

int capture_begin(struct capture *c)
{
	return tap_begin(c->tap);
}

void capture_limit(struct capture *c, uint64_t packets)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now); /* as packets are stamped */
	c->limit_ns = now.tv_sec * 1000000000ull + now.tv_nsec;
	c->room = packets;
}

bool capture_full(const struct capture *c)
{
	return !c->room;
}

int capture_end(struct capture *c)
{
	return tap_end(c->tap, write_frame, c);
}

void capture_counts(const struct capture *c, uint64_t *packets, uint64_t *lost)
{
	*packets = c->packets;
	*lost = c->left_out + tap_lost(c->tap);
}
