/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef PAXRACK_MOUNTS_H
#define PAXRACK_MOUNTS_H

/*
 * A file system ("tracefs", "bpf"...) mounted in no tree: whether, and where, somebody else has
 * it does not matter, and nobody can unmount it. A descriptor of its root, or -errno.
 */
int mount_loose(const char *type);

#endif
