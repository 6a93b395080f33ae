// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* View changes, recovery and state transfer, scene by scene. */
#include "replica/test_cluster.h"

/* --- helpers: one core alone on the stage --------------------------------------------------- */

static uint32_t watched;
static struct message seen[WIRE_KIND_COUNT]; /* last one of each kind that the core sent */
static uint32_t seen_count[WIRE_KIND_COUNT], seen_to[WIRE_KIND_COUNT];
static uint64_t seen_first[WIRE_KIND_COUNT], seen_last[WIRE_KIND_COUNT]; /* of its entries */

/* Nothing that is sent arrives; what the core on the stage sends is remembered. */
static bool watch(struct cluster *c, const struct packet *p, const struct message *m)
{
	(void)c;
	if (!m || p->from != watched)
		return true;
	seen[m->kind] = *m;
	seen_to[m->kind] = p->to;
	seen_count[m->kind]++;
	seen_first[m->kind] = seen_last[m->kind] = 0;
	if (m->entries.count > 0) {
		seen_first[m->kind] = entries_at(&m->entries, 0)->opnum;
		seen_last[m->kind] = entries_at(&m->entries, m->entries.count - 1)->opnum;
	}
	return true;
}

static struct cluster *alone(uint32_t n, uint32_t who)
{
	struct cluster *c = cluster_new(n, 0, false);

	watched = who;
	memset(seen_count, 0, sizeof(seen_count));
	c->filter = watch;
	return c;
}

static void inject(struct cluster *c, uint32_t to, uint32_t from, const struct message *m)
{
	static uint8_t data[MESSAGE_LEN_MAX];
	struct vr_event ev = {.kind = VR_EVENT_MESSAGE, .from = from, .data = data};

	ev.len = message_encode(m, data, sizeof(data));
	assert_true(ev.len > 0);
	step(c, to, &ev);
}

/* Entries first..last whose content is the op number, from `mark` on with another content. */
static struct entries some_entries(uint64_t first, uint64_t last, uint64_t mark)
{
	static struct entry list[1000];
	static uint64_t text[1000];

	for (uint64_t op = first; op <= last; op++) {
		text[op - first] = op < mark ? op : op + 1000000;
		list[op - first] = (struct entry){
			.view = 0,
			.opnum = op,
			.clientid = 1000,
			.reqid = text[op - first],
			.op = {(uint8_t *)&text[op - first], 8},
			.state = 1,
		};
	}
	return (struct entries){list, 0, last + 1 - first, UINT32_MAX};
}

#define NO_MARK UINT64_MAX

static void prepare(struct cluster *c, uint32_t to, uint64_t view, uint64_t first, uint64_t last,
		    uint64_t committed)
{
	struct message m = {.kind = WIRE_PREPARE, .view = view, .opnum = last, .batchstart = first};

	m.has_committed = true;
	m.committed = committed;
	m.entries = some_entries(first, last, NO_MARK);
	inject(c, to, view % c->config.n, &m);
}

static struct message vote(enum wire_kind kind, uint64_t view, uint32_t index, uint64_t committed)
{
	return (struct message){.kind = kind, .view = view, .index = index, .committed = committed};
}

/* --- change of view -----------------------------------------------------------------------------
 */

static void test_story_of_a_view_change(void **state)
{
	struct cluster *c = cluster_new(3, 1, true);

	(void)state;
	start_clients(c, 2);
	run_clients(c, 1000000);
	run_for(c, 100000);
	node_crash(c, 0);
	c->tell = true;
	while (info_of(c, 2).view != 1 || info_of(c, 2).status != VR_NORMAL)
		assert_true(cluster_step(c, 1000000));
	/* whose patience ends first is chance; here it is r1's */
	expect_story(c, "r1>r0 StartViewChange v1 0\n"
			"r1>r2 StartViewChange v1 0\n"
			"r2>r0 StartViewChange v1 0\n"
			"r2>r1 StartViewChange v1 0\n"
			"r2>r1 DoViewChange v1 2\n"
			"r1>r0 StartView v1 2\n"
			"r1>r2 StartView v1 2\n"
			"r1 thaws v1 leader r1 at 2\n"
			"r2>r1 PrepareOK v1 2\n"
			"r2 thaws v1 leader r1 at 2\n");
	cluster_free(c);
}

static void check_leader_killed(uint32_t n, bool offload)
{
	struct cluster *c = cluster_new(n, 4, offload);
	uint64_t since;

	start_clients(c, 50);
	run_clients(c, 10000000);
	start_clients(c, 50);
	run_for(c, 1000);
	node_crash(c, 0);
	since = c->now;
	run_clients(c, 10000000);
	assert_true(c->now - since < 2000000);
	run_for(c, 200000);
	for (uint32_t i = 1; i < n; i++) {
		assert_int_equal(info_of(c, i).view, 1);
		assert_int_equal(info_of(c, i).executed, c->model_op);
	}
	/* the old leader comes back and learns of it */
	node_restart(c, 0, true);
	run_for(c, 500000);
	assert_int_equal(info_of(c, 0).view, 1);
	assert_int_equal(info_of(c, 0).status, VR_NORMAL);
	assert_int_equal(info_of(c, 0).executed, c->model_op);
	cluster_free(c);
}

static void test_leader_killed(void **state)
{
	(void)state;
	check_leader_killed(3, false);
	check_leader_killed(3, true);
	check_leader_killed(5, false);
	check_leader_killed(5, true);
}

static void cut_off(struct cluster *c, uint32_t who, bool cut)
{
	for (uint32_t i = 0; i < c->config.n; i++) {
		if (i != who)
			c->cut[i][who] = c->cut[who][i] = cut;
	}
}

/* Split brain: ops that the cut-off leader took in are not those of the new view. */
static void check_split_brain(bool offload)
{
	struct cluster *c = cluster_new(3, 4, offload);

	start_clients(c, 20);
	run_clients(c, 10000000);
	cut_off(c, 0, true);
	start_clients(c, 20);
	run_for(c, 1000);
	assert_true(info_of(c, 0).op > info_of(c, 0).committed);
	run_clients(c, 10000000);
	assert_int_equal(info_of(c, 0).view, 0);
	assert_int_equal(info_of(c, 1).view, 1);
	cut_off(c, 0, false);
	run_for(c, 1000000);
	for (uint32_t i = 0; i < 3; i++) {
		assert_int_equal(info_of(c, i).view, 1);
		assert_int_equal(info_of(c, i).executed, c->model_op);
	}
	/* it follows on the fast path */
	start_clients(c, 20);
	run_clients(c, 10000000);
	run_for(c, 100000);
	assert_true(!offload || count_of(c, 0, VR_C_PREPARES_KERNEL) > 0);
	cluster_free(c);
}

static void test_split_brain(void **state)
{
	(void)state;
	check_split_brain(false);
	check_split_brain(true);
}

