/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Between the files that build a rack and remove it. Same conventions as topo/rack.h. */
#ifndef PAXRACK_TOPO_PRIVATE_H
#define PAXRACK_TOPO_PRIVATE_H

#include <linux/limits.h>

#include "topo/rack.h"

#define RACK_NETNS "/run/netns"			/* where iproute2 looks for namespaces by name */
#define RACK_NETNS_OURS RACK_RUN "/.made-netns" /* we made that folder */
#define RACK_PORT_GROUP 0x7061 /* link group of the ToR's ports, for removal in one message */

/* What is wrong with one key of the file: says so, returns -1. */
int rack_wrong(const char *path, const char *key, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* Of a name, for what should differ between racks: 24 bits of it are in their MACs. */
uint32_t rack_hash(const char *text);

/* Is a name of the rack, or a part of its subnet, taken by somebody else? Says by whom. */
int conflict_check(const struct rack *rack);

/* Is there room for it: files, namespaces, mounts, memory? Says what there is too little of. */
int limits_check(const struct rack *rack);

/* Links <rack>-<node> in /run/netns that lead to the namespaces of this rack. */
int links_make(const struct rack *rack);
/* Whatever links lead to namespaces of this rack; the folder too if we made it and it is empty. */
void links_remove(const char *name);

/* Each folder of /run/paxrack that may be a rack; stops at, and returns, the first non-zero. */
int state_each(int (*fn)(const char *name, void *arg), void *arg);

/* Names of racks, each once; starts as zeros, and its `name` is to be freed. */
struct state_names {
	char (*name)[RACK_NAME_MAX + 1];
	size_t count;
};
int state_names_add(struct state_names *names, const char *name);

/* With the lock held. */
int down_locked(const char *name);

#endif
