// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Normal operation ("Viewstamped Replication Revisited", section 4.1), pipelined and
 * batched.
 *
 *   log of the leader    ... executed ... committed ... sent ... last
 *                                            in flight  |  open batch: leaves when it fills a
 *                                                          frame, or at the tick
 */
#include <string.h>

#include "replica/vr_core.h"

struct message vr_message(const struct vr *vr, enum wire_kind kind, uint64_t opnum)
{
	struct message m;

	memset(&m, 0, offsetof(struct message, crash));
	m.kind = kind;
	m.view = vr->view;
	m.opnum = opnum;
	m.index = vr->c.self;
	return m;
}

/* --- executing ----------------------------------------------------------------------- */

static void send_reply(struct vr *vr, const struct vr_client *c)
{
	struct message m = vr_message(vr, WIRE_REPLY, c->op);

	m.reqid = c->reqid;
	m.reply = (struct bytes){c->reply, c->reply_len};
	vr_reply(vr, c->address, &m);
	vr_count(vr, VR_C_REPLIES);
}

static void execute_one(struct vr *vr, struct entry *e)
{
	struct vr_client *c = vr_client_get(&vr->clients, e->clientid);

	assert(c);
	e->state = 0;
	vr->recorded_bytes += e->op.len;
	/* A request may stand twice in the log: its first place counts. */
	if (c->op != 0 && e->reqid <= c->reqid)
		return;
	c->reply_len = vr->c.app->apply(vr->app, e->op.data, e->op.len, c->reply, vr->c.op_max);
	assert(c->reply_len <= vr->c.op_max);
	vr_client_executed(&vr->clients, c, e->opnum, e->reqid);
	vr_count(vr, VR_C_EXECUTED);
	if (vr->status == VR_NORMAL && vr_leads(vr) && c->has_address)
		send_reply(vr, c);
}

void vr_execute(struct vr *vr)
{
	if (vr->hold)
		vr->more = true;
	while (vr->executed < vr->committed && !vr->hold && vr_out_room(vr)) {
		execute_one(vr, vr_log_at(&vr->log, vr->executed + 1));
		vr->executed++;
	}
}

void vr_commit(struct vr *vr, uint64_t op)
{
	if (op > vr->log.last)
		op = vr->log.last;
	if (op > vr->committed)
		vr->committed = op;
	vr_execute(vr);
}

/* --- the leader ---------------------------------------------------------------------- */

/* The open batch becomes a Prepare: recorded, then sent (DESIGN: a leader's record comes first). */
static void send_prepare(struct vr *vr)
{
	uint64_t first = vr->sent + 1, last = vr->log.last;
	struct message m = vr_prepare_of(vr, first, last);

	if (first > last)
		return;
	vr_record_entries(vr, first, last);
	vr_broadcast(vr, &m);
	vr_count(vr, VR_C_PREPARES);
	vr->sent = last;
	vr->batch_bytes = 0;
	vr->told = vr->committed;
	vr->told_at = vr->now;
	vr->commit_at = VR_NEVER;
	vr_peers_sent(vr, last);
	if (vr->quorum == 0)
		vr_commit(vr, last);
}

static void append_to_batch(struct vr *vr, const struct entry *e)
{
	uint32_t len = message_request_len(e), room = vr->c.payload_max - MESSAGE_PREPARE_MAX;

	vr->batch_bytes += len;
	if (vr->batch_bytes >= room || e->opnum - vr->sent == ELEC_BATCH_MAX)
		send_prepare(vr);
}

/* Ops that may be in the log and not executed: followers must have room for them too. */
static bool window_full(const struct vr *vr, uint32_t len)
{
	const struct vr_log *log = &vr->log;
	uint32_t used = 0;

	if (log->last - vr->executed >= vr->window)
		return true;
	/* From the first byte that is not executed to the head, around the ring. */
	if (log->last > vr->executed)
		used = log->head + log->bytes_size -
		       (vr_log_at(log, vr->executed + 1)->op.data - log->bytes);
	return used % log->bytes_size + len > log->bytes_size / 4;
}

