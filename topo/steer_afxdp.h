/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The process on the path afxdp. */
#ifndef PAXRACK_STEER_AFXDP_H
#define PAXRACK_STEER_AFXDP_H

#include "bpf/steer.h"
#include "topo/daemon.h"

/* With all that stands before and behind it, such a frame fits a page. */
#define STEER_AFXDP_MTU_MAX 3800u

/* A daemon_fn. */
int steer_afxdp_run(const struct rack *rack, struct daemon *d);
/* May frames of so many ports take the path? 0, or -1 having said why not. */
int steer_afxdp_check(const struct rack *rack, unsigned int ports);
/*
 * It looks again which ports are on its path (steer_state.afxdp_ports); with `wait` this returns
 * when it has. 0, or -1 having said why.
 */
int steer_afxdp_look(const struct rack *rack, struct steer_state *state, bool wait);

#endif
