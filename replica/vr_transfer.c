// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * State transfer ("Viewstamped Replication Revisited", section 5.2): another replica's log
 * becomes the own, entry by entry, for a follower with a gap, for whoever enters a view,
 * for a replica that recovers.
 *
 *   own log     committed ... matched ...................... last (of an older view)
 *   source's    ..............matched ... target
 *
 * The paper cuts the own log back to the commit before it asks. But the tail may hold
 * ops that were acked, and this replica may have to vouch for them in yet another view
 * change before the transfer is over. So the tail stays: an entry that the source has
 * too is kept, the first that differs is dropped with all that follows (the source's
 * log is that of a view that began, so what differs was never committed), and what lies
 * above the target goes when the view is entered (vr_enter_view()).
 *
 * Entries are compared by their request. Their view says nothing: a replica notes the
 * view in which it got the entry.
 *
 * What the source has dropped from memory comes as a snapshot, in pieces asked for one by one.
 */
#include <stdlib.h>
#include <string.h>

#include "replica/vr_core.h"

/* Bytes of entries, or of a snapshot, in one message: few frames, for they must all arrive. */
#define CHUNK 7000
#define TRIES_MAX 5 /* the pause between requests doubles so often at most */

bool vr_transfer_open(struct vr *vr)
{
	vr->transfer.snapshot = malloc(vr->c.snapshot_max);
	vr->given = malloc(vr->c.snapshot_max);
	return vr->transfer.snapshot && vr->given;
}

void vr_transfer_close(struct vr *vr)
{
	free(vr->transfer.snapshot);
	free(vr->given);
}

/* --- giving --- */

struct entries vr_entries_from(const struct vr *vr, uint64_t first, uint64_t last)
{
	struct entries list = {vr->log.ring, first, 0, vr->log.mask};
	size_t bytes = 0;

	if (first <= vr->log.base)
		return list;
	while (first + list.count <= last && list.count < MESSAGE_ENTRIES_MAX) {
		bytes += message_entry_len(vr_log_at(&vr->log, first + list.count));
		if (bytes > CHUNK && list.count > 0)
			break;
		list.count++;
	}
	return list;
}

static bool give_snapshot(struct vr *vr, struct message *m, const struct message *request)
{
	uint64_t offset = 0;
	size_t len;

	if (vr->given_op != 0 && request->snapshot_op == vr->given_op &&
	    request->snapshot_offset <= vr->given_len) {
		offset = request->snapshot_offset;
	} else if (vr->given_op == 0 || vr->given_op < vr->log.base) {
		/* One that is there already will do, if the log goes on from it. */
		len = vr_snapshot_len(vr);
		if (len > vr->c.snapshot_max)
			return false;
		vr->given_op = vr_snapshot(vr, vr->given);
		vr->given_len = len;
		vr_count(vr, VR_C_SNAPSHOTS_SENT);
	}
	len = vr->given_len - offset;
	m->snapshot = (struct snapshot_piece){
		.opnum = vr->given_op,
		.offset = offset,
		.total = vr->given_len,
		.data = {vr->given + offset, len < CHUNK ? len : CHUNK},
	};
	return true;
}

void vr_on_request_state_transfer(struct vr *vr, const struct message *m, uint32_t from)
{
	struct message answer = vr_message(vr, WIRE_STATE_TRANSFER, vr->log.last);

	if (from == vr->c.self)
		return vr_count(vr, VR_C_IGNORED_SENDER);
	if (m->view < vr->view)
		return vr_tell_view(vr, from);
	/* In a change of view the log stands still; the new leader builds its own from it. */
	if (m->view > vr->view || vr->status == VR_RECOVERING ||
	    (vr->status == VR_VIEW_CHANGE && from != vr_leader_of(vr, vr->view)))
		return vr_count(vr, VR_C_IGNORED_STATUS);
	/* A leader's open batch is not recorded yet. */
	if (vr->status == VR_NORMAL && vr_leads(vr))
		answer.opnum = vr->sent;
	answer.has_committed = true;
	answer.committed = vr->committed;
	if (m->opnum >= vr->log.base)
		answer.entries = vr_entries_from(vr, m->opnum + 1, answer.opnum);
	else if (!give_snapshot(vr, &answer, m))
		return vr_count(vr, VR_C_IGNORED_FULL);
	vr_send(vr, from, &answer);
}

/* --- taking --- */

void vr_transfer_begin(struct vr *vr, uint32_t source, uint64_t target, uint64_t committed)
{
	struct vr_transfer *t = &vr->transfer;

	t->active = true;
	t->source = source;
	t->tries = 0;
	t->matched = vr->committed; /* what is committed is the same everywhere */
	t->target = target;
	t->committed = committed;
	t->retry_at = vr->now + vr->c.resend_us / 2;
	vr_count(vr, VR_C_TRANSFERS);
}

void vr_behind(struct vr *vr, uint64_t op)
{
	struct vr_transfer *t = &vr->transfer;

	if (op <= vr->log.last)
		return;
	/* A while is given to packets out of order, and to the leader's own resend. */
	if (!t->active)
		vr_transfer_begin(vr, vr_leader_of(vr, vr->view), op, 0);
	else if (op > t->target)
		t->target = op;
}

