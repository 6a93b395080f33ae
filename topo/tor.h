/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The ToR's programs: loaded, told about the nodes, pinned below bpf/tor/. */
#ifndef PAXRACK_TOPO_TOR_H
#define PAXRACK_TOPO_TOR_H

#include "topo/rack.h"

struct tor {
	struct tor_bpf *bpf;
	int ingress; /* program for the clsact ingress of every port */
	int pass;    /* XDP program for ports of nodes that may bounce frames */
};

int tor_load(struct tor *tor, const struct rack *rack);
/* What is attached or pinned stays. */
void tor_close(struct tor *tor);

#endif
