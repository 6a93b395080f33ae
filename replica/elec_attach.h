/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What elec does that needs privileges after the programs were loaded, for a process that has
 * them: the caller's own, or its guard (guard.h).
 */
#ifndef PAXRACK_ELEC_ATTACH_H
#define PAXRACK_ELEC_ATTACH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <bpf/libbpf.h>

#include "replica/elec.h"

struct elec_attached {
	int xdp_link; /* the program is attached until this is closed; -1: none */
	struct bpf_tc_hook hook;
	bool made_hook, made_filter;
};

#define ELEC_ATTACHED_NONE                                                                         \
	{                                                                                          \
		.xdp_link = -1                                                                     \
	}

/* One program, of each kind at most one. 0 or -errno with `error`. */
int elec_attach(struct elec_attached *a, const struct elec_attach *what, char *error, size_t size);
/* The kernel or the device has no such thing, whoever asks; anything else may be mended. */
bool elec_is_lacking(int error);
void elec_detach(struct elec_attached *a);
/*
 * A keeper marks the folder of the pins for as long as something of it is attached, by a lock of
 * its own beside the process's. The descriptor of the mark, or -errno.
 */
int elec_attach_mark(int folder);
bool elec_attach_is_marked(int folder);
/* Sums over CPUs of the map elec_counts. */
int elec_attach_counts(int map, uint64_t counts[ELEC_R_COUNT]);

#endif