static void request(struct vr *vr)
{
	struct vr_transfer *t = &vr->transfer;
	struct message m = vr_message(vr, WIRE_REQUEST_STATE_TRANSFER, t->matched);

	if (t->snapshot_op > t->matched) {
		m.snapshot_op = t->snapshot_op;
		m.snapshot_offset = t->snapshot_have;
	}
	vr_send(vr, t->source, &m);
	t->retry_at = vr->now + ((uint64_t)vr->c.resend_us << t->tries);
	if (t->tries < TRIES_MAX)
		t->tries++;
}

static bool same_request(const struct entry *a, const struct entry *b)
{
	return a->clientid == b->clientid && a->reqid == b->reqid && a->op.len == b->op.len &&
	       (a->op.len == 0 || memcmp(a->op.data, b->op.data, a->op.len) == 0);
}

/* Puts the entry at its place; false: no room. */
static bool take_entry(struct vr *vr, const struct entry *e, uint64_t *appended)
{
	const struct entry *own = vr_log_at(&vr->log, e->opnum);

	if (own && same_request(own, e))
		return true;
	if (e->op.len > vr->c.op_max)
		return false;
	if (own) {
		assert(e->opnum > vr->committed);
		vr_log_truncate(&vr->log, e->opnum - 1);
		vr_act(vr, VR_RECORD_TRUNCATE)->op = vr->log.last;
	}
	if (!vr_append(vr, e))
		return false;
	if (*appended == 0)
		*appended = e->opnum;
	return true;
}

bool vr_transfer_take(struct vr *vr, const struct entries *list)
{
	struct vr_transfer *t = &vr->transfer;
	uint64_t appended = 0, committed;

	for (uint32_t i = 0; i < list->count; i++) {
		const struct entry *e = entries_at(list, i);

		if (e->opnum <= t->matched)
			continue;
		if (e->opnum != t->matched + 1 || e->opnum > t->target ||
		    !take_entry(vr, e, &appended))
			break;
		t->matched++;
	}
	if (appended != 0)
		vr_record_entries(vr, appended, t->matched);
	committed = t->committed < t->matched ? t->committed : t->matched;
	if (committed > vr->committed)
		vr_commit(vr, committed);
	return t->matched >= t->target;
}

/* Puts a piece where it belongs; true: something new. */
static bool take_piece(struct vr *vr, const struct snapshot_piece *p)
{
	struct vr_transfer *t = &vr->transfer;

	if (p->opnum <= vr->executed || p->total > vr->c.snapshot_max)
		return false;
	if (p->opnum != t->snapshot_op || p->total != t->snapshot_total) {
		t->snapshot_op = p->opnum;
		t->snapshot_total = p->total;
		t->snapshot_have = 0;
	}
	if (p->offset != t->snapshot_have || p->data.len == 0)
		return false;
	memcpy(t->snapshot + p->offset, p->data.data, p->data.len);
	t->snapshot_have += p->data.len;
	if (t->snapshot_have < t->snapshot_total)
		return true;
	t->snapshot_op = 0;
	if (!vr_snapshot_install(vr, t->snapshot, t->snapshot_total))
		return false;
	vr_act(vr, VR_RECORD_SNAPSHOT)->op = vr->executed;
	vr_count(vr, VR_C_SNAPSHOTS_TAKEN);
	if (t->matched < vr->executed)
		t->matched = vr->executed;
	return true;
}

void vr_on_state_transfer(struct vr *vr, const struct message *m, uint32_t from)
{
	struct vr_transfer *t = &vr->transfer;
	uint64_t before, last = vr->log.last;
	bool progress, done;

	if (!t->active || from != t->source || m->view != vr->view)
		return vr_count(vr, VR_C_IGNORED_OTHER);
	if (vr->status == VR_NORMAL) {
		vr_trust_leader(vr);
		t->matched = last;
	}
	before = t->matched;
	if (t->target == VR_NEVER)
		t->target = m->opnum;
	if (m->has_committed && m->committed > t->committed)
		t->committed = m->committed;
	progress = m->snapshot.opnum != 0 && take_piece(vr, &m->snapshot);
	done = vr_transfer_take(vr, &m->entries);
	progress |= t->matched > before;
	if (progress && vr->status != VR_NORMAL)
		vr_change_progress(vr);
	if (vr->status == VR_NORMAL && vr->log.last > last)
		vr_advanced(vr);
	if (done) {
		t->active = false;
		if (vr->status != VR_NORMAL)
			vr_enter_view(vr);
		return;
	}
	if (progress) {
		t->tries = 0;
		request(vr);
	}
}

void vr_transfer_tick(struct vr *vr)
{
	struct vr_transfer *t = &vr->transfer;

	if (!t->active)
		return;
	if (vr->status == VR_NORMAL) {
		t->matched = vr->log.last;
		t->active = t->matched < t->target;
	}
	if (t->active && vr->now >= t->retry_at)
		request(vr);
}

uint64_t vr_transfer_deadline(const struct vr *vr)
{
	return vr->transfer.active ? vr->transfer.retry_at : VR_NEVER;
}
