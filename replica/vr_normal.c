// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Normal operation ("Viewstamped Replication Revisited", section 4.1), pipelined and
 * batched.
 *
 *   log of the leader    ... executed ... committed ... sent ... last
 *                                            in flight  |  open batch: leaves when it fills a
 *                                                          frame, or at the tick
 *
 * Each peer has a timer of its own for what it has not acked. When it runs out, all
 * above acked[i] goes to that peer again, in order, a burst at a time; the pause
 * doubles, and after `dead_after` unanswered bursts the peer is only probed.
 *
 * A leader that may be heard but does not hear would keep its followers quiet for ever, and
 * commit nothing. So a Commit that says nothing new is answered, and a leader that has not
 * heard a quorum of others for view_change_us is deaf: it takes no requests, sends no Commit,
 * and else no more than probes, until they elect another, or it hears them again.
 */
#include <string.h>

#include "replica/vr_core.h"

#define BURST 64 /* Prepares in a burst of resends */

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

static uint64_t pause_of(const struct vr *vr, const struct vr_peer *p)
{
	uint64_t us = vr->c.resend_us, measured = p->rtt_us + 4 * (uint64_t)p->rtt_dev_us;
	uint64_t longest_patience = 2 * (uint64_t)vr->c.view_change_us;

	if (vr->deaf && vr->c.probe_us < longest_patience)
		return longest_patience; /* else the probes would keep the followers quiet */
	if (p->dead || vr->deaf)
		return vr->c.probe_us;
	if (measured > us)
		us = measured;
	us <<= p->unanswered < 16 ? p->unanswered : 16;
	return us < vr->c.resend_max_us ? us : vr->c.resend_max_us;
}

static struct message prepare_of(const struct vr *vr, uint64_t first, uint64_t last)
{
	struct message m = vr_message(vr, WIRE_PREPARE, last);

	m.batchstart = first;
	m.has_committed = true;
	m.committed = vr->committed;
	m.entries = (struct entries){vr->log.ring, first, last - first + 1, vr->log.mask};
	return m;
}

/* How far a Prepare that begins with `first` reaches: one frame, 64 ops. */
static uint64_t frame_end(const struct vr *vr, uint64_t first, uint64_t last)
{
	uint64_t end = first, room = vr->c.payload_max - MESSAGE_PREPARE_MAX;
	uint64_t used = message_request_len(vr_log_at(&vr->log, first));

	while (end < last && end - first + 1 < ELEC_BATCH_MAX) {
		used += message_request_len(vr_log_at(&vr->log, end + 1));
		if (used > room)
			break;
		end++;
	}
	return end;
}