static bool lose_start_view(struct cluster *c, const struct packet *p, const struct message *m)
{
	(void)c;
	return m && m->kind == WIRE_START_VIEW && p->to == 2;
}

/* A StartView that never arrives: the new leader's Commit does as well. */
static void test_start_view_is_lost(void **state)
{
	struct cluster *c = cluster_new(3, 1, false);

	(void)state;
	c->filter = lose_start_view;
	start_clients(c, 10);
	run_clients(c, 10000000);
	node_crash(c, 0);
	start_clients(c, 10);
	run_clients(c, 10000000);
	assert_int_equal(info_of(c, 2).status, VR_NORMAL);
	assert_int_equal(info_of(c, 2).view, 1);
	cluster_free(c);
}

/* Silence of the leader's socket, but its Prepares wait in the kernel log: no view change. */
static void test_kernel_progress_is_a_sign_of_life(void **state)
{
	struct cluster *c = cluster_new(3, 1, true);
	struct gate *g = &c->node[1].gate;
	struct vr_event tick = {.kind = VR_EVENT_TICK}, frozen = {.kind = VR_EVENT_FROZEN};
	struct vr_out out;
	enum vr_result result;

	(void)state;
	start_clients(c, 5);
	run_clients(c, 1000000);
	run_for(c, 100000);
	c->node[1].paused = true;
	start_clients(c, 1);
	run_clients(c, 1000000);
	assert_int_equal(g->log_count, 1);
	/* the process has looked at the kernel log; then the Prepare came, then the timer ran out
	 */
	for (tick.now_us = c->now;; tick.now_us += 50000) {
		result = vr_step(c->node[1].vr, &tick, &out);
		if (result == VR_FREEZE)
			break;
		assert_true(tick.now_us < c->now + 1000000);
	}
	assert_int_equal(out.count, 0);
	assert_false(info_of(c, 1).frozen);
	c->now = tick.now_us;
	c->tell = true;
	frozen.now_us = tick.now_us;
	g->frozen = true;
	drain(c, 1);
	assert_int_equal(step_once(c, 1, &frozen), VR_OK);
	assert_true(info_of(c, 1).frozen);
	assert_int_equal(step_once(c, 1, &tick), VR_OK);
	expect_story(c, "r1 thaws v0 leader r0 at 6\n");
	assert_int_equal(info_of(c, 1).view, 0);
	assert_int_equal(info_of(c, 1).op, 6);
	cluster_free(c);
}

/* Stopped for long: the replica does not blame the leader for it. */
static void test_who_slept_does_not_suspect(void **state)
{
	struct cluster *c = cluster_new(3, 1, false);

	(void)state;
	c->node[1].paused = true;
	run_for(c, 3000000);
	c->node[1].paused = false;
	run_for(c, 3000000);
	for (uint32_t i = 0; i < 3; i++)
		assert_int_equal(count_of(c, i, VR_C_VIEW_CHANGES), 0);
	cluster_free(c);
}

/* Everybody stopped for long, as on a machine that slept: nobody blames anybody. */
static void test_all_slept(void **state)
{
	struct cluster *c = cluster_new(3, 1, true);

	(void)state;
	start_clients(c, 5);
	run_clients(c, 1000000);
	for (uint32_t i = 0; i < 3; i++)
		c->node[i].paused = true;
	run_for(c, 3000000);
	for (uint32_t i = 0; i < 3; i++)
		c->node[i].paused = false;
	run_for(c, 3000000);
	for (uint32_t i = 0; i < 3; i++) {
		assert_int_equal(count_of(c, i, VR_C_VIEW_CHANGES), 0);
		assert_int_equal(count_of(c, i, VR_C_DEAF), 0);
	}
	cluster_free(c);
}

/* --- a leader that is heard and hears nobody --- */

static void cut_ears(struct cluster *c, uint32_t i, uint32_t first, bool cut)
{
	for (uint32_t from = first; from < c->config.n; from++)
		c->cut[from][i] = from != i && cut;
}

/* The others elect a leader that can commit, while the cut lasts; after it the old one follows. */
static void check_deaf_leader(uint32_t n, bool offload, bool clients_too)
{
	struct cluster *c = cluster_new(n, 4, offload);

	start_clients(c, 50);
	run_clients(c, 10000000);
	cut_ears(c, 0, 1, true);
	for (uint32_t k = 0; k < c->clients; k++)
		c->cut[CLIENT(k)][0] = clients_too;
	start_clients(c, 50);
	run_clients(c, 3000000);
	for (uint32_t i = 1; i < n; i++)
		assert_int_equal(info_of(c, i).view, 1);
	assert_int_equal(info_of(c, 0).view, 0);
	assert_int_equal(info_of(c, 0).status, VR_NORMAL);
	assert_int_equal(count_of(c, 0, VR_C_DEAF), 1);
	memset(c->cut, 0, sizeof(c->cut));
	run_for(c, 200000);
	assert_int_equal(info_of(c, 0).view, 1);
	assert_int_equal(info_of(c, 0).status, VR_NORMAL);
	assert_int_equal(info_of(c, 0).executed, c->model_op);
	cluster_free(c);
}

static void test_deaf_leader(void **state)
{
	(void)state;
	for (int kind = 0; kind < 8; kind++)
		check_deaf_leader(kind & 4 ? 5 : 3, kind & 1, kind & 2);
}

/* Nobody asks it for anything, and nothing is to be acked: its Commits are answered, or not. */
static void test_deaf_idle_leader(void **state)
{
	struct cluster *c = cluster_new(3, 0, true);

	(void)state;
	run_for(c, 3000000);
	assert_int_equal(info_of(c, 1).view, 0);
	cut_ears(c, 0, 1, true);
	run_for(c, 2000000);
	assert_int_equal(info_of(c, 1).view, 1);
	assert_int_equal(info_of(c, 2).view, 1);
	cluster_free(c);
}

/* Of a new cluster the leader is up long before the others: it is theirs all the same. */
static void test_late_start(void **state)
{
	struct cluster *c = cluster_plan(3, 2, true);

	(void)state;
	node_open(c, 0);
	node_start(c, 0);
	run_for(c, 2000000);
	assert_int_equal(count_of(c, 0, VR_C_DEAF), 1);
	for (uint32_t i = 1; i < 3; i++) {
		node_open(c, i);
		node_start(c, i);
	}
	run_for(c, 2000000);
	start_clients(c, 10);
	run_clients(c, 1000000);
	/* and so when both others were away */
	for (uint32_t i = 1; i < 3; i++)
		node_crash(c, i);
	run_for(c, 5000000);
	for (uint32_t i = 1; i < 3; i++)
		node_restart(c, i, true);
	start_clients(c, 10);
	run_clients(c, 1000000);
	for (uint32_t i = 0; i < 3; i++)
		assert_int_equal(info_of(c, i).view, 0);
	cluster_free(c);
}

