/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Between elec.c (shared words, no system calls) and elec_kernel.c (load, attach, pins). */
#ifndef PAXRACK_ELEC_INTERNAL_H
#define PAXRACK_ELEC_INTERNAL_H

#include <netinet/in.h>

#include "replica/elec.h"

#define ELEC_GIVEN_UP_MAX 2 /* XDP, TC */

struct elec_kernel; /* programs, maps, links; NULL without offload */

struct elec {
	struct elec_state *state; /* shared with the programs, or private memory */
	struct elec_slot *log;	  /* NULL without offload */
	uint32_t slots;
	uint32_t offloads;
	uint32_t n, self;
	uint32_t quorum;    /* acks of others that commit */
	uint64_t cursor;    /* last op polled */
	bool was_open;	    /* the gate, when these maps were found */
	uint32_t frame_max; /* largest UDP payload that fits one frame */
	struct elec_member members[ELEC_REPLICAS_MAX];
	struct sockaddr_in addresses[ELEC_REPLICAS_MAX];
	struct elec_kernel *kernel;
	char given_up[ELEC_GIVEN_UP_MAX][256]; /* sentences, from the first on */
};

/* Fills e->state, log, members' MACs, frame_max and kernel. 0 or -errno with `error`. */
int elec_kernel_open(struct elec *e, const struct elec_options *options, char *error, size_t size);
/* The programs go live; the gate is frozen by then. */
int elec_kernel_attach(struct elec *e, const struct elec_options *options, char *error,
		       size_t size);
void elec_kernel_close(struct elec *e);
int elec_kernel_wake_fd(const struct elec *e);
void elec_kernel_awake(struct elec *e);
int elec_kernel_xdp_fd(const struct elec *e);
int elec_kernel_tc_fd(const struct elec *e);
int elec_kernel_counts(const struct elec *e, uint64_t counts[ELEC_R_COUNT]);

#endif
