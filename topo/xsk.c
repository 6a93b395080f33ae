// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Documentation/networking/af_xdp.rst of the kernel describes the rings. */
#include "topo/xsk.h"

#include <errno.h>
#include <linux/if_xdp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#define FRAME_SMALL 2048
#define FRAME_LARGE 4096
#define FRAME_ROOM 256 /* the kernel keeps free before each (XDP_PACKET_HEADROOM) */

/* Shared with the kernel: one side writes the producer's index, the other the consumer's. */
struct ring {
	uint32_t *producer, *consumer;
	void *entries;
	void *map;
	size_t map_len;
};

struct xsk_umem {
	int fd; /* of the socket that registered it; -1: none yet */
	uint32_t frames, size;
	void *memory;
	uint64_t *free;
	uint32_t free_count;
};

struct xsk {
	int fd;
	struct xsk_umem *u;
	uint32_t entries; /* of each ring */
	bool zero_copy;
	struct ring rx, tx, fill, done;
};

uint32_t xsk_frame_size(uint32_t mtu, uint32_t extra)
{
	return FRAME_ROOM + mtu + 14 + 4 * 2 + extra <= FRAME_SMALL ? FRAME_SMALL : FRAME_LARGE;
}

int xsk_umem_open(struct xsk_umem **out, uint32_t frames, uint32_t size)
{
	struct xsk_umem *u = calloc(1, sizeof(*u));

	if (!u)
		return -ENOMEM;
	*u = (struct xsk_umem){.fd = -1, .frames = frames, .size = size};
	u->free = malloc(frames * sizeof(*u->free));
	u->memory = mmap(NULL, (size_t)frames * size, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (!u->free || u->memory == MAP_FAILED) {
		u->memory = u->memory == MAP_FAILED ? NULL : u->memory;
		xsk_umem_close(u);
		return -ENOMEM;
	}
	while (frames--)
		u->free[u->free_count++] = (uint64_t)frames * size;
	*out = u;
	return 0;
}

void xsk_umem_close(struct xsk_umem *u)
{
	if (!u)
		return;
	if (u->memory)
		munmap(u->memory, (size_t)u->frames * u->size);
	free(u->free);
	free(u);
}

void *xsk_data(const struct xsk_umem *u, uint64_t addr)
{
	return (char *)u->memory + addr;
}

bool xsk_take(struct xsk_umem *u, uint64_t *addr)
{
	if (!u->free_count)
		return false;
	*addr = u->free[--u->free_count];
	return true;
}

void xsk_free(struct xsk_umem *u, uint64_t addr)
{
	u->free[u->free_count++] = addr & ~(uint64_t)(u->size - 1);
}

int xsk_fd(const struct xsk *x)
{
	return x->fd;
}

bool xsk_zero_copy(const struct xsk *x)
{
	return x->zero_copy;
}

static int ring_map(struct ring *ring, struct xsk *x, int option, off_t at,
		    const struct xdp_ring_offset *off, size_t entry)
{
	int size = x->entries;

	if (setsockopt(x->fd, SOL_XDP, option, &size, sizeof(size)))
		return -errno;
	ring->map_len = off->desc + x->entries * entry;
	ring->map = mmap(NULL, ring->map_len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE,
			 x->fd, at);
	if (ring->map == MAP_FAILED) {
		ring->map = NULL;
		return -errno;
	}
	ring->producer = (void *)((char *)ring->map + off->producer);
	ring->consumer = (void *)((char *)ring->map + off->consumer);
	ring->entries = (char *)ring->map + off->desc;
	return 0;
}

static void ring_unmap(struct ring *ring)
{
	if (ring->map)
		munmap(ring->map, ring->map_len);
}

static int bind_to(struct xsk *x, int ifindex, uint32_t queue)
{
	struct sockaddr_xdp addr = {
		.sxdp_family = AF_XDP, .sxdp_ifindex = ifindex, .sxdp_queue_id = queue};

	if (x->u->fd >= 0) {
		addr.sxdp_flags = XDP_SHARED_UMEM;
		addr.sxdp_shared_umem_fd = x->u->fd;
		return bind(x->fd, (struct sockaddr *)&addr, sizeof(addr)) ? -errno : 0;
	}
	addr.sxdp_flags = XDP_ZEROCOPY | XDP_USE_NEED_WAKEUP;
	if (bind(x->fd, (struct sockaddr *)&addr, sizeof(addr))) {
		addr.sxdp_flags = XDP_COPY | XDP_USE_NEED_WAKEUP;
		if (bind(x->fd, (struct sockaddr *)&addr, sizeof(addr)))
			return -errno;
	}
	x->u->fd = x->fd;
	return 0;
}

static int setup(struct xsk *x, int ifindex, uint32_t queue)
{
	struct xsk_umem *u = x->u;
	struct xdp_umem_reg reg = {.addr = (uintptr_t)u->memory,
				   .len = (uint64_t)u->frames * u->size,
				   .chunk_size = u->size};
	struct xdp_mmap_offsets off;
	struct xdp_options options = {};
	socklen_t len = sizeof(off);
	int ret;

	x->fd = socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC, 0);
	if (x->fd < 0)
		return -errno;
	if ((u->fd < 0 && setsockopt(x->fd, SOL_XDP, XDP_UMEM_REG, &reg, sizeof(reg))) ||
	    getsockopt(x->fd, SOL_XDP, XDP_MMAP_OFFSETS, &off, &len))
		return -errno;
	ret = ring_map(&x->fill, x, XDP_UMEM_FILL_RING, XDP_UMEM_PGOFF_FILL_RING, &off.fr,
		       sizeof(uint64_t))
		      ?: ring_map(&x->done, x, XDP_UMEM_COMPLETION_RING,
				  XDP_UMEM_PGOFF_COMPLETION_RING, &off.cr, sizeof(uint64_t))
		      ?: ring_map(&x->rx, x, XDP_RX_RING, XDP_PGOFF_RX_RING, &off.rx,
				  sizeof(struct xdp_desc))
		      ?: ring_map(&x->tx, x, XDP_TX_RING, XDP_PGOFF_TX_RING, &off.tx,
				  sizeof(struct xdp_desc))
		      ?: bind_to(x, ifindex, queue);
	len = sizeof(options);
	if (!ret && !getsockopt(x->fd, SOL_XDP, XDP_OPTIONS, &options, &len))
		x->zero_copy = options.flags & XDP_OPTIONS_ZEROCOPY;
	return ret;
}

