// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Normal operation: three and five cores, with and without a kernel that acks. */
#include "replica/test_cluster.h"

static void test_one_request(void **state)
{
	struct cluster *c = cluster_new(3, 1, false);

	(void)state;
	c->tell = true;
	start_clients(c, 1);
	run_clients(c, 1000000);
	expect_story(c, "c0>r0 Request 1\n"
			"c0>r1 Request 1\n"
			"c0>r2 Request 1\n"
			"r0>r1 Prepare v0 1-1 c0\n"
			"r0>r2 Prepare v0 1-1 c0\n"
			"r1>r0 PrepareOK v0 1\n"
			"r2>r0 PrepareOK v0 1\n"
			"r0>c0 Reply v0 1\n");
	/* followers learn the commit of the last op from a Commit */
	c->story_len = 0;
	assert_int_equal(info_of(c, 1).committed, 0);
	run_for(c, 6000);
	expect_story(c, "r0>r1 Commit v0 1\n"
			"r0>r2 Commit v0 1\n");
	assert_int_equal(info_of(c, 1).executed, 1);
	assert_int_equal(info_of(c, 2).executed, 1);
	assert_int_equal(count_of(c, 1, VR_C_IGNORED_REQUEST_FOLLOWER), 1);
	cluster_free(c);
}

static void test_one_request_by_kernel(void **state)
{
	struct cluster *c = cluster_new(3, 1, true);

	(void)state;
	c->tell = true;
	start_clients(c, 1);
	run_clients(c, 1000000);
	expect_story(c, "c0>r0 Request 1\n"
			"c0>r1 Request 1\n"
			"c0>r2 Request 1\n"
			"r0>r1 Prepare v0 1-1 c0\n"
			"r0>r2 Prepare v0 1-1 c0\n"
			"r1>r0 MyPrepareOK v0 1\n"
			"r2>r0 MyPrepareOK v0 1\n"
			"r0>c0 Reply v0 1\n");
	run_for(c, 6000);
	assert_int_equal(info_of(c, 1).executed, 1);
	assert_int_equal(count_of(c, 1, VR_C_PREPARES_KERNEL), 1);
	assert_int_equal(count_of(c, 1, VR_C_PREPARES_USER), 0);
	assert_int_equal(count_of(c, 0, VR_C_ACKS_USER), 0);
	cluster_free(c);
}

/* What comes in one round goes out in one Prepare, up to a frame; the next is not held up. */
static void test_batches(void **state)
{
	struct cluster *c = cluster_new(3, 3, false);

	(void)state;
	c->tell = true;
	start_clients(c, 1);
	run_clients(c, 1000000);
	assert_non_null(strstr(c->story, "r0>r1 Prepare v0 1-3 c0\n"));
	cluster_free(c);

	c = cluster_new(3, 3, false);
	c->tell = true;
	c->op_len = 600; /* two fit */
	start_clients(c, 1);
	run_clients(c, 1000000);
	assert_non_null(strstr(c->story, "r0>r1 Prepare v0 1-2 c0\nr0>r2 Prepare v0 1-2 c0\n"
					 "r0>r1 Prepare v0 3-3 c0\nr0>r2 Prepare v0 3-3 c0\n"
					 "r1>r0 PrepareOK v0 2\n"));
	cluster_free(c);
}

static uint32_t longest;

static bool measure(struct cluster *c, const struct packet *p, const struct message *m)
{
	(void)c;
	if (m && m->kind == WIRE_PREPARE && p->len > longest)
		longest = p->len;
	return false;
}

static void test_a_batch_never_exceeds_a_frame(void **state)
{
	(void)state;
	for (uint32_t len = 8; len < 1300; len += 17) {
		struct cluster *c = cluster_new(3, 16, false);

		longest = 0;
		c->filter = measure;
		c->op_len = len;
		start_clients(c, 3);
		run_clients(c, 1000000);
		assert_true(longest <= 1472);
		if (16 * len > 1472)
			assert_true(longest > 1472 - MESSAGE_PREPARE_MAX - len);
		cluster_free(c);
	}
}

