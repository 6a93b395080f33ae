/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A follower's fast path: Prepare -> kernel log -> MyPrepareOK.
 *
 *   check -> claim (busy) -> copy -> test the copy -> publish (last op, not busy) -> ack
 *
 * The claim is what keeps two CPUs from writing one slot; testing the *copy* is what
 * makes the acked bytes the tested ones; publishing with one compare-and-exchange on
 * the word that user space freezes is what makes elec_freeze() a fence.
 */
#ifndef PAXRACK_FOLLOWER_BPF_H
#define PAXRACK_FOLLOWER_BPF_H

#include "bpf/parse.bpf.h"

/* MyPrepareOK as a UDP payload. */
struct ack_payload {
	__u32 magic;
	__u64 type_len;
	__u32 type[WIRE_T_MY_PREPARE_OK / 4];
	__u32 fast[3];
	__u64 body_len;
	struct wire_my_prepare_ok body;
} __attribute__((packed, aligned(4)));

_Static_assert(sizeof(struct ack_payload) == WIRE_MY_PREPARE_OK_LEN, "the wire's length");

/*
 * Sum of the payload of a MyPrepareOK, for its checksum: all of it but three numbers is
 * constant and folds into one. Word by word, so no table either: clang 14's BTF for a
 * literal in .rodata does not load.
 */
static __always_inline __u64 ack_payload_sum(__u32 view, __u32 op, __u32 index)
{
	__u64 sum = (__u64)WIRE_MAGIC + WIRE_T_MY_PREPARE_OK + sizeof(struct wire_my_prepare_ok);
	__u32 word;

#pragma unroll
	for (int i = 0; i < WIRE_T_MY_PREPARE_OK; i += 4) {
		__builtin_memcpy(&word, WIRE_TYPE_MY_PREPARE_OK + i, 4);
		sum += word;
	}
	return sum + 2 * ((__u64)view + op + index);
}

static __always_inline __u16 csum_to_wire(__u64 sum)
{
	__u16 check = ~csum_fold(sum);

	return check ? check : 0xffff; /* RFC 768: 0 would mean "no checksum" */
}

/*
 * Turn the Prepare at hand into its ack: same frame, the other way round. IP id, TOS,
 * DF and TTL stay (promise S10). False: the frame could not be resized and is unchanged.
 */
static __always_inline bool make_ack(struct xdp_md *ctx, const struct message *m, __u32 self)
{
	int change = (int)sizeof(struct ack_payload) - (int)m->len;
	struct ack_payload *ack;
	struct headers h;
	__u8 mac[ETH_ALEN];
	__be32 addr;
	__be16 from;

	if (bpf_xdp_adjust_tail(ctx, change))
		return false;
	h = headers_at((void *)(long)ctx->data);
	ack = (void *)h.payload;
	if ((void *)(ack + 1) > (void *)(long)ctx->data_end)
		return false; /* cannot be: the frame was just made this long */

	__builtin_memcpy(mac, h.eth->h_dest, ETH_ALEN);
	__builtin_memcpy(h.eth->h_dest, h.eth->h_source, ETH_ALEN);
	__builtin_memcpy(h.eth->h_source, mac, ETH_ALEN);

	addr = h.ip->saddr;
	h.ip->saddr = h.ip->daddr;
	h.ip->daddr = addr;
	h.ip->tot_len = bpf_htons(HEADERS_LEN - IP_AT + sizeof(*ack));
	h.ip->check = 0;
	h.ip->check = ~csum_fold(csum_ip(h.ip));

	from = h.udp->source;
	h.udp->source = h.udp->dest;
	h.udp->dest = from;
	h.udp->len = bpf_htons(sizeof(*h.udp) + sizeof(*ack));
	h.udp->check = 0;

	ack->magic = WIRE_MAGIC;
	ack->type_len = WIRE_T_MY_PREPARE_OK;
#pragma unroll
	for (int i = 0; i < WIRE_T_MY_PREPARE_OK / 4; i++)
		__builtin_memcpy(&ack->type[i], WIRE_TYPE_MY_PREPARE_OK + 4 * i, 4);
	ack->fast[0] = m->fast[0];
	ack->fast[1] = m->fast[1];
	ack->fast[2] = self;
	ack->body_len = sizeof(ack->body);
	ack->body.view = m->fast[0];
	ack->body.opnum = m->fast[1];
	ack->body.index = self;
	h.udp->check = csum_to_wire(csum_udp_head(h.ip, h.udp) +
				    ack_payload_sum(m->fast[0], m->fast[1], self));
	return true;
}

/* Copy the UDP payload into a slot and test the checksum over the copy (promise S6). */
static __always_inline bool copy_tested(struct xdp_md *ctx, struct elec_slot *slot, __u32 len,
					__u64 head_sum)
{
	__u64 less = len - 1ULL; /* Linux 6.1's verifier takes no lower bound from len != 0 */

	one_register(less);
	if (less >= ELEC_SLOT_DATA || bpf_xdp_load_bytes(ctx, PAYLOAD_AT, slot->data, less + 1))
		return false;
	return csum_fold(head_sum + csum_slot(slot, len)) == 0xffff;
}

