// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Recovery of a replica that lost its memory ("Viewstamped Replication Revisited",
 * section 4.3), with the correction of Michael, Ports, Sharma and Szekeres, "Recovering
 * Shared Objects Without Stable Storage" (DISC 2017).
 *
 * As in the 2012 paper recovery is unsafe: votes that the replica sent before its crash
 * may arrive after it recovered and count, though it no longer knows what they promised.
 * So each replica keeps a crash vector: for each replica, the number of lives that it
 * began without memory. Votes and answers carry it; who hears of a newer life of a
 * replica drops what came from the older one. Then every quorum is crash-consistent: none
 * of its messages comes from a life whose end another of them knows of.
 *
 *   first round   Recovery(nonce) to all; of f + 1 answers the largest vector is taken,
 *                 and one's own element in it raised: the new life has its number
 *   second round  Recovery(nonce, vector); who answers has taken the vector over. With
 *                 f + 1 answers, that of the leader of their newest view among them, the
 *                 leader's log becomes the own, by state transfer
 *
 * Two quorums of answers share a replica, so a life that crashes before it got this far
 * is counted by the next one. Nothing is acked and no vote is sent meanwhile.
 */
#include <string.h>

#include "replica/vr_core.h"

/* --- crash vectors --- */

static uint64_t life_of(const struct message *m, uint32_t from)
{
	return m->crash_count > 0 ? m->crash[from] : 0;
}

bool vr_ignore_crashed(struct vr *vr, const struct message *m, uint32_t from)
{
	if (m->crash_count != 0 && m->crash_count != vr->c.n) {
		vr_count(vr, VR_C_IGNORED_OTHER);
		return true;
	}
	if (life_of(m, from) >= vr->crash[from])
		return false;
	vr_count(vr, VR_C_IGNORED_CRASHED);
	return true;
}

/* Votes and answers of a life that is over do not count any more. */
static void drop_life(struct vr *vr, uint32_t i)
{
	struct vr_vote *v = &vr->vote[i];
	struct vr_answer *a = &vr->recovery.answer[i];

	if ((v->started || v->voted) && v->life < vr->crash[i]) {
		*v = (struct vr_vote){0};
		if (vr->staged.from == i)
			vr->staged.from = VR_TO_ALL;
		/* The log may have been chosen by that vote. */
		if (vr->status == VR_VIEW_CHANGE && vr_leads(vr))
			vr->transfer.active = false;
	}
	if (a->given && a->life < vr->crash[i]) {
		*a = (struct vr_answer){0};
		if (vr->status == VR_RECOVERING)
			vr->transfer.active = false;
	}
}

void vr_merge_crash(struct vr *vr, const struct message *m)
{
	bool changed = false;

	for (uint32_t i = 0; i < m->crash_count && i < vr->c.n; i++) {
		/* Nobody else knows more of one's own lives. */
		if (i == vr->c.self || m->crash[i] <= vr->crash[i])
			continue;
		vr->crash[i] = m->crash[i];
		drop_life(vr, i);
		changed = true;
	}
	if (changed)
		vr_record_view(vr);
}

void vr_put_crash(const struct vr *vr, struct message *m)
{
	m->crash_count = vr->c.n;
	memcpy(m->crash, vr->crash, vr->c.n * sizeof(*m->crash));
}

/* --- who recovers --- */

static void ask(struct vr *vr)
{
	struct message m = vr_message(vr, WIRE_RECOVERY, 0);

	m.nonce = vr->recovery.nonce;
	if (vr->recovery.second)
		vr_put_crash(vr, &m);
	vr_send(vr, VR_TO_ALL, &m);
	vr->recovery.retry_at = vr->now + 2 * vr->c.resend_us;
}

static void begin_round(struct vr *vr, bool second)
{
	struct vr_recovery *r = &vr->recovery;

	r->second = second;
	r->nonce = vr_random(vr);
	memset(r->answer, 0, sizeof(r->answer));
	vr->transfer.active = false;
	r->give_up_at = VR_NEVER;
	ask(vr);
}

void vr_recovery_begin(struct vr *vr)
{
	begin_round(vr, false);
}