static void test_batch_of_64_ops(void **state)
{
	struct cluster *c = cluster_new(3, 0, false);
	struct vr_event ev = {.kind = VR_EVENT_MESSAGE, .from = VR_FROM_CLIENT};
	struct entry e = {.reqid = 1};
	struct message m = {.kind = WIRE_REQUEST, .entries = {&e, 0, 1, 0}};
	uint8_t data[200];

	(void)state;
	c->tell = true;
	for (e.clientid = 1; e.clientid <= 70; e.clientid++) {
		ev.data = data;
		ev.len = message_encode(&m, data, sizeof(data));
		ev.address.addr = CLIENT(0);
		step(c, 0, &ev);
	}
	c->node[0].tick = true;
	run_for(c, 100);
	assert_non_null(strstr(c->story, "r0>r1 Prepare v0 1-64 c0\n"));
	assert_non_null(strstr(c->story, "r0>r1 Prepare v0 65-70 c0\n"));
	cluster_free(c);
}

/* --- at most once -------------------------------------------------------------------------- */

static bool drop_replies(struct cluster *c, const struct packet *p, const struct message *m)
{
	(void)p;
	return m && m->kind == WIRE_REPLY && c->client[0].retries == 0;
}

static void test_lost_reply_is_sent_again(void **state)
{
	struct cluster *c = cluster_new(3, 1, false);

	(void)state;
	c->filter = drop_replies;
	start_clients(c, 1);
	run_clients(c, 1000000);
	assert_int_equal(c->client[0].retries, 1);
	assert_int_equal(info_of(c, 0).op, 1);
	assert_int_equal(count_of(c, 0, VR_C_REPLIES), 2);
	assert_int_equal(count_of(c, 0, VR_C_EXECUTED), 1);
	cluster_free(c);
}

static void test_repeated_requests_execute_once(void **state)
{
	struct cluster *c = cluster_new(3, 4, false);

	(void)state;
	c->duplicate_permille = 1000;
	c->jitter_us = 300;
	start_clients(c, 50);
	run_clients(c, 10000000);
	assert_int_equal(info_of(c, 0).op, 200);
	assert_int_equal(count_of(c, 0, VR_C_EXECUTED), 200);
	assert_true(count_of(c, 0, VR_C_IGNORED_REQUEST_TWICE) > 0);
	cluster_free(c);
}

static void request(struct cluster *c, uint64_t clientid, uint64_t reqid, uint32_t len)
{
	static uint8_t op[20000], data[21000];
	struct vr_event ev = {.kind = VR_EVENT_MESSAGE, .from = VR_FROM_CLIENT, .data = data};
	struct entry e = {.clientid = clientid, .reqid = reqid, .op = {op, len}};
	struct message m = {.kind = WIRE_REQUEST, .entries = {&e, 0, 1, 0}};

	ev.len = message_encode(&m, data, sizeof(data));
	ev.address.addr = CLIENT(0);
	step(c, 0, &ev);
	c->node[0].tick = true;
}

/* More clients than the table remembers: the one served longest ago is forgotten, everywhere. */
static void test_client_table_forgets(void **state)
{
	struct cluster *c = cluster_new(3, 0, false);

	(void)state;
	for (uint64_t id = 1; id <= 65; id++) {
		request(c, id, 5, 10);
		run_for(c, 200);
	}
	assert_int_equal(count_of(c, 0, VR_C_EXECUTED), 65);
	request(c, 2, 5, 10); /* remembered */
	run_for(c, 200);
	assert_int_equal(count_of(c, 0, VR_C_REPLIES), 66);
	request(c, 2, 4, 10); /* older: not even a reply */
	run_for(c, 200);
	assert_int_equal(count_of(c, 0, VR_C_REPLIES), 66);
	assert_int_equal(count_of(c, 0, VR_C_IGNORED_REQUEST_OLD), 1);
	assert_int_equal(info_of(c, 0).op, 65);
	request(c, 1, 5, 10); /* forgotten: a new request */
	run_for(c, 20000);
	assert_int_equal(info_of(c, 0).op, 66);
	for (uint32_t i = 0; i < 3; i++)
		assert_int_equal(count_of(c, i, VR_C_EXECUTED), 66);
	cluster_free(c);
}

