// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "topo/held.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static bool before(const struct held *a, const struct held *b)
{
	return a->due_ns != b->due_ns ? a->due_ns < b->due_ns : a->order < b->order;
}

int held_open(struct held_set *s, uint32_t frames)
{
	memset(s, 0, sizeof(*s));
	s->heap = calloc(frames, sizeof(*s->heap));
	s->back = calloc(frames, sizeof(*s->back));
	if (s->heap && s->back)
		return 0;
	held_close(s);
	return -ENOMEM;
}

void held_close(struct held_set *s)
{
	free(s->heap);
	free(s->back);
	s->heap = NULL;
	s->back = NULL;
}

static void push(struct held_set *s, struct held h)
{
	uint32_t at = s->count++;

	h.order = s->order++;
	for (; at && before(&h, &s->heap[(at - 1) / 2]); at = (at - 1) / 2)
		s->heap[at] = s->heap[(at - 1) / 2];
	s->heap[at] = h;
}

struct held held_pop(struct held_set *s)
{
	struct held first = s->heap[0], last = s->heap[--s->count];
	uint32_t at = 0, child;

	while ((child = 2 * at + 1) < s->count) {
		if (child + 1 < s->count && before(&s->heap[child + 1], &s->heap[child]))
			child++;
		if (!before(&s->heap[child], &last))
			break;
		s->heap[at] = s->heap[child];
		at = child;
	}
	s->heap[at] = last;
	return first;
}

static void let_go(struct held_set *s, uint32_t i, uint64_t due_ns)
{
	struct held h = s->back[i].held;

	if (h.due_ns < due_ns)
		h.due_ns = due_ns;
	s->back[i] = s->back[--s->back_count];
	push(s, h);
}

static bool same_flow(const struct tor_held *a, const struct tor_held *b)
{
	return a->serial == b->serial && a->from == b->from && a->to == b->to && a->kind == b->kind;
}

/* Packets were to fall behind this one: the one that waited for the lowest number first. */
static void let_go_behind(struct held_set *s, const struct tor_held *trailer, uint64_t due_ns)
{
	for (;;) {
		uint32_t first = s->back_count;

		for (uint32_t i = 0; i < s->back_count; i++) {
			const struct tor_held *key = &s->back[i].key;

			if (same_flow(key, trailer) && key->behind <= trailer->number &&
			    (first == s->back_count || key->behind < s->back[first].key.behind))
				first = i;
		}
		if (first == s->back_count)
			return;
		let_go(s, first, due_ns);
	}
}

void held_add(struct held_set *s, const struct xsk_frame *frame, const struct tor_held *trailer,
	      uint64_t now_ns)
{
	struct held h = {.due_ns = trailer->due_ns, .frame = *frame};
	uint64_t after_ns = h.due_ns;

	if (trailer->behind) {
		s->back[s->back_count++] = (struct held_back){
			.held = h, .until_ns = now_ns + TOR_REORDER_NS, .key = *trailer};
		after_ns = now_ns;
	} else {
		push(s, h);
	}
	if (trailer->rule)
		let_go_behind(s, trailer, after_ns);
}

uint64_t held_next(const struct held_set *s)
{
	uint64_t next = s->count ? s->heap[0].due_ns : UINT64_MAX;

	for (uint32_t i = 0; i < s->back_count; i++) {
		if (s->back[i].until_ns < next)
			next = s->back[i].until_ns;
	}
	return next;
}

void held_let_go(struct held_set *s, uint64_t now_ns, int all)
{
	for (uint32_t i = 0; i < s->back_count;) {
		if (all || s->back[i].until_ns <= now_ns)
			let_go(s, i, now_ns);
		else
			i++;
	}
}
