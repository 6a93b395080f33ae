/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The system calls of a replica's process: a virtual clock and network, and what it holds. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "sim/wrap.h"

#define DESCRIPTOR 1000000 /* sockets are numbers from here on */
#define SEND_NS 700

/* ---- time and chance ---- */

WRAP(int, clock_gettime, clockid_t clock, struct timespec *now)
{
	uint64_t ns;

	if (!node_current)
		return __real_clock_gettime(clock, now);
	ns = node_current->sim->now_ns;
	*now = (struct timespec){ns / SECOND, ns % SECOND};
	return 0;
}

WRAP(time_t, time, time_t *out)
{
	time_t now;

	if (!node_current)
		return __real_time(out);
	now = 1000000 + node_current->sim->now_ns / SECOND;
	if (out)
		*out = now;
	return now;
}

WRAP(ssize_t, getrandom, void *out, size_t size, unsigned int flags)
{
	if (!node_current)
		return __real_getrandom(out, size, flags);
	for (size_t i = 0; i < size; i++)
		((uint8_t *)out)[i] = rng_next(&node_current->sim->rng_node);
	return size;
}

WRAP(void, abort, void)
{
	if (node_current) {
		violation(node_current->sim, "L3", "r%u called abort() at %s", node_current->index,
			  node_current->point);
		node_point("abort");
	}
	__real_abort();
}

/* ---- what a process holds ---- */

static void keep(enum held_kind kind, void *at, size_t size, int fd)
{
	struct node *node = node_current;

	if (node->held_used == NODE_HELD_MAX) {
		fprintf(stderr, "sim: a process holds more than %u things\n", NODE_HELD_MAX);
		exit(EXIT_FAILURE);
	}
	node->held[node->held_used++] = (struct held){kind, at, size, fd};
}

static struct held *find(enum held_kind kind, const void *at, int fd)
{
	struct node *node = node_current;

	for (uint32_t i = node->held_used; i--;)
		if (node->held[i].kind == kind && node->held[i].at == at && node->held[i].fd == fd)
			return &node->held[i];
	return NULL;
}

static void drop(struct held *held)
{
	if (held)
		*held = node_current->held[--node_current->held_used];
}

WRAP(void *, malloc, size_t size)
{
	void *at = __real_malloc(size);

	if (node_current && at)
		keep(HELD_BLOCK, at, size, -1);
	return at;
}

WRAP(void *, calloc, size_t count, size_t size)
{
	void *at = __real_calloc(count, size);

	if (node_current && at)
		keep(HELD_BLOCK, at, size, -1);
	return at;
}

WRAP(void *, aligned_alloc, size_t alignment, size_t size)
{
	void *at = __real_aligned_alloc(alignment, size);

	if (node_current && at)
		keep(HELD_BLOCK, at, size, -1);
	return at;
}

WRAP(void *, realloc, void *old, size_t size)
{
	void *at;

	if (node_current && old)
		drop(find(HELD_BLOCK, old, -1));
	at = __real_realloc(old, size);
	if (node_current && at)
		keep(HELD_BLOCK, at, size, -1);
	return at;
}

WRAP(void, free, void *at)
{
	if (node_current && at)
		drop(find(HELD_BLOCK, at, -1));
	__real_free(at);
}

WRAP(void *, mmap, void *at, size_t size, int prot, int flags, int fd, off_t offset)
{
	void *memory = __real_mmap(at, size, prot, flags, fd, offset);

	if (node_current && memory != MAP_FAILED)
		keep(HELD_MAPPING, memory, size, -1);
	return memory;
}

WRAP(int, munmap, void *at, size_t size)
{
	if (node_current)
		drop(find(HELD_MAPPING, at, -1));
	return __real_munmap(at, size);
}

void *__real_mremap(void *old, size_t old_size, size_t size, int flags, ...);
void *__wrap_mremap(void *old, size_t old_size, size_t size, int flags, ...);
void *__wrap_mremap(void *old, size_t old_size, size_t size, int flags, ...)
{
	void *memory = __real_mremap(old, old_size, size, flags);

	if (node_current && memory != MAP_FAILED) {
		drop(find(HELD_MAPPING, old, -1));
		keep(HELD_MAPPING, memory, size, -1);
	}
	return memory;
}

/* Only advice, and dear. */
WRAP(int, madvise, void *at, size_t size, int advice)
{
	return node_current ? 0 : __real_madvise(at, size, advice);
}

/* Loss of power is not among the faults. */
WRAP(int, fsync, int fd)
{
	return node_current ? 0 : __real_fsync(fd);
}

int __real_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...)
{
	va_list args;
	int mode, fd;

	va_start(args, flags);
	mode = flags & O_CREAT ? va_arg(args, int) : 0;
	va_end(args);
	fd = __real_open(path, flags, mode);
	if (node_current && fd >= 0)
		keep(HELD_DESCRIPTOR, NULL, 0, fd);
	return fd;
}

