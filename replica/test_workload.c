/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The client's workload against the application: right replies pass, wrong ones show. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "replica/app.h"
#include "replica/workload.h"

#define CLIENTS 3

struct fixture {
	struct workload *workload;
	void *state; /* of the application */
	char op[WORKLOAD_OP_MAX];
	size_t op_len;
	uint8_t reply[WORKLOAD_VALUE_MAX];
};

static struct fixture f;

static int open_fixture(void **state)
{
	const struct workload_options o = {.clients = CLIENTS,
					   .keys = 2 * CLIENTS,
					   .mix = 50,
					   .value_bytes = 100,
					   .seed = 7,
					   .run = 0xabcdef01};

	(void)state;
	f.workload = workload_open(&o);
	f.state = app_kv.open();
	return f.workload && f.state ? 0 : -1;
}

static int close_fixture(void **state)
{
	(void)state;
	workload_close(f.workload);
	app_kv.close(f.state);
	return 0;
}

static bool check(uint32_t client, size_t len)
{
	const char *want;
	size_t want_len;

	return workload_check(f.workload, client, f.reply, len, &want, &want_len);
}

static void next(uint32_t client)
{
	f.op_len = workload_next(f.workload, client, f.op);
}

static size_t execute(void)
{
	return app_kv.apply(f.state, (const uint8_t *)f.op, f.op_len, f.reply, sizeof(f.reply));
}

/* Take the client's operations, executing those before it, until one of this kind comes. */
static void next_of_kind(uint32_t client, const char *kind)
{
	for (next(client); memcmp(f.op, kind, 4); next(client))
		assert_true(check(client, execute()));
}

static void test_right_replies(void **state)
{
	unsigned int sets = 0;

	(void)state;
	for (unsigned int i = 0; i < 1000; i++) {
		next(i % CLIENTS);
		sets += f.op[0] == 'S';
		assert_true(check(i % CLIENTS, execute()));
	}
	assert_in_range(sets, 400, 600); /* the mix; the seed makes it the same each time */
}

/* A SET is answered and lost: the next GET of its key shows it. */
static void test_lost_write(void **state)
{
	bool seen = false;

	(void)state;
	next_of_kind(0, "SET ");
	memcpy(f.reply, "OK", 2);
	assert_true(check(0, 2));
	for (unsigned int i = 0; i < 20 && !seen; i++) {
		next(0);
		if (f.op[0] == 'G')
			seen = !check(0, execute());
	}
	assert_true(seen);
}

/* An old SET of a key is executed again after a newer one. */
static void test_executed_twice(void **state)
{
	char old[WORKLOAD_OP_MAX];
	size_t old_len, key_len;
	bool seen = false;

	(void)state;
	next_of_kind(1, "SET ");
	memcpy(old, f.op, f.op_len);
	old_len = f.op_len;
	key_len = (char *)memchr(old + 4, ' ', old_len - 4) - (old + 4);
	assert_true(check(1, execute()));
	do
		next_of_kind(1, "SET ");
	while (memcmp(f.op, old, 4 + key_len + 1) && check(1, execute()));
	assert_true(check(1, execute()));
	app_kv.apply(f.state, (const uint8_t *)old, old_len, f.reply, sizeof(f.reply));
	for (unsigned int i = 0; i < 20 && !seen; i++) {
		next(1);
		if (f.op[0] == 'G')
			seen = !check(1, execute());
	}
	assert_true(seen);
}

/* Clients are served each other's replies. */
static void test_foreign_reply(void **state)
{
	size_t len;

	(void)state;
	next_of_kind(0, "SET ");
	assert_true(check(0, execute()));
	/* until client 0 reads a value */
	do {
		next_of_kind(0, "GET ");
		len = execute();
		assert_true(check(0, len));
	} while (len != 100);
	next_of_kind(2, "SET ");
	assert_false(check(2, len));
	assert_false(check(2, 0));
}

/* Two processes use the same keys, and no value is ever written twice. */
static void test_shared(void **state)
{
	struct workload_options o = {.clients = 2,
				     .keys = 3,
				     .mix = 100,
				     .value_bytes = 24,
				     .seed = 1,
				     .run = 0x11111111,
				     .shared = true};
	struct workload *w[2];
	char op[600][WORKLOAD_OP_MAX];
	unsigned int keys = 0, count = 0;
	const char *want;
	size_t len;

	(void)state;
	w[0] = workload_open(&o);
	o.run = 0x22222222;
	w[1] = workload_open(&o);
	assert_non_null(w[0]);
	assert_non_null(w[1]);
	for (; count < 600; count++) {
		len = workload_next(w[count & 1], count >> 1 & 1, op[count]);
		op[count][len] = 0;
		assert_memory_equal(op[count], "SET k", 5);
		keys |= 1u << (op[count][5] - '0');
	}
	assert_int_equal(keys, 7);
	for (unsigned int i = 0; i < count; i++) {
		for (unsigned int j = 0; j < i; j++)
			assert_string_not_equal(op[i], op[j]);
	}
	assert_false(workload_check(w[0], 0, "NONE", 4, &want, &len)); /* to a SET */
	workload_close(w[0]);
	workload_close(w[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_right_replies, open_fixture, close_fixture),
		cmocka_unit_test_setup_teardown(test_lost_write, open_fixture, close_fixture),
		cmocka_unit_test_setup_teardown(test_executed_twice, open_fixture, close_fixture),
		cmocka_unit_test_setup_teardown(test_foreign_reply, open_fixture, close_fixture),
		cmocka_unit_test(test_shared),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