/* Heard, but not yet known to be in this view, and further behind in its acks than the log reaches. */
static void check_restart_in_own_view(bool offload)
{
	struct cluster *c = cluster_plan(3, 4, offload);

	c->config.log_ops = 256;
	cluster_open(c);
	start_clients(c, 100);
	run_clients(c, 10000000);
	start_clients(c, 100);
	run_for(c, 200);
	for (uint32_t i = 0; i < 3; i++)
		node_crash(c, i);
	node_restart(c, 0, true);
	assert_true(info_of(c, 0).base > 0);
	run_for(c, 240000);
	node_restart(c, 1, true);
	node_restart(c, 2, true);
	run_clients(c, 1000000);
	assert_int_equal(info_of(c, 0).view, 0);
	/* what clients asked again stood in the log already, and got no second place */
	assert_int_equal(info_of(c, 0).op, 800);
	cluster_free(c);
}

static void test_restart_in_own_view(void **state)
{
	(void)state;
	check_restart_in_own_view(false);
	check_restart_in_own_view(true);
}

/* The refused twin: two of four others are a quorum. */
static void test_hard_of_hearing(void **state)
{
	struct cluster *c = cluster_new(5, 2, true);

	(void)state;
	cut_ears(c, 0, 3, true);
	start_clients(c, 50);
	run_clients(c, 10000000);
	run_for(c, 10000000);
	for (uint32_t i = 0; i < 5; i++) {
		assert_int_equal(info_of(c, i).view, 0);
		assert_int_equal(count_of(c, i, VR_C_VIEW_CHANGES), 0);
	}
	assert_int_equal(count_of(c, 0, VR_C_DEAF), 0);
	cluster_free(c);
}

static uint32_t from_leader;

static bool count_from_leader(struct cluster *c, const struct packet *p, const struct message *m)
{
	(void)c;
	(void)m;
	from_leader += p->from == 0 && p->to < ELEC_REPLICAS_MAX;
	return false;
}

/* What it still sends are probes, too rare to keep a follower quiet. */
static void test_deaf_leader_is_silent(void **state)
{
	struct cluster *c = cluster_new(3, 2, false);
	uint64_t op;

	(void)state;
	start_clients(c, 5);
	run_clients(c, 1000000);
	c->node[1].paused = c->node[2].paused = true;
	start_clients(c, 5);
	run_for(c, 1000000);
	op = info_of(c, 0).op;
	assert_int_equal(op, 12);
	from_leader = 0;
	c->filter = count_from_leader;
	run_for(c, 10000000);
	assert_in_range(from_leader, 18, 22);
	assert_int_equal(info_of(c, 0).op, op);
	assert_int_equal(count_of(c, 0, VR_C_DEAF), 1);
	/* heard again, it serves, or whoever was elected meanwhile */
	c->node[1].paused = c->node[2].paused = false;
	run_clients(c, 3000000);
	cluster_free(c);
}

static void test_deaf_leader_takes_no_request(void **state)
{
	struct cluster *c = cluster_new(3, 1, false);

	(void)state;
	c->node[1].paused = c->node[2].paused = true;
	run_for(c, 1000000);
	assert_int_equal(count_of(c, 0, VR_C_DEAF), 1);
	start_clients(c, 1);
	run_for(c, 1000000);
	assert_true(count_of(c, 0, VR_C_IGNORED_REQUEST_DEAF) > 0);
	assert_int_equal(info_of(c, 0).op, 0);
	c->node[1].paused = c->node[2].paused = false;
	run_clients(c, 3000000);
	cluster_free(c);
}

/* Alone, it waits in one view; it does not climb. */
static void test_alone_in_a_change(void **state)
{
	struct cluster *c = cluster_new(3, 1, false);

	(void)state;
	cut_off(c, 2, true);
	run_for(c, 20000000);
	assert_int_equal(info_of(c, 2).status, VR_VIEW_CHANGE);
	assert_int_equal(info_of(c, 2).view, 1);
	cut_off(c, 2, false);
	start_clients(c, 10);
	run_clients(c, 5000000);
	run_for(c, 500000);
	for (uint32_t i = 0; i < 3; i++) {
		assert_int_equal(info_of(c, i).view, 1);
		assert_int_equal(info_of(c, i).status, VR_NORMAL);
	}
	cluster_free(c);
}

/* An ack is for the view it names. */
static void test_ack_of_another_view(void **state)
{
	struct cluster *c = alone(3, 1);
	struct message m = vote(WIRE_DO_VIEW_CHANGE, 1, 2, 0);

	(void)state;
	prepare(c, 1, 0, 1, 3, 0);
	m.opnum = 2;
	inject(c, 1, 2, &m);
	assert_int_equal(info_of(c, 1).status, VR_NORMAL);
	assert_int_equal(info_of(c, 1).op, 3);
	m = (struct message){.kind = WIRE_PREPARE_OK, .view = 0, .opnum = 3, .index = 2};
	inject(c, 1, 2, &m);
	assert_int_equal(info_of(c, 1).committed, 0);
	m.view = 1;
	inject(c, 1, 2, &m);
	assert_int_equal(info_of(c, 1).committed, 3);
	cluster_free(c);
}

/* A cluster that has not begun to work changes its view and recovers like any other. */
static void test_empty_log(void **state)
{
	struct cluster *c = cluster_new(3, 1, true);

	(void)state;
	node_crash(c, 0);
	run_for(c, 2000000);
	assert_int_equal(info_of(c, 1).status, VR_NORMAL);
	assert_int_equal(info_of(c, 2).status, VR_NORMAL);
	assert_int_equal(info_of(c, 2).view, 1);
	node_restart(c, 0, false);
	run_for(c, 1000000);
	assert_int_equal(info_of(c, 0).status, VR_NORMAL);
	assert_int_equal(info_of(c, 0).view, 1);
	start_clients(c, 3);
	run_clients(c, 1000000);
	cluster_free(c);
}

/* --- what a vote says ----------------------------------------------------------------------------
 */

/*
 * A log is taken over in part when the next change comes. The vote is still for all that
 * was acked before, and the last normal view is the old one: the new one was not entered.
 */
static void test_vote_after_half_a_transfer(void **state)
{
	struct cluster *c = alone(3, 2);
	struct message m = {.kind = WIRE_START_VIEW, .view = 1, .opnum = 8, .committed = 4};

	(void)state;
	prepare(c, 2, 0, 1, 8, 4);
	m.entries = some_entries(5, 6, NO_MARK);
	inject(c, 2, 1, &m);
	assert_int_equal(info_of(c, 2).status, VR_VIEW_CHANGE);
	assert_int_equal(info_of(c, 2).op, 8);
	run_for(c, 1);
	assert_int_equal(seen[WIRE_REQUEST_STATE_TRANSFER].opnum, 6);
	assert_int_equal(seen_to[WIRE_REQUEST_STATE_TRANSFER], 1);

	m = vote(WIRE_START_VIEW_CHANGE, 3, 0, 0);
	inject(c, 2, 0, &m);
	m = vote(WIRE_START_VIEW_CHANGE, 3, 1, 0);
	inject(c, 2, 1, &m);
	assert_int_equal(seen[WIRE_DO_VIEW_CHANGE].view, 3);
	assert_int_equal(seen[WIRE_DO_VIEW_CHANGE].last_normal, 0);
	assert_int_equal(seen[WIRE_DO_VIEW_CHANGE].opnum, 8);
	assert_int_equal(seen[WIRE_DO_VIEW_CHANGE].committed, 4);
	assert_int_equal(seen_first[WIRE_DO_VIEW_CHANGE], 1);
	assert_int_equal(seen_last[WIRE_DO_VIEW_CHANGE], 8);
	cluster_free(c);
}

