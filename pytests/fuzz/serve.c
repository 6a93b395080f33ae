/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include <stdio.h>

#include "pytests/fuzz/serve.h"
#include "pytests/fuzz/story.h"

static bool get(void *to, size_t size)
{
	return !size || fread(to, size, 1, stdin) == 1;
}

static void put(const void *from, size_t size)
{
	fwrite(from, size, 1, stdout);
}

static void put_frame(const uint8_t *frame, uint32_t size)
{
	put(&size, sizeof(size));
	put(frame, size);
}

static void put_frames(const struct model *m, const struct outcome *out, const uint8_t *frame,
		       uint32_t size)
{
	uint32_t self = m->state.control[ELEC_WORD_EPOCH(m->state.gate) & 1].self;
	uint8_t clone[FRAME_MAX];

	if (out->verdict == VERDICT_PASS || out->verdict == VERDICT_OK)
		put_frame(frame, size);
	if (out->verdict == VERDICT_TX)
		put_frame(out->ack, ACK_LEN);
	for (uint32_t i = 0; i < out->clones; i++) {
		model_clone(m, frame, size, i < self ? i : i + 1, clone);
		put_frame(clone, size);
	}
}

static bool get_slots(struct model *m, uint32_t slots)
{
	struct serve_slot slot;

	while (slots--) {
		if (!get(&slot, sizeof(slot)) || slot.index >= m->slots)
			return false;
		m->log[slot.index] = slot.slot;
		m->slot_is[slot.index] = slot.is;
	}
	return true;
}

static bool answer(struct model *m, const struct serve_request *q)
{
	struct context context = {.clock_ns = q->clock_ns,
				  .no_tailroom = q->no_tailroom,
				  .gso = q->gso,
				  .no_link = q->no_link};
	struct serve_answer a = {0};
	struct serve_slot slot = {0};
	struct outcome out;
	uint8_t frame[FRAME_MAX];

	if (!get(&m->state, sizeof(m->state)) || !get_slots(m, q->slots) ||
	    q->size > sizeof(frame) || !get(frame, q->size))
		return false;
	if (q->tc)
		model_tc(m, frame, q->size, &context, &out);
	else
		model_xdp(m, frame, q->size, &context, &out);
	a.verdict = out.verdict;
	a.reason = out.reason;
	a.wakes = out.wakes;
	a.clones = out.clones;
	a.clones_failed = out.clones_failed;
	a.slot = out.slot;
	a.frames = out.verdict == VERDICT_DROP ? 0 : out.verdict == VERDICT_STOLEN ? out.clones : 1;
	put(&a, sizeof(a));
	put(&m->state, sizeof(m->state));
	if (out.slot >= 0) {
		slot = (struct serve_slot){out.slot, m->slot_is[out.slot], m->log[out.slot]};
		put(&slot, sizeof(slot));
	}
	put_frames(m, &out, frame, q->size);
	fflush(stdout);
	return true;
}

int serve(void)
{
	struct serve_request q;
	struct model m;
	bool ok = true;

	while (ok && fread(&q, sizeof(q), 1, stdin) == 1) {
		if (model_init(&m, q.log_size, q.offloads, q.port))
			return 1;
		ok = answer(&m, &q);
		model_free(&m);
	}
	return !ok;
}