/* Section 4.1, steps 1 to 3. The published client asks every replica. */
void vr_on_request(struct vr *vr, const struct message *m, struct vr_address address)
{
	struct entry e = *entries_at(&m->entries, 0);
	struct vr_client *c;

	if (vr->status != VR_NORMAL)
		return vr_count(vr, VR_C_IGNORED_STATUS);
	if (!vr_leads(vr))
		return vr_count(vr, VR_C_IGNORED_REQUEST_FOLLOWER);
	if (e.op.len > vr->c.op_max)
		return vr_count(vr, VR_C_IGNORED_OP_LARGE);
	c = vr_client_find(&vr->clients, e.clientid);
	if (c && c->op != 0 && e.reqid < c->reqid)
		return vr_count(vr, VR_C_IGNORED_REQUEST_OLD);
	if (c && c->op != 0 && e.reqid == c->reqid) {
		c->address = address;
		c->has_address = true;
		return send_reply(vr, c);
	}
	if (c && c->pending_op != 0 && e.reqid <= c->pending_reqid) {
		c->address = address;
		c->has_address = true;
		return vr_count(vr, VR_C_IGNORED_REQUEST_TWICE);
	}
	if (vr->deaf)
		return vr_count(vr, VR_C_IGNORED_REQUEST_DEAF);
	if (window_full(vr, e.op.len))
		return vr_count(vr, VR_C_IGNORED_REQUEST_FULL);
	/* A request that would overfill the frame opens the next one. */
	if (vr->batch_bytes + message_request_len(&e) > vr->c.payload_max - MESSAGE_PREPARE_MAX)
		send_prepare(vr);
	c = vr_client_get(&vr->clients, e.clientid);
	e.view = vr->view;
	e.opnum = vr->log.last + 1;
	e.state = 1;
	if (!c || !vr_append(vr, &e))
		return vr_count(vr, VR_C_IGNORED_REQUEST_FULL);
	c->address = address;
	c->has_address = true;
	c->pending_op = e.opnum;
	c->pending_reqid = e.reqid;
	vr_count(vr, VR_C_REQUESTS);
	append_to_batch(vr, &e);
}

void vr_on_unlogged_request(struct vr *vr, const struct message *m, struct vr_address address)
{
	const struct entry *e = entries_at(&m->entries, 0);
	struct message reply = vr_message(vr, WIRE_UNLOGGED_REPLY, 0);

	if (vr->status != VR_NORMAL)
		return vr_count(vr, VR_C_IGNORED_STATUS);
	reply.reply.data = vr->query_result;
	reply.reply.len =
		vr->c.app->query(vr->app, e->op.data, e->op.len, vr->query_result, vr->c.op_max);
	vr_reply(vr, address, &reply);
}

/* The highest op that f others acked: with the leader's own log that is a majority (step 5). */
static void advance_commit(struct vr *vr)
{
	uint64_t sorted[ELEC_REPLICAS_MAX];
	uint32_t count = 0;

	for (uint32_t i = 0; i < vr->c.n; i++) {
		uint64_t acked = vr->peer[i].acked;
		uint32_t at = count;

		if (i == vr->c.self)
			continue;
		for (; at > 0 && sorted[at - 1] < acked; at--)
			sorted[at] = sorted[at - 1];
		sorted[at] = acked;
		count++;
	}
	if (count == 0 || sorted[vr->quorum - 1] <= vr->committed)
		return;
	vr_commit(vr, sorted[vr->quorum - 1]);
	if (vr->commit_at == VR_NEVER)
		vr->commit_at = vr->now + vr->c.commit_us;
}

void vr_on_acks(struct vr *vr, const uint64_t *acked)
{
	if (vr->status != VR_NORMAL || !vr_leads(vr))
		return;
	for (uint32_t i = 0; i < vr->c.n; i++) {
		if (i == vr->c.self || acked[i] <= vr->peer[i].acked)
			continue;
		if (acked[i] > vr->sent)
			vr_count(vr, VR_C_IGNORED_UNSENT);
		else {
			vr_peer_joined(vr, i);
			vr_peer_acked(vr, i, acked[i]);
		}
	}
	advance_commit(vr);
}