WRAP(int, close, int fd)
{
	if (!node_current)
		return __real_close(fd);
	if (fd >= DESCRIPTOR)
		return 0;
	drop(find(HELD_DESCRIPTOR, NULL, fd));
	return __real_close(fd);
}

void wrap_release(struct node *node)
{
	while (node->held_used) {
		struct held *h = &node->held[--node->held_used];

		if (h->kind == HELD_BLOCK)
			__real_free(h->at);
		else if (h->kind == HELD_MAPPING)
			__real_munmap(h->at, h->size);
		else
			__real_close(h->fd);
	}
}

/* ---- sockets ---- */

WRAP(int, socket, int domain, int type, int protocol)
{
	return node_current ? DESCRIPTOR : __real_socket(domain, type, protocol);
}

WRAP(int, bind, int fd, const struct sockaddr *to, socklen_t size)
{
	return node_current ? 0 : __real_bind(fd, to, size);
}

WRAP(int, setsockopt, int fd, int level, int name, const void *value, socklen_t size)
{
	const struct timeval *most = value;

	if (!node_current)
		return __real_setsockopt(fd, level, name, value, size);
	if (level == SOL_SOCKET && name == SO_RCVTIMEO)
		node_current->receive_ns = most->tv_sec * SECOND + most->tv_usec * US;
	return 0;
}

WRAP(int, ppoll, struct pollfd *fds, nfds_t count, const struct timespec *timeout,
     const sigset_t *mask)
{
	struct node *node = node_current;

	if (!node)
		return __real_ppoll(fds, count, timeout, mask);
	node_busy();
	if (!node->queued && !node->stop && !node->woken)
		node_wait(timeout ? timeout->tv_sec * SECOND + timeout->tv_nsec : UINT64_MAX / 2);
	for (nfds_t i = 0; i < count; i++)
		fds[i].revents = fds[i].fd < 0 ? 0
				 : (fds[i].fd == DESCRIPTOR ? node->queued > 0 : node->woken)
					 ? fds[i].events
					 : 0;
	node->woken = false;
	return 0;
}

WRAP(int, recvmmsg, int fd, struct mmsghdr *in, unsigned int count, int flags,
     struct timespec *timeout)
{
	struct node *node = node_current;
	unsigned int n = 0;

	if (!node)
		return __real_recvmmsg(fd, in, count, flags, timeout);
	node_busy();
	if (!(flags & MSG_DONTWAIT) && !node->queued && !node->stop) {
		node->deaf = true;
		node_wait(node->receive_ns);
		node->deaf = false;
	}
	for (; n < count && node->queue; n++) {
		struct frame *f = node->queue;
		struct msghdr *h = &in[n].msg_hdr;
		struct sockaddr_in from = {.sin_family = AF_INET};
		size_t len = f->len - NET_PAYLOAD_AT;

		memcpy(&from.sin_addr, f->data + 26, 4);
		memcpy(&from.sin_port, f->data + 34, 2);
		memcpy(h->msg_name, &from, sizeof(from));
		h->msg_namelen = sizeof(from);
		if (len > h->msg_iov->iov_len)
			len = h->msg_iov->iov_len;
		memcpy(h->msg_iov->iov_base, f->data + NET_PAYLOAD_AT, len);
		in[n].msg_len = len;
		node->queue = f->next;
		node->queued--;
		__real_free(f);
	}
	if (!node->queue)
		node->queue_end = &node->queue;
	if (n)
		return n;
	errno = EAGAIN;
	return -1;
}

static int send_one(const struct sockaddr_in *to, const void *data, size_t len)
{
	struct node *node = node_current;
	int target = net_node(node->sim, to->sin_addr.s_addr, to->sin_port);

	node_point("send");
	node->busy_ns += SEND_NS;
	check_sent(node, data, len);
	if (target < 0 || (uint32_t)target == node->index) {
		violation(node->sim, "L3", "r%u sends to nobody", node->index);
		return len;
	}
	kernel_egress(node, net_frame(node->sim, node->index, target, data, len));
	node_point("sent");
	return len;
}

WRAP(ssize_t, sendto, int fd, const void *data, size_t len, int flags, const struct sockaddr *to,
     socklen_t size)
{
	if (!node_current)
		return __real_sendto(fd, data, len, flags, to, size);
	return send_one((const void *)to, data, len);
}

WRAP(int, sendmmsg, int fd, struct mmsghdr *out, unsigned int count, int flags)
{
	if (!node_current)
		return __real_sendmmsg(fd, out, count, flags);
	for (unsigned int i = 0; i < count; i++) {
		struct msghdr *h = &out[i].msg_hdr;

		out[i].msg_len = send_one(h->msg_name, h->msg_iov->iov_base, h->msg_iov->iov_len);
	}
	return count;
}
