/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Between the file that obeys the keys (top_screen.c) and the one that draws (top_draw.c). */
#ifndef PAXRACK_TOP_INTERNAL_H
#define PAXRACK_TOP_INTERNAL_H

#include "topo/top.h"

struct order {
	unsigned int column;
	bool reverse, chosen; /* not chosen: as they come */
};

struct screen {
	const struct rack *rack;
	double interval; /* s */
	struct stats *before, *now;
	struct top top; /* what is shown */
	struct order order[TOP_TABLES];
	size_t first[TOP_TABLES];      /* row at the top of each */
	unsigned int skip[TOP_TABLES]; /* columns left out, see top_draw.c */
	unsigned int focus;
	bool alone; /* only the table in focus is shown */
	bool help, paused;
	bool reveal; /* the column by which the one in focus is sorted */
};

/* All of it; first[] and skip[] are set to what there is. */
void top_draw(struct screen *s);

#endif
