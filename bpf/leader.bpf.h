/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A leader's fast path: acks -> words. An ack raises acked[i]; whoever's raise completes
 * a quorum raises `committed` and lets its packet through, the others are absorbed.
 */
#ifndef PAXRACK_LEADER_BPF_H
#define PAXRACK_LEADER_BPF_H

#include "bpf/follower.bpf.h"

#define RAISE_TRIES 16 /* each failure means that somebody else raised the word */

enum raised { RAISED, RAISED_BEFORE, RAISED_EPOCH, RAISED_NOT };

/* Raise word to (epoch, op); never lower it, never across epochs. */
static __always_inline enum raised word_raise(__u64 *word, __u32 epoch, __u32 op)
{
	for (int i = 0; i < RAISE_TRIES; i++) {
		__u64 old = READ_ONCE(*word);

		if (ELEC_WORD_EPOCH(old) != epoch)
			return RAISED_EPOCH;
		if (ELEC_WORD_OP(old) >= op)
			return RAISED_BEFORE;
		if (__sync_val_compare_and_swap(word, old, ELEC_WORD(epoch, op)) == old)
			return RAISED;
	}
	return RAISED_NOT;
}

struct scan {
	__u32 n, self, quorum, epoch;
	__u32 best; /* highest op found to have a quorum */
};

/*
 * 1 if a word is of this epoch and its op at or above `op`, else 0. By arithmetic (words
 * have 62 bits, so a difference's top bit is its sign): each branch in the loop below
 * would double the paths that the verifier walks.
 */
static __always_inline __u64 word_covers(__u64 word, __u32 epoch, __u32 op)
{
	__u64 below = word - ELEC_WORD(epoch, op), above = ELEC_WORD(epoch, ~0u) - word;

	one_register(below);
	one_register(above);
	return ((below | above) >> 63) ^ 1;
}

/* How many *other* replicas acked everything up to op, up to an earlier op? */
struct acks {
	__u64 op, earlier;
};

static __always_inline struct acks count_acks(struct elec_state *state, const struct scan *scan,
					      __u32 earlier, __u32 op)
{
	__u64 own = READ_ONCE(*acked_at(state, scan->self));
	struct acks acks = {-word_covers(own, scan->epoch, op),
			    -word_covers(own, scan->epoch, earlier)};

	for (__u32 i = 0; i < ELEC_REPLICAS_MAX; i++) {
		__u64 word;

		if (i >= scan->n)
			break;
		word = READ_ONCE(state->acked[i]);
		acks.op += word_covers(word, scan->epoch, op);
		acks.earlier += word_covers(word, scan->epoch, earlier);
	}
	return acks;
}

static long scan_one(__u32 i, struct scan *scan)
{
	struct elec_state *state = state_get();
	__u64 word;
	__u32 op;

	if (!state)
		return 1;
	word = READ_ONCE(*acked_at(state, i));
	op = ELEC_WORD_OP(word);
	if (ELEC_WORD_EPOCH(word) == scan->epoch && op > scan->best && i != scan->self &&
	    count_acks(state, scan, op, op).op >= scan->quorum)
		scan->best = op;
	return 0;
}

/*
 * The highest op that `quorum` others acked, given that one was just raised from
 * `before` to `op`; 0 if that raise completed nothing.
 */
static __always_inline __u32 quorum_op(struct elec_state *state, const struct elec_control *control,
				       __u32 epoch, __u32 before, __u32 op)
{
	struct scan scan = {
		.n = control->n,
		.self = control->self,
		.quorum = control->quorum,
		.epoch = epoch,
	};
	struct acks acks;

	if (!scan.quorum)
		return 0; /* alone: no ack can complete anything */
	acks = count_acks(state, &scan, before + 1, op);
	if (acks.op >= scan.quorum)
		return op;
	/*
	 * Acks are cumulative: this one may complete an op between `before` and its own, but not
	 * when too few have the first of them.
	 */
	if (acks.earlier < scan.quorum)
		return 0;
	scan.best = before;
	bpf_loop(scan.n, scan_one, &scan, 0);
	return scan.best > before ? scan.best : 0;
}

/*
 * S6. Of a MyPrepareOK every byte has been compared by now (framing and name by
 * parse_message(), the body with the fast header), so its sum is known without reading it again.
 * A PrepareOK is copied for it; one that does not fit a slot cannot be tested and does not pass.
 */
static __always_inline bool ack_tested(struct xdp_md *ctx, const struct headers *h,
				       const struct message *m)
{
	__u64 sum = csum_udp_head(h->ip, h->udp);

	if (m->kind == WIRE_MY_PREPARE_OK)
		return csum_fold(sum + ack_payload_sum(m->fast[0], m->fast[1], m->fast[2])) ==
		       0xffff;
	return scratch_tested(ctx, m->len, sum);
}

/* The verdict on an ack in normal status: a reason; ELEC_R_ABSORBED and ELEC_R_OK_AGAIN drop. */
static __always_inline int on_ack(struct xdp_md *ctx, struct elec_state *state,
				  struct elec_control *control, __u64 gate, const struct headers *h,
				  const struct message *m, const void *end)
{
	const struct ack_payload *ack = (const void *)h->payload;
	__u32 op = m->fast[1], i = m->fast[2], epoch = ELEC_WORD_EPOCH(gate), commit;
	__u64 sent, before;

	if (control->self != control->leader)
		return ELEC_R_NOT_LEADER;
	if (m->fast[0] != control->view)
		return ELEC_R_OK_VIEW;
	if (!op)
		return ELEC_R_OK_ZERO;
	if (i >= control->n)
		return ELEC_R_OK_INDEX;
	if (i == control->self)
		return ELEC_R_OK_SELF;
	if (!sent_by(h, member_at(control, i)))
		return ELEC_R_OK_SENDER;
	if (m->kind == WIRE_MY_PREPARE_OK) {
		if ((const void *)(ack + 1) > end || m->len != sizeof(*ack) ||
		    ack->body.view != m->fast[0] || ack->body.opnum != op || ack->body.index != i)
			return ELEC_R_OK_BODY;
	}
	sent = READ_ONCE(state->sent);
	before = READ_ONCE(*acked_at(state, i));
	if (ELEC_WORD_EPOCH(sent) != epoch || ELEC_WORD_EPOCH(before) != epoch ||
	    ELEC_WORD_EPOCH(READ_ONCE(state->committed)) != epoch)
		return ELEC_R_OK_EPOCH;
	if (op > ELEC_WORD_OP(sent))
		return ELEC_R_OK_UNSENT;
	if (!ack_tested(ctx, h, m))
		return ELEC_R_UDP_CHECKSUM;

	switch (word_raise(acked_at(state, i), epoch, op)) {
	case RAISED:
		break;
	case RAISED_BEFORE:
		return ELEC_R_OK_AGAIN;
	case RAISED_EPOCH:
		return ELEC_R_OK_EPOCH;
	case RAISED_NOT:
		return ELEC_R_CLAIM_LOST;
	}
	commit = quorum_op(state, control, epoch, ELEC_WORD_OP(before), op);
	if (!commit)
		return ELEC_R_ABSORBED;
	switch (word_raise(&state->committed, epoch, commit)) {
	case RAISED:
		return ELEC_R_QUORUM;
	case RAISED_BEFORE:
		return ELEC_R_ABSORBED;
	default:
		return ELEC_R_OK_EPOCH;
	}
}

#endif