/* What the leader sent while the log was being fetched is not forgotten: it is fetched too. */
static void test_prepare_during_a_transfer(void **state)
{
	struct cluster *c = alone(3, 2);
	struct message m = {.kind = WIRE_STATE_TRANSFER, .opnum = 6};

	(void)state;
	prepare(c, 2, 0, 1, 3, 3);
	prepare(c, 2, 0, 6, 6, 3);
	assert_int_equal(count_of(c, 2, VR_C_IGNORED_GAP), 1);
	run_for(c, 6000);
	assert_int_equal(seen[WIRE_REQUEST_STATE_TRANSFER].opnum, 3);
	prepare(c, 2, 0, 7, 7, 3);
	m.entries = some_entries(4, 6, NO_MARK);
	inject(c, 2, 0, &m);
	assert_int_equal(info_of(c, 2).op, 6);
	assert_int_equal(seen[WIRE_REQUEST_STATE_TRANSFER].opnum, 6);
	m.opnum = 7;
	m.entries = some_entries(7, 7, NO_MARK);
	inject(c, 2, 0, &m);
	assert_int_equal(info_of(c, 2).op, 7);
	assert_int_equal(seen[WIRE_PREPARE_OK].opnum, 7);
	cluster_free(c);
}

/* An entry that differs goes, with all that follows it; what is above the new log's end goes too.
 */
static void test_tail_that_differs(void **state)
{
	struct cluster *c = alone(3, 2);
	struct message m = {.kind = WIRE_START_VIEW, .view = 1, .opnum = 7, .committed = 4};
	struct node *n = &c->node[2];
	uint64_t content;

	(void)state;
	prepare(c, 2, 0, 1, 9, 4);
	m.entries = some_entries(4, 6, 6);
	inject(c, 2, 1, &m);
	assert_int_equal(info_of(c, 2).status, VR_VIEW_CHANGE);
	assert_int_equal(info_of(c, 2).op, 6);
	m = (struct message){.kind = WIRE_STATE_TRANSFER, .view = 1, .opnum = 7};
	m.entries = some_entries(7, 7, 6);
	inject(c, 2, 1, &m);
	assert_int_equal(info_of(c, 2).status, VR_NORMAL);
	assert_int_equal(info_of(c, 2).op, 7);
	memcpy(&content, vr_entry(n->vr, 6)->op.data, 8);
	assert_int_equal(content, 1000006);
	assert_int_equal(seen[WIRE_PREPARE_OK].opnum, 7);
	assert_int_equal(seen[WIRE_PREPARE_OK].view, 1);
	/* the journal tells the same */
	node_crash(c, 2);
	node_restart(c, 2, true);
	assert_int_equal(info_of(c, 2).op, 7);
	assert_int_equal(info_of(c, 2).last_normal, 1);
	cluster_free(c);
}

static void test_longer_tail_goes_at_the_end(void **state)
{
	struct cluster *c = alone(3, 2);
	struct message m = {.kind = WIRE_START_VIEW, .view = 1, .opnum = 6, .committed = 4};

	(void)state;
	prepare(c, 2, 0, 1, 9, 4);
	m.entries = some_entries(5, 6, NO_MARK);
	inject(c, 2, 1, &m);
	assert_int_equal(info_of(c, 2).status, VR_NORMAL);
	assert_int_equal(info_of(c, 2).op, 6);
	assert_int_equal(c->node[2].gate.last, 6);
	cluster_free(c);
}

/* The largest last normal view wins, whatever the op numbers. */
static void test_best_log(void **state)
{
	struct cluster *c = alone(5, 1);
	struct message m;

	(void)state;
	prepare(c, 1, 0, 1, 9, 4);
	m = vote(WIRE_DO_VIEW_CHANGE, 6, 2, 4);
	m.last_normal = 5;
	m.opnum = 7;
	m.entries = some_entries(5, 7, 7);
	inject(c, 1, 2, &m);
	assert_int_equal(info_of(c, 1).status, VR_VIEW_CHANGE); /* two of five */
	m = vote(WIRE_DO_VIEW_CHANGE, 6, 3, 4);
	m.last_normal = 4;
	m.opnum = 20;
	m.entries = some_entries(5, 20, 7);
	inject(c, 1, 3, &m);
	assert_int_equal(info_of(c, 1).status, VR_NORMAL);
	assert_int_equal(info_of(c, 1).view, 6);
	assert_int_equal(info_of(c, 1).op, 7);
	assert_int_equal(vr_entry(c->node[1].vr, 7)->reqid, 1000007);
	assert_int_equal(seen[WIRE_START_VIEW].opnum, 7);
	cluster_free(c);
}

/* The best log did not come along with the vote: the new leader gets it first. */
static void test_leader_fetches_the_log(void **state)
{
	struct cluster *c = alone(3, 1);
	struct message m = vote(WIRE_DO_VIEW_CHANGE, 1, 2, 6);

	(void)state;
	prepare(c, 1, 0, 1, 3, 2);
	m.opnum = 9;
	m.entries = some_entries(7, 9, NO_MARK);
	inject(c, 1, 2, &m);
	assert_int_equal(info_of(c, 1).status, VR_VIEW_CHANGE);
	run_for(c, 1);
	assert_int_equal(seen[WIRE_REQUEST_STATE_TRANSFER].view, 1);
	assert_int_equal(seen[WIRE_REQUEST_STATE_TRANSFER].opnum, 2);
	assert_int_equal(seen_to[WIRE_REQUEST_STATE_TRANSFER], 2);
	assert_int_equal(seen_count[WIRE_START_VIEW], 0);
	m = (struct message){.kind = WIRE_STATE_TRANSFER, .view = 1, .opnum = 9};
	m.entries = some_entries(3, 9, NO_MARK);
	inject(c, 1, 2, &m);
	assert_int_equal(info_of(c, 1).status, VR_NORMAL);
	assert_int_equal(info_of(c, 1).op, 9);
	assert_int_equal(info_of(c, 1).committed, 6);
	cluster_free(c);
}

