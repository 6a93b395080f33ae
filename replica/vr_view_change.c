// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Change of view ("Viewstamped Replication Revisited", section 4.2).
 *
 *   suspect the leader, or hear of a newer view
 *        |  gate frozen and drained, view recorded
 *        v
 *   StartViewChange to all --> with those of f others --> DoViewChange to the new leader
 *                                                              |
 *   follower: log of StartView <-- StartView to all <-- leader: f + 1 DoViewChange,
 *        |    becomes the own                                  |  best log becomes the own
 *        v                                                     v
 *      normal, thaw                                          normal, thaw
 *
 * The best log has the largest last normal view, then the largest op. The last normal view
 * is state of its own, raised only when the whole log of that view is here: the view of
 * the log's last entry says something else.
 *
 * Logs are not sent whole. Messages carry what is above the commit known of the receiver,
 * as far as it fits; the rest comes by state transfer, before the view is entered.
 */
#include <stdlib.h>
#include <string.h>

#include "replica/vr_core.h"

#define BACKOFF_MAX 3 /* the time that a change is given doubles so often at most */

bool vr_staged_open(struct vr *vr)
{
	vr->staged.from = VR_TO_ALL;
	vr->staged.entries = calloc(MESSAGE_ENTRIES_MAX, sizeof(*vr->staged.entries));
	vr->staged.bytes = malloc(MESSAGE_LEN_MAX);
	return vr->staged.entries && vr->staged.bytes;
}

void vr_staged_close(struct vr *vr)
{
	free(vr->staged.entries);
	free(vr->staged.bytes);
}

/* --- time --- */

static uint64_t patience(struct vr *vr)
{
	return vr->c.view_change_us + vr_random(vr) % vr->c.view_change_us;
}

void vr_trust_leader(struct vr *vr)
{
	vr->suspect_at = vr->now + patience(vr);
}

static void give_time(struct vr *vr)
{
	uint32_t times = vr->changes < BACKOFF_MAX ? vr->changes : BACKOFF_MAX;

	vr->change_at = vr->now + (patience(vr) << times);
}

void vr_change_progress(struct vr *vr)
{
	if (vr->status == VR_RECOVERING)
		vr->recovery.give_up_at = vr->now + 2 * vr->c.view_change_us;
	else
		give_time(vr);
}

/* --- sending --- */

static void send_start_view_change(struct vr *vr, uint32_t to)
{
	struct message m = vr_message(vr, WIRE_START_VIEW_CHANGE, 0);

	m.committed = vr->committed;
	vr_put_crash(vr, &m);
	vr_send(vr, to, &m);
}

/* The least commit that is known of any replica in this change. */
static uint64_t least_commit(const struct vr *vr)
{
	uint64_t least = vr->committed;

	for (uint32_t i = 0; i < vr->c.n; i++) {
		const struct vr_vote *v = &vr->vote[i];

		if ((v->started || v->voted) && v->committed < least)
			least = v->committed;
	}
	return least;
}

static void send_do_view_change(struct vr *vr)
{
	uint32_t leader = vr_leader_of(vr, vr->view);
	struct message m = vr_message(vr, WIRE_DO_VIEW_CHANGE, vr->log.last);
	uint64_t from = vr->vote[leader].started ? vr->vote[leader].committed : least_commit(vr);

	m.last_normal = vr->last_normal;
	m.committed = vr->committed;
	m.entries = vr_entries_from(vr, from + 1, vr->log.last);
	vr_put_crash(vr, &m);
	vr_send(vr, leader, &m);
}

void vr_send_start_view(struct vr *vr, uint32_t to)
{
	struct message m = vr_message(vr, WIRE_START_VIEW, vr->sent);

	m.committed = vr->committed;
	m.entries = vr_entries_from(vr, least_commit(vr) + 1, vr->sent);
	vr_put_crash(vr, &m);
	vr_send(vr, to, &m);
}

/* A deposed leader, a replica that was cut off: by a vote of ours it learns of our view. */
void vr_tell_view(struct vr *vr, uint32_t to)
{
	struct vr_peer *p = &vr->peer[to];

	if (vr->status == VR_RECOVERING || p->told_view_at + vr->c.resend_us > vr->now)
		return;
	p->told_view_at = vr->now;
	if (vr->status == VR_NORMAL && vr_leads(vr))
		vr_send_start_view(vr, to);
	else
		send_start_view_change(vr, to);
}

/* --- beginning --- */

static void set_view(struct vr *vr, uint64_t view)
{
	assert(vr->frozen);
	assert(view >= vr->view);
	/* A leader's open batch was never recorded nor sent: it is as if it had not come. */
	if (vr->status == VR_NORMAL && vr_leads(vr))
		vr_log_truncate(&vr->log, vr->sent);
	vr->status = VR_VIEW_CHANGE;
	vr->view = view;
	vr->transfer.active = false;
	vr->staged.from = VR_TO_ALL;
	memset(vr->vote, 0, sizeof(vr->vote));
	vr_clients_drop_pending(&vr->clients);
	vr_record_view(vr);
	vr->changes++;
	give_time(vr);
	vr->vote_at = vr->now + 2 * vr->c.resend_us;
}

