/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Counting what goes wrong in XDP programs (bpf/watch.h). */
#ifndef PAXRACK_TOPO_WATCH_H
#define PAXRACK_TOPO_WATCH_H

#include "topo/rack.h"

#define WATCH_PINS "bpf/watch" /* programs, links and the map watch_counts */

/*
 * Counted from `rack up` on, until the rack goes. The kernel takes milliseconds to let somebody
 * listen to a tracepoint, all of them spent waiting: so it is begun, and later waited for.
 */
struct watch;
struct watch *watch_begin(const struct rack *rack);
/*
 * Ends what watch_begin() returned (NULL is allowed). A kernel that lets nobody attach to its
 * tracepoints makes no rack fail: that is said, nothing more.
 */
void watch_end(struct watch *w);

/*
 * A link by which one of the programs of bpf/watch.bpf.c runs at its tracepoint, or -errno:
 * some kernels let nobody listen.
 */
struct bpf_program;
int watch_attach(const struct bpf_program *program);

#endif