/* Only the new leader is given the log of a replica in the change, and only in that view. */
static void test_log_for_the_new_leader_only(void **state)
{
	struct cluster *c = alone(5, 2);
	struct message m = vote(WIRE_START_VIEW_CHANGE, 1, 3, 0);

	(void)state;
	prepare(c, 2, 0, 1, 3, 2);
	inject(c, 2, 3, &m);
	m = (struct message){.kind = WIRE_REQUEST_STATE_TRANSFER, .view = 1};
	inject(c, 2, 3, &m);
	assert_int_equal(seen_count[WIRE_STATE_TRANSFER], 0);
	inject(c, 2, 1, &m);
	assert_int_equal(seen_count[WIRE_STATE_TRANSFER], 1);
	assert_int_equal(seen_last[WIRE_STATE_TRANSFER], 3);
	m.view = 2;
	inject(c, 2, 1, &m);
	assert_int_equal(seen_count[WIRE_STATE_TRANSFER], 1);
	cluster_free(c);
}

/* The view is in the journal before the vote is on the wire. */
static void test_view_is_recorded_before_the_vote(void **state)
{
	struct cluster *c = cluster_new(3, 0, false);
	struct vr_event tick = {.kind = VR_EVENT_TICK, .now_us = c->now};
	struct vr_event frozen = {.kind = VR_EVENT_FROZEN};
	struct vr_out out;
	bool recorded = false, voted = false;

	(void)state;
	while (vr_step(c->node[1].vr, &tick, &out) == VR_OK)
		tick.now_us += 50000;
	frozen.now_us = tick.now_us;
	vr_step(c->node[1].vr, &frozen, &out);
	assert_int_equal(out.count, 0);
	assert_int_equal(vr_step(c->node[1].vr, &tick, &out), VR_OK);
	for (uint32_t i = 0; i < out.count; i++) {
		assert_int_not_equal(out.actions[i].kind, VR_THAW);
		recorded |= out.actions[i].kind == VR_RECORD_VIEW;
		voted |= out.actions[i].kind == VR_SEND;
		assert_true(recorded || !voted);
	}
	assert_true(voted);
	cluster_free(c);
}

/* A vote is for a view; after a restart it is not forgotten. */
static void test_vote_survives_a_restart(void **state)
{
	struct cluster *c = alone(3, 2);
	struct message m = vote(WIRE_START_VIEW_CHANGE, 4, 0, 0);

	(void)state;
	prepare(c, 2, 0, 1, 3, 0);
	inject(c, 2, 0, &m);
	assert_int_equal(info_of(c, 2).view, 4);
	node_crash(c, 2);
	node_restart(c, 2, true);
	assert_int_equal(info_of(c, 2).view, 4);
	assert_int_equal(info_of(c, 2).status, VR_VIEW_CHANGE);
	assert_int_equal(info_of(c, 2).last_normal, 0);
	prepare(c, 2, 0, 4, 4, 0); /* of the view that was left */
	assert_int_equal(info_of(c, 2).op, 3);
	assert_int_equal(seen_count[WIRE_PREPARE_OK], 1);
	cluster_free(c);
}

/* A leader's batch that was never sent is no part of its vote. */
static void test_open_batch_is_no_part_of_the_vote(void **state)
{
	struct cluster *c = alone(3, 0);
	struct message m = {.kind = WIRE_REQUEST};

	(void)state;
	m.entries = some_entries(1, 1, NO_MARK);
	inject(c, 0, VR_FROM_CLIENT, &m);
	assert_int_equal(info_of(c, 0).op, 1);
	m = vote(WIRE_START_VIEW_CHANGE, 1, 1, 0);
	inject(c, 0, 1, &m);
	assert_int_equal(seen[WIRE_DO_VIEW_CHANGE].opnum, 0);
	assert_int_equal(info_of(c, 0).op, 0);
	cluster_free(c);
}

/* --- crash vectors
 * ---------------------------------------------------------------------------------- */

static void put_lives(struct message *m, uint32_t n, uint32_t who, uint64_t lives)
{
	m->crash_count = n;
	memset(m->crash, 0, sizeof(m->crash));
	m->crash[who] = lives;
}

/* The scenario of the DISC paper: a vote from before the crash arrives after the recovery. */
static void test_vote_of_an_earlier_life(void **state)
{
	struct cluster *c = alone(3, 1);
	struct message m = {.kind = WIRE_RECOVERY, .index = 2, .nonce = 7};

	(void)state;
	inject(c, 1, 2, &m); /* first round: asks only */
	assert_int_equal(seen_count[WIRE_RECOVERY_RESPONSE], 1);
	put_lives(&m, 3, 2, 1);
	m.nonce = 8;
	inject(c, 1, 2, &m);
	assert_int_equal(seen[WIRE_RECOVERY_RESPONSE].nonce, 8);
	assert_int_equal(seen[WIRE_RECOVERY_RESPONSE].crash[2], 1);
	assert_false(seen[WIRE_RECOVERY_RESPONSE].has_opnum); /* only the leader's */

	m = vote(WIRE_DO_VIEW_CHANGE, 1, 2, 0);
	put_lives(&m, 3, 2, 0);
	inject(c, 1, 2, &m);
	assert_int_equal(info_of(c, 1).status, VR_NORMAL);
	assert_int_equal(info_of(c, 1).view, 0);
	assert_int_equal(count_of(c, 1, VR_C_IGNORED_CRASHED), 1);
	/* its memory of that outlives a restart */
	node_crash(c, 1);
	node_restart(c, 1, true);
	inject(c, 1, 2, &m);
	assert_int_equal(info_of(c, 1).view, 0);
	put_lives(&m, 3, 2, 1);
	inject(c, 1, 2, &m);
	assert_int_equal(info_of(c, 1).view, 1);
	cluster_free(c);
}

/* A quorum in which one vote knows that another's sender has crashed since is none. */
static void test_quorum_is_crash_consistent(void **state)
{
	struct cluster *c = alone(5, 1);
	struct message m = vote(WIRE_DO_VIEW_CHANGE, 1, 2, 0);

	(void)state;
	put_lives(&m, 5, 2, 0);
	inject(c, 1, 2, &m);
	m = vote(WIRE_DO_VIEW_CHANGE, 1, 3, 0);
	put_lives(&m, 5, 2, 1); /* r2 has begun another life */
	inject(c, 1, 3, &m);
	assert_int_equal(info_of(c, 1).status, VR_VIEW_CHANGE);
	m = vote(WIRE_DO_VIEW_CHANGE, 1, 4, 0);
	put_lives(&m, 5, 2, 0);
	inject(c, 1, 4, &m);
	assert_int_equal(info_of(c, 1).status, VR_NORMAL);
	cluster_free(c);
}

/* --- recovery
 * ----------------------------------------------------------------------------------------- */

