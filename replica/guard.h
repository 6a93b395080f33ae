/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The guard of a replica: a small process that keeps the privileges which the replica gives up
 * once it is set up, and uses them for a few things.
 *
 *   replica                                       guard
 *   the protocol; no capability, seccomp  <---->  CAP_NET_ADMIN, CAP_BPF, CAP_DAC_OVERRIDE
 *
 *   attach     a program, by its descriptor; the XDP link back; once each
 *   counts     the programs' counters
 *   create     the file that is to replace the journal: its descriptor back, locked
 *   replace, remove, sync      it becomes the journal; it goes; the folder is on the disk
 *   (end)      the replica has ended, however: what was attached goes, and so does the guard
 *
 * No message holds a name: a device has its index, the journal that of guard_open().
 * The XDP link is the replica's alone, so that the kernel detaches when the replica dies. It is
 * the replica that keeps the pid that others know: a SIGSTOP for it cannot be passed on.
 *
 * Functions return 0 or -errno; -EPIPE: there is no guard any more.
 */
#ifndef PAXRACK_GUARD_H
#define PAXRACK_GUARD_H

#include "replica/elec.h"

struct guard;

/*
 * Before anything is opened or mapped: the guard is a copy of this process. `journal`: its path
 * or NULL. When it ends before guard_close() this process gets a SIGCHLD.
 */
int guard_open(struct guard **g, const char *journal);
/* For elec_open(). */
const struct elec_keeper *guard_keeper(struct guard *g);
/* From now on the journal's names are the guard's to change (journal_file.h). */
void guard_take_names(struct guard *g);
/* Returns when all that it attached is gone, and it has ended. NULL is allowed. */
void guard_close(struct guard *g);

#endif
