// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The key-value application: SET key value, GET key, DEL key.
 *
 * A key ends at a blank; a value is all that follows the blank. Results: "OK", the value,
 * "NONE", or "ERROR: ...". Whether the store is full follows from its contents alone
 * (never from what malloc says), so that replicas agree on it.
 *
 * Snapshot: for each pair u32 key length, u32 value length (little-endian), key, value.
 */
#include <endian.h>
#include <stdlib.h>
#include <string.h>

#include "replica/app.h"

#define KV_KEY_MAX 1024
#define KV_BYTES_MAX (64u << 20) /* of pairs, KV_PAIR_COST each on top */
#define KV_PAIR_COST 64
#define KV_BUCKETS 1024 /* at first */

struct pair {
	struct pair *next; /* in its bucket */
	uint64_t hash;
	uint32_t key_len, value_len, room; /* room: bytes of data */
	uint8_t data[];			   /* key, value */
};

struct kv {
	struct pair **buckets;
	size_t mask, count;
	size_t bytes; /* of keys and values */
};

struct text {
	const uint8_t *data;
	size_t len;
};

/* FNV-1a, finished so that low bits are good too. */
static uint64_t hash_of(struct text key)
{
	uint64_t h = 0xcbf29ce484222325;

	for (size_t i = 0; i < key.len; i++)
		h = (h ^ key.data[i]) * 0x100000001b3;
	return h ^ h >> 29;
}

static struct pair **find(struct kv *kv, struct text key, uint64_t hash)
{
	struct pair **at = &kv->buckets[hash & kv->mask];

	while (*at && ((*at)->hash != hash || (*at)->key_len != key.len ||
		       memcmp((*at)->data, key.data, key.len) != 0))
		at = &(*at)->next;
	return at;
}

/* A table that cannot grow is slower, not wrong. */
static void grow(struct kv *kv)
{
	size_t mask = kv->mask * 2 + 1;
	struct pair **buckets = calloc(mask + 1, sizeof(*buckets));

	if (!buckets)
		return;
	for (size_t i = 0; i <= kv->mask; i++) {
		while (kv->buckets[i]) {
			struct pair *p = kv->buckets[i];

			kv->buckets[i] = p->next;
			p->next = buckets[p->hash & mask];
			buckets[p->hash & mask] = p;
		}
	}
	free(kv->buckets);
	kv->buckets = buckets;
	kv->mask = mask;
}

static size_t cost(struct text key, struct text value)
{
	return KV_PAIR_COST + key.len + value.len;
}

static void set(struct kv *kv, struct text key, struct text value)
{
	uint64_t hash = hash_of(key);
	struct pair **at = find(kv, key, hash), *p = *at;
	size_t len = key.len + value.len;

	if (!p || p->room < len) {
		size_t room = p ? len + len / 4 : len;
		struct pair *bigger = realloc(p, sizeof(*p) + room);

		/* To go on without the pair would part this replica from the others. */
		if (!bigger)
			abort();
		if (!p) {
			*bigger = (struct pair){.hash = hash, .key_len = key.len};
			memcpy(bigger->data, key.data, key.len);
			kv->bytes += KV_PAIR_COST + key.len;
			kv->count++;
		}
		bigger->room = room;
		*at = p = bigger;
	}
	kv->bytes = kv->bytes - p->value_len + value.len;
	p->value_len = value.len;
	memcpy(p->data + key.len, value.data, value.len);
	if (kv->count > kv->mask)
		grow(kv);
}

static void clear(struct kv *kv)
{
	for (size_t i = 0; i <= kv->mask; i++) {
		while (kv->buckets[i]) {
			struct pair *p = kv->buckets[i];

			kv->buckets[i] = p->next;
			free(p);
		}
	}
	kv->count = kv->bytes = 0;
}

static void *kv_open(void)
{
	struct kv *kv = calloc(1, sizeof(*kv));

	if (!kv)
		return NULL;
	kv->buckets = calloc(KV_BUCKETS, sizeof(*kv->buckets));
	if (!kv->buckets) {
		free(kv);
		return NULL;
	}
	kv->mask = KV_BUCKETS - 1;
	return kv;
}

static void kv_close(void *state)
{
	struct kv *kv = state;

	clear(kv);
	free(kv->buckets);
	free(kv);
}

