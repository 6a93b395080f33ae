/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What `rack show` draws: for each node, and each of several ToRs, a column of short texts. */
#ifndef PAXRACK_SHOW_H
#define PAXRACK_SHOW_H

#include "topo/fault.h"
#include "topo/stats.h"

#define SHOW_CELL_MAX 48

enum show_line {
	SHOW_ADDRESS,
	SHOW_ROLE,
	SHOW_AT,       /* view and op */
	SHOW_PORT_XDP, /* programs at the switch's end */
	SHOW_PORT_TC,
	SHOW_XDP, /* and at the node's */
	SHOW_TC,
	SHOW_WRONG, /* exceptions */
	SHOW_PIDS,
	SHOW_HOST, /* and of a ToR */
	SHOW_UPLINK,
	SHOW_NODES, /* how many are behind it */
	SHOW_LINES
};

extern const char *const show_labels[SHOW_LINES];

struct show_column {
	char name[16];
	char cell[SHOW_LINES][SHOW_CELL_MAX]; /* "": nothing to say */
};

struct show {
	const struct rack *rack;
	struct show_column *node; /* by index */
	struct show_column *tor;  /* those that a spine joins; NULL: there is but one */
	struct fault_status faults;
};

/* 0 or -1 having said why. Free with show_free(). */
int show_take(struct show *show, const struct rack *rack);
void show_free(struct show *show);
void show_text(FILE *out, const struct show *show, int width);
void show_dot(FILE *out, const struct show *show);

#endif