/* The open batch becomes a Prepare: recorded, then sent (DESIGN: a leader's record comes first). */
static void send_prepare(struct vr *vr)
{
	uint64_t first = vr->sent + 1, last = vr->log.last;
	struct message m = prepare_of(vr, first, last);

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
	for (uint32_t i = 0; i < vr->c.n; i++) {
		struct vr_peer *p = &vr->peer[i];

		if (i == vr->c.self)
			continue;
		if (p->resend_at == VR_NEVER)
			p->resend_at = vr->now + pause_of(vr, p);
		if (p->sample_op == 0) {
			p->sample_op = last;
			p->sample_at = vr->now;
		}
	}
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

static void sample_round_trip(struct vr *vr, struct vr_peer *p, uint64_t acked)
{
	uint32_t us, off;

	if (p->sample_op == 0 || acked < p->sample_op)
		return;
	us = vr->now - p->sample_at < vr->c.resend_max_us ? vr->now - p->sample_at
							  : vr->c.resend_max_us;
	if (p->rtt_us == 0) {
		p->rtt_us = us;
		p->rtt_dev_us = us / 2;
	} else {
		off = us > p->rtt_us ? us - p->rtt_us : p->rtt_us - us;
		p->rtt_dev_us += ((int32_t)off - (int32_t)p->rtt_dev_us) / 4;
		p->rtt_us += ((int32_t)us - (int32_t)p->rtt_us) / 8;
	}
	p->sample_op = 0;
}

void vr_heard_from(struct vr *vr, uint32_t from)
{
	struct vr_peer *p = &vr->peer[from];

	if ((p->dead || vr->deaf) && p->resend_at != VR_NEVER)
		p->resend_at = vr->now;
	p->dead = false;
	p->heard_at = vr->now;
	p->unanswered = 0;
}

static void ack_by(struct vr *vr, uint32_t i, uint64_t op)
{
	struct vr_peer *p = &vr->peer[i];

	if (op <= p->acked)
		return;
	p->acked = op;
	sample_round_trip(vr, p, op);
	vr_heard_from(vr, i);
	if (op >= vr->sent)
		p->resend_at = VR_NEVER;
	else if (p->resent_to != 0 && op >= p->resent_to)
		p->resend_at = vr->now; /* the burst arrived: the next one */
	else
		p->resend_at = vr->now + pause_of(vr, p);
	if (op >= p->resent_to)
		p->resent_to = 0;
}

/* The first ack in this view: from here on it is served with Prepares. */
static void joined(struct vr *vr, uint32_t i)
{
	struct vr_peer *p = &vr->peer[i];

	if (p->joined)
		return;
	p->joined = true;
	p->resend_at = p->acked < vr->sent ? vr->now + pause_of(vr, p) : VR_NEVER;
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
			joined(vr, i);
			ack_by(vr, i, acked[i]);
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
	if (m->opnum == 0 && vr->sent > 0)
		return; /* show_life(): it was heard, and its log may be any */
	vr_count(vr, VR_C_ACKS_USER);
	joined(vr, from);
	if (m->opnum <= vr->peer[from].acked)
		return;
	if (vr_fits_kernel(vr->view, m->opnum)) {
		a = vr_act(vr, VR_ACKED);
		a->to = from;
		a->op = m->opnum;
	}
	ack_by(vr, from, m->opnum);
	advance_commit(vr);
}

/* All above acked, in order. The fast header is right by construction: message_encode() sets it. */
static void resend_prepares(struct vr *vr, uint32_t i)
{
	struct vr_peer *p = &vr->peer[i];
	uint64_t first = p->acked + 1;
	int frames = p->dead ? 1 : BURST;

	/* Dropped from memory: who has the newest acks it, who is behind sees that, and asks. */
	if (first <= vr->log.base) {
		struct message m = vr_message(vr, WIRE_COMMIT, vr->committed);

		vr_send(vr, i, &m);
		first = vr->sent;
	}
	while (frames-- > 0 && first <= vr->sent && vr_log_at(&vr->log, first) && vr_out_room(vr)) {
		uint64_t last = frame_end(vr, first, vr->sent);
		struct message m = prepare_of(vr, first, last);

		vr_send(vr, i, &m);
		vr_count(vr, VR_C_PREPARE_RESENDS);
		first = last + 1;
	}
	p->resent_to = first - 1;
}

static void resend_to(struct vr *vr, uint32_t i)
{
	struct vr_peer *p = &vr->peer[i];

	p->sample_op = 0; /* an ack would not say which sending it answers */
	if (p->joined)
		resend_prepares(vr, i);
	else
		vr_send_start_view(vr, i);
	p->unanswered++;
	if (!p->dead && p->unanswered > vr->c.dead_after) {
		p->dead = true;
		vr_count(vr, VR_C_PEER_DEATHS);
	}
	p->resend_at = vr->now + pause_of(vr, p);
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

static void look_for_quorum(struct vr *vr)
{
	uint32_t heard = 0;
	bool deaf;

	for (uint32_t i = 0; i < vr->c.n; i++)
		heard += i != vr->c.self &&
			 vr->peer[i].heard_at + vr->c.view_change_us > vr->now;
	deaf = heard < vr->quorum;
	if (deaf && !vr->deaf)
		vr_count(vr, VR_C_DEAF);
	vr->deaf = deaf;
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
static void show_life(struct vr *vr)
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
		show_life(vr);
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
	/* A new cluster is in view 0; what is more, each replica has to show. */
	bool fresh = vr->view == 0 && vr->log.last == 0;

	vr->sent = vr->log.last;
	vr->batch_bytes = 0;
	vr->told = 0;
	vr->told_at = vr->now;
	vr->commit_at = VR_NEVER;
	vr->deaf = false;
	for (uint32_t i = 0; i < vr->c.n; i++) {
		struct vr_peer *p = &vr->peer[i];

		*p = (struct vr_peer){.rtt_us = p->rtt_us, .rtt_dev_us = p->rtt_dev_us};
		p->joined = fresh;
		p->heard_at = vr->now;
		p->resend_at = fresh ? VR_NEVER : vr->now + pause_of(vr, p);
	}
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
	look_for_quorum(vr);
	send_prepare(vr);
	for (uint32_t i = 0; i < vr->c.n; i++) {
		if (i != vr->c.self && vr->peer[i].resend_at <= vr->now)
			resend_to(vr, i);
	}
	if (commit_due(vr))
		send_commit(vr);
}

uint64_t vr_normal_deadline(const struct vr *vr)
{
	uint64_t at = vr->deaf ? VR_NEVER : vr->told_at + vr->c.heartbeat_us;

	if (!vr_leads(vr))
		return VR_NEVER;
	if (vr->log.last > vr->sent)
		return vr->now;
	if (!vr->deaf && vr->told < vr->committed && vr->commit_at < at)
		at = vr->commit_at;
	for (uint32_t i = 0; i < vr->c.n; i++) {
		if (i != vr->c.self && vr->peer[i].resend_at < at)
			at = vr->peer[i].resend_at;
	}
	return at;
}