static void check_recovery(uint32_t n, uint32_t who, bool offload)
{
	struct cluster *c = cluster_new(n, 3, offload);

	start_clients(c, 30);
	run_clients(c, 10000000);
	node_crash(c, who);
	node_restart(c, who, false);
	assert_int_equal(info_of(c, who).status, VR_RECOVERING);
	start_clients(c, 30);
	run_clients(c, 10000000);
	run_for(c, 1000000);
	assert_int_equal(count_of(c, who, VR_C_RECOVERIES), 1);
	for (uint32_t i = 0; i < n; i++) {
		assert_int_equal(info_of(c, i).status, VR_NORMAL);
		assert_int_equal(info_of(c, i).executed, c->model_op);
		assert_int_equal(info_of(c, i).view, who == 0 ? 1 : 0);
	}
	cluster_free(c);
}

static void test_recovery(void **state)
{
	(void)state;
	check_recovery(3, 2, false);
	check_recovery(3, 2, true);
	check_recovery(5, 3, true);
	check_recovery(3, 0, false); /* the leader: only a new view can help it */
	check_recovery(5, 0, true);
}

/* Without memory: no ack, no vote, no answer to others who recover. */
static void test_recovering_replica_says_nothing(void **state)
{
	struct cluster *c = alone(3, 1);
	struct message m;

	(void)state;
	node_crash(c, 1);
	node_restart(c, 1, false);
	prepare(c, 1, 0, 1, 1, 0);
	m = vote(WIRE_START_VIEW_CHANGE, 1, 2, 0);
	inject(c, 1, 2, &m);
	m = vote(WIRE_DO_VIEW_CHANGE, 1, 2, 0);
	inject(c, 1, 2, &m);
	m = (struct message){.kind = WIRE_RECOVERY, .index = 2, .nonce = 7};
	inject(c, 1, 2, &m);
	m = (struct message){.kind = WIRE_REQUEST_STATE_TRANSFER};
	inject(c, 1, 0, &m);
	run_for(c, 5000000);
	for (int kind = 0; kind < WIRE_KIND_COUNT; kind++)
		assert_true(kind == WIRE_RECOVERY ? seen_count[kind] > 1 : seen_count[kind] == 0);
	assert_int_equal(info_of(c, 1).status, VR_RECOVERING);
	cluster_free(c);
}

static struct message answer(struct cluster *c, uint32_t index, uint64_t view, bool leads,
			     uint64_t op)
{
	struct message m = {.kind = WIRE_RECOVERY_RESPONSE, .index = index, .view = view};

	m.nonce = seen[WIRE_RECOVERY].nonce;
	m.has_opnum = leads;
	m.opnum = op;
	put_lives(&m, c->config.n, 1, seen[WIRE_RECOVERY].crash[1]);
	return m;
}

static void test_recovery_answers(void **state)
{
	struct cluster *c = alone(5, 1);
	struct message m;

	(void)state;
	node_crash(c, 1);
	node_restart(c, 1, false);
	assert_int_equal(seen[WIRE_RECOVERY].crash_count, 0);
	for (uint32_t i = 2; i < 5; i++) {
		m = answer(c, i, 5, false, 0);
		put_lives(&m, 5, 1, i == 3 ? 6 : 0); /* r3 remembers six lives */
		if (i == 4)
			inject(c, 1, 3, &m); /* of another index: does not count */
		inject(c, 1, i, &m);
	}
	assert_int_equal(seen[WIRE_RECOVERY].crash_count, 5);
	assert_int_equal(seen[WIRE_RECOVERY].crash[1], 7);

	m = answer(c, 0, 3, false, 0); /* before it led view 5 */
	inject(c, 1, 0, &m);
	m = answer(c, 2, 5, false, 0);
	m.nonce++;
	inject(c, 1, 2, &m); /* another nonce */
	m = answer(c, 2, 5, false, 0);
	inject(c, 1, 2, &m);
	m = answer(c, 3, 3, true, 4); /* leader of an older view */
	inject(c, 1, 3, &m);
	m = answer(c, 4, 5, false, 0);
	inject(c, 1, 4, &m);
	run_for(c, 1);
	assert_int_equal(seen_count[WIRE_REQUEST_STATE_TRANSFER], 0); /* the leader lacks */
	m = answer(c, 0, 5, true, 4);
	inject(c, 1, 0, &m);
	run_for(c, 1);
	assert_int_equal(seen[WIRE_REQUEST_STATE_TRANSFER].view, 5);
	assert_int_equal(info_of(c, 1).status, VR_RECOVERING);
	m = (struct message){.kind = WIRE_STATE_TRANSFER, .view = 5, .opnum = 4};
	m.entries = some_entries(1, 3, NO_MARK);
	inject(c, 1, 0, &m);
	assert_int_equal(info_of(c, 1).status, VR_RECOVERING); /* not the whole log yet */
	m.entries = some_entries(4, 4, NO_MARK);
	inject(c, 1, 0, &m);
	assert_int_equal(info_of(c, 1).status, VR_NORMAL);
	assert_int_equal(info_of(c, 1).view, 5);
	assert_int_equal(seen[WIRE_PREPARE_OK].opnum, 4);
	cluster_free(c);
}

/* The leader's answer is not enough, nor one that knows nothing of the new life. */
static void test_recovery_needs_a_quorum(void **state)
{
	struct cluster *c = alone(5, 1);
	struct message m;

	(void)state;
	node_crash(c, 1);
	node_restart(c, 1, false);
	for (uint32_t i = 2; i < 5; i++) {
		assert_int_equal(seen[WIRE_RECOVERY].crash_count, 0);
		m = answer(c, i, 0, false, 0);
		inject(c, 1, i, &m);
	}
	assert_int_equal(seen[WIRE_RECOVERY].crash_count, 5);
	m = answer(c, 0, 0, true, 0);
	inject(c, 1, 0, &m);
	m = answer(c, 2, 0, false, 0);
	inject(c, 1, 2, &m);
	m = answer(c, 3, 0, false, 0);
	put_lives(&m, 5, 1, 0);
	inject(c, 1, 3, &m);
	assert_int_equal(info_of(c, 1).status, VR_RECOVERING);
	m = answer(c, 4, 0, false, 0);
	inject(c, 1, 4, &m);
	assert_int_equal(info_of(c, 1).status, VR_NORMAL);
	cluster_free(c);
}

static void test_all_killed_at_once(void **state)
{
	(void)state;
	for (uint32_t n = 3; n <= 5; n += 2) {
		struct cluster *c = cluster_new(n, 4, true);

		start_clients(c, 60);
		run_for(c, 3000);
		for (uint32_t i = 0; i < n; i++)
			node_crash(c, i);
		run_for(c, 10000);
		for (uint32_t i = 0; i < n; i++)
			node_restart(c, i, true);
		run_clients(c, 20000000);
		run_for(c, 500000);
		for (uint32_t i = 0; i < n; i++)
			assert_int_equal(info_of(c, i).executed, c->model_op);
		assert_int_equal(c->model_op, 240);
		cluster_free(c);
	}
}

