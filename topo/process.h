/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Which processes run in a rack, and ending them. */
#ifndef PAXRACK_PROCESS_H
#define PAXRACK_PROCESS_H

#include "topo/rack.h"

/* Each live recorded process; `node` it was started in, `comm` it is called now. */
typedef void (*process_fn)(pid_t pid, const char *node, const char *comm, void *arg);
void process_each(const char *name, process_fn fn, void *arg);

/* This one is of the rack from now on: `rack down` ends it. 0 or -1 having said why. */
int process_record(const char *name, const char *node);

/*
 * End every process of ours in the rack: the recorded ones, and their offspring that
 * still sits in one of its namespaces. Other people's are named on standard error.
 */
void process_end_all(const char *name);

#endif
