// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * What a leader knows of the other replicas, and what it sends to each of them again.
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
#include "replica/vr_core.h"

#define BURST 64 /* Prepares in a burst of resends */

/* --- time --- */

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

void vr_peers_enter(struct vr *vr)
{
	/* A new cluster is in view 0; what is more, each replica has to show. */
	bool fresh = vr->view == 0 && vr->log.last == 0;

	vr->deaf = false;
	for (uint32_t i = 0; i < vr->c.n; i++) {
		struct vr_peer *p = &vr->peer[i];

		*p = (struct vr_peer){.rtt_us = p->rtt_us, .rtt_dev_us = p->rtt_dev_us};
		p->joined = fresh;
		p->heard_at = vr->now;
		p->resend_at = fresh ? VR_NEVER : vr->now + pause_of(vr, p);
	}
}

/* --- signs of life --- */

void vr_heard_from(struct vr *vr, uint32_t from)
{
	struct vr_peer *p = &vr->peer[from];

	if ((p->dead || vr->deaf) && p->resend_at != VR_NEVER)
		p->resend_at = vr->now;
	p->dead = false;
	p->heard_at = vr->now;
	p->unanswered = 0;
}

void vr_peers_look(struct vr *vr)
{
	uint32_t heard = 0;
	bool deaf;

	for (uint32_t i = 0; i < vr->c.n; i++)
		heard += i != vr->c.self && vr->peer[i].heard_at + vr->c.view_change_us > vr->now;
	deaf = heard < vr->quorum;
	if (deaf && !vr->deaf)
		vr_count(vr, VR_C_DEAF);
	vr->deaf = deaf;
}

void vr_peer_joined(struct vr *vr, uint32_t i)
{
	struct vr_peer *p = &vr->peer[i];

	if (p->joined)
		return;
	p->joined = true;
	p->resend_at = p->acked < vr->sent ? vr->now + pause_of(vr, p) : VR_NEVER;
}

void vr_peer_acked(struct vr *vr, uint32_t i, uint64_t op)
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

/* --- Prepares --- */

void vr_peers_sent(struct vr *vr, uint64_t last)
{
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
}

struct message vr_prepare_of(const struct vr *vr, uint64_t first, uint64_t last)
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
		struct message m = vr_prepare_of(vr, first, last);

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

void vr_peers_resend(struct vr *vr)
{
	for (uint32_t i = 0; i < vr->c.n; i++) {
		if (i != vr->c.self && vr->peer[i].resend_at <= vr->now)
			resend_to(vr, i);
	}
}

uint64_t vr_peers_deadline(const struct vr *vr)
{
	uint64_t at = VR_NEVER;

	for (uint32_t i = 0; i < vr->c.n; i++) {
		if (i != vr->c.self && vr->peer[i].resend_at < at)
			at = vr->peer[i].resend_at;
	}
	return at;
}
