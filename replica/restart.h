/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What a starting process finds of its earlier lives, and what of it may be believed.
 *
 *   journal   maps                      the replica
 *   none      whatever                  has lost its memory (only --format makes it new)
 *   clean     whatever                  goes on with the journal
 *   not clean same ids, same epoch      goes on, after what the kernel log still holds
 *   not clean other, or none            has lost its memory: the kernel acked what is nowhere
 *   not clean none, and none were used  goes on with the journal
 *   stale     whatever                  has lost its memory: the machine restarted meanwhile
 *
 * Who has lost its memory recovers from the others (VR, section 4.3), in a new instance.
 */
#ifndef PAXRACK_RESTART_H
#define PAXRACK_RESTART_H

#include "replica/elec.h"
#include "replica/journal.h"

struct restart_options {
	const char *path; /* of the journal */
	bool format;	  /* make it: a new replica */
	const struct cluster *cluster;
	uint32_t index;
};

/*
 * Opens the journal and gives the core and the library what they start from; the gate is
 * frozen. What elec_poll_message() gives after it was acked in an earlier life and must
 * be in the core before VR_EVENT_START. 0, or -errno with one sentence in `error`.
 */
int restart(struct journal **journal, struct elec *elec, struct vr *vr,
	    const struct restart_options *options, char *error, size_t error_size);

#endif
