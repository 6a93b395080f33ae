/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A frame as a line for people. */
#ifndef PAXRACK_FRAME_TEXT_H
#define PAXRACK_FRAME_TEXT_H

#include <stddef.h>

#include "topo/tap.h"

#define FRAME_TEXT_MAX 256

/*
 * "r0   -> r1     412 B  Prepare  view 0  op 17-18": it comes in by the port of r0; "r0   => r1":
 * it leaves by the port of r1. The other name is that of the MAC. What the frame says otherwise of
 * the port's end stands behind: "(as r2: dropped, spoof-mac)", "(to all)".
 */
void frame_text(char text[FRAME_TEXT_MAX], const struct rack *rack, const struct tap_frame *frame);

#endif
