/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A capture file with one interface for each port, as Wireshark reads it: pcapng
 * (draft-ietf-opsawg-pcapng), in the machine's byte order. Functions return 0 or -errno.
 */
#ifndef PAXRACK_PCAPNG_H
#define PAXRACK_PCAPNG_H

#include <stdio.h>

#include "topo/tap.h"

/* The file's head: interface i is the port of the rack's node i, or of `only` alone. */
int pcapng_begin(FILE *file, const struct rack *rack, const struct rack_node *only);
int pcapng_frame(FILE *file, const struct tap_frame *frame, const struct rack_node *only);

#endif
