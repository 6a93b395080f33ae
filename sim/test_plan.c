// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Who is cut off at the end: the others must be able to serve then. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sim/wrap.h"

#define ROUNDS 200

/* Replicas that just started, the first so many without memory: none has read its files yet. */
static struct sim *cluster(uint32_t n, uint32_t without)
{
	struct sim *s = need(sizeof(*s));

	s->n = n;
	s->o.faults = 1 << SIM_FAULT_PARTITION;
	s->log_ops = 256;
	check_open(s);
	for (uint32_t i = 0; i < n; i++) {
		struct vr_config config = {.n = n, .self = i, .app = &app_kv};
		struct node *node = &s->node[i];
		char error[100];

		node->sim = s;
		node->index = i;
		node->status = NODE_UP;
		node->crash_in = -1;
		node->without_memory = i < without;
		node_current = node;
		assert_non_null(vr_open(&config, error, sizeof(error)));
		node_current = NULL;
	}
	return s;
}

static void cluster_free(struct sim *s)
{
	for (uint32_t i = 0; i < s->n; i++)
		wrap_release(&s->node[i]);
	check_close(s);
	unneed(s);
}

/* How many that remember reach each other at best: the largest set without a cut inside. */
static uint32_t can_serve(const struct sim *s, uint32_t without)
{
	uint32_t best = 0;

	for (uint32_t set = 0; set < 1u << s->n; set++) {
		bool linked = true;

		for (uint32_t i = 0; i < s->n; i++) {
			for (uint32_t j = 0; j < s->n; j++)
				linked &= !(set >> i & set >> j & 1) || !s->net.cut[i][j];
		}
		if (linked && !(set & ((1u << without) - 1)) &&
		    (uint32_t)__builtin_popcount(set) > best)
			best = __builtin_popcount(set);
	}
	return best;
}

/* Of ROUNDS plans: how many cut somebody off. What they leave is f + 1 that can serve. */
static uint32_t count_cuts(uint32_t n, uint32_t without)
{
	struct sim *s = cluster(n, without);
	uint32_t cuts = 0;

	for (uint32_t round = 0; round < ROUNDS; round++) {
		s->rng_plan.state = round;
		if (plan_cut_one(s)) {
			cuts++;
			assert_true(can_serve(s, without) >= n / 2 + 1);
		}
		plan_mend(s);
	}
	cluster_free(s);
	return cuts;
}

static void test_all_remember(void **state)
{
	(void)state;
	assert_int_equal(count_cuts(3, 0), ROUNDS);
	assert_int_equal(count_cuts(5, 0), ROUNDS);
}

/* Beside f without memory only one of these may be cut off. */
static void test_some_without_memory(void **state)
{
	uint32_t cuts;

	(void)state;
	assert_int_equal(count_cuts(5, 1), ROUNDS);
	cuts = count_cuts(3, 1);
	assert_true(cuts > 0 && cuts < ROUNDS);
	cuts = count_cuts(5, 2);
	assert_true(cuts > 0 && cuts < ROUNDS);
}

static void test_nobody_to_spare(void **state)
{
	(void)state;
	assert_int_equal(count_cuts(1, 0), 0);
	assert_int_equal(count_cuts(2, 0), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_all_remember),
		cmocka_unit_test(test_some_without_memory),
		cmocka_unit_test(test_nobody_to_spare),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
