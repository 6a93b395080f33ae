/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The steering of a rack as a whole, and putting another in force. For steer*.c only; same
 * conventions as topo/rack.h.
 */
#ifndef PAXRACK_STEER_CHANGE_H
#define PAXRACK_STEER_CHANGE_H

#include "bpf/steer.h"
#include "bpf/tor.h"
#include "topo/rack.h"

struct steer_entry {
	struct steer_key key;
	uint32_t value; /* of the map steer_table */
	uint32_t order; /* among those added: the last of a flow counts */
};

struct steer_whole {
	struct tor_port *port;
	struct steer_entry *entry; /* by key */
	size_t count;
	struct steer_group group[STEER_GROUP_SLOTS];
};

struct steer {
	const struct rack *rack;
	int lock, table, groups, ports, counts, moved;
	struct steer_state *state;
	struct steer_whole now;
};

/* What is in force, with room for so many more entries. */
int steer_whole_copy(struct steer_whole *copy, const struct steer *s, size_t more);
void steer_whole_free(struct steer_whole *w);
/* For qsort() and bsearch(), of entries or keys. */
int steer_by_key(const void *a, const void *b);
/* NULL: that flow has no entry. */
const struct steer_entry *steer_entry_of(const struct steer_whole *w, const struct steer_key *key);
/* How many groups its entries name, and in which slots. */
unsigned int steer_groups_used(const struct steer_whole *w, bool used[STEER_GROUP_SLOTS]);

/* From now on `next` is in force, or what was still is. Frees it. */
int steer_change(struct steer *s, struct steer_whole *next);

#endif