/* --- far behind
 * ------------------------------------------------------------------------------------------ */

static void check_far_behind(bool crash)
{
	struct cluster *c = cluster_plan(3, 4, true);

	c->config.log_ops = 256;
	cluster_open(c);
	start_clients(c, 10);
	run_clients(c, 10000000);
	if (crash)
		node_crash(c, 2);
	cut_off(c, 2, true);
	start_clients(c, 500);
	run_clients(c, 100000000);
	assert_true(info_of(c, 0).base > info_of(c, 1).executed / 2);
	if (crash)
		node_restart(c, 2, true);
	cut_off(c, 2, false);
	run_for(c, 3000000);
	assert_true(count_of(c, 2, VR_C_SNAPSHOTS_TAKEN) > 0);
	for (uint32_t i = 0; i < 3; i++)
		assert_int_equal(info_of(c, i).executed, c->model_op);
	/* it serves again: on the fast path, and as one of a majority */
	start_clients(c, 10);
	run_clients(c, 10000000);
	assert_true(count_of(c, 2, VR_C_PREPARES_KERNEL) > 0);
	node_crash(c, info_of(c, 2).leader == 0 ? 1 : 0);
	start_clients(c, 10);
	run_clients(c, 10000000);
	/* and so does its journal */
	node_crash(c, 2);
	node_restart(c, 2, true);
	start_clients(c, 10);
	run_clients(c, 10000000);
	cluster_free(c);
}

static void test_far_behind(void **state)
{
	(void)state;
	check_far_behind(false);
	check_far_behind(true);
}

static void test_large_operations(void **state)
{
	struct cluster *c = cluster_new(3, 2, true);

	(void)state;
	c->op_len = 16000;
	start_clients(c, 20);
	run_clients(c, 10000000);
	node_crash(c, 0);
	start_clients(c, 20);
	run_clients(c, 10000000);
	node_restart(c, 0, true);
	run_for(c, 1000000);
	for (uint32_t i = 0; i < 3; i++)
		assert_int_equal(info_of(c, i).executed, c->model_op);
	cluster_free(c);
}

/* --- fragments
 * ------------------------------------------------------------------------------------------- */

static uint8_t whole[40000];
static uint32_t step_len = WIRE_FRAGMENT_MAX; /* of every piece but the last */

static void give_piece(struct cluster *c, uint64_t id, uint32_t number, size_t len, uint32_t addr)
{
	static uint8_t piece[WIRE_FRAGMENT_HEAD + WIRE_FRAGMENT_MAX];
	struct wire_fragment f = {.id = id, .offset = number * step_len, .total = len - 4};
	struct vr_event ev = {.kind = VR_EVENT_MESSAGE, .from = VR_FROM_CLIENT, .data = piece};

	f.len = f.total - f.offset < step_len ? f.total - f.offset : step_len;
	wire_encode_fragment_head(piece, &f);
	memcpy(piece + WIRE_FRAGMENT_HEAD, whole + 4 + f.offset, f.len);
	ev.len = WIRE_FRAGMENT_HEAD + f.len;
	ev.address.addr = addr;
	step(c, 0, &ev);
}

static size_t large_request(uint64_t reqid)
{
	static uint8_t op[16000];
	struct entry e = {.clientid = 1000, .reqid = reqid, .op = {op, sizeof(op)}};
	struct message m = {.kind = WIRE_REQUEST, .entries = {&e, 0, 1, 0}};

	return message_encode(&m, whole, sizeof(whole));
}

static void test_pieces(void **state)
{
	struct cluster *c = alone(3, 0);
	size_t len = large_request(1);

	(void)state;
	/* in any order, more than once */
	give_piece(c, 9, 1, len, 5);
	give_piece(c, 9, 1, len, 5);
	assert_int_equal(info_of(c, 0).op, 0);
	give_piece(c, 9, 0, len, 5);
	assert_int_equal(info_of(c, 0).op, 1);
	/* another id, another sender: another message */
	len = large_request(2);
	give_piece(c, 10, 0, len, 5);
	give_piece(c, 11, 1, len, 5);
	give_piece(c, 10, 1, len, 6);
	assert_int_equal(info_of(c, 0).op, 1);
	give_piece(c, 10, 1, len, 5);
	assert_int_equal(info_of(c, 0).op, 2);
	/* a message that lacks pieces gives way in the end */
	for (uint64_t id = 20; id < 40; id++)
		give_piece(c, id, 0, len, 5);
	assert_true(count_of(c, 0, VR_C_PIECES_LOST) >= 12);
	cluster_free(c);
}

/* Pieces are as long as the sender likes; the last one may come first. */
static void test_pieces_of_any_length(void **state)
{
	static const uint32_t lens[] = {484, 1444, 5000, WIRE_FRAGMENT_MAX};
	struct cluster *c = alone(3, 0);
	size_t len = 0;

	(void)state;
	for (uint32_t i = 0; i < 4; i++) {
		len = large_request(i + 1);
		step_len = lens[i];
		for (uint32_t last = (len - 5) / step_len, n = last + 1; n-- > 0;) {
			assert_int_equal(info_of(c, 0).op, i);
			give_piece(c, i, n, len, 5);
		}
		assert_int_equal(info_of(c, 0).op, i + 1);
	}
	/* one of another length does not fit, whenever it comes */
	for (uint32_t i = 0; i < 3; i++) {
		step_len = lens[3];
		give_piece(c, 10 + i, i == 0, len, 5);
		step_len = lens[i];
		give_piece(c, 10 + i, 1, len, 5);
		assert_int_equal(count_of(c, 0, VR_C_BAD + WIRE_E_PIECE), i + 1);
	}
	step_len = WIRE_FRAGMENT_MAX;
	cluster_free(c);
}

static void test_odd_pieces(void **state)
{
	struct cluster *c = alone(3, 0);
	uint8_t piece[WIRE_FRAGMENT_HEAD + 100] = {0};
	struct vr_event ev = {
		.kind = VR_EVENT_MESSAGE, .from = 1, .data = piece, .len = sizeof(piece)};
	struct wire_fragment odd[] = {
		{.id = 1, .offset = 5, .total = 1000},		     /* no multiple of 9000 */
		{.id = 1, .offset = 0, .total = 1000},		     /* ends before the end */
		{.id = 1, .offset = 9000, .total = 9050},	     /* beyond the end */
		{.id = 1, .offset = 0, .total = UINT64_MAX},	     /* absurd */
		{.id = 1, .offset = UINT64_MAX - 50, .total = 1000}, /* wraps */
	};

	(void)state;
	for (size_t i = 0; i < sizeof(odd) / sizeof(*odd); i++) {
		wire_encode_fragment_head(piece, &odd[i]);
		step(c, 0, &ev);
		assert_int_equal(count_of(c, 0, VR_C_BAD + WIRE_E_PIECE), i + 1);
	}
	cluster_free(c);
}