void vr_on_prepare_ok(struct vr *vr, const struct message *m, uint32_t from)
{
	struct vr_action *a;

	if (m->index != from || from == vr->c.self)
		return vr_count(vr, VR_C_IGNORED_SENDER);
	if (m->view > vr->view)
		return vr_count(vr, VR_C_IGNORED_VIEW_NEWER);
	if (m->view < vr->view) {
		vr_count(vr, VR_C_IGNORED_VIEW);
		return vr_tell_view(vr, from);
	}
	if (vr->status != VR_NORMAL)
		return vr_count(vr, VR_C_IGNORED_STATUS);
	if (!vr_leads(vr))
		return vr_count(vr, VR_C_IGNORED_OTHER);
	if (m->opnum > vr->sent)
		return vr_count(vr, VR_C_IGNORED_UNSENT);
	if (m->opnum > 0)
		vr_count(vr, VR_C_ACKS_USER);
	else if (vr->sent > 0)
		return; /* vr_show_life(): it was heard, and its log may be any */
	vr_peer_joined(vr, from);
	if (m->opnum <= vr->peer[from].acked)
		return;
	if (vr_fits_kernel(vr->view, m->opnum)) {
		a = vr_act(vr, VR_ACKED);
		a->to = from;
		a->op = m->opnum;
	}
	vr_peer_acked(vr, from, m->opnum);
	advance_commit(vr);
}

/* A commit that no Prepare carried, and the sign of life of an idle leader. */
static void send_commit(struct vr *vr)
{
	struct message m = vr_message(vr, WIRE_COMMIT, vr->committed);

	vr_broadcast(vr, &m);
	vr->told = vr->committed;
	vr->told_at = vr->now;
	vr->commit_at = VR_NEVER;
}

static bool commit_due(const struct vr *vr)
{
	if (vr->deaf)
		return false;
	return (vr->told < vr->committed && vr->commit_at <= vr->now) ||
	       vr->told_at + vr->c.heartbeat_us <= vr->now;
}

/* --- the follower -------------------------------------------------------------------- */

static void send_ok(struct vr *vr, uint64_t op)
{
	struct message m = vr_message(vr, WIRE_PREPARE_OK, op);

	vr_send(vr, vr_leader_of(vr, vr->view), &m);
}

void vr_send_prepare_ok(struct vr *vr)
{
	send_ok(vr, vr->log.last);
}

/* An ack of nothing: what acks nothing new the leader's kernel absorbs, but for this (ok-zero). */
void vr_show_life(struct vr *vr)
{
	send_ok(vr, 0);
}

void vr_advanced(struct vr *vr)
{
	if (!vr->frozen && vr_fits_kernel(vr->view, vr->log.last))
		vr_act(vr, VR_ADVANCE)->op = vr->log.last;
	vr_send_prepare_ok(vr);
}

/* The leader of a view that this replica has not entered is at work. */
static void on_newer_view(struct vr *vr, const struct message *m, uint32_t from, bool kernel)
{
	if (kernel || from != vr_leader_of(vr, m->view) || from == vr->c.self)
		return vr_count(vr, VR_C_IGNORED_SENDER);
	if (m->view > vr->view && vr_must_freeze(vr))
		return;
	vr_count(vr, VR_C_IGNORED_VIEW_NEWER);
	if (m->view > vr->view || !vr->transfer.active)
		vr_follow_newer(vr, m->view);
}

/* Is this Prepare or Commit from the leader of the view that this replica follows? */
static bool from_leader(struct vr *vr, const struct message *m, uint32_t from, bool kernel)
{
	if (vr->status == VR_RECOVERING) {
		vr_count(vr, VR_C_IGNORED_STATUS);
	} else if (m->view < vr->view) {
		vr_count(vr, VR_C_IGNORED_VIEW);
		if (!kernel)
			vr_tell_view(vr, from);
	} else if (m->view > vr->view || vr->status == VR_VIEW_CHANGE) {
		on_newer_view(vr, m, from, kernel);
	} else if (vr_leads(vr) || from != vr_leader_of(vr, vr->view)) {
		vr_count(vr, VR_C_IGNORED_SENDER);
	} else {
		vr_trust_leader(vr);
		return true;
	}
	return false;
}

/* Of a leader that was set up otherwise: never to be stored here. */
static bool has_large_op(const struct vr *vr, const struct message *m)
{
	for (uint32_t i = 0; i < m->entries.count; i++) {
		if (entries_at(&m->entries, i)->op.len > vr->c.op_max)
			return true;
	}
	return false;
}

