// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Cores under random faults, in virtual time: loss, duplication, reordering, partitions and
 * one-way cuts, pauses, crashes with and without memory. Whatever happens, no op number
 * has two contents, each request executes once, answers stay true; and when the faults
 * end, all clients get their answers. TEST_SEED and TEST_SEEDS choose more seeds.
 */
#include "replica/test_cluster.h"

static uint64_t total_views, total_recoveries, total_snapshots, total_transfers, total_crashes,
	total_ops;

struct loss {
	bool files;  /* gone at the crash: to be restarted without */
	bool memory; /* not recovered yet */
};

/* Replicas without memory: never more than f at a time, that is what VR promises for. */
static bool may_lose_memory(struct cluster *c, uint32_t victim, struct loss *loss)
{
	uint32_t lost = 1;

	for (uint32_t i = 0; i < c->config.n; i++) {
		if (c->node[i].vr && info_of(c, i).status != VR_RECOVERING)
			loss[i].memory = false;
		lost += i != victim && loss[i].memory;
	}
	return lost <= (c->config.n - 1) / 2;
}

static void count_up(struct cluster *c, uint32_t i)
{
	total_views += count_of(c, i, VR_C_VIEWS);
	total_recoveries += count_of(c, i, VR_C_RECOVERIES);
	total_snapshots += count_of(c, i, VR_C_SNAPSHOTS_TAKEN);
	total_transfers += count_of(c, i, VR_C_TRANSFERS);
}

static uint32_t newest_leader(struct cluster *c)
{
	uint64_t view = 0;

	for (uint32_t i = 0; i < c->config.n; i++) {
		if (c->node[i].vr && info_of(c, i).view > view)
			view = info_of(c, i).view;
	}
	return view % c->config.n;
}

static void cut_at_random(struct cluster *c)
{
	uint32_t side = chance(c, 1 << c->config.n), n = c->config.n;
	bool one_way = chance(c, 3) == 0;

	/* often it is the leader that is cut off, alone or with one other */
	if (chance(c, 2))
		side = 1u << newest_leader(c) | (chance(c, 2) ? 1u << chance(c, n) : 0);
	for (uint32_t i = 0; i < n; i++) {
		for (uint32_t k = 0; k < n; k++)
			c->cut[i][k] =
				one_way ? chance(c, 4) == 0 : (side >> i & 1) != (side >> k & 1);
	}
	for (uint32_t i = 0; i < n; i++) {
		for (uint32_t k = 0; k < c->clients; k++)
			c->cut[i][CLIENT(k)] = chance(c, 8) == 0;
	}
}

static void one_fault(struct cluster *c, struct loss *loss)
{
	uint32_t i = chance(c, c->config.n);
	struct node *n = &c->node[i];

	switch (chance(c, 8)) {
	case 0:
		cut_at_random(c);
		break;
	case 1:
	case 2:
		memset(c->cut, 0, sizeof(c->cut));
		break;
	case 3:
		c->loss_permille = chance(c, 2) ? chance(c, 300) : 0;
		c->duplicate_permille = chance(c, 200);
		c->jitter_us = chance(c, 2) ? chance(c, 5000) : 50;
		c->late_permille = chance(c, 3) ? 0 : chance(c, 30);
		break;
	case 4:
		n->paused = !n->paused;
		break;
	default:
		if (!n->vr) {
			node_restart(c, i, !loss[i].files);
			loss[i].files = false;
			break;
		}
		if (chance(c, 2))
			break;
		loss[i].files = may_lose_memory(c, i, loss) && chance(c, 3) == 0;
		loss[i].memory |= loss[i].files;
		count_up(c, i);
		total_crashes++;
		node_crash(c, i);
	}
}

static void run_seed(uint32_t n, bool offload, uint64_t seed)
{
	struct cluster *c = cluster_plan(n, 4, offload);
	struct loss loss[ELEC_REPLICAS_MAX] = {0};

	c->random = seed;
	c->op_len = seed % 7 == 0 ? 3000 : 40;
	if (seed % 5 == 0)
		c->config.log_ops = 256; /* soon too short for who was away */
	c->tell = getenv("TEST_TELL") != NULL;
	c->delay_us = seed % 3 == 0 ? 500 : 2000;
	cluster_open(c);
	start_clients(c, 0); /* for ever */
	for (int fault = 0; fault < 40; fault++) {
		run_for(c, chance(c, chance(c, 3) ? 200000 : 1500000));
		one_fault(c, loss);
	}
	memset(c->cut, 0, sizeof(c->cut));
	c->loss_permille = c->duplicate_permille = c->late_permille = 0;
	c->jitter_us = 50;
	for (uint32_t i = 0; i < n; i++) {
		c->node[i].paused = false;
		if (!c->node[i].vr)
			node_restart(c, i, !loss[i].files);
	}
	for (uint32_t i = 0; i < c->clients; i++) {
		if (c->client[i].replied > c->requests)
			c->requests = c->client[i].replied;
	}
	c->requests += 10;
	for (uint32_t i = 0; i < c->clients; i++)
		c->client[i].replied = c->requests - 10;
	run_clients(c, 60000000);
	total_ops += c->model_op;
	run_for(c, 5000000);
	for (uint32_t i = 0; i < n; i++) {
		struct vr_info info = info_of(c, i);

		count_up(c, i);
		tell(c, "r%u: status %d view %lu log %lu..%lu executed %lu of %lu\n", i,
		     info.status, info.view, info.base, info.op, info.executed, c->model_op);
		if (info.status != VR_NORMAL || info.view != info_of(c, 0).view ||
		    info.executed != c->model_op)
			fail_with_story(c, "a replica did not come along");
	}
	cluster_free(c);
}

static void test_random_faults(void **state)
{
	const char *first = getenv("TEST_SEED"), *many = getenv("TEST_SEEDS");
	uint64_t seed = first ? strtoull(first, NULL, 10) : 1;
	uint64_t seeds = many ? strtoull(many, NULL, 10) : 8;

	(void)state;
	for (; seeds > 0; seeds--, seed++) {
		for (uint32_t kind = 0; kind < 4; kind++) {
			print_message("seed %lu, %u replicas, offload %u\n", seed, 3 + (kind & 2),
				      kind & 1);
			run_seed(3 + (kind & 2), kind & 1, seed);
		}
	}
	print_message("%lu ops, %lu crashes, %lu views entered, %lu recoveries, %lu transfers, "
		      "%lu snapshots\n",
		      total_ops, total_crashes, total_views, total_recoveries, total_transfers,
		      total_snapshots);
	assert_true(total_views > 0);
	assert_true(total_recoveries > 0);
	assert_true(total_snapshots > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random_faults),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
