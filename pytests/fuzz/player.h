/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Plays a story on the programs and on the model, and compares after every frame. */
#ifndef PAXRACK_FUZZ_PLAYER_H
#define PAXRACK_FUZZ_PLAYER_H

#include "pytests/fuzz/bench.h"

enum played {
	PLAYED_SAME,
	PLAYED_DIFFERS, /* the text says in what */
	PLAYED_NOT,	/* no such frame in this state, or no such state: nothing was run */
};

struct player {
	struct bench *bench;
	enum model_wrong wrong;
	bool slow; /* compare the whole log after each frame */
	struct subject *subject;
	const struct story *story;
	uint32_t members;
	int frames;	   /* played of this story */
	uint64_t compared; /* frames ever */
	uint64_t reached[ELEC_R_COUNT];
	struct outcome outcome; /* what the model said last */
	uint8_t frame[FRAME_MAX];
	int size;
	char text[512];
};

/* The state that the story begins with. False: no programs are loaded with these constants. */
bool player_start(struct player *p, const struct story *story);
/* Its next step. */
enum played player_step(struct player *p, const struct step *step);
/* After the last step: the whole log. */
enum played player_end(struct player *p);
/* All of it. The step that differed, or -1. */
int player_play(struct player *p, const struct story *story);

#endif
