/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Measuring what a node sends, before and after its path is another. */
#ifndef PAXRACK_STEER_GUARD_H
#define PAXRACK_STEER_GUARD_H

#include "bpf/steer.h"
#include "topo/rack.h"

/* Worse is: throughput, without what is lost, fell by more than this, or more than this is lost,
 * in percent, and more than before. */
#define GUARD_FALL 20
#define GUARD_LOSS 0.1

struct guard_sample {
	double frames_per_s, bytes_per_s; /* over all of the time: traffic may come in bursts */
	double loss;			  /* percent of the frames */
	uint64_t frames;
};

/*
 * What the node sends for so long, and how much of it is known to be lost: dropped by a device,
 * a redirect that failed, the process on the path afxdp. Drops at the other ports count whoever
 * sent. 0; 1: `interrupt` turned readable; -1: said why.
 */
int guard_measure(struct guard_sample *sample, const struct rack *rack,
		  const struct rack_node *node, const struct steer_state *state, uint64_t ns,
		  int interrupt);
void guard_print(const char *when, const struct guard_sample *sample);
/* Is it? Then `why` is filled. */
bool guard_worse(const struct guard_sample *before, const struct guard_sample *after, char *why,
		 size_t size);

#endif
