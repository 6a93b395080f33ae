/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* How the process on the path afxdp sends a frame: a few tries, then the stack path. */
#ifndef PAXRACK_STEER_SEND_H
#define PAXRACK_STEER_SEND_H

#include "bpf/steer.h"
#include "topo/rack.h"
#include "topo/xsk.h"

struct steer_sender {
	const struct rack *rack;
	struct steer_afxdp *counts; /* what becomes of frames */
	int stack;		    /* packet socket: to the bridge */
};

/* 0, or -1 having said why. */
int steer_sender_open(struct steer_sender *s, const struct rack *rack, struct steer_afxdp *counts);
void steer_sender_close(struct steer_sender *s);
/* The frame was the caller's, of `memory` as `out` is, and is so no more. */
void steer_send(const struct steer_sender *s, struct xsk_umem *memory, struct xsk *out,
		struct xsk_frame f);

#endif