static uint32_t count_answers(const struct vr *vr)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < vr->c.n; i++)
		count += vr->recovery.answer[i].given;
	return count;
}

static void end_first_round(struct vr *vr)
{
	/* Only others answer, and f + 1 of them: that is more than vr->quorum. */
	if (count_answers(vr) <= vr->quorum)
		return;
	vr->crash[vr->c.self]++;
	vr_record_view(vr);
	begin_round(vr, true);
}

/* Section 4.3, step 3. */
static void end_second_round(struct vr *vr)
{
	const struct vr_answer *a;
	uint64_t view = 0;

	if (vr->transfer.active || count_answers(vr) <= vr->quorum)
		return;
	for (uint32_t i = 0; i < vr->c.n; i++) {
		a = &vr->recovery.answer[i];
		if (a->given && a->view > view)
			view = a->view;
	}
	a = &vr->recovery.answer[vr_leader_of(vr, view)];
	if (!a->given || !a->leads || a->view != view || view < vr->view)
		return;
	vr->view = view;
	vr_record_view(vr);
	vr_transfer_begin(vr, vr_leader_of(vr, view), a->op, a->committed);
	vr->transfer.retry_at = vr->now;
	vr_change_progress(vr);
	if (vr_transfer_take(vr, &(struct entries){0}))
		vr_enter_view(vr);
}

void vr_on_recovery_response(struct vr *vr, const struct message *m, uint32_t from)
{
	struct vr_answer *a = &vr->recovery.answer[from];

	if (m->index != from || from == vr->c.self)
		return vr_count(vr, VR_C_IGNORED_SENDER);
	if (vr->status != VR_RECOVERING || m->nonce != vr->recovery.nonce)
		return vr_count(vr, VR_C_IGNORED_OTHER);
	if (vr_ignore_crashed(vr, m, from))
		return;
	if (!vr->recovery.second) {
		/* Only here do others know more of one's own lives. */
		if (m->crash_count > 0 && m->crash[vr->c.self] > vr->crash[vr->c.self])
			vr->crash[vr->c.self] = m->crash[vr->c.self];
	} else if (m->crash_count > 0 && m->crash[vr->c.self] < vr->crash[vr->c.self]) {
		return vr_count(vr, VR_C_IGNORED_CRASHED);
	}
	vr_merge_crash(vr, m);
	*a = (struct vr_answer){true,	  m->has_opnum, m->view,
				m->opnum, m->committed, life_of(m, from)};
	if (vr->recovery.second)
		end_second_round(vr);
	else
		end_first_round(vr);
}

void vr_recovery_tick(struct vr *vr)
{
	struct vr_recovery *r = &vr->recovery;

	if (vr->now >= r->give_up_at)
		return begin_round(vr, true); /* the leader went on to another view */
	if (vr->transfer.active || vr->now < r->retry_at)
		return;
	/* Answers of the past may never come to fit together: newer ones replace them. */
	ask(vr);
}

uint64_t vr_recovery_deadline(const struct vr *vr)
{
	const struct vr_recovery *r = &vr->recovery;

	return vr->transfer.active ? r->give_up_at : r->retry_at;
}

/* --- who answers --- */

/* Section 4.3, step 2. */
void vr_on_recovery(struct vr *vr, const struct message *m, uint32_t from)
{
	struct message answer = vr_message(vr, WIRE_RECOVERY_RESPONSE, vr->sent);

	if (m->index != from || from == vr->c.self)
		return vr_count(vr, VR_C_IGNORED_SENDER);
	if (vr->status != VR_NORMAL)
		return vr_count(vr, VR_C_IGNORED_STATUS);
	/* Without a vector it is the first round: a life that has no number yet. */
	if (m->crash_count > 0) {
		if (vr_ignore_crashed(vr, m, from))
			return;
		vr_merge_crash(vr, m);
	}
	answer.nonce = m->nonce;
	answer.has_opnum = vr_leads(vr);
	answer.committed = vr->committed;
	vr_put_crash(vr, &answer);
	vr_send(vr, from, &answer);
}