static size_t say(uint8_t *result, size_t max, const void *data, size_t len)
{
	if (len > max)
		return say(result, max, "ERROR: result too large", 23);
	if (len > 0)
		memcpy(result, data, len);
	return len;
}

#define SAY(text) say(result, max, text, sizeof(text) - 1)

static bool is_verb(const uint8_t *op, size_t len, const char *verb)
{
	return len > 4 && memcmp(op, verb, 4) == 0;
}

static size_t get(struct kv *kv, struct text key, uint8_t *result, size_t max)
{
	const struct pair *p = *find(kv, key, hash_of(key));

	return p ? say(result, max, p->data + p->key_len, p->value_len) : SAY("NONE");
}

static size_t kv_query(void *state, const uint8_t *op, size_t len, uint8_t *result, size_t max)
{
	if (!is_verb(op, len, "GET "))
		return SAY("ERROR: GET key");
	return get(state, (struct text){op + 4, len - 4}, result, max);
}

static size_t kv_apply(void *state, const uint8_t *op, size_t len, uint8_t *result, size_t max)
{
	struct kv *kv = state;
	struct text key, value;
	struct pair **at, *p;
	const uint8_t *blank;

	if (!is_verb(op, len, "SET ") && !is_verb(op, len, "GET ") && !is_verb(op, len, "DEL "))
		return SAY("ERROR: SET key value, GET key or DEL key");
	key = (struct text){op + 4, len - 4};
	blank = memchr(key.data, ' ', key.len);
	if (blank)
		key.len = blank - key.data;
	if (key.len == 0 || key.len > KV_KEY_MAX)
		return SAY("ERROR: a key has 1 to 1024 bytes");
	if ((op[0] == 'S') != (blank != NULL))
		return op[0] == 'S' ? SAY("ERROR: SET key value") : SAY("ERROR: blank in key");
	at = find(kv, key, hash_of(key));
	p = *at;
	switch (op[0]) {
	case 'S':
		value = (struct text){blank + 1, op + len - (blank + 1)};
		if (kv->bytes + cost(key, value) > KV_BYTES_MAX)
			return SAY("ERROR: full");
		set(kv, key, value);
		return SAY("OK");
	case 'D':
		if (!p)
			return SAY("NONE");
		*at = p->next;
		kv->bytes -= KV_PAIR_COST + p->key_len + p->value_len;
		kv->count--;
		free(p);
		return SAY("OK");
	default:
		return get(kv, key, result, max);
	}
}

static size_t kv_snapshot_len(void *state)
{
	const struct kv *kv = state;

	return kv->bytes - kv->count * (KV_PAIR_COST - 8);
}

static void kv_snapshot(void *state, uint8_t *out)
{
	const struct kv *kv = state;

	for (size_t i = 0; i <= kv->mask; i++) {
		for (const struct pair *p = kv->buckets[i]; p; p = p->next) {
			uint32_t lens[2] = {htole32(p->key_len), htole32(p->value_len)};

			memcpy(out, lens, 8);
			memcpy(out + 8, p->data, p->key_len + p->value_len);
			out += 8 + p->key_len + p->value_len;
		}
	}
}

static bool kv_restore(void *state, const uint8_t *data, size_t len)
{
	struct kv *kv = state;

	clear(kv);
	while (len > 0) {
		struct text key, value;
		uint32_t lens[2];

		if (len < 8)
			break;
		memcpy(lens, data, 8);
		key = (struct text){data + 8, le32toh(lens[0])};
		value = (struct text){key.data + key.len, le32toh(lens[1])};
		if (key.len == 0 || key.len > KV_KEY_MAX || len - 8 < key.len ||
		    len - 8 - key.len < value.len || kv->bytes + cost(key, value) > KV_BYTES_MAX)
			break;
		set(kv, key, value);
		data += 8 + key.len + value.len;
		len -= 8 + key.len + value.len;
	}
	if (len > 0)
		clear(kv);
	return len == 0;
}

const struct app app_kv = {
	.name = "kv",
	.open = kv_open,
	.close = kv_close,
	.apply = kv_apply,
	.query = kv_query,
	.snapshot_len = kv_snapshot_len,
	.snapshot = kv_snapshot,
	.restore = kv_restore,
};