static void test_op_too_large(void **state)
{
	struct cluster *c = cluster_new(3, 0, false);

	(void)state;
	request(c, 1, 1, VR_OP_MAX_DEFAULT + 1);
	assert_int_equal(info_of(c, 0).op, 0);
	assert_int_equal(count_of(c, 0, VR_C_IGNORED_OP_LARGE), 1);
	cluster_free(c);
}

/* --- a quorum ------------------------------------------------------------------------------- */

static void test_nothing_commits_without_a_quorum(void **state)
{
	struct cluster *c = cluster_new(5, 1, false);

	(void)state;
	for (uint32_t i = 2; i < 5; i++)
		c->cut[0][i] = true;
	start_clients(c, 1);
	run_for(c, 150000);
	assert_int_equal(info_of(c, 0).op, 1);
	assert_int_equal(info_of(c, 0).committed, 0);
	assert_int_equal(c->client[0].replied, 0);
	c->cut[0][2] = false;
	run_clients(c, 1000000);
	assert_int_equal(info_of(c, 0).committed, 1);
	cluster_free(c);
}

static void ack(struct cluster *c, uint32_t from, uint32_t index, uint64_t view, uint64_t op)
{
	struct message m = {.kind = WIRE_PREPARE_OK, .view = view, .opnum = op, .index = index};
	struct vr_event ev = {.kind = VR_EVENT_MESSAGE, .from = from};
	uint8_t data[200];

	ev.data = data;
	ev.len = message_encode(&m, data, sizeof(data));
	step(c, 0, &ev);
}

static void test_acks_that_do_not_count(void **state)
{
	struct cluster *c = cluster_new(3, 0, false);
	uint64_t words[3] = {0, 100, 100};
	struct vr_event acks = {.kind = VR_EVENT_ACKS, .acked = words};

	(void)state;
	c->cut[0][1] = c->cut[0][2] = true;
	request(c, 1, 1, 10);
	run_for(c, 100);
	ack(c, 1, 2, 0, 1);		 /* another's index */
	ack(c, 0, 0, 0, 1);		 /* own index */
	ack(c, VR_FROM_CLIENT, 1, 0, 1); /* a client */
	ack(c, 1, 1, 1, 1);		 /* another view */
	ack(c, 1, 1, 0, 2);		 /* never sent */
	step(c, 0, &acks);		 /* never sent, by the kernel's words */
	assert_int_equal(info_of(c, 0).committed, 0);
	ack(c, 1, 1, 0, 1);
	assert_int_equal(info_of(c, 0).committed, 1);
	cluster_free(c);
}

static void test_a_cluster_of_one(void **state)
{
	struct cluster *c = cluster_new(1, 2, false);

	(void)state;
	start_clients(c, 20);
	run_clients(c, 1000000);
	assert_int_equal(info_of(c, 0).executed, 40);
	cluster_free(c);
}

/* --- loss --------------------------------------------------------------------------------------
 */

static bool drop_third_prepare(struct cluster *c, const struct packet *p, const struct message *m)
{
	static int seen;

	if (c->now < 2000)
		seen = 0;
	return m && m->kind == WIRE_PREPARE && p->to == 1 && m->batchstart == 3 && seen++ == 0;
}

static void check_one_resend(bool offload)
{
	struct cluster *c = cluster_new(3, 1, offload);
	uint64_t fast;

	c->filter = drop_third_prepare;
	start_clients(c, 10);
	run_clients(c, 1000000);
	run_for(c, 100000);
	for (uint32_t i = 0; i < 3; i++)
		assert_int_equal(info_of(c, i).executed, 10);
	/* all from 3 on, in as few frames as they fit */
	assert_true(count_of(c, 0, VR_C_PREPARE_RESENDS) <= 2);
	fast = count_of(c, 1, VR_C_PREPARES_KERNEL);
	start_clients(c, 10);
	run_clients(c, 1000000);
	run_for(c, 100000);
	assert_int_equal(count_of(c, 1, VR_C_PREPARES_KERNEL) - fast, offload ? 10 : 0);
	cluster_free(c);
}

