/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Between wrap*.c and the rest of the simulator. */
#ifndef PAXRACK_SIM_WRAP_H
#define PAXRACK_SIM_WRAP_H

#include "bpf/wire.h"
#include "replica/elec_internal.h"
#include "replica/process.h"
#include "sim/sim.h"

/* The body that follows is called in place of `name`, which is __real_`name` then. */
#define WRAP(type, name, ...)                                                                      \
	type __real_##name(__VA_ARGS__);                                                           \
	type __wrap_##name(__VA_ARGS__);                                                           \
	type __wrap_##name(__VA_ARGS__)

/* Library handle that keeps the loaded programs of a replica. */
struct elec *kernel_elec(struct kernel *k);

/* What a process holds when it is killed: memory and descriptors. */
void wrap_release(struct node *node);

/* ---- files.c ---- */

void files_open(struct node *node);
void files_lose(struct node *node, bool journal, bool maps);
void files_options(struct node *node, struct process_options *options);

#endif
