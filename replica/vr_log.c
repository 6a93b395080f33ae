// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The log in memory. Operations get their bytes in op order from a ring of bytes, so
 * room is freed at both ends: the prefix when space is short, the tail by truncation.
 *
 *   bytes   ...|free|op base+1|op base+2| ... |op last|free...
 *                   tail                              head
 *
 * One operation never wraps. Head never reaches the tail of a log that is not empty.
 */
#include <string.h>

#include "replica/vr_core.h"

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

/* Where `len` bytes find room; false: nowhere. */
static bool place(struct vr_log *log, uint32_t len, uint32_t *at)
{
	uint32_t tail;

	if (log->last == log->base) {
		*at = 0;
		return len <= log->bytes_size;
	}
	tail = offset_of(log, log->base + 1);
	if (log->head < tail) {
		*at = log->head;
		return len < tail - log->head;
	}
	if (len <= log->bytes_size - log->head) {
		*at = log->head;
		return true;
	}
	*at = 0;
	return len < tail;
}

bool vr_log_append(struct vr_log *log, const struct entry *e, uint64_t droppable)
{
	struct entry *to;
	uint32_t at;

	assert(e->opnum == log->last + 1);
	while (log->last - log->base > log->mask || !place(log, e->op.len, &at)) {
		if (log->base >= droppable || log->base == log->last)
			return false;
		log->base++;
	}
	to = &log->ring[e->opnum & log->mask];
	*to = *e;
	to->op.data = log->bytes + at;
	if (e->op.len > 0)
		memcpy(log->bytes + at, e->op.data, e->op.len);
	log->head = at + e->op.len;
	log->last++;
	return true;
}

void vr_log_truncate(struct vr_log *log, uint64_t last)
{
	assert(last >= log->base);
	if (last >= log->last)
		return;
	log->head = offset_of(log, last + 1);
	log->last = last;
}

void vr_log_skip(struct vr_log *log, uint64_t op)
{
	if (op > log->base)
		log->base = op;
	if (log->last < log->base) {
		log->last = log->base;
		log->head = 0;
	}
}
