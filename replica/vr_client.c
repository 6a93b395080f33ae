// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* The client table (section 4.1): a hash table over a fixed pool, and the order of service. */
#include <stdlib.h>

#include "replica/vr_core.h"

bool vr_clients_open(struct vr_clients *t, uint32_t executed_max, uint32_t pending_max,
		     uint32_t reply_max)
{
	uint32_t buckets = 64;

	*t = (struct vr_clients){.count = executed_max + pending_max, .executed_max = executed_max};
	while (buckets < t->count)
		buckets *= 2;
	t->mask = buckets - 1;
	t->all = calloc(t->count, sizeof(*t->all));
	t->buckets = malloc(buckets * sizeof(*t->buckets));
	if (!t->all || !t->buckets)
		return false;
	t->all[0].reply = calloc(t->count, reply_max);
	if (!t->all[0].reply)
		return false;
	for (uint32_t i = 0; i < t->count; i++)
		t->all[i].reply = t->all[0].reply + (size_t)i * reply_max;
	vr_clients_forget(t);
	return true;
}

void vr_clients_close(struct vr_clients *t)
{
	if (t->all)
		free(t->all[0].reply);
	free(t->all);
	free(t->buckets);
}

static uint32_t *bucket_of(struct vr_clients *t, uint64_t id)
{
	id *= 0x9e3779b97f4a7c15;
	return &t->buckets[(id >> 32) & t->mask];
}

struct vr_client *vr_client_find(struct vr_clients *t, uint64_t id)
{
	uint32_t i = *bucket_of(t, id);

	while (i != VR_NO_CLIENT && t->all[i].id != id)
		i = t->all[i].chain;
	return i == VR_NO_CLIENT ? NULL : &t->all[i];
}

struct vr_client *vr_client_get(struct vr_clients *t, uint64_t id)
{
	struct vr_client *c = vr_client_find(t, id);
	uint32_t i = t->free, *bucket;

	if (c || i == VR_NO_CLIENT)
		return c;
	c = &t->all[i];
	t->free = c->chain;
	bucket = bucket_of(t, id);
	*c = (struct vr_client){.id = id, .reply = c->reply, .chain = *bucket};
	*bucket = i;
	return c;
}

static void give_back(struct vr_clients *t, struct vr_client *c)
{
	uint32_t i = c - t->all, *at = bucket_of(t, c->id);

	while (*at != i)
		at = &t->all[*at].chain;
	*at = c->chain;
	c->chain = t->free;
	t->free = i;
}

static void unlink_order(struct vr_clients *t, struct vr_client *c)
{
	*(c->older == VR_NO_CLIENT ? &t->oldest : &t->all[c->older].newer) = c->newer;
	*(c->newer == VR_NO_CLIENT ? &t->newest : &t->all[c->newer].older) = c->older;
}

void vr_client_executed(struct vr_clients *t, struct vr_client *c, uint64_t op, uint64_t reqid)
{
	uint32_t i = c - t->all;

	if (c->op != 0)
		unlink_order(t, c);
	else
		t->executed++;
	c->op = op;
	c->reqid = reqid;
	c->older = t->newest;
	c->newer = VR_NO_CLIENT;
	*(t->newest == VR_NO_CLIENT ? &t->oldest : &t->all[t->newest].newer) = i;
	t->newest = i;
	if (c->pending_op <= op)
		c->pending_op = 0;
	if (t->executed > t->executed_max) {
		struct vr_client *forgotten = &t->all[t->oldest];

		unlink_order(t, forgotten);
		t->executed--;
		forgotten->op = 0;
		forgotten->reqid = 0;
		if (forgotten->pending_op == 0)
			give_back(t, forgotten);
	}
}

void vr_clients_drop_pending(struct vr_clients *t)
{
	for (uint32_t b = 0; b <= t->mask; b++) {
		uint32_t i = t->buckets[b], next;

		for (; i != VR_NO_CLIENT; i = next) {
			struct vr_client *c = &t->all[i];

			next = c->chain;
			c->pending_op = 0;
			if (c->op == 0)
				give_back(t, c);
		}
	}
}

void vr_clients_forget(struct vr_clients *t)
{
	for (uint32_t b = 0; b <= t->mask; b++)
		t->buckets[b] = VR_NO_CLIENT;
	for (uint32_t i = 0; i < t->count; i++)
		t->all[i].chain = i + 1 < t->count ? i + 1 : VR_NO_CLIENT;
	t->free = 0;
	t->executed = 0;
	t->oldest = t->newest = VR_NO_CLIENT;
}
