// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The log in memory. Operations get their bytes in op order from a ring of bytes, so
 * room is freed at both ends: the prefix when space is short, the tail by truncation.
 *
 *   bytes   ...|free|op base+1|op base+2| ... |op last|free...
 *                   tail                              head
 *
 * One operation never wraps. Two of the largest operations' bytes stay free, so that a
 * place is always found: what the log can hold depends on what is in it, not on how it
 * came there, and a log that is read back from the journal fits again.
 */
#include <string.h>

#include "replica/vr_core.h"

#define DROPPED_SOON 8 /* ops */

struct entry *vr_log_at(const struct vr_log *log, uint64_t op)
{
	if (op <= log->base || op > log->last)
		return NULL;
	return &log->ring[op & log->mask];
}

static uint32_t offset_of(const struct vr_log *log, uint64_t op)
{
	return vr_log_at(log, op)->op.data - log->bytes;
}

static uint32_t place(const struct vr_log *log, uint32_t len)
{
	uint32_t tail;

	if (log->last == log->base)
		return 0;
	tail = offset_of(log, log->base + 1);
	if (log->head >= tail && len <= log->bytes_size - log->head)
		return log->head;
	if (log->head >= tail) {
		assert(len < tail);
		return 0;
	}
	assert(len < tail - log->head);
	return log->head;
}

static void drop_oldest(struct vr_log *log)
{
	/* The next ones to go were written a whole ring ago. */
	__builtin_prefetch(&log->ring[(log->base + DROPPED_SOON) & log->mask]);
	log->used -= vr_log_at(log, log->base + 1)->op.len;
	log->base++;
}

bool vr_log_append(struct vr_log *log, const struct entry *e, uint64_t droppable)
{
	struct entry *to;
	uint32_t at;

	assert(e->opnum == log->last + 1);
	while (log->last - log->base > log->mask || log->used + e->op.len > log->used_max) {
		if (log->base >= droppable || log->base == log->last)
			return false;
		drop_oldest(log);
	}
	at = place(log, e->op.len);
	to = &log->ring[e->opnum & log->mask];
	*to = *e;
	to->op.data = log->bytes + at;
	if (e->op.len > 0)
		memcpy(log->bytes + at, e->op.data, e->op.len);
	log->head = at + e->op.len;
	log->used += e->op.len;
	log->last++;
	return true;
}

void vr_log_truncate(struct vr_log *log, uint64_t last)
{
	assert(last >= log->base);
	if (last >= log->last)
		return;
	log->head = offset_of(log, last + 1);
	for (; log->last > last; log->last--)
		log->used -= vr_log_at(log, log->last)->op.len;
}

void vr_log_skip(struct vr_log *log, uint64_t op)
{
	while (log->base < op && log->base < log->last)
		drop_oldest(log);
	if (log->base < op)
		log->base = log->last = op;
}
