/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Random numbers that are the same everywhere: splitmix64. */
#ifndef PAXRACK_FUZZ_RANDOM_H
#define PAXRACK_FUZZ_RANDOM_H

#include <stdbool.h>
#include <stdint.h>

struct random {
	uint64_t state;
};

static inline uint64_t random64(struct random *r)
{
	uint64_t z = r->state += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

/* 0..n-1, n at least 1 */
static inline uint64_t below(struct random *r, uint64_t n)
{
	return random64(r) % n;
}

static inline bool percent(struct random *r, unsigned int chance)
{
	return below(r, 100) < chance;
}

static inline bool per_mille(struct random *r, unsigned int chance)
{
	return below(r, 1000) < chance;
}

#endif