static __always_inline bool scratch_tested(struct xdp_md *ctx, __u32 len, __u64 head_sum)
{
	__u32 zero = 0;
	struct elec_slot *scratch = bpf_map_lookup_elem(&elec_scratch, &zero);

	return scratch && copy_tested(ctx, scratch, len, head_sum);
}

static __always_inline void wake_reader(struct elec_state *state, __u32 op)
{
	__u32 backlog = op - (__u32)READ_ONCE(state->consumed);
	__u64 *record;

	if (!READ_ONCE(state->sleeping) || backlog < READ_ONCE(state->wake_backlog))
		return;
	if (__sync_lock_test_and_set(&state->sleeping, 0) != 1)
		return;
	record = bpf_ringbuf_reserve(&elec_wake, sizeof(*record), 0);
	if (record) {
		*record = op;
		bpf_ringbuf_submit(record, BPF_RB_FORCE_WAKEUP);
	}
	count(ELEC_R_WAKE);
}

/* With a result that is used: without one, arm64 may let a write to the slot come after it. */
static __always_inline void unclaim(struct elec_state *state)
{
	__u64 claimed = __sync_fetch_and_and(&state->gate, ~ELEC_BUSY);

	one_register(claimed);
}

/* Ops first..last in one new slot, published. PARSED or a reason. */
static __always_inline int store(struct xdp_md *ctx, struct elec_state *state, __u64 gate,
				 const struct message *m, __u64 head_sum)
{
	__u32 last = m->fast[1], first = m->fast[2], index = first & (log_slots - 1);
	struct elec_slot *slot = bpf_map_lookup_elem(&elec_log, &index);
	__u64 claimed = gate | ELEC_BUSY;

	if (!slot || (gate & ELEC_BUSY) ||
	    __sync_val_compare_and_swap(&state->gate, gate, claimed) != gate)
		return ELEC_R_CLAIM_LOST;

	if (!copy_tested(ctx, slot, m->len, head_sum)) {
		unclaim(state);
		return ELEC_R_UDP_CHECKSUM;
	}
	slot->epoch = ELEC_WORD_EPOCH(gate);
	slot->first = first;
	slot->last = last;
	slot->len = m->len;

	if (__sync_val_compare_and_swap(&state->gate, claimed,
					ELEC_WORD(ELEC_WORD_EPOCH(gate), last)) != claimed) {
		unclaim(state);
		return ELEC_R_FROZEN_LATE;
	}
	return PARSED;
}

/*
 * Has the epoch changed since the gate was read? Then view and leader, read after it, may
 * be of two epochs later, which use the same control page. An exchange for the same: it orders.
 */
static __always_inline bool epoch_over(struct elec_state *state, __u64 gate)
{
	return ELEC_WORD_EPOCH(__sync_val_compare_and_swap(&state->gate, gate, gate)) !=
	       ELEC_WORD_EPOCH(gate);
}

/* The verdict on a Prepare in normal status: a reason; ELEC_R_ACK and ELEC_R_ACK_AGAIN transmit. */
static __always_inline int on_prepare(struct xdp_md *ctx, struct elec_state *state,
				      struct elec_control *control, __u64 gate,
				      const struct headers *h, const struct message *m)
{
	__u32 op = m->fast[1], first = m->fast[2], last = ELEC_WORD_OP(gate);
	__u32 self = control->self;
	__u64 head_sum;
	int reason;

	if (self == control->leader)
		return ELEC_R_IS_LEADER;
	if (!sent_by(h, member_at(control, control->leader)))
		return ELEC_R_NOT_FROM_LEADER;
	if (m->fast[0] & WIRE_BROADCAST)
		return ELEC_R_FLAGGED;
	if (m->fast[0] != control->view)
		return ELEC_R_PREPARE_VIEW;
	if (!op || !first)
		return ELEC_R_PREPARE_ZERO;
	if (first > op)
		return ELEC_R_PREPARE_ORDER;
	if (op - first >= ELEC_BATCH_MAX)
		return ELEC_R_PREPARE_BATCH;
	if (m->len > ELEC_SLOT_DATA)
		return ELEC_R_TOO_LARGE;

	head_sum = csum_udp_head(h->ip, h->udp);
	if (op <= last) {
		/* Stored before, so only the header's claim has to be tested. It names its own op.
		 */
		if (!scratch_tested(ctx, m->len, head_sum))
			return ELEC_R_UDP_CHECKSUM;
		if (epoch_over(state, gate))
			return ELEC_R_CLAIM_LOST;
		return make_ack(ctx, m, self) ? ELEC_R_ACK_AGAIN : ELEC_R_RESIZE;
	}
	if (first > last + 1ULL)
		return ELEC_R_GAP;
	if (first <= last)
		return ELEC_R_OVERLAP;
	if ((__s64)(op - READ_ONCE(state->consumed)) > log_slots)
		return ELEC_R_LOG_FULL;

	reason = store(ctx, state, gate, m, head_sum);
	if (reason != PARSED)
		return reason;
	wake_reader(state, op);
	return make_ack(ctx, m, self) ? ELEC_R_ACK : ELEC_R_RESIZE;
}

#endif
