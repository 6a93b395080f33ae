/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What the paths xdp and afxdp need beside the maps. Same conventions as topo/rack.h. */
#ifndef PAXRACK_STEER_PATHS_H
#define PAXRACK_STEER_PATHS_H

#include "bpf/steer.h"
#include "topo/rack.h"

#define STEER_NEEDS_XDP 1
#define STEER_NEEDS_AFXDP 2

struct steer_needs {
	uint8_t *port; /* by index: what frames from it take, or-ed; 0: neither */
	bool xdp, afxdp;
};

/* What is needed and not there is made; what was there stays. */
int steer_paths_prepare(const struct rack *rack, struct steer_state *state,
			const struct steer_needs *needs);
/* What is there and not needed goes. */
void steer_paths_settle(const struct rack *rack, struct steer_state *state,
			const struct steer_needs *needs);

#endif