/* --- what the journal and other replicas may hold
 * --------------------------------------------------------- */

static void test_restore_refuses(void **state)
{
	struct cluster *c = cluster_new(3, 0, false);
	struct vr_view_state view = {.view = 3, .last_normal = 2, .n = 3, .status = VR_VIEW_CHANGE};
	struct entries list = some_entries(1, 3, NO_MARK);
	struct vr *vr;
	uint8_t *snapshot;
	size_t len;

	(void)state;
	prepare(c, 1, 0, 1, 3, 3);
	len = vr_snapshot_len(c->node[1].vr);
	snapshot = malloc(len);
	assert_int_equal(vr_snapshot(c->node[1].vr, snapshot), 3);

	node_crash(c, 2);
	node_open(c, 2);
	vr = c->node[2].vr;
	assert_false(vr_restore_entry(vr, entries_at(&list, 1)));
	assert_true(vr_restore_entry(vr, entries_at(&list, 0)));
	assert_false(vr_restore_truncate(vr, 2));
	for (size_t cut = 0; cut < len; cut += cut < 200 ? 1 : 40000)
		assert_false(vr_restore_snapshot(vr, snapshot, cut));
	snapshot[8] = 0xff; /* number of clients */
	assert_false(vr_restore_snapshot(vr, snapshot, len));
	snapshot[8] = 1;
	assert_int_equal(info_of(c, 2).op, 1); /* nothing changed */
	assert_true(vr_restore_snapshot(vr, snapshot, len));
	assert_int_equal(info_of(c, 2).op, 3);
	assert_int_equal(info_of(c, 2).executed, 3);
	view.n = 5;
	assert_false(vr_restore_view(vr, &view));
	view.n = 3;
	view.last_normal = 4;
	assert_false(vr_restore_view(vr, &view));
	view.last_normal = 2;
	assert_true(vr_restore_view(vr, &view));
	view.view = 2;
	assert_false(vr_restore_view(vr, &view));
	free(snapshot);
	cluster_free(c);
}

/* A replica in any status gets messages of every kind with fields of every size: it lives. */
static void test_wild_messages(void **state)
{
	static const uint64_t numbers[] = {0,
					   1,
					   2,
					   3,
					   5,
					   1000,
					   0x7ffffffe,
					   0x7fffffff,
					   UINT32_MAX,
					   1ull << 32,
					   UINT64_MAX >> 1,
					   UINT64_MAX};
	struct cluster *c = cluster_new(3, 0, false);

	(void)state;
	c->filter = watch;
	c->liars = true;
	for (uint32_t round = 0; round < 60000; round++) {
		struct message m = {.kind = 1 + chance(c, WIRE_FRAGMENT - 1)};
		uint32_t to = chance(c, 3), from = chance(c, 4);
		uint64_t first = 1 + chance(c, 8);

		m.index = chance(c, 4) ? from % 3 : chance(c, 3);
		m.view = chance(c, 3) ? info_of(c, to).view + chance(c, 2)
				      : numbers[chance(c, round < 30000 ? 5 : 12)];
		m.opnum = first + chance(c, 3);
		m.batchstart = first;
		m.entries = some_entries(first, m.opnum, chance(c, 2) ? NO_MARK : first + 1);
		if (m.kind == WIRE_REQUEST || m.kind == WIRE_UNLOGGED_REQUEST)
			m.entries.count = 1;
		else if (m.kind != WIRE_PREPARE && chance(c, 3) == 0)
			m.opnum = numbers[chance(c, 12)];
		m.committed = numbers[chance(c, 12)];
		m.has_committed = m.has_opnum = chance(c, 2);
		m.last_normal = chance(c, 2) ? 0 : numbers[chance(c, 12)];
		m.nonce = seen[WIRE_RECOVERY].nonce;
		if (chance(c, 2))
			put_lives(&m, chance(c, 8) ? 3 : 5, chance(c, 3), chance(c, 3));
		if (chance(c, 4) == 0) {
			m.snapshot = (struct snapshot_piece){
				numbers[chance(c, 12)],
				0,
				20,
				{(const uint8_t *)"01234567890123456789", 20}};
			m.snapshot_op = numbers[chance(c, 12)];
			m.snapshot_offset = numbers[chance(c, 12)];
		}
		inject(c, to, from == 3 ? VR_FROM_CLIENT : from, &m);
		if (chance(c, 50) == 0)
			run_for(c, chance(c, 100000));
		if (chance(c, 2000) == 0) {
			node_crash(c, to);
			node_restart(c, to, chance(c, 2));
		}
	}
	cluster_free(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_story_of_a_view_change),
		cmocka_unit_test(test_leader_killed),
		cmocka_unit_test(test_split_brain),
		cmocka_unit_test(test_start_view_is_lost),
		cmocka_unit_test(test_kernel_progress_is_a_sign_of_life),
		cmocka_unit_test(test_who_slept_does_not_suspect),
		cmocka_unit_test(test_all_slept),
		cmocka_unit_test(test_deaf_leader),
		cmocka_unit_test(test_deaf_idle_leader),
		cmocka_unit_test(test_late_start),
		cmocka_unit_test(test_restart_in_own_view),
		cmocka_unit_test(test_hard_of_hearing),
		cmocka_unit_test(test_deaf_leader_is_silent),
		cmocka_unit_test(test_deaf_leader_takes_no_request),
		cmocka_unit_test(test_alone_in_a_change),
		cmocka_unit_test(test_empty_log),
		cmocka_unit_test(test_ack_of_another_view),
		cmocka_unit_test(test_vote_after_half_a_transfer),
		cmocka_unit_test(test_prepare_during_a_transfer),
		cmocka_unit_test(test_tail_that_differs),
		cmocka_unit_test(test_longer_tail_goes_at_the_end),
		cmocka_unit_test(test_best_log),
		cmocka_unit_test(test_leader_fetches_the_log),
		cmocka_unit_test(test_log_for_the_new_leader_only),
		cmocka_unit_test(test_view_is_recorded_before_the_vote),
		cmocka_unit_test(test_vote_survives_a_restart),
		cmocka_unit_test(test_open_batch_is_no_part_of_the_vote),
		cmocka_unit_test(test_vote_of_an_earlier_life),
		cmocka_unit_test(test_quorum_is_crash_consistent),
		cmocka_unit_test(test_recovery),
		cmocka_unit_test(test_recovering_replica_says_nothing),
		cmocka_unit_test(test_recovery_answers),
		cmocka_unit_test(test_recovery_needs_a_quorum),
		cmocka_unit_test(test_all_killed_at_once),
		cmocka_unit_test(test_far_behind),
		cmocka_unit_test(test_large_operations),
		cmocka_unit_test(test_pieces),
		cmocka_unit_test(test_pieces_of_any_length),
		cmocka_unit_test(test_odd_pieces),
		cmocka_unit_test(test_restore_refuses),
		cmocka_unit_test(test_wild_messages),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
