/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The model as a filter, for test_fuzz.py: a request on standard input, an answer on
 * standard output, until the end of the input. Host byte order throughout.
 *
 *   request  struct serve_request | struct elec_state | slots of serve_slot | the frame
 *   answer   struct serve_answer | struct elec_state | serve_slot if slot is not -1 |
 *            each frame that left: u32 length, bytes
 */
#ifndef PAXRACK_FUZZ_SERVE_H
#define PAXRACK_FUZZ_SERVE_H

#include "pytests/fuzz/model.h"

struct serve_request {
	uint32_t tc; /* else XDP */
	uint32_t log_size, offloads, port;
	uint32_t no_tailroom, gso, no_link;
	uint32_t slots; /* of the log that are not zero */
	uint64_t clock_ns;
	uint64_t size; /* of the frame */
};

struct serve_slot {
	uint32_t index, is; /* enum slot_is */
	struct elec_slot slot;
};

struct serve_answer {
	uint32_t verdict, reason;
	uint32_t wakes, clones, clones_failed;
	int32_t slot; /* that was written, -1: none */
	uint32_t frames;
	uint32_t zero;
};

/* 0, or 1 when a request was cut short. */
int serve(void);

#endif
