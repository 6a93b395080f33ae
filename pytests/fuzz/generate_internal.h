/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Between generate.c (states, what user space does) and generate_frame.c. */
#ifndef PAXRACK_FUZZ_GENERATE_INTERNAL_H
#define PAXRACK_FUZZ_GENERATE_INTERNAL_H

#include "pytests/fuzz/generate.h"

#define PICK(r, ...)                                                                               \
	({                                                                                         \
		const uint64_t picks[] = {__VA_ARGS__};                                            \
		picks[below(r, sizeof(picks) / sizeof(*picks))];                                   \
	})

/* A number of 32 bits, near its edges more often than elsewhere. */
static inline uint32_t edge32(struct random *r)
{
	uint32_t near = below(r, 4);

	switch (below(r, 5)) {
	case 0:
		return near;
	case 1:
		return -1 - near;
	case 2:
		return 0x7ffffffe + near;
	case 3:
		return 1u << below(r, 32);
	default:
		return random64(r);
	}
}

static inline uint32_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* `value` give or take a few. */
static inline uint32_t around(struct random *r, uint32_t value, uint32_t few)
{
	return value + below(r, 2 * few + 1) - few;
}

/* A frame for a replica in that state. */
void generate_frame(struct frame *f, const struct story *story, const struct model *m,
		    struct random *r);

#endif
