/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What a run leaves in the rack, copied to the experiment's folder (docs/experiments.md).
 * Functions return 0 or -1 having said why.
 */
#ifndef PAXRACK_LEAVE_H
#define PAXRACK_LEAVE_H

#include "topo/rack.h"

/* The folder and those in it; one that is there already only when `force`, and emptied. */
int leave_open(const char *folder, bool force);
int leave_copy(const char *from, const char *to);
int leave_log(const struct rack *rack, const char *folder, unsigned int run, const char *node);
/* As build/journal prints it. */
int leave_journal(const struct rack *rack, const char *programs, const char *folder,
		  unsigned int run, const char *node);
/* The switch's log, which begins anew; no rule may be in force. */
int leave_faults(const struct rack *rack, const char *folder, unsigned int run);

#endif