static void test_one_lost_prepare_costs_one_resend(void **state)
{
	(void)state;
	check_one_resend(false);
	check_one_resend(true);
}

static bool zero_headers_seen;

static bool check_headers(struct cluster *c, const struct packet *p, const struct message *m)
{
	struct wire_head head;

	(void)c;
	wire_decode_head(&head, p->data, p->len);
	if (m && m->kind == WIRE_PREPARE &&
	    (head.fast[0] != m->view || head.fast[1] != m->opnum || head.fast[2] != m->batchstart))
		zero_headers_seen = true;
	return false;
}

static void check_lossy(uint32_t n, bool offload, uint64_t seed)
{
	struct cluster *c = cluster_new(n, 6, offload);

	zero_headers_seen = false;
	c->filter = check_headers;
	c->random = seed;
	c->loss_permille = 100;
	c->duplicate_permille = 100;
	c->jitter_us = 200;
	start_clients(c, 100);
	run_clients(c, 100000000);
	c->loss_permille = 0;
	run_for(c, 1000000);
	for (uint32_t i = 0; i < n; i++) {
		assert_int_equal(info_of(c, i).executed, 600);
		assert_int_equal(count_of(c, i, VR_C_EXECUTED), 600);
	}
	assert_false(zero_headers_seen);
	assert_true(count_of(c, 0, VR_C_PREPARE_RESENDS) > 0);
	cluster_free(c);
}

static void test_loss_duplication_reordering(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 10; seed++) {
		check_lossy(3, false, seed);
		check_lossy(3, true, seed);
		check_lossy(5, false, seed);
		check_lossy(5, true, seed);
	}
}

/* --- dead peers
 * ----------------------------------------------------------------------------------- */

/* No request, so nothing to send again: a peer is told as dead if it answers no Commit. */
static void test_dead_peer_of_an_idle_leader(void **state)
{
	struct cluster *c = cluster_plan(3, 1, false);
	struct vr_peer_info peer;

	(void)state;
	c->config.view_change_us = 300000;
	c->config.heartbeat_us = 50000;
	cluster_open(c);
	run_for(c, 3 * c->config.view_change_us);
	vr_peer(c->node[0].vr, 2, &peer);
	assert_false(peer.dead);
	c->cut[2][0] = true;
	run_for(c, c->config.view_change_us - c->config.heartbeat_us);
	vr_peer(c->node[0].vr, 2, &peer);
	assert_false(peer.dead);
	run_for(c, 2 * c->config.heartbeat_us);
	vr_peer(c->node[0].vr, 2, &peer);
	assert_true(peer.dead);
	vr_peer(c->node[0].vr, 1, &peer);
	assert_false(peer.dead);
	assert_int_equal(count_of(c, 0, VR_C_PEER_DEATHS), 0);
	c->cut[2][0] = false;
	run_for(c, 2 * c->config.heartbeat_us);
	vr_peer(c->node[0].vr, 2, &peer);
	assert_false(peer.dead);
	cluster_free(c);
}

static void test_dead_peer_is_probed_and_comes_back(void **state)
{
	struct cluster *c = cluster_plan(3, 1, false);
	struct vr_peer_info peer;
	uint64_t resends;

	(void)state;
	c->config.view_change_us = 1000000000;
	cluster_open(c);
	c->cut[0][2] = true;
	start_clients(c, 100);
	run_clients(c, 1000000);
	vr_peer(c->node[0].vr, 2, &peer);
	assert_false(peer.dead);
	run_for(c, 2000000);
	vr_peer(c->node[0].vr, 2, &peer);
	assert_true(peer.dead);
	assert_int_equal(peer.acked, 0);
	vr_peer(c->node[0].vr, 1, &peer);
	assert_false(peer.dead);
	resends = count_of(c, 0, VR_C_PREPARE_RESENDS);
	run_for(c, 10000000);
	assert_in_range(count_of(c, 0, VR_C_PREPARE_RESENDS) - resends, 9, 11);
	c->cut[0][2] = false;
	run_for(c, 1100000);
	vr_peer(c->node[0].vr, 2, &peer);
	assert_false(peer.dead);
	assert_int_equal(peer.acked, 100);
	assert_int_equal(info_of(c, 2).executed, 100);
	cluster_free(c);
}

