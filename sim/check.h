/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What check*.c know of the logs of all replicas. */
#ifndef PAXRACK_SIM_CHECK_H
#define PAXRACK_SIM_CHECK_H

#include <inttypes.h>

#include "replica/message.h"
#include "sim/sim.h"

#define VIEWS_MAX 4096

struct view_log {
	uint64_t *chain;
	uint64_t last;			  /* leader: ops 1..last are its log in this view */
	bool entered;			  /* by its leader */
	uint64_t acked[SIM_REPLICAS_MAX]; /* highest op that each acked, by kernel or socket */
};

struct own_log {
	uint64_t *chain;
	uint64_t base, last;
	uint64_t kernel_last; /* chain goes on to here in the kernel log */
	uint64_t *kernel;
	uint64_t executed; /* in this life: looked at up to here */
	uint64_t frozen_last, recorded_view;
	uint64_t normal_view; /* the last recorded, in any life */
	uint64_t open_view;   /* the gate was opened in it */
	bool recorded_normal; /* in recorded_view */
	uint64_t view;
	enum vr_status status;
};

struct check {
	uint64_t ops_max;
	struct own_log own[SIM_REPLICAS_MAX];
	struct view_log view[VIEWS_MAX];
	struct committed *committed; /* [op] */
	uint64_t committed_last;
	bool from_dead_life; /* the message of this step */
	uint64_t ignored;    /* messages, before it */
	struct entry room[MESSAGE_ENTRIES_MAX];
};

uint64_t check_hash_entry(const struct entry *e);
/* The chain that goes on with this entry. */
uint64_t check_chain(uint64_t before, const struct entry *e);
struct own_log *check_own(struct node *node);
struct view_log *check_view_log(struct node *node, uint64_t view);
/* False: an op number beyond all that clients can have asked for (a violation). */
bool check_room(struct node *node, uint64_t op);
/* What a replica holds of ops 1..op, journal and kernel log together; false: not all of them. */
bool check_held(struct node *node, uint64_t op, uint64_t *chain);
/* Does it hold ops 1..op as the leader of this view does? */
bool check_as_leader(struct node *node, uint64_t view, uint64_t op);

/* Is this what was committed up to op? */
bool check_is_committed(const struct sim *s, uint64_t op, uint64_t chain);

#endif
