/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include <errno.h>
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "pytests/fuzz/player.h"

#define LOG_EVERY 32 /* frames between two looks at the whole log */

static uint64_t clock_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
	return now.tv_sec * 1000000000ULL + now.tv_nsec;
}

__attribute__((format(printf, 2, 3))) static enum played differs(struct player *p, const char *form,
								 ...)
{
	va_list arguments;

	va_start(arguments, form);
	vsnprintf(p->text, sizeof(p->text), form, arguments);
	va_end(arguments);
	return PLAYED_DIFFERS;
}

bool player_start(struct player *p, const struct story *story)
{
	const struct start *s = &story->start;
	struct model *m;

	p->story = story;
	p->subject = bench_find(p->bench, start_value(s, BEFORE_LOG_SIZE),
				start_value(s, BEFORE_OFFLOADS), start_value(s, BEFORE_PORT));
	if (!p->subject)
		return false;
	m = &p->subject->model;
	m->wrong = p->wrong;
	p->members = start_members(s);
	p->frames = 0;
	if (!p->subject->dirty) /* the log is the model's: only what it wrote is not zero */
		for (uint32_t i = 0; i < m->slots; i++)
			if (m->slot_is[i] != SLOT_ZERO)
				memset(&p->subject->log[i], 0, sizeof(*m->log));
	start_apply(s, m, clock_ns());
	subject_write(p->subject, true);
	return true;
}

static uint32_t returned_for(enum verdict verdict)
{
	static const uint32_t returned[VERDICT_COUNT] = {
		[VERDICT_PASS] = XDP_PASS,	  [VERDICT_TX] = XDP_TX,
		[VERDICT_DROP] = XDP_DROP,	  [VERDICT_OK] = TC_ACT_OK,
		[VERDICT_STOLEN] = TC_ACT_STOLEN,
	};

	return returned[verdict];
}

static const char *returned_name(bool tc, uint32_t returned, char number[16])
{
	for (int v = tc ? VERDICT_OK : 0; v < (tc ? VERDICT_COUNT : VERDICT_OK); v++)
		if (returned_for(v) == returned)
			return verdict_names[v];
	snprintf(number, 16, "%u", returned);
	return number;
}

static uint32_t expected_count(const struct outcome *out, int reason)
{
	switch (reason) {
	case ELEC_R_WAKE:
		return out->wakes;
	case ELEC_R_TC_CLONE:
		return out->clones;
	case ELEC_R_TC_CLONE_FAILED:
		return out->clones_failed;
	default:
		return out->reason == (enum elec_reason)reason;
	}
}

static enum played compare_verdict(struct player *p)
{
	const struct observed *o = &p->bench->observed;
	const struct outcome *out = &p->outcome;
	char number[16];

	if (o->returned != returned_for(out->verdict)) {
		const char *counted = "no reason";

		for (int i = 0; i < ELEC_R_COUNT; i++)
			if (o->counted[i] && i != ELEC_R_WAKE)
				counted = reason_names[i];
		return differs(p, "verdict: %s (%s), not %s (%s)",
			       returned_name(p->story->tc, o->returned, number), counted,
			       verdict_names[out->verdict], reason_names[out->reason]);
	}
	for (int i = 0; i < ELEC_R_COUNT; i++)
		if (o->counted[i] != expected_count(out, i))
			return differs(p, "counter %s: %u times, not %u (the model: %s %s)",
				       reason_names[i], o->counted[i], expected_count(out, i),
				       verdict_names[out->verdict], reason_names[out->reason]);
	return PLAYED_SAME;
}

static enum played compare_bytes(struct player *p, const char *what, uint32_t number,
				 const uint8_t *got, uint32_t got_size, const uint8_t *want,
				 uint32_t want_size)
{
	if (got_size != want_size)
		return differs(p, "%s %u: %u bytes, not %u", what, number, got_size, want_size);
	for (uint32_t i = 0; i < want_size && memcmp(got, want, want_size); i++)
		if (got[i] != want[i])
			return differs(p, "%s %u: byte %u is %02x, not %02x", what, number, i,
				       got[i], want[i]);
	return PLAYED_SAME;
}

static enum played compare_frames(struct player *p, uint32_t meta)
{
	const struct observed *o = &p->bench->observed;
	const struct outcome *out = &p->outcome;
	const struct model *m = &p->subject->model;
	uint32_t self = m->state.control[ELEC_WORD_EPOCH(m->state.gate) & 1].self;
	uint8_t clone[FRAME_MAX];
	enum played ret;

	if (o->clones != out->clones)
		return differs(p, "clones: %u, not %u", o->clones, out->clones);
	for (uint32_t i = 0; i < out->clones; i++) {
		model_clone(m, p->frame, p->size, i < self ? i : i + 1, clone);
		ret = compare_bytes(p, "clone", i, o->clone[i], o->clone_size[i], clone, p->size);
		if (ret)
			return ret;
	}
	if (out->verdict == VERDICT_TX)
		return compare_bytes(p, "ack", 0, o->data, o->size, out->ack, ACK_LEN);
	if (out->verdict != VERDICT_PASS && out->verdict != VERDICT_OK)
		return PLAYED_SAME;
	if (o->meta != meta)
		return differs(p, "metadata: %u bytes, not %u", o->meta, meta);
	return compare_bytes(p, "frame", 0, o->data, o->size, p->frame, p->size);
}

