/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "replica/workload.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct chooser {
	uint64_t random;
	uint32_t key; /* of the operation in flight */
	bool set;
};

struct workload {
	struct workload_options o;
	uint32_t keys; /* of each client */
	struct chooser *chooser;
	uint32_t *version; /* [client * keys + key]: last SET, 0: none */
	char want[WORKLOAD_VALUE_MAX];
};

static uint64_t splitmix64(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

struct workload *workload_open(const struct workload_options *options)
{
	struct workload *w = calloc(1, sizeof(*w));

	if (!w)
		return NULL;
	w->o = *options;
	w->keys = options->shared ? options->keys : options->keys / options->clients;
	if (!w->keys)
		w->keys = 1;
	w->chooser = calloc(options->clients, sizeof(*w->chooser));
	w->version = calloc((size_t)options->clients * w->keys, sizeof(*w->version));
	if (!w->chooser || !w->version) {
		workload_close(w);
		return NULL;
	}
	for (uint32_t i = 0; i < options->clients; i++) {
		uint64_t seed = options->seed + i;

		w->chooser[i].random = splitmix64(&seed);
	}
	return w;
}

void workload_close(struct workload *w)
{
	if (!w)
		return;
	free(w->version);
	free(w->chooser);
	free(w);
}

static uint32_t *version(struct workload *w, uint32_t client)
{
	return &w->version[(size_t)client * w->keys + w->chooser[client].key];
}

/* Letters and digits only, for a key ends at a blank. */
static int put_key(const struct workload *w, uint32_t client, char *to)
{
	if (w->o.shared)
		return sprintf(to, "k%u", w->chooser[client].key);
	return sprintf(to, "%08x-%u", w->o.run, client * w->keys + w->chooser[client].key);
}

static void put_value(struct workload *w, uint32_t client, char *to)
{
	char unit[48];
	size_t len;

	if (w->o.shared) {
		len = sprintf(unit, "%u.%u.%08x#", client, *version(w, client), w->o.run);
	} else {
		len = put_key(w, client, unit);
		len += sprintf(unit + len, "#%u#", *version(w, client));
	}
	for (size_t at = 0; at < w->o.value_bytes; at += len)
		memcpy(to + at, unit, len < w->o.value_bytes - at ? len : w->o.value_bytes - at);
}

size_t workload_next(struct workload *w, uint32_t client, char *op)
{
	struct chooser *c = &w->chooser[client];
	uint64_t random = splitmix64(&c->random);
	size_t len;

	c->key = (uint32_t)random % w->keys;
	c->set = (random >> 32) % 100 < w->o.mix;
	memcpy(op, c->set ? "SET " : "GET ", 4);
	len = 4 + put_key(w, client, op + 4);
	if (!c->set)
		return len;
	++*version(w, client);
	op[len++] = ' ';
	put_value(w, client, op + len);
	return len + w->o.value_bytes;
}

bool workload_check(struct workload *w, uint32_t client, const void *reply, size_t len,
		    const char **want, size_t *want_len)
{
	if (w->chooser[client].set) {
		*want_len = sprintf(w->want, "OK");
	} else if (w->o.shared) {
		return true;
	} else if (!*version(w, client)) {
		*want_len = sprintf(w->want, "NONE");
	} else {
		put_value(w, client, w->want);
		*want_len = w->o.value_bytes;
	}
	*want = w->want;
	return len == *want_len && !memcmp(reply, w->want, len);
}
