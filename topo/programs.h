/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A replica's kernel programs, taken away and brought back behind its back. What was brought
 * back is held here until programs_close(): do that before the replica starts anew, or it
 * finds its device taken. Functions return 0 or -1 having said why.
 */
#ifndef PAXRACK_PROGRAMS_H
#define PAXRACK_PROGRAMS_H

#include "topo/rack.h"

struct programs {
	const struct rack *rack;
	const struct rack_node *node;
	int xdp, tc; /* those that were detached; -1: none */
	int link;    /* by which XDP was brought back; -1: none */
};

void programs_open(struct programs *p, const struct rack *rack, const struct rack_node *node);
int programs_detach(struct programs *p, bool tc);
int programs_attach(struct programs *p, bool tc);
void programs_close(struct programs *p);

#endif
