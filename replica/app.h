/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What is replicated: a deterministic state machine. The same operations in the same
 * order give the same results on every replica, also on one that began from a snapshot.
 * An application never fails and never refuses: a bad operation has an error as result.
 */
#ifndef PAXRACK_APP_H
#define PAXRACK_APP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct app {
	const char *name;
	/* A new, empty state; NULL: out of memory. */
	void *(*open)(void);
	void (*close)(void *state);
	/* Execute; writes at most `max` bytes (at least 64) of result and returns how many. */
	size_t (*apply)(void *state, const uint8_t *op, size_t len, uint8_t *result, size_t max);
	/* Like apply, but changes nothing: for requests outside the log. */
	size_t (*query)(void *state, const uint8_t *op, size_t len, uint8_t *result, size_t max);
	/* Bytes that a snapshot of the state takes now. */
	size_t (*snapshot_len)(void *state);
	/* Writes snapshot_len() bytes. */
	void (*snapshot)(void *state, uint8_t *out);
	/* Replaces the state. False: these bytes are no snapshot; the state is then empty. */
	bool (*restore)(void *state, const uint8_t *data, size_t len);
};

extern const struct app app_kv;	  /* SET key value, GET key, DEL key */
extern const struct app app_null; /* every result is empty */

/* NULL: no such application. */
const struct app *app_find(const char *name);

#endif
