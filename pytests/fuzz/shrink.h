/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Makes a story that fails small: takes steps, then what user space does, fields of frames
 * and of the first state away, as long as something still differs.
 */
#ifndef PAXRACK_FUZZ_SHRINK_H
#define PAXRACK_FUZZ_SHRINK_H

#include "pytests/fuzz/player.h"

/*
 * The story differs when played. Afterwards it is the small one, its last step is the one
 * that differs and p->text says in what. False: it did not differ when it was played again.
 */
bool shrink(struct player *p, struct story *story);

#endif
