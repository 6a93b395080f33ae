/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Random numbers that depend on a seed and on nothing else (splitmix64). */
#ifndef PAXRACK_SIM_RNG_H
#define PAXRACK_SIM_RNG_H

#include <stdbool.h>
#include <stdint.h>

struct rng {
	uint64_t state;
};

static inline uint64_t mix64(uint64_t z)
{
	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

static inline uint64_t rng_next(struct rng *r)
{
	return mix64(r->state += 0x9e3779b97f4a7c15);
}

/* 0..below-1 */
static inline uint64_t rng_below(struct rng *r, uint64_t below)
{
	return (uint64_t)(((unsigned __int128)rng_next(r) * below) >> 64);
}

/* least..most */
static inline uint64_t rng_between(struct rng *r, uint64_t least, uint64_t most)
{
	return least + rng_below(r, most - least + 1);
}

/* True `in_million` times out of a million. */
static inline bool rng_chance(struct rng *r, uint32_t in_million)
{
	return in_million && rng_below(r, 1000000) < in_million;
}

/* least..most, each power of two as likely as the next: durations of any size. */
static inline uint64_t rng_spread(struct rng *r, uint64_t least, uint64_t most)
{
	int doublings = 0;
	uint64_t top;

	while (least << doublings < most)
		doublings++;
	top = least << rng_below(r, doublings + 1);
	top = top + rng_below(r, top);
	return top < most ? top : most;
}

#endif
