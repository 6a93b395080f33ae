/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Frames in the order of their times. Each CPU takes the time of a frame before it puts it into
 * the ring, so two CPUs put theirs in the wrong order now and then: frames are kept until
 * an earlier one can no longer come.
 */
#ifndef PAXRACK_IN_ORDER_H
#define PAXRACK_IN_ORDER_H

#include "topo/tap.h"

struct in_order {
	/* zero at first */
	struct tap_frame *frame;
	size_t count, room;
	uint8_t *bytes; /* data of all of them: frame[i].data is an offset here until it leaves */
	size_t used, bytes_room;
};

/* A copy of it. 0 or -1: no memory, said. A tap_fn. */
int in_order_add(void *in_order, const struct tap_frame *frame);
/* Hand over those from before `before_ns` (CLOCK_REALTIME); what `fn` returns, if not 0. */
int in_order_leave(struct in_order *o, uint64_t before_ns, tap_fn fn, void *arg);
void in_order_free(struct in_order *o);

#endif
