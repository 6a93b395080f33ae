// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * A snapshot stands for the executed prefix: application and client table, which is as
 * much part of the replicated state (section 5.1). Little-endian u64 throughout:
 *
 *   op, number of clients, per client { id, op, reqid, length of the reply, reply }, from
 *   the one served longest ago, length of the application's part, that part
 */
#include <endian.h>
#include <string.h>

#include "replica/vr_core.h"

static uint8_t *put(uint8_t *at, uint64_t v)
{
	v = htole64(v);
	memcpy(at, &v, 8);
	return at + 8;
}

struct cursor {
	const uint8_t *at;
	size_t left;
};

static bool get(struct cursor *c, uint64_t *v)
{
	if (c->left < 8)
		return false;
	memcpy(v, c->at, 8);
	*v = le64toh(*v);
	c->at += 8;
	c->left -= 8;
	return true;
}

static bool get_bytes(struct cursor *c, uint64_t len, const uint8_t **data)
{
	if (c->left < len)
		return false;
	*data = c->at;
	c->at += len;
	c->left -= len;
	return true;
}

static struct vr_client *next_client(struct vr *vr, uint32_t *i)
{
	struct vr_client *c = *i == VR_NO_CLIENT ? NULL : &vr->clients.all[*i];

	if (c)
		*i = c->newer;
	return c;
}

size_t vr_snapshot_len(struct vr *vr)
{
	size_t len = 3 * 8 + vr->c.app->snapshot_len(vr->app);
	uint32_t i = vr->clients.oldest;

	for (struct vr_client *c; (c = next_client(vr, &i));)
		len += 4 * 8 + c->reply_len;
	return len;
}

uint64_t vr_snapshot(struct vr *vr, uint8_t *out)
{
	uint32_t i = vr->clients.oldest;

	out = put(out, vr->executed);
	out = put(out, vr->clients.executed);
	for (struct vr_client *c; (c = next_client(vr, &i));) {
		out = put(out, c->id);
		out = put(out, c->op);
		out = put(out, c->reqid);
		out = put(out, c->reply_len);
		memcpy(out, c->reply, c->reply_len);
		out += c->reply_len;
	}
	out = put(out, vr->c.app->snapshot_len(vr->app));
	vr->c.app->snapshot(vr->app, out);
	return vr->executed;
}

struct stored_client {
	uint64_t id, op, reqid, reply_len;
	const uint8_t *reply;
};

static bool get_client(const struct vr *vr, struct cursor *c, uint64_t last,
		       struct stored_client *s)
{
	return get(c, &s->id) && get(c, &s->op) && get(c, &s->reqid) && get(c, &s->reply_len) &&
	       s->op > 0 && s->op <= last && s->reply_len <= vr->c.op_max &&
	       get_bytes(c, s->reply_len, &s->reply);
}

/* Nothing changes before all of it was understood. */
static void *understand(struct vr *vr, struct cursor c, uint64_t *op)
{
	const uint8_t *app_data;
	struct stored_client s;
	uint64_t clients, app_len;
	void *app;

	if (!get(&c, op) || !get(&c, &clients) || clients > vr->c.clients)
		return NULL;
	for (uint64_t i = 0; i < clients; i++) {
		if (!get_client(vr, &c, *op, &s))
			return NULL;
	}
	if (!get(&c, &app_len) || app_len != c.left || !get_bytes(&c, app_len, &app_data))
		return NULL;
	app = vr->c.app->open();
	if (app && !vr->c.app->restore(app, app_data, app_len)) {
		vr->c.app->close(app);
		return NULL;
	}
	return app;
}

bool vr_snapshot_install(struct vr *vr, const uint8_t *data, size_t len)
{
	struct cursor c = {data, len};
	struct stored_client s;
	uint64_t op, clients;
	void *app = understand(vr, c, &op);

	if (!app)
		return false;
	vr->c.app->close(vr->app);
	vr->app = app;
	vr_clients_forget(&vr->clients);
	get(&c, &op);
	get(&c, &clients);
	for (uint64_t i = 0; i < clients; i++) {
		struct vr_client *client;

		get_client(vr, &c, op, &s);
		client = vr_client_get(&vr->clients, s.id);
		memcpy(client->reply, s.reply, s.reply_len);
		client->reply_len = s.reply_len;
		vr_client_executed(&vr->clients, client, s.op, s.reqid);
	}
	vr_log_skip(&vr->log, op);
	vr->executed = op;
	vr->recorded_op = op;
	vr->recorded_bytes = 0;
	vr->hold = true;
	if (vr->committed < op)
		vr->committed = op;
	return true;
}

static void record(struct vr *vr)
{
	vr->recorded_op = vr->executed;
	vr->recorded_bytes = 0;
	vr_act(vr, VR_RECORD_SNAPSHOT)->op = vr->executed;
	/* The record is of the state as it is now: nothing more is executed in this step. */
	vr->hold = true;
}

/* Long before the log is full, and when nothing more happens in the step. */
void vr_snapshot_tick(struct vr *vr)
{
	if (!vr->hold && (vr->executed - vr->recorded_op >= vr->c.log_ops / 4 ||
			  vr->recorded_bytes >= vr->c.log_bytes / 4))
		record(vr);
}

/*
 * The journal is read back into the log in memory, without knowing what is committed: all
 * that lies above the last recorded snapshot must fit there, so it is never dropped.
 */
bool vr_append(struct vr *vr, const struct entry *e)
{
	if (vr_log_append(&vr->log, e, vr->recorded_op))
		return true;
	if (vr->executed == vr->recorded_op || vr->hold)
		return false;
	record(vr);
	return vr_log_append(&vr->log, e, vr->recorded_op);
}
