// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "topo/in_order.h"

#include <stdlib.h>
#include <string.h>

#define ROOM 1024

static int more_room(struct in_order *o, size_t bytes)
{
	if (o->count == o->room) {
		size_t room = o->room ? 2 * o->room : ROOM;
		struct tap_frame *frame = reallocarray(o->frame, room, sizeof(*frame));

		if (!frame)
			return rack_say("no memory");
		o->frame = frame;
		o->room = room;
	}
	if (o->used + bytes > o->bytes_room) {
		size_t room = 2 * (o->used + bytes);
		uint8_t *data = realloc(o->bytes, room);

		if (!data)
			return rack_say("no memory");
		o->bytes = data;
		o->bytes_room = room;
	}
	return 0;
}

int in_order_add(void *in_order, const struct tap_frame *frame)
{
	struct in_order *o = in_order;

	if (more_room(o, frame->captured))
		return -1;
	memcpy(o->bytes + o->used, frame->data, frame->captured);
	o->frame[o->count] = *frame;
	o->frame[o->count++].data = (const uint8_t *)o->used;
	o->used += frame->captured;
	return 0;
}

/* Of the same nanosecond: as they came. */
static int by_time(const void *a, const void *b)
{
	const struct tap_frame *x = a, *y = b;

	if (x->time_ns != y->time_ns)
		return x->time_ns < y->time_ns ? -1 : 1;
	return x->data < y->data ? -1 : x->data > y->data;
}

int in_order_leave(struct in_order *o, uint64_t before_ns, tap_fn fn, void *arg)
{
	struct in_order rest = {};
	size_t i = 0;
	int ret = 0;

	if (!o->count)
		return 0;
	qsort(o->frame, o->count, sizeof(*o->frame), by_time);
	for (; !ret && i < o->count && o->frame[i].time_ns < before_ns; i++) {
		struct tap_frame f = o->frame[i];

		f.data = o->bytes + (size_t)f.data;
		ret = fn(arg, &f);
	}
	for (; !ret && i < o->count; i++) {
		struct tap_frame f = o->frame[i];

		f.data = o->bytes + (size_t)f.data;
		ret = in_order_add(&rest, &f);
	}
	in_order_free(o);
	*o = rest;
	return ret;
}

void in_order_free(struct in_order *o)
{
	free(o->frame);
	free(o->bytes);
	*o = (struct in_order){};
}
