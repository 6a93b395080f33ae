/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A histogram of durations in fixed memory: exact below 256, above that each power of
 * two is cut into 128 equal buckets, so that what it reports is at most 1/128 too high
 * and never too low. Any u64 fits; the unit is the caller's.
 */
#ifndef PAXRACK_HISTOGRAM_H
#define PAXRACK_HISTOGRAM_H

#include <stdint.h>

#define HISTOGRAM_BITS 7
#define HISTOGRAM_BUCKETS ((64 - HISTOGRAM_BITS + 1) << HISTOGRAM_BITS)

struct histogram { /* all zero: empty */
	uint64_t count;
	uint64_t max; /* exact */
	uint64_t bucket[HISTOGRAM_BUCKETS];
};

void histogram_add(struct histogram *h, uint64_t value);

/*
 * The smallest value that at least `fraction` (0..1) of all values do not exceed;
 * 0 when empty.
 */
uint64_t histogram_percentile(const struct histogram *h, double fraction);
/* The same of the values added since *h was *before. */
uint64_t histogram_percentile_since(const struct histogram *h, const struct histogram *before,
				    double fraction);

#endif
