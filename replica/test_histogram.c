/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The histogram against a sorted list of the same values. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "replica/histogram.h"

static struct histogram h;

static int empty_histogram(void **state)
{
	(void)state;
	memset(&h, 0, sizeof(h));
	return 0;
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* splitmix64: the same values every time. */
static uint64_t next_random(uint64_t *seed)
{
	uint64_t z = *seed += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

static void test_empty(void **state)
{
	(void)state;
	assert_int_equal(histogram_percentile(&h, 0.5), 0);
	assert_int_equal(h.max, 0);
}

static void test_one_value(void **state)
{
	static const uint64_t values[] = {0, 1, 255, 256, 1000003, UINT64_MAX};

	(void)state;
	for (size_t i = 0; i < sizeof(values) / sizeof(*values); i++) {
		memset(&h, 0, sizeof(h));
		histogram_add(&h, values[i]);
		/* never above the largest: so one value is reported as it is */
		assert_int_equal(histogram_percentile(&h, 0), values[i]);
		assert_int_equal(histogram_percentile(&h, 0.5), values[i]);
		assert_int_equal(histogram_percentile(&h, 1), values[i]);
	}
}

static void test_small_values_are_exact(void **state)
{
	(void)state;
	for (uint64_t v = 1; v <= 200; v++)
		histogram_add(&h, v);
	assert_int_equal(histogram_percentile(&h, 0.5), 100);
	assert_int_equal(histogram_percentile(&h, 0.99), 198);
	assert_int_equal(histogram_percentile(&h, 0.999), 200);
}

/* Each bucket's edges: the next power of two must not share one with the last. */
static void test_edges(void **state)
{
	(void)state;
	for (unsigned int bit = 8; bit < 64; bit++) {
		uint64_t edge = (uint64_t)1 << bit;

		memset(&h, 0, sizeof(h));
		histogram_add(&h, edge - 1);
		histogram_add(&h, edge);
		histogram_add(&h, UINT64_MAX);
		assert_int_equal(histogram_percentile(&h, 1.0 / 3), edge - 1);
		assert_true(histogram_percentile(&h, 2.0 / 3) >= edge);
		assert_true(histogram_percentile(&h, 2.0 / 3) - edge <= edge / 100);
	}
}

static void test_within_one_percent(void **state)
{
	static uint64_t values[10000];
	static const double fractions[] = {0.01, 0.25, 0.5, 0.9, 0.99, 0.999, 1};
	const size_t n = sizeof(values) / sizeof(*values);
	uint64_t seed = 1;

	(void)state;
	for (size_t i = 0; i < n; i++) {
		/* every magnitude from 1 to 2^50 */
		uint64_t magnitude = next_random(&seed) % 50;

		values[i] = next_random(&seed) >> (63 - magnitude);
		histogram_add(&h, values[i]);
	}
	qsort(values, n, sizeof(*values), compare);
	assert_int_equal(h.max, values[n - 1]);
	for (size_t i = 0; i < sizeof(fractions) / sizeof(*fractions); i++) {
		uint64_t want = values[(size_t)(fractions[i] * n + 0.5) - 1];
		uint64_t got = histogram_percentile(&h, fractions[i]);

		assert_true(got >= want);
		assert_true(got - want <= want / 100);
	}
}

static void test_since(void **state)
{
	static struct histogram before;

	(void)state;
	for (uint64_t i = 1; i <= 100; i++)
		histogram_add(&h, i);
	before = h;
	assert_int_equal(histogram_percentile_since(&h, &before, 0.5), 0);
	for (uint64_t i = 201; i <= 220; i++)
		histogram_add(&h, i);
	assert_int_equal(histogram_percentile_since(&h, &before, 0.5), 210);
	assert_int_equal(histogram_percentile_since(&h, &before, 1), 220);
	assert_int_equal(histogram_percentile(&h, 0.5), 60);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_empty, empty_histogram),
		cmocka_unit_test_setup(test_one_value, empty_histogram),
		cmocka_unit_test_setup(test_small_values_are_exact, empty_histogram),
		cmocka_unit_test_setup(test_edges, empty_histogram),
		cmocka_unit_test_setup(test_within_one_percent, empty_histogram),
		cmocka_unit_test_setup(test_since, empty_histogram),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
