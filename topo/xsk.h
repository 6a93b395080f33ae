/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * AF_XDP sockets that share one piece of memory. A frame is in one place at a time: free, in a
 * socket's fill ring, the caller's (from xsk_receive() to xsk_send() or xsk_free()), or on its
 * way out until xsk_reap().
 */
#ifndef PAXRACK_XSK_H
#define PAXRACK_XSK_H

#include <stdbool.h>
#include <stdint.h>

struct xsk_umem;
struct xsk;

struct xsk_frame {
	uint64_t addr; /* for xsk_data() */
	uint32_t len;  /* bytes */
};

/*
 * Bytes of memory that a frame needs which may carry two VLAN tags and `extra` bytes of the
 * caller's, for xsk_umem_open().
 */
uint32_t xsk_frame_size(uint32_t mtu, uint32_t extra);
/* `frames` and `size` (bytes of each) are powers of two. 0 or -errno. */
int xsk_umem_open(struct xsk_umem **u, uint32_t frames, uint32_t size);
void xsk_umem_close(struct xsk_umem *u); /* after its sockets; NULL is allowed */
void *xsk_data(const struct xsk_umem *u, uint64_t addr);
/* A free one; false: none is. */
bool xsk_take(struct xsk_umem *u, uint64_t *addr);
void xsk_free(struct xsk_umem *u, uint64_t addr);

/*
 * On one queue of a device; rings of `ring` entries, a power of two, not less than frames can
 * be in them at a time. The first of a umem takes zero-copy if the device offers it, the others
 * do as the first. 0 or -errno.
 */
int xsk_open(struct xsk **x, struct xsk_umem *u, int ifindex, uint32_t queue, uint32_t ring);
void xsk_close(struct xsk *x);	 /* NULL is allowed */
int xsk_fd(const struct xsk *x); /* readable when frames have come */
bool xsk_zero_copy(const struct xsk *x);

/* Free frames to receive into, until `most` wait in the fill ring. */
void xsk_fill(struct xsk *x, uint32_t most);
uint32_t xsk_filled(const struct xsk *x); /* how many wait there */
/* Up to `max` frames that have come; how many. */
uint32_t xsk_receive(struct xsk *x, struct xsk_frame *frames, uint32_t max);
/* Frames that came and found no memory, since it was opened. */
uint64_t xsk_missed(const struct xsk *x);

/* Queues one. False: the ring is full, as it only becomes by xsk_unsend(). */
bool xsk_send(struct xsk *x, const struct xsk_frame *frame);
/*
 * Sends a few of those queued: 0 or -errno, of which -EBUSY says that the device dropped the
 * last that was taken from the queue.
 */
int xsk_kick(struct xsk *x);
uint32_t xsk_unsent(const struct xsk *x); /* entries that the kernel may still have to look at */
/* The one queued last will not go out; it is the caller's. Its entry stays until a later kick. */
void xsk_unsend(struct xsk *x);
void xsk_reap(struct xsk *x); /* those that went out are free */

#endif
