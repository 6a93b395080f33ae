/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * One AF_XDP socket with a umem of its own, in copy mode, on queue 0 of a device. A frame
 * is the caller's from xsk_receive() to xsk_send(); every ring has room for all frames,
 * so none is ever full.
 */
#ifndef PAXRACK_XSK_H
#define PAXRACK_XSK_H

#include <stdint.h>

struct xsk;

struct xsk_frame {
	uint64_t addr; /* for xsk_data() */
	uint32_t len;  /* bytes */
};

/* `frames` and `size` (bytes of each) are powers of two. 0 or -errno. */
int xsk_open(struct xsk **x, int ifindex, uint32_t frames, uint32_t size);
void xsk_close(struct xsk *x);	 /* NULL is allowed */
int xsk_fd(const struct xsk *x); /* readable when frames have come */
void *xsk_data(const struct xsk *x, uint64_t addr);

/* Up to `max` frames that have come; how many. */
uint32_t xsk_receive(struct xsk *x, struct xsk_frame *frames, uint32_t max);
/* Queues one; what is queued goes out with xsk_flush(): 0 or -errno. */
void xsk_send(struct xsk *x, const struct xsk_frame *frame);
int xsk_flush(struct xsk *x);

#endif