static void test_idle_leader_shows_life(void **state)
{
	struct cluster *c = cluster_new(3, 0, false);

	(void)state;
	c->tell = true;
	run_for(c, 120000);
	assert_non_null(c->story);
	assert_non_null(strstr(c->story, "r0>r1 Commit v0 0\n"));
	cluster_free(c);
}

/* --- the boundary
 * ---------------------------------------------------------------------------------- */

/* The kernel acked bytes that are no Prepare: the gate is brought back to the log's end. */
static void test_kernel_message_that_is_none(void **state)
{
	struct cluster *c = cluster_new(3, 1, true);
	struct vr_event bad = {.kind = VR_EVENT_MESSAGE, .kernel = true};
	struct message m = {.kind = WIRE_START_VIEW, .view = 9, .opnum = 4};
	uint8_t other[200];
	size_t len;

	(void)state;
	bad.data = (const uint8_t *)"garbage";
	bad.len = 7;
	len = message_encode(&m, other, sizeof(other));
	start_clients(c, 3);
	run_clients(c, 1000000);
	c->node[1].gate.last = 4;
	c->tell = true;
	step(c, 1, &bad);
	run_for(c, 100);
	assert_int_equal(c->node[1].gate.last, 3);
	assert_non_null(strstr(c->story, "r1 thaws v0 leader r0 at 3\n"));
	assert_int_equal(count_of(c, 1, VR_C_BAD + WIRE_E_MAGIC), 1);
	/* nor is anything else than a Prepare */
	c->node[1].gate.last = 4;
	bad.data = other;
	bad.len = len;
	step(c, 1, &bad);
	run_for(c, 100);
	assert_int_equal(c->node[1].gate.last, 3);
	assert_int_equal(info_of(c, 1).view, 0);
	start_clients(c, 3);
	run_clients(c, 1000000);
	run_for(c, 100000);
	assert_int_equal(info_of(c, 1).executed, 6);
	cluster_free(c);
}

/* A follower whose log is full leaves the kernel's messages where they are. */
static void test_full_log(void **state)
{
	struct cluster *c = cluster_new(3, 0, false);
	struct entry e = {.clientid = 1, .op = {(const uint8_t *)"x", 1}};
	struct message m = {.kind = WIRE_PREPARE, .entries = {&e, 0, 1, 0}};
	struct vr_event ev = {.kind = VR_EVENT_MESSAGE, .kernel = true};
	struct vr_out out;
	uint8_t data[200];

	(void)state;
	ev.data = data;
	for (e.reqid = 1; e.reqid <= 1024; e.reqid++) {
		m.opnum = m.batchstart = e.reqid;
		ev.len = message_encode(&m, data, sizeof(data));
		assert_int_equal(vr_step(c->node[1].vr, &ev, &out), VR_OK);
	}
	m.opnum = m.batchstart = 1025;
	ev.len = message_encode(&m, data, sizeof(data));
	assert_int_equal(vr_step(c->node[1].vr, &ev, &out), VR_FULL);
	assert_int_equal(out.count, 0);
	assert_int_equal(vr_op(c->node[1].vr), 1024);
	m.has_committed = true;
	m.committed = 10;
	ev.len = message_encode(&m, data, sizeof(data));
	assert_int_equal(vr_step(c->node[1].vr, &ev, &out), VR_OK);
	assert_int_equal(vr_op(c->node[1].vr), 1025);
	assert_null(vr_entry(c->node[1].vr, 1));
	assert_non_null(vr_entry(c->node[1].vr, 2));
	cluster_free(c);
}