/* Section 4.2, step 1. */
static void start_change(struct vr *vr, uint64_t view)
{
	set_view(vr, view);
	vr_count(vr, VR_C_VIEW_CHANGES);
	send_start_view_change(vr, VR_TO_ALL);
}

void vr_follow_newer(struct vr *vr, uint64_t view)
{
	if (view > vr->view)
		set_view(vr, view);
	vr_transfer_begin(vr, vr_leader_of(vr, view), VR_NEVER, 0);
	vr->transfer.retry_at = vr->now;
}

void vr_view_change_resume(struct vr *vr)
{
	set_view(vr, vr->view);
	send_start_view_change(vr, VR_TO_ALL);
}

/* --- the new leader --- */

/* Viewstamps in the order of section 4.2, step 3. */
static bool better(uint64_t normal, uint64_t op, uint64_t than_normal, uint64_t than_op)
{
	return normal > than_normal || (normal == than_normal && op > than_op);
}

static uint32_t count_votes(const struct vr *vr, bool voted)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < vr->c.n; i++)
		count += voted ? vr->vote[i].voted : vr->vote[i].started;
	return count;
}

/* Section 4.2, step 3; oneself counts too, with the own log. */
static void choose_log(struct vr *vr)
{
	uint64_t normal = vr->last_normal, op = vr->log.last, committed = vr->committed;
	struct entries staged = {0};
	uint32_t best = vr->c.self;

	if (vr->transfer.active || count_votes(vr, true) < vr->quorum)
		return;
	for (uint32_t i = 0; i < vr->c.n; i++) {
		const struct vr_vote *v = &vr->vote[i];

		if (!v->voted)
			continue;
		if (better(v->last_normal, v->op, normal, op)) {
			best = i;
			normal = v->last_normal;
			op = v->op;
		}
		if (v->committed > committed)
			committed = v->committed;
	}
	vr_transfer_begin(vr, best, op, committed);
	if (best == vr->c.self) {
		vr->transfer.matched = op;
		vr_commit(vr, committed);
		vr_enter_view(vr);
		return;
	}
	vr->transfer.retry_at = vr->now;
	if (vr->staged.from == best)
		staged = (struct entries){vr->staged.entries, 0, vr->staged.count, UINT32_MAX};
	if (vr_transfer_take(vr, &staged))
		vr_enter_view(vr);
}

/* Keeps the entries of a DoViewChange that is the best so far. */
static void stage(struct vr *vr, const struct message *m, uint32_t from)
{
	struct vr_staged *s = &vr->staged;
	uint8_t *at = s->bytes;

	if (s->from != VR_TO_ALL && s->from != from &&
	    !better(m->last_normal, m->opnum, vr->vote[s->from].last_normal, vr->vote[s->from].op))
		return;
	s->from = from;
	s->count = m->entries.count;
	for (uint32_t i = 0; i < s->count; i++) {
		s->entries[i] = *entries_at(&m->entries, i);
		if (s->entries[i].op.len > 0)
			memcpy(at, s->entries[i].op.data, s->entries[i].op.len);
		s->entries[i].op.data = at;
		at += s->entries[i].op.len;
	}
}

/* --- messages --- */

/* Handles what is not of the change that goes on; false: it is. */
static bool another_view(struct vr *vr, const struct message *m, uint32_t from)
{
	if (m->view < vr->view) {
		vr_count(vr, VR_C_IGNORED_VIEW);
		vr_tell_view(vr, from);
		return true;
	}
	if (vr->status != VR_NORMAL)
		return false;
	/* Our view has begun, the sender has not heard: again (section 4.2, step 4). */
	if (vr_leads(vr))
		vr_send_start_view(vr, from);
	else
		vr_count(vr, VR_C_IGNORED_STATUS);
	return true;
}

static bool ignore_vote(struct vr *vr, const struct message *m, uint32_t from)
{
	if (m->index != from || from == vr->c.self) {
		vr_count(vr, VR_C_IGNORED_SENDER);
		return true;
	}
	if (vr->status == VR_RECOVERING) {
		vr_count(vr, VR_C_IGNORED_STATUS);
		return true;
	}
	return vr_ignore_crashed(vr, m, from);
}

