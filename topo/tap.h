/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What passes the switch's ports: a packet socket whose ring the kernel fills (packet_mmap).
 * Frames come in by a port before the switch has judged them, and go out by a port when
 * all faults have been done to them. What the ring has no room for is lost, and counted. What
 * native XDP at a port takes (bpf/tor.h: paths xdp and afxdp) does not show at that port.
 *
 * Functions return 0 or -1 having said why.
 */
#ifndef PAXRACK_TAP_H
#define PAXRACK_TAP_H

#include <stdbool.h>
#include <stdint.h>

#include "topo/rack.h"

#define TAP_RETIRE_MS 10 /* a frame is handed over at most so late */

struct tap;

struct tap_options {
	const struct rack_node *node; /* whose port; NULL: all ports */
	bool only_in;		      /* frames that come in by a port, not those that leave */
	uint32_t bytes;		      /* of each frame, from its beginning */
};

struct tap_frame {
	unsigned int node; /* index: by whose port */
	bool out;	   /* it leaves the switch, to the node */
	uint64_t time_ns;  /* CLOCK_REALTIME */
	uint32_t len;	   /* as it passed */
	uint32_t captured; /* bytes in data */
	const uint8_t *data;
};

/* -1 ends it. */
typedef int (*tap_fn)(void *arg, const struct tap_frame *frame);

/* Nothing is captured yet. */
int tap_open(struct tap **tap, const struct rack *rack, const struct tap_options *options);
int tap_begin(struct tap *tap);
/* Readable while there is something for tap_empty(). */
int tap_fd(const struct tap *tap);
int tap_empty(struct tap *tap, tap_fn fn, void *arg);
/* Hands over the last frames too. */
int tap_end(struct tap *tap, tap_fn fn, void *arg);
uint64_t tap_lost(const struct tap *tap); /* up to the last tap_end() */
void tap_close(struct tap *tap);	  /* NULL is allowed */

#endif