/* What is new of it, all or nothing. */
static bool append_prepare(struct vr *vr, const struct message *m)
{
	uint64_t before = vr->log.last;

	for (uint32_t i = before + 1 - m->batchstart; i < m->entries.count; i++) {
		const struct entry *e = entries_at(&m->entries, i);

		if (!vr_append(vr, e)) {
			vr_log_truncate(&vr->log, before);
			return false;
		}
	}
	vr_record_entries(vr, before + 1, vr->log.last);
	return true;
}

/* Section 4.1, step 4. */
void vr_on_prepare(struct vr *vr, const struct message *m, uint32_t from, bool kernel)
{
	if (!from_leader(vr, m, from, kernel)) {
		vr->resync |= kernel;
		return;
	}
	if (has_large_op(vr, m)) {
		vr->resync |= kernel;
		return vr_count(vr, VR_C_IGNORED_OP_LARGE);
	}
	if (m->batchstart > vr->log.last + 1) {
		vr->resync |= kernel;
		vr_behind(vr, m->opnum);
		return vr_count(vr, VR_C_IGNORED_GAP);
	}
	if (m->has_committed)
		vr_commit(vr, m->committed); /* first of all, for it makes room */
	if (m->opnum <= vr->log.last) {
		vr_count(vr, VR_C_IGNORED_DUPLICATE);
	} else if (!append_prepare(vr, m)) {
		if (kernel)
			vr->result = VR_FULL;
		return vr_count(vr, VR_C_IGNORED_FULL);
	} else if (m->has_committed) {
		vr_commit(vr, m->committed);
	}
	vr_count(vr, kernel ? VR_C_PREPARES_KERNEL : VR_C_PREPARES_USER);
	if (!kernel)
		vr_advanced(vr); /* also for a duplicate: its first ack may be lost */
}

/* Section 4.1, step 7. */
void vr_on_commit(struct vr *vr, const struct message *m, uint32_t from)
{
	if (!from_leader(vr, m, from, false))
		return;
	if (m->opnum <= vr->committed)
		vr_show_life(vr);
	vr_commit(vr, m->opnum);
	vr_behind(vr, m->opnum);
}

/* --- both ------------------------------------------------------------------------------ */

/* Requests that wait in the log: when they come again, they have their place. */
static void remember_pending(struct vr *vr)
{
	uint64_t op = vr->executed;

	/* No leader had more than a window of them; the client table has room for as many. */
	if (vr->log.last > op + vr->window)
		op = vr->log.last - vr->window;
	while (op++ < vr->log.last) {
		const struct entry *e = vr_log_at(&vr->log, op);
		struct vr_client *c = vr_client_get(&vr->clients, e->clientid);

		c->pending_op = op;
		c->pending_reqid = e->reqid;
	}
}

void vr_normal_enter(struct vr *vr)
{
	vr->sent = vr->log.last;
	vr->batch_bytes = 0;
	vr->told = 0;
	vr->told_at = vr->now;
	vr->commit_at = VR_NEVER;
	vr_peers_enter(vr);
	vr_trust_leader(vr);
	if (!vr_leads(vr))
		return;
	remember_pending(vr);
	if (vr->quorum == 0)
		vr_commit(vr, vr->log.last);
}

void vr_normal_tick(struct vr *vr)
{
	vr_execute(vr);
	if (!vr_leads(vr))
		return;
	vr_peers_look(vr);
	send_prepare(vr);
	vr_peers_resend(vr);
	if (commit_due(vr))
		send_commit(vr);
}

uint64_t vr_normal_deadline(const struct vr *vr)
{
	uint64_t at = vr->deaf ? VR_NEVER : vr->told_at + vr->c.heartbeat_us;
	uint64_t resend_at;

	if (!vr_leads(vr))
		return VR_NEVER;
	if (vr->log.last > vr->sent)
		return vr->now;
	if (!vr->deaf && vr->told < vr->committed && vr->commit_at < at)
		at = vr->commit_at;
	resend_at = vr_peers_deadline(vr);
	return resend_at < at ? resend_at : at;
}