static enum played compare_state(struct player *p)
{
	const struct elec_state *got = p->subject->state, *want = &p->subject->model.state;
	const uint8_t *a = (const uint8_t *)got, *b = (const uint8_t *)want;

	if (!memcmp(got, want, sizeof(*got)))
		return PLAYED_SAME;
	if (got->gate != want->gate)
		return differs(p, "gate: %016llx, not %016llx", got->gate, want->gate);
	if (got->committed != want->committed)
		return differs(p, "committed: %llx, not %llx", got->committed, want->committed);
	for (int i = 0; i < ELEC_REPLICAS_MAX; i++)
		if (got->acked[i] != want->acked[i])
			return differs(p, "acked[%d]: %llx, not %llx", i, got->acked[i],
				       want->acked[i]);
	if (got->sleeping != want->sleeping)
		return differs(p, "sleeping: %u, not %u", got->sleeping, want->sleeping);
	for (size_t i = 0; i < sizeof(*got); i++)
		if (a[i] != b[i])
			return differs(p, "state: byte %zu of struct elec_state is %02x, not %02x",
				       i, a[i], b[i]);
	return PLAYED_SAME;
}

static enum played compare_slot(struct player *p, uint32_t index)
{
	const struct model *m = &p->subject->model;
	const struct elec_slot *got = &p->subject->log[index], *want = &m->log[index];
	size_t head = offsetof(struct elec_slot, data), size = sizeof(*got);

	if (m->slot_is[index] == SLOT_SCRATCH)
		return PLAYED_SAME;
	if (m->slot_is[index] == SLOT_WRITTEN)
		size = head + want->len;
	if (!memcmp(got, want, size))
		return PLAYED_SAME;
	if (memcmp(got, want, head))
		return differs(p,
			       "slot %u: epoch %u, ops %u..%u, %u bytes, not epoch %u, ops %u..%u, "
			       "%u bytes",
			       index, got->epoch, got->first, got->last, got->len, want->epoch,
			       want->first, want->last, want->len);
	return compare_bytes(p, "slot", index, got->data, size - head, want->data, size - head);
}

static enum played compare_log(struct player *p)
{
	enum played ret = PLAYED_SAME;

	for (uint32_t i = 0; !ret && i < p->subject->model.slots; i++)
		ret = compare_slot(p, i);
	return ret;
}

static enum played compare(struct player *p, uint32_t meta)
{
	enum played ret = compare_verdict(p);

	if (!ret)
		ret = compare_frames(p, meta);
	if (!ret)
		ret = compare_state(p);
	if (!ret && p->outcome.slot >= 0)
		ret = compare_slot(p, p->outcome.slot);
	if (!ret && (p->slow || p->frames % LOG_EVERY == 0))
		ret = compare_log(p);
	return ret;
}

enum played player_step(struct player *p, const struct step *step)
{
	struct model *m = &p->subject->model;
	bool kernel_clock = start_value(&p->story->start, BEFORE_CLOCK);
	struct context context = step->context;
	struct change mended;
	int ret;

	if (context.no_tailroom && !p->bench->fragments)
		return PLAYED_NOT;
	context.clock_ns = kernel_clock ? clock_ns() : 0;
	if (!change_empty(&step->set)) {
		change_apply(&step->set, m, kernel_clock, context.clock_ns);
		subject_write(p->subject, false);
	}
	p->size = frame_build(&step->frame, m, p->members, p->story->tc, p->frame);
	if (p->size < 0 || (context.no_tailroom && p->size >= (int)ACK_LEN) ||
	    story_mend(m, &mended))
		return PLAYED_NOT;
	if (p->story->tc)
		model_tc(m, p->frame, p->size, &context, &p->outcome);
	else
		model_xdp(m, p->frame, p->size, &context, &p->outcome);
	ret = subject_run(p->bench, p->subject, p->story->tc, p->frame, p->size, &context);
	if (ret)
		return differs(p, "BPF_PROG_TEST_RUN: %s", strerror(-ret));
	p->frames++;
	p->compared++;
	p->reached[p->outcome.reason]++;
	p->reached[ELEC_R_WAKE] += p->outcome.wakes;
	p->reached[ELEC_R_TC_CLONE] += p->outcome.clones;
	p->reached[ELEC_R_TC_CLONE_FAILED] += p->outcome.clones_failed;
	return compare(p, context.meta);
}

enum played player_end(struct player *p)
{
	enum played ret = compare_log(p);

	p->subject->dirty = ret != PLAYED_SAME;
	return ret;
}

int player_play(struct player *p, const struct story *story)
{
	if (!player_start(p, story))
		return -1;
	for (int i = 0; i < story->steps; i++) {
		enum played ret = player_step(p, &story->step[i]);

		if (ret == PLAYED_NOT)
			return -1;
		if (ret == PLAYED_DIFFERS)
			return i;
	}
	return player_end(p) == PLAYED_DIFFERS ? story->steps - 1 : -1;
}