int xsk_open(struct xsk **out, struct xsk_umem *u, int ifindex, uint32_t queue, uint32_t ring)
{
	struct xsk *x = calloc(1, sizeof(*x));
	int ret;

	if (!x)
		return -ENOMEM;
	x->fd = -1;
	x->u = u;
	x->entries = ring;
	ret = setup(x, ifindex, queue);
	if (ret)
		xsk_close(x);
	else
		*out = x;
	return ret;
}

void xsk_close(struct xsk *x)
{
	if (!x)
		return;
	ring_unmap(&x->rx);
	ring_unmap(&x->tx);
	ring_unmap(&x->fill);
	ring_unmap(&x->done);
	if (x->fd >= 0)
		close(x->fd);
	free(x);
}

uint32_t xsk_filled(const struct xsk *x)
{
	return *x->fill.producer - __atomic_load_n(x->fill.consumer, __ATOMIC_ACQUIRE);
}

void xsk_fill(struct xsk *x, uint32_t most)
{
	uint32_t at = *x->fill.producer, filled = xsk_filled(x);
	uint64_t *entries = x->fill.entries;

	if (most > x->entries)
		most = x->entries;
	while (filled++ < most && xsk_take(x->u, &entries[at & (x->entries - 1)]))
		at++;
	__atomic_store_n(x->fill.producer, at, __ATOMIC_RELEASE);
}

uint32_t xsk_receive(struct xsk *x, struct xsk_frame *frames, uint32_t max)
{
	uint32_t at = *x->rx.consumer;
	uint32_t n = __atomic_load_n(x->rx.producer, __ATOMIC_ACQUIRE) - at;

	if (n > max)
		n = max;
	for (uint32_t i = 0; i < n; i++) {
		const struct xdp_desc *d =
			(struct xdp_desc *)x->rx.entries + ((at + i) & (x->entries - 1));

		frames[i] = (struct xsk_frame){d->addr, d->len};
	}
	if (n)
		__atomic_store_n(x->rx.consumer, at + n, __ATOMIC_RELEASE);
	return n;
}

uint64_t xsk_missed(const struct xsk *x)
{
	struct xdp_statistics s = {};
	socklen_t len = sizeof(s);

	if (getsockopt(x->fd, SOL_XDP, XDP_STATISTICS, &s, &len))
		return 0;
	return s.rx_dropped + s.rx_ring_full;
}

bool xsk_send(struct xsk *x, const struct xsk_frame *frame)
{
	uint32_t at = *x->tx.producer;

	if (xsk_unsent(x) == x->entries)
		return false;
	((struct xdp_desc *)x->tx.entries)[at & (x->entries - 1)] =
		(struct xdp_desc){.addr = frame->addr, .len = frame->len};
	__atomic_store_n(x->tx.producer, at + 1, __ATOMIC_RELEASE);
	return true;
}

int xsk_kick(struct xsk *x)
{
	return sendto(x->fd, NULL, 0, MSG_DONTWAIT, NULL, 0) < 0 ? -errno : 0;
}

uint32_t xsk_unsent(const struct xsk *x)
{
	return *x->tx.producer - __atomic_load_n(x->tx.consumer, __ATOMIC_ACQUIRE);
}

/*
 * The kernel may have looked at the producer's index already, so it stays; an entry that
 * cannot be is skipped. It only looks while xsk_kick() runs.
 */
void xsk_unsend(struct xsk *x)
{
	uint32_t at = *x->tx.producer - 1;

	((struct xdp_desc *)x->tx.entries)[at & (x->entries - 1)].len = ~0u;
}

void xsk_reap(struct xsk *x)
{
	uint32_t at = *x->done.consumer;
	uint32_t n = __atomic_load_n(x->done.producer, __ATOMIC_ACQUIRE) - at;

	for (uint32_t i = 0; i < n; i++)
		xsk_free(x->u, ((uint64_t *)x->done.entries)[(at + i) & (x->entries - 1)]);
	if (n)
		__atomic_store_n(x->done.consumer, at + n, __ATOMIC_RELEASE);
}
