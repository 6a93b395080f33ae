// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* The key-value application: results, limits, snapshots. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "replica/app.h"

static uint8_t result[4096];

static void expect(void *kv, const char *op, const char *want)
{
	size_t len = app_kv.apply(kv, (const uint8_t *)op, strlen(op), result, sizeof(result));

	if (len != strlen(want) || memcmp(result, want, len) != 0)
		fail_msg("%s: \"%.*s\", not \"%s\"", op, (int)len, result, want);
}

static void test_set_get_del(void **state)
{
	void *kv = app_kv.open();

	(void)state;
	expect(kv, "GET a", "NONE");
	expect(kv, "SET a 1", "OK");
	expect(kv, "GET a", "1");
	expect(kv, "SET a a longer value, with blanks ", "OK");
	expect(kv, "GET a", "a longer value, with blanks ");
	expect(kv, "SET a ", "OK");
	expect(kv, "GET a", "");
	expect(kv, "DEL a", "OK");
	expect(kv, "DEL a", "NONE");
	expect(kv, "GET a", "NONE");
	app_kv.close(kv);
}

static void test_errors_are_results(void **state)
{
	static const char *const bad[] = {"",		"SET",	   "SET ",    "SET a",
					  "SET  value", "GET",	   "GET ",    "GET a b",
					  "DEL a b",	"PUT a 1", "set a 1", "SETa b c"};
	void *kv = app_kv.open();

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		size_t len = app_kv.apply(kv, (const uint8_t *)bad[i], strlen(bad[i]), result, 64);

		if (len < 6 || memcmp(result, "ERROR:", 6) != 0)
			fail_msg("\"%s\" was answered by \"%.*s\"", bad[i], (int)len, result);
	}
	assert_int_equal(app_kv.snapshot_len(kv), 0);
	app_kv.close(kv);
}

static void test_result_too_large(void **state)
{
	void *kv = app_kv.open();
	char op[200];

	(void)state;
	snprintf(op, sizeof(op), "SET a %0100d", 7);
	expect(kv, op, "OK");
	assert_int_equal(app_kv.apply(kv, (const uint8_t *)"GET a", 5, result, 64), 23);
	assert_memory_equal(result, "ERROR: result too large", 23);
	app_kv.close(kv);
}

static void test_query_changes_nothing(void **state)
{
	void *kv = app_kv.open();

	(void)state;
	expect(kv, "SET a 1", "OK");
	assert_int_equal(app_kv.query(kv, (const uint8_t *)"GET a", 5, result, 64), 1);
	assert_int_equal(result[0], '1');
	app_kv.query(kv, (const uint8_t *)"SET a 2", 7, result, 64);
	assert_memory_equal(result, "ERROR:", 6);
	expect(kv, "GET a", "1");
	app_kv.close(kv);
}

static void test_full_follows_from_contents(void **state)
{
	void *kv = app_kv.open(), *copy = app_kv.open();
	size_t len = 1 << 20;
	char *op = malloc(len);
	uint8_t *snapshot;
	int stored = 0;

	(void)state;
	memset(op, 'x', len);
	for (;; stored++) {
		int head = snprintf(op, len, "SET key%d ", stored);

		op[head] = 'x';
		if (app_kv.apply(kv, (const uint8_t *)op, len, result, 64) != 2)
			break;
	}
	assert_int_equal(stored, 63);
	/* a replica that began from a snapshot says the same */
	snapshot = malloc(app_kv.snapshot_len(kv));
	app_kv.snapshot(kv, snapshot);
	assert_true(app_kv.restore(copy, snapshot, app_kv.snapshot_len(kv)));
	assert_int_equal(app_kv.apply(copy, (const uint8_t *)op, len, result, 64), 11);
	expect(copy, "DEL key5", "OK");
	assert_int_equal(app_kv.apply(copy, (const uint8_t *)op, len, result, 64), 2);
	free(snapshot);
	free(op);
	app_kv.close(kv);
	app_kv.close(copy);
}

static void test_snapshot(void **state)
{
	void *kv = app_kv.open(), *copy = app_kv.open();
	char op[64], want[64];
	uint8_t *snapshot;
	size_t len;

	(void)state;
	for (int i = 0; i < 5000; i++) {
		snprintf(op, sizeof(op), "SET key%d value %d", i, i * i);
		expect(kv, op, "OK");
	}
	for (int i = 0; i < 5000; i += 3) {
		snprintf(op, sizeof(op), "DEL key%d", i);
		expect(kv, op, "OK");
	}
	len = app_kv.snapshot_len(kv);
	snapshot = malloc(len);
	app_kv.snapshot(kv, snapshot);
	expect(copy, "SET old 1", "OK");
	assert_true(app_kv.restore(copy, snapshot, len));
	expect(copy, "GET old", "NONE");
	assert_int_equal(app_kv.snapshot_len(copy), len);
	for (int i = 0; i < 5000; i++) {
		snprintf(op, sizeof(op), "GET key%d", i);
		snprintf(want, sizeof(want), "value %d", i * i);
		expect(copy, op, i % 3 ? want : "NONE");
	}
	/* cut anywhere: refused (but between pairs), and the state is empty */
	for (size_t cut = len - 1; cut > len - 12; cut--) {
		assert_false(app_kv.restore(copy, snapshot, cut));
		assert_int_equal(app_kv.snapshot_len(copy), 0);
	}
	free(snapshot);
	app_kv.close(kv);
	app_kv.close(copy);
}

static void test_by_name(void **state)
{
	(void)state;
	assert_ptr_equal(app_find("kv"), &app_kv);
	assert_ptr_equal(app_find("null"), &app_null);
	assert_null(app_find("other"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_set_get_del),
		cmocka_unit_test(test_errors_are_results),
		cmocka_unit_test(test_result_too_large),
		cmocka_unit_test(test_query_changes_nothing),
		cmocka_unit_test(test_full_follows_from_contents),
		cmocka_unit_test(test_snapshot),
		cmocka_unit_test(test_by_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
