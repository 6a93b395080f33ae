/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What a process may still do once it is set up. Descriptors that are open and memory that is
 * mapped stay usable: all that a replica or the wire needs then is to move packets and to
 * append to files that are open.
 *
 * Functions return 0 or -errno; where they failed, privileges may be gone already: end.
 */
#ifndef PAXRACK_PRIVILEGE_H
#define PAXRACK_PRIVILEGE_H

#include <stddef.h>

/* Of its capabilities (CAP_*) only these; none can come back, not by an exec either. */
int privilege_keep(const int *capabilities, size_t count);

/*
 * No capability, and only the system calls listed in privilege.c: any other ends the process
 * with SIGSYS, for then somebody else steers it. For a process of one thread, and its children.
 */
int privilege_drop(void);

#endif
