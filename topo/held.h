/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Packets that wait, in the order in which they leave: by due time, then as they came. A
 * binary heap: unlike the slots of a timer wheel it keeps that order to the nanosecond.
 */
#ifndef PAXRACK_HELD_H
#define PAXRACK_HELD_H

#include <stdint.h>

#include "bpf/fault.h"
#include "topo/xsk.h"

struct held {
	uint64_t due_ns;
	uint64_t order; /* filled in by held_push() */
	struct xsk_frame frame;
};

/* A packet that is to fall behind others of its link and kind. */
struct held_back {
	struct held held;
	uint64_t until_ns; /* then it waits no longer */
	struct tor_held key;
};

struct held_set {
	struct held *heap; /* [0] leaves first */
	uint32_t count;
	uint64_t order;
	struct held_back *back;
	uint32_t back_count;
};

/* With room for `frames` packets. 0 or -errno. */
int held_open(struct held_set *s, uint32_t frames);
void held_close(struct held_set *s);

/* A packet with its trailer; what it lets go ahead of nobody any more goes after it. */
void held_add(struct held_set *s, const struct xsk_frame *frame, const struct tor_held *trailer,
	      uint64_t now_ns);
/* When is the next one due? UINT64_MAX: nothing is held. */
uint64_t held_next(const struct held_set *s);
/* Those that have fallen behind long enough, or all of them, wait for their time only. */
void held_let_go(struct held_set *s, uint64_t now_ns, int all);
/* Takes the first out; it is due at s->heap[0].due_ns. */
struct held held_pop(struct held_set *s);

#endif
