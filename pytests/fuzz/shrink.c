/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include <stdlib.h>
#include <string.h>

#include "pytests/fuzz/shrink.h"

#define FRAMES_MAX 300000 /* played while shrinking: seconds */

struct shrinker {
	struct player *player;
	struct story *best;	/* differs in its last step */
	struct story candidate; /* being tried */
	uint64_t until;		/* count of frames at which to give up */
	bool progress;
};

/* Does the candidate still differ? Then it is the best, cut off behind that step. */
static bool differs(struct shrinker *s)
{
	int at;

	if (s->player->compared > s->until)
		return false;
	at = player_play(s->player, &s->candidate);
	if (at < 0)
		return false;
	s->candidate.steps = at + 1;
	*s->best = s->candidate;
	s->progress = true;
	return true;
}

static void shrink_steps(struct shrinker *s)
{
	for (int chunk = s->best->steps / 2; chunk > 0; chunk /= 2) {
		int at = 0;

		while (at + chunk <= s->best->steps && s->best->steps > chunk) {
			struct story *c = &s->candidate;

			*c = *s->best;
			memmove(c->step + at, c->step + at + chunk,
				(c->steps - at - chunk) * sizeof(*c->step));
			c->steps -= chunk;
			if (!differs(s))
				at += chunk;
		}
	}
}

/* What user space did before a step may matter though its frame does not. */
static void shrink_frame_away(struct shrinker *s, int i)
{
	struct change *from, *to;

	if (i + 1 >= s->best->steps || change_empty(&s->best->step[i].set))
		return;
	s->candidate = *s->best;
	from = &s->candidate.step[i].set;
	to = &s->candidate.step[i + 1].set;
	for (int field = 0; field < BEFORE_COUNT; field++)
		if (change_has(from, field) && !change_has(to, field))
			change_put(to, field, from->value[field]);
	for (int j = 0; j < ELEC_REPLICAS_MAX; j++)
		if (from->acked_has & ~to->acked_has & 1ULL << j)
			to->acked[j] = from->acked[j];
	to->acked_has |= from->acked_has;
	memmove(&s->candidate.step[i], &s->candidate.step[i + 1],
		(s->candidate.steps - i - 1) * sizeof(*s->candidate.step));
	s->candidate.steps--;
	differs(s);
}

/* The bits of *has in the candidate that can be cleared: `best_has` is the same in the best. */
static void shrink_bits(struct shrinker *s, uint64_t *has, const uint64_t *best_has)
{
	for (int bit = 0; bit < 64; bit++) {
		if (!(*best_has >> bit & 1))
			continue;
		s->candidate = *s->best;
		*has &= ~(1ULL << bit);
		differs(s);
	}
}

static void shrink_change(struct shrinker *s, struct change *c, const struct change *best)
{
	shrink_bits(s, &c->has, &best->has);
	if (best->acked_has) { /* all at once is usual */
		s->candidate = *s->best;
		c->acked_has = 0;
		if (!differs(s))
			shrink_bits(s, &c->acked_has, &best->acked_has);
	}
}

static void shrink_frame(struct shrinker *s, int i)
{
	struct frame *f = &s->candidate.step[i].frame;
	const struct frame *best = &s->best->step[i].frame;

	s->candidate = *s->best;
	f->patches = f->flips = 0;
	if ((best->patches || best->flips) && !differs(s)) {
		for (int j = best->flips - 1; j >= 0 && best->flips > 1; j--) {
			s->candidate = *s->best;
			f->flip[j] = f->flip[--f->flips];
			differs(s);
		}
	}
	shrink_bits(s, &f->has, &best->has);
	while (frame_has(best, FRAME_BODY) && best->value[FRAME_BODY] & ~FRAME_BODY_BYTES) {
		s->candidate = *s->best;
		f->value[FRAME_BODY] = (best->value[FRAME_BODY] & ~FRAME_BODY_BYTES) / 2;
		if (!differs(s))
			break;
	}
}

static void shrink_step(struct shrinker *s, int i)
{
	s->candidate = *s->best;
	s->candidate.step[i].context = (struct context){0};
	if (memcmp(&s->candidate.step[i].context, &s->best->step[i].context,
		   sizeof(struct context)))
		differs(s);
	shrink_change(s, &s->candidate.step[i].set, &s->best->step[i].set);
	shrink_frame(s, i);
}

static void shrink_start(struct shrinker *s)
{
	shrink_bits(s, &s->candidate.start.members_has, &s->best->start.members_has);
	shrink_change(s, &s->candidate.start.change, &s->best->start.change);
}

bool shrink(struct player *p, struct story *story)
{
	struct shrinker *s = malloc(sizeof(*s));
	uint64_t reached[ELEC_R_COUNT], compared = p->compared;
	bool found;

	if (!s)
		return false;
	memcpy(reached, p->reached, sizeof(reached));
	s->player = p;
	s->best = story;
	s->until = p->compared + FRAMES_MAX;
	p->slow = true;
	s->candidate = *story;
	found = differs(s);
	for (s->progress = found; s->progress;) {
		s->progress = false;
		shrink_steps(s);
		for (int i = 0; i < s->best->steps; i++)
			shrink_frame_away(s, i);
		for (int i = 0; i < s->best->steps; i++)
			shrink_step(s, i);
		shrink_start(s);
	}
	if (found)
		player_play(p, story);
	/* Packets of the same story again are not packets more. */
	p->compared = compared;
	memcpy(p->reached, reached, sizeof(reached));
	p->slow = false;
	free(s);
	return found;
}
