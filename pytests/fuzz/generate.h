/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Random stories: mostly what a cluster would do, with few things wrong at a time, so that
 * the deep ends of the paths are reached.
 */
#ifndef PAXRACK_FUZZ_GENERATE_H
#define PAXRACK_FUZZ_GENERATE_H

#include "pytests/fuzz/random.h"
#include "pytests/fuzz/story.h"

/* Story `number` of a seed: how it begins, and how many steps it is to have. */
int generate_start(struct story *story, uint64_t seed, uint64_t number, struct random *r);
/* One more step, for the state that the model is in. */
void generate_step(struct story *story, const struct model *m, struct random *r);

#endif