/* The leader takes no more than its followers can hold. */
static void test_window(void **state)
{
	struct cluster *c = cluster_new(3, 0, false);

	(void)state;
	c->cut[0][1] = c->cut[0][2] = true;
	for (uint64_t i = 1; i <= 300; i++)
		request(c, i, 1, 10);
	assert_int_equal(info_of(c, 0).op, 256);
	assert_int_equal(count_of(c, 0, VR_C_IGNORED_REQUEST_FULL), 44);
	cluster_free(c);

	c = cluster_new(3, 0, false);
	c->cut[0][1] = c->cut[0][2] = true;
	for (uint64_t i = 1; i <= 300; i++)
		request(c, i, 1, 10000);
	assert_int_equal(info_of(c, 0).op, (1 << 20) / 4 / 10000);
	cluster_free(c);
}

/* Ops far more than the log holds pass through it. */
static void test_log_wraps(void **state)
{
	struct cluster *c = cluster_new(3, 8, true);

	(void)state;
	c->op_len = 997;
	start_clients(c, 700);
	run_clients(c, 100000000);
	run_for(c, 100000);
	for (uint32_t i = 0; i < 3; i++)
		assert_int_equal(info_of(c, i).executed, 5600);
	assert_true(info_of(c, 0).base > 4000);
	cluster_free(c);
}

/* A message too large for a datagram of 9000 bytes goes to each peer in pieces. */
static void test_large_operation_is_cut(void **state)
{
	struct cluster *c = cluster_new(3, 0, false);

	(void)state;
	c->tell = true;
	request(c, 1, 1, 2000);
	run_for(c, 10);
	expect_story(c, "r0>r1 fragment\nr0>r2 fragment\nr0>r1 fragment\nr0>r2 fragment\n");
	cluster_free(c);
}

static void test_bad_configurations(void **state)
{
	static const struct vr_config bad[] = {
		{.n = 0, .app = &app_memory},
		{.n = 65, .app = &app_memory},
		{.n = 3, .self = 3, .app = &app_memory},
		{.n = 3},
		{.n = 3, .app = &app_memory, .log_ops = 1000},
		{.n = 3, .app = &app_memory, .payload_max = 100},
		{.n = 3, .app = &app_memory, .op_max = 1 << 20},
		{.n = 3, .app = &app_memory, .log_bytes = 100},
	};
	char error[100];

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		error[0] = 0;
		assert_null(vr_open(&bad[i], error, sizeof(error)));
		assert_true(strlen(error) > 10);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_one_request),
		cmocka_unit_test(test_one_request_by_kernel),
		cmocka_unit_test(test_batches),
		cmocka_unit_test(test_a_batch_never_exceeds_a_frame),
		cmocka_unit_test(test_batch_of_64_ops),
		cmocka_unit_test(test_lost_reply_is_sent_again),
		cmocka_unit_test(test_repeated_requests_execute_once),
		cmocka_unit_test(test_client_table_forgets),
		cmocka_unit_test(test_op_too_large),
		cmocka_unit_test(test_nothing_commits_without_a_quorum),
		cmocka_unit_test(test_acks_that_do_not_count),
		cmocka_unit_test(test_a_cluster_of_one),
		cmocka_unit_test(test_one_lost_prepare_costs_one_resend),
		cmocka_unit_test(test_loss_duplication_reordering),
		cmocka_unit_test(test_dead_peer_of_an_idle_leader),
		cmocka_unit_test(test_dead_peer_is_probed_and_comes_back),
		cmocka_unit_test(test_idle_leader_shows_life),
		cmocka_unit_test(test_kernel_message_that_is_none),
		cmocka_unit_test(test_full_log),
		cmocka_unit_test(test_window),
		cmocka_unit_test(test_log_wraps),
		cmocka_unit_test(test_large_operation_is_cut),
		cmocka_unit_test(test_bad_configurations),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
