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

/* Shared with the kernel: one side writes the producer's index, the other the consumer's. */
struct ring {
	uint32_t *producer, *consumer;
	void *entries;
	void *map;
	size_t map_len;
};

struct xsk {
	int fd;
	uint32_t frames, size;
	void *umem;
	struct ring rx, tx, fill, done;
};

int xsk_fd(const struct xsk *x)
{
	return x->fd;
}

void *xsk_data(const struct xsk *x, uint64_t addr)
{
	return (char *)x->umem + addr;
}

static int ring_map(struct ring *ring, struct xsk *x, int option, off_t at,
		    const struct xdp_ring_offset *off, size_t entry)
{
	int size = x->frames;

	if (setsockopt(x->fd, SOL_XDP, option, &size, sizeof(size)))
		return -errno;
	ring->map_len = off->desc + x->frames * entry;
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

/* Gives a frame back to the kernel, to receive into. */
static void fill(struct xsk *x, uint64_t addr)
{
	uint32_t at = *x->fill.producer;

	((uint64_t *)x->fill.entries)[at & (x->frames - 1)] = addr & ~(uint64_t)(x->size - 1);
	__atomic_store_n(x->fill.producer, at + 1, __ATOMIC_RELEASE);
}

static int setup(struct xsk *x, int ifindex)
{
	struct xdp_umem_reg reg = {.len = (uint64_t)x->frames * x->size, .chunk_size = x->size};
	struct sockaddr_xdp addr = {.sxdp_family = AF_XDP,
				    .sxdp_ifindex = ifindex,
				    .sxdp_flags = XDP_COPY | XDP_USE_NEED_WAKEUP};
	struct xdp_mmap_offsets off;
	socklen_t len = sizeof(off);
	int ret;

	x->fd = socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC, 0);
	if (x->fd < 0)
		return -errno;
	x->umem = mmap(NULL, reg.len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (x->umem == MAP_FAILED) {
		x->umem = NULL;
		return -errno;
	}
	reg.addr = (uintptr_t)x->umem;
	if (setsockopt(x->fd, SOL_XDP, XDP_UMEM_REG, &reg, sizeof(reg)) ||
	    getsockopt(x->fd, SOL_XDP, XDP_MMAP_OFFSETS, &off, &len))
		return -errno;
	ret = ring_map(&x->fill, x, XDP_UMEM_FILL_RING, XDP_UMEM_PGOFF_FILL_RING, &off.fr,
		       sizeof(uint64_t))
		      ?: ring_map(&x->done, x, XDP_UMEM_COMPLETION_RING,
				  XDP_UMEM_PGOFF_COMPLETION_RING, &off.cr, sizeof(uint64_t))
		      ?: ring_map(&x->rx, x, XDP_RX_RING, XDP_PGOFF_RX_RING, &off.rx,
				  sizeof(struct xdp_desc))
		      ?: ring_map(&x->tx, x, XDP_TX_RING, XDP_PGOFF_TX_RING, &off.tx,
				  sizeof(struct xdp_desc));
	if (ret)
		return ret;
	for (uint32_t i = 0; i < x->frames; i++)
		fill(x, (uint64_t)i * x->size);
	return bind(x->fd, (struct sockaddr *)&addr, sizeof(addr)) ? -errno : 0;
}

int xsk_open(struct xsk **out, int ifindex, uint32_t frames, uint32_t size)
{
	struct xsk *x = calloc(1, sizeof(*x));
	int ret;

	if (!x)
		return -ENOMEM;
	x->fd = -1;
	x->frames = frames;
	x->size = size;
	ret = setup(x, ifindex);
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
	if (x->umem)
		munmap(x->umem, (size_t)x->frames * x->size);
	free(x);
}

uint32_t xsk_receive(struct xsk *x, struct xsk_frame *frames, uint32_t max)
{
	uint32_t at = *x->rx.consumer;
	uint32_t n = __atomic_load_n(x->rx.producer, __ATOMIC_ACQUIRE) - at;

	if (n > max)
		n = max;
	for (uint32_t i = 0; i < n; i++) {
		const struct xdp_desc *d =
			(struct xdp_desc *)x->rx.entries + ((at + i) & (x->frames - 1));

		frames[i] = (struct xsk_frame){d->addr, d->len};
	}
	if (n)
		__atomic_store_n(x->rx.consumer, at + n, __ATOMIC_RELEASE);
	return n;
}

void xsk_send(struct xsk *x, const struct xsk_frame *frame)
{
	uint32_t at = *x->tx.producer;

	((struct xdp_desc *)x->tx.entries)[at & (x->frames - 1)] =
		(struct xdp_desc){.addr = frame->addr, .len = frame->len};
	__atomic_store_n(x->tx.producer, at + 1, __ATOMIC_RELEASE);
}

int xsk_flush(struct xsk *x)
{
	uint32_t at, n;

	/* The kernel takes a few at each call, EAGAIN says that there are more. */
	while (__atomic_load_n(x->tx.consumer, __ATOMIC_ACQUIRE) != *x->tx.producer) {
		if (sendto(x->fd, NULL, 0, MSG_DONTWAIT, NULL, 0) < 0 && errno != EAGAIN &&
		    errno != EBUSY && errno != ENOBUFS && errno != EINTR)
			return -errno;
	}
	at = *x->done.consumer;
	n = __atomic_load_n(x->done.producer, __ATOMIC_ACQUIRE) - at;
	for (uint32_t i = 0; i < n; i++)
		fill(x, ((uint64_t *)x->done.entries)[(at + i) & (x->frames - 1)]);
	if (n)
		__atomic_store_n(x->done.consumer, at + n, __ATOMIC_RELEASE);
	return 0;
}
