/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "replica/status.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

int status_open(struct status **s, const char *path)
{
	void *page = MAP_FAILED;
	int fd, ret;

	unlink(path); /* whoever reads that of an earlier life still may */
	fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	ret = -posix_fallocate(fd, 0, STATUS_BYTES); /* a hole in a full file system is SIGBUS */
	if (!ret) {
		page = mmap(NULL, STATUS_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		ret = page == MAP_FAILED ? -errno : 0;
	}
	close(fd);
	if (!ret)
		*s = page;
	return ret;
}

void status_close(struct status *s)
{
	if (s)
		munmap(s, STATUS_BYTES);
}

static void fill(struct status *s, const struct vr *vr)
{
	const uint64_t *counts = vr_counts(vr);
	struct vr_info info;

	vr_info(vr, &info);
	s->status = info.status;
	s->leader = info.leader;
	s->view = info.view;
	s->base = info.base;
	s->op = info.op;
	s->committed = info.committed;
	s->applied = info.executed;
	s->executed = counts[VR_C_EXECUTED];
	s->replies = counts[VR_C_REPLIES];
	s->resends = counts[VR_C_PREPARE_RESENDS];
	s->kernel = counts[VR_C_PREPARES_KERNEL];
	s->user = counts[VR_C_PREPARES_USER];
	s->deaths = counts[VR_C_PEER_DEATHS];
	s->view_changes = counts[VR_C_VIEW_CHANGES];
	s->transfers = counts[VR_C_TRANSFERS];
	s->dead = 0;
	for (uint32_t i = 0; info.status == VR_NORMAL && info.leader == s->index && i < s->n; i++) {
		struct vr_peer_info peer;

		if (i == s->index)
			continue;
		vr_peer(vr, i, &peer);
		s->dead |= (uint64_t)peer.dead << i;
	}
}

void status_tell(struct status *s, const struct vr *vr, uint32_t index, uint32_t n, uint64_t now_us)
{
	__atomic_store_n(&s->sequence, s->sequence + 1, __ATOMIC_RELAXED);
	__atomic_thread_fence(__ATOMIC_RELEASE);
	s->told_us = now_us;
	s->pid = getpid();
	s->index = index;
	s->n = n;
	fill(s, vr);
	__atomic_store_n(&s->sequence, s->sequence + 1, __ATOMIC_RELEASE);
}
