/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What a replica is, for whoever looks: one page of a file that it maps and writes at most
 * once in STATUS_TELL_US, so that looking costs the replica nothing, and needs no signal. A
 * page is read whole or not at all: `sequence` is odd while it is written.
 */
#ifndef PAXRACK_STATUS_H
#define PAXRACK_STATUS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "replica/vr.h"

#define STATUS_TELL_US 1000
#define STATUS_BYTES 4096 /* of the file */

/* X(field, printed name): all u64. Op numbers, then events since the process started. */
#define STATUS_VALUES(X)                                                                           \
	X(view, "view")                                                                            \
	X(base, "base")                                                                            \
	X(op, "op")                                                                                \
	X(committed, "committed")                                                                  \
	X(applied, "applied")                                                                      \
	X(executed, "executed")                                                                    \
	X(replies, "replies")                                                                      \
	X(resends, "prepare-resends")                                                              \
	X(kernel, "prepares-kernel")                                                               \
	X(user, "prepares-user")                                                                   \
	X(deaths, "peer-deaths")                                                                   \
	X(view_changes, "view-changes")                                                            \
	X(transfers, "transfers")

struct status {
	uint64_t sequence;
	uint64_t
		told_us; /* CLOCK_MONOTONIC; a replica that is alive tells several times a second */
	uint64_t dead;	 /* bit i: this leader holds replica i dead */
	uint32_t pid;
	uint32_t status; /* enum vr_status */
	uint32_t leader; /* of the view */
	uint32_t index, n;
	uint32_t zero;
#define X(field, name) uint64_t field;
	STATUS_VALUES(X)
#undef X
};

const char *status_name(enum vr_status status);

/* The replica's side: a new page at path. 0 or -errno. */
int status_open(struct status **s, const char *path);
/* Cheap, but not for every turn of a loop: see STATUS_TELL_US. */
void status_tell(struct status *s, const struct vr *vr, uint32_t index, uint32_t n,
		 uint64_t now_us);
void status_close(struct status *s); /* NULL is allowed; the file stays, and says who wrote it */

/* The other side: false when there is no page, or nothing in it yet. */
bool status_read(struct status *copy, const char *path);

#endif
