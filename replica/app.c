// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* The applications by name, and the one that does nothing. */
#include <string.h>

#include "replica/app.h"

static void *null_open(void)
{
	static char state;

	return &state;
}

static void null_close(void *state)
{
	(void)state;
}

static size_t null_apply(void *state, const uint8_t *op, size_t len, uint8_t *result, size_t max)
{
	(void)state;
	(void)op;
	(void)len;
	(void)result;
	(void)max;
	return 0;
}

static size_t null_snapshot_len(void *state)
{
	(void)state;
	return 0;
}

static void null_snapshot(void *state, uint8_t *out)
{
	(void)state;
	(void)out;
}

static bool null_restore(void *state, const uint8_t *data, size_t len)
{
	(void)state;
	(void)data;
	return len == 0;
}

const struct app app_null = {
	.name = "null",
	.open = null_open,
	.close = null_close,
	.apply = null_apply,
	.query = null_apply,
	.snapshot_len = null_snapshot_len,
	.snapshot = null_snapshot,
	.restore = null_restore,
};

const struct app *app_find(const char *name)
{
	static const struct app *const apps[] = {&app_kv, &app_null};

	for (size_t i = 0; i < sizeof(apps) / sizeof(*apps); i++) {
		if (strcmp(apps[i]->name, name) == 0)
			return apps[i];
	}
	return NULL;
}
