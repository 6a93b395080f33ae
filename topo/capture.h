/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What passes the switch's ports, in both directions, for short times: a ring that the
 * kernel fills (packet_mmap), emptied into one pcap file for each port. What the ring or the
 * files have no room for is lost, and counted.
 *
 * Functions return 0 or -1 having said why.
 */
#ifndef PAXRACK_CAPTURE_H
#define PAXRACK_CAPTURE_H

#include <stdbool.h>
#include <stdint.h>

#include "topo/rack.h"

#define CAPTURE_BYTES 256	    /* of each packet: the whole of most, the head of all */
#define CAPTURE_PACKETS_MAX 1000000 /* in files: a quarter of a gigabyte */

struct capture;

/* `folder` is there; files <node>.pcap are made in it, or continued. */
int capture_open(struct capture **c, const struct rack *rack, const char *folder);
int capture_begin(struct capture *c);
/* Of what passes from now on, only so many packets are kept; UINT64_MAX: no such limit. */
void capture_limit(struct capture *c, uint64_t packets);
bool capture_full(const struct capture *c); /* as many have been kept */
/* Readable while there is something for capture_empty(). */
int capture_fd(const struct capture *c);
int capture_empty(struct capture *c);
int capture_end(struct capture *c);
void capture_counts(const struct capture *c, uint64_t *packets, uint64_t *lost);
void capture_close(struct capture *c); /* NULL is allowed */

#endif