/* Section 4.2, steps 1 and 2. */
void vr_on_start_view_change(struct vr *vr, const struct message *m, uint32_t from)
{
	if (ignore_vote(vr, m, from))
		return;
	if (m->view > vr->view) {
		if (vr_must_freeze(vr))
			return;
		start_change(vr, m->view);
	}
	vr_merge_crash(vr, m);
	if (another_view(vr, m, from))
		return;
	vr->vote[from].started = true;
	vr->vote[from].life = m->crash_count ? m->crash[from] : 0;
	if (!vr->vote[from].voted || m->committed > vr->vote[from].committed)
		vr->vote[from].committed = m->committed;
	if (count_votes(vr, false) < vr->quorum)
		return;
	if (!vr_leads(vr))
		send_do_view_change(vr);
}

/* Section 4.2, step 3. */
void vr_on_do_view_change(struct vr *vr, const struct message *m, uint32_t from)
{
	struct vr_vote *v = &vr->vote[from];

	if (ignore_vote(vr, m, from))
		return;
	if (vr_leader_of(vr, m->view) != vr->c.self)
		return vr_count(vr, VR_C_IGNORED_OTHER);
	if (m->view > vr->view) {
		if (vr_must_freeze(vr))
			return;
		start_change(vr, m->view);
	}
	vr_merge_crash(vr, m);
	if (another_view(vr, m, from))
		return;
	stage(vr, m, from);
	v->voted = true;
	v->last_normal = m->last_normal;
	v->op = m->opnum;
	v->committed = m->committed;
	v->life = m->crash_count ? m->crash[from] : 0;
	choose_log(vr);
}

/* Section 4.2, step 5. */
void vr_on_start_view(struct vr *vr, const struct message *m, uint32_t from)
{
	if (from != vr_leader_of(vr, m->view) || from == vr->c.self)
		return vr_count(vr, VR_C_IGNORED_SENDER);
	if (vr->status == VR_RECOVERING)
		return vr_count(vr, VR_C_IGNORED_STATUS);
	if (vr_ignore_crashed(vr, m, from))
		return;
	if (m->view > vr->view) {
		if (vr_must_freeze(vr))
			return;
		set_view(vr, m->view);
	}
	vr_merge_crash(vr, m);
	if (m->view < vr->view) {
		vr_count(vr, VR_C_IGNORED_VIEW);
		return vr_tell_view(vr, from);
	}
	if (vr->status == VR_NORMAL) {
		/* The leader has not seen that we are here. */
		vr_trust_leader(vr);
		return vr_send_prepare_ok(vr);
	}
	/* An older StartView, or the answer to a request, may have begun it. */
	if (!vr->transfer.active)
		vr_transfer_begin(vr, from, m->opnum, m->committed);
	vr->transfer.retry_at = vr->now;
	if (vr->transfer.target == VR_NEVER)
		vr->transfer.target = m->opnum;
	if (m->committed > vr->transfer.committed)
		vr->transfer.committed = m->committed;
	if (vr_transfer_take(vr, &m->entries))
		vr_enter_view(vr);
}

/* --- the end --- */

void vr_enter_view(struct vr *vr)
{
	assert(vr->frozen);
	assert(vr->transfer.matched >= vr->transfer.target);
	if (vr->log.last > vr->transfer.matched) {
		vr_log_truncate(&vr->log, vr->transfer.matched);
		vr_act(vr, VR_RECORD_TRUNCATE)->op = vr->log.last;
	}
	vr->transfer.active = false;
	if (vr->status == VR_RECOVERING)
		vr_count(vr, VR_C_RECOVERIES);
	vr->status = VR_NORMAL;
	vr->last_normal = vr->view;
	vr->changes = 0;
	vr_record_view(vr);
	vr_count(vr, VR_C_VIEWS);
	vr_normal_enter(vr);
	if (vr_leads(vr))
		vr_send_start_view(vr, VR_TO_ALL);
	else
		vr_send_prepare_ok(vr);
	vr_execute(vr);
}

/* --- timers --- */

void vr_view_change_tick(struct vr *vr)
{
	if (vr->status == VR_NORMAL) {
		if (vr_leads(vr) || vr->now < vr->suspect_at || vr_must_freeze(vr))
			return;
		start_change(vr, vr->view + 1);
		return;
	}
	if (vr->now >= vr->change_at) {
		/* Alone in this change, a still newer view would win nobody over. */
		if (count_votes(vr, false) >= vr->quorum)
			return start_change(vr, vr->view + 1);
		vr->transfer.active = false;
		give_time(vr);
	}
	if (vr->now < vr->vote_at)
		return;
	vr->vote_at = vr->now + 2 * vr->c.resend_us;
	send_start_view_change(vr, VR_TO_ALL);
	if (count_votes(vr, false) >= vr->quorum && !vr_leads(vr))
		send_do_view_change(vr);
}

uint64_t vr_view_change_deadline(const struct vr *vr)
{
	if (vr->status == VR_NORMAL)
		return vr_leads(vr) ? VR_NEVER : vr->suspect_at;
	return vr->change_at < vr->vote_at ? vr->change_at : vr->vote_at;
}
