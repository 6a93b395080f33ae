/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "replica/histogram.h"

/*
 *   shift   values               buckets        width
 *     0     0 .. 255             0 .. 255       1
 *     1     256 .. 511           256 .. 383     2
 *     s     2^(7+s) .. 2^(8+s)   128 s + the top eight bits
 */
static unsigned int shift_of(uint64_t value)
{
	int top = 63 - __builtin_clzll(value | 1);

	return top > HISTOGRAM_BITS ? top - HISTOGRAM_BITS : 0;
}

static uint64_t bucket_last(unsigned int bucket)
{
	unsigned int shift = bucket >> HISTOGRAM_BITS;

	if (shift)
		shift--; /* the two first groups have width 1 */
	return (((uint64_t)bucket - ((uint64_t)shift << HISTOGRAM_BITS)) << shift) +
	       (((uint64_t)1 << shift) - 1);
}

void histogram_add(struct histogram *h, uint64_t value)
{
	unsigned int shift = shift_of(value);

	h->bucket[(shift << HISTOGRAM_BITS) + (value >> shift)]++;
	h->count++;
	if (value > h->max)
		h->max = value;
}

uint64_t histogram_percentile(const struct histogram *h, double fraction)
{
	static const struct histogram empty;

	return histogram_percentile_since(h, &empty, fraction);
}

uint64_t histogram_percentile_since(const struct histogram *h, const struct histogram *before,
				    double fraction)
{
	uint64_t count = h->count - before->count;
	double share = fraction * (double)count;
	uint64_t rank = (uint64_t)share, seen = 0;

	rank += (double)rank < share; /* round up */
	for (unsigned int i = 0; count && i < HISTOGRAM_BUCKETS; i++) {
		seen += h->bucket[i] - before->bucket[i];
		if (seen >= rank && seen) {
			uint64_t last = bucket_last(i);

			return last < h->max ? last : h->max;
		}
	}
	return count ? h->max : 0;
}
