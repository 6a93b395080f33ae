/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Tests stand in the order of the list in bpf/reasons.h, the first that fails names the
 * reason:
 *
 *   frame -> headers -> message -> gate -> Prepare: follower's path -> PASS | TX (the ack)
 *                                       -> ack:     leader's path   -> PASS | DROP
 *   frame -> egress (TC)                                            -> OK | STOLEN (clones)
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "pytests/fuzz/bytes.h"
#include "pytests/fuzz/model.h"

#define GO_ON ELEC_R_COUNT /* no reason against it */
#define REFUSE_IF(condition, why)                                                                  \
	do {                                                                                       \
		if (condition)                                                                     \
			return ELEC_R_##why;                                                       \
	} while (0)

const char *const verdict_names[VERDICT_COUNT] = {"PASS", "TX", "DROP", "OK", "STOLEN"};
const char *const reason_names[ELEC_R_COUNT] = {
#define X(id, name, program, verdict, text) name,
	ELEC_REASONS(X)
#undef X
};

int model_init(struct model *m, uint32_t slots, uint32_t offloads, uint16_t port)
{
	memset(m, 0, sizeof(*m));
	m->slots = slots;
	m->offloads = offloads;
	m->port = port;
	m->log = calloc(slots, sizeof(*m->log));
	m->slot_is = calloc(slots, sizeof(*m->slot_is));
	if (m->log && m->slot_is)
		return 0;
	model_free(m);
	return -ENOMEM;
}

void model_free(struct model *m)
{
	free(m->log);
	free(m->slot_is);
	m->log = NULL;
	m->slot_is = NULL;
}

void model_reset(struct model *m)
{
	memset(&m->state, 0, sizeof(m->state));
	for (uint32_t i = 0; i < m->slots; i++)
		if (m->slot_is[i] != SLOT_ZERO)
			memset(&m->log[i], 0, sizeof(m->log[i]));
	memset(m->slot_is, SLOT_ZERO, m->slots);
}

static uint32_t gate_epoch(const struct model *m)
{
	return ELEC_WORD_EPOCH(m->state.gate);
}

static const struct elec_control *page_of(const struct model *m)
{
	return &m->state.control[gate_epoch(m) & 1];
}

static uint32_t udp_sum(const uint8_t *frame, size_t size)
{
	return checksum(sum(frame + 26, 8) + 17 + (size - UDP_AT) +
			sum(frame + UDP_AT, size - UDP_AT));
}

/* -- XDP: headers, message, gate ---------------------------------------------------------- */

/* S6, S7, S8 */
static enum elec_reason headers(const struct model *m, const uint8_t *f, size_t size)
{
	size_t end;

	REFUSE_IF(size < ETH_LEN, FRAME_SHORT);
	REFUSE_IF(be16(f + 12) != 0x0800, NOT_IP);
	REFUSE_IF(size < UDP_AT, FRAME_SHORT);
	REFUSE_IF(f[14] != 0x45, IP_OPTIONS);
	REFUSE_IF(f[23] != 17, NOT_UDP);
	REFUSE_IF(be16(f + 20) & 0xbfff, IP_FRAGMENT); /* all but "don't fragment" */
	REFUSE_IF(size < PAYLOAD_AT, FRAME_SHORT);
	REFUSE_IF(be16(f + 36) != m->port, NOT_OURS);
	end = ETH_LEN + be16(f + 16);
	REFUSE_IF(end > size, FRAME_SHORT);
	REFUSE_IF(end < size, FRAME_LONG);
	REFUSE_IF(be16(f + 38) + 20 != be16(f + 16), UDP_LENGTH);
	REFUSE_IF(f[22] == 0 && m->wrong != MODEL_WRONG_TTL, TTL_ZERO);
	REFUSE_IF(sum(f + ETH_LEN, 20), IP_CHECKSUM);
	REFUSE_IF(be16(f + 40) == 0, NO_CHECKSUM);
	return GO_ON;
}

static bool named(const uint8_t *name, uint64_t length, const char *type)
{
	return length == strlen(type) && !memcmp(name, type, length);
}

static enum wire_kind kind_of(const uint8_t *name, uint64_t length)
{
	if (named(name, length, WIRE_TYPE_PREPARE))
		return WIRE_PREPARE;
	if (named(name, length, WIRE_TYPE_PREPARE_OK))
		return WIRE_PREPARE_OK;
	if (named(name, length, WIRE_TYPE_MY_PREPARE_OK))
		return WIRE_MY_PREPARE_OK;
	if (named(name, length, WIRE_TYPE_COMMIT))
		return WIRE_COMMIT;
	return WIRE_NONE;
}

/* One of the three kinds that XDP takes, whole? */
static enum elec_reason message(const uint8_t *p, size_t size, enum wire_kind *kind)
{
	uint64_t length, head;

	REFUSE_IF(size >= 4 && le32(p) == WIRE_MAGIC_FRAGMENT, FRAGMENT_MAGIC);
	REFUSE_IF(size < 4 || le32(p) != WIRE_MAGIC, NOT_A_MESSAGE);
	length = size >= WIRE_TYPE_AT ? le64(p + 4) : 0;
	REFUSE_IF(length > WIRE_TYPE_MAX || size < WIRE_TYPE_AT + length, OTHER_KIND);
	*kind = kind_of(p + WIRE_TYPE_AT, length);
	REFUSE_IF(*kind == WIRE_NONE || *kind == WIRE_COMMIT, OTHER_KIND);
	head = WIRE_HEAD_LEN(length);
	REFUSE_IF(size < head || le64(p + head - 8) != size - head, BODY_LENGTH);
	return GO_ON;
}

/* S2, S4, S7: may the kernel answer for the process now? */
static enum elec_reason gate(const struct model *m, const uint8_t *f, uint32_t offload,
			     const struct context *c)
{
	const struct elec_state *s = &m->state;
	const struct elec_control *page = page_of(m);
	const struct elec_member *own;
	int64_t silent_ns = (s->now_ns ? s->now_ns : c->clock_ns) - s->stamp_ns;

	REFUSE_IF(!(m->offloads & offload), OFF);
	REFUSE_IF(s->gate & ELEC_FROZEN, FROZEN);
	REFUSE_IF(page->epoch != gate_epoch(m) || page->status != ELEC_STATUS_NORMAL, NOT_NORMAL);
	REFUSE_IF(page->n < 1 || page->n > ELEC_REPLICAS_MAX, NOT_NORMAL);
	REFUSE_IF(page->self >= page->n || page->leader >= page->n, NOT_NORMAL);
	/* A stamp ahead of now is fresh: now may have been read before it was made. */
	REFUSE_IF(!s->lease_ns || (silent_ns > 0 && (uint64_t)silent_ns > s->lease_ns), LEASE);
	own = &page->member[page->self];
	REFUSE_IF(memcmp(f, own->mac, 6) || memcmp(f + 30, &own->addr, 4), NOT_OWN_ADDRESS);
	return GO_ON;
}

static bool comes_from(const uint8_t *f, const struct elec_member *member)
{
	return !memcmp(f + 6, member->mac, 6) && !memcmp(f + 26, &member->addr, 4) &&
	       !memcmp(f + 34, &member->port, 2);
}

/* The three words of the fast header. */
struct fast {
	uint32_t view, op, third;
};

static struct fast fast_of(const uint8_t *payload, size_t type_length)
{
	const uint8_t *at = payload + WIRE_TYPE_AT + type_length;

	return (struct fast){le32(at), le32(at + 4), le32(at + 8)};
}

/* -- XDP: a follower's path, S1 S3 S5 S7 S10 ------------------------------------------------ */

static enum elec_reason prepare(const struct model *m, const uint8_t *f, size_t size,
				const struct fast *fast)
{
	const struct elec_state *s = &m->state;
	const struct elec_control *page = page_of(m);
	uint32_t last = ELEC_WORD_OP(s->gate), first = fast->third;
	int64_t waiting = (uint64_t)fast->op - s->consumed;

	REFUSE_IF(page->self == page->leader, IS_LEADER);
	REFUSE_IF(!comes_from(f, &page->member[page->leader]), NOT_FROM_LEADER);
	REFUSE_IF(fast->view & WIRE_BROADCAST, FLAGGED);
	REFUSE_IF(fast->view != page->view, PREPARE_VIEW);
	REFUSE_IF(!fast->op || !first, PREPARE_ZERO);
	REFUSE_IF(first > fast->op, PREPARE_ORDER);
	REFUSE_IF(fast->op - first >= ELEC_BATCH_MAX, PREPARE_BATCH);
	REFUSE_IF(size - PAYLOAD_AT > ELEC_SLOT_DATA, TOO_LARGE);
	if (fast->op <= last) { /* stored before */
		REFUSE_IF(udp_sum(f, size), UDP_CHECKSUM);
		return GO_ON;
	}
	REFUSE_IF(first > (uint64_t)last + 1, GAP);
	REFUSE_IF(first <= last, OVERLAP);
	REFUSE_IF(waiting > (int64_t)m->slots + (m->wrong == MODEL_WRONG_LOG_FULL), LOG_FULL);
	REFUSE_IF(s->gate & ELEC_BUSY, CLAIM_LOST);
	return GO_ON;
}

/* S10: the Prepare turned round; IP id, TOS, DF and TTL stay. */
static void make_ack(const uint8_t *f, struct outcome *out)
{
	uint8_t *ip = out->ack + ETH_LEN, *at;

	at = put(out->ack, f + 6, 6);
	at = put(at, f, 6);
	at = put(at, f + 12, 4);
	at = put_be16(at, ACK_LEN - ETH_LEN);
	at = put(at, f + 18, 6);
	at = put_be16(at, 0);
	at = put(at, f + 30, 4);
	at = put(at, f + 26, 4);
	put_be16(ip + 10, checksum(sum(ip, 20)));

	at = put(at, f + 36, 2);
	at = put(at, f + 34, 2);
	at = put_be16(at, ACK_LEN - UDP_AT);
	at = put_be16(at, 0);
	at = put_le(at, WIRE_MAGIC, 4);
	at = put_le(at, WIRE_T_MY_PREPARE_OK, 8);
	at = put(at, WIRE_TYPE_MY_PREPARE_OK, WIRE_T_MY_PREPARE_OK);
	at = put_le(at, out->view, 4);
	at = put_le(at, out->op, 4);
	at = put_le(at, out->index, 4);
	at = put_le(at, sizeof(struct wire_my_prepare_ok), 8);
	at = put_le(at, out->view, 8);
	at = put_le(at, out->op, 8);
	put_le(at, out->index, 4);
	put_be16(out->ack + 40, udp_sum(out->ack, ACK_LEN) ?: 0xffff);
}

/* Claimed; copied; the copy is tested before it is published. */
static enum elec_reason store(struct model *m, const uint8_t *f, size_t size,
			      const struct fast *fast, struct outcome *out)
{
	struct elec_state *s = &m->state;
	int64_t waiting = (uint64_t)fast->op - s->consumed;
	int64_t backlog = s->wake_backlog ? s->wake_backlog : 1;
	struct elec_slot *slot;

	out->slot = fast->third % m->slots;
	slot = &m->log[out->slot];
	if (udp_sum(f, size)) {
		m->slot_is[out->slot] = SLOT_SCRATCH;
		return ELEC_R_UDP_CHECKSUM;
	}
	m->slot_is[out->slot] = SLOT_WRITTEN;
	slot->epoch = gate_epoch(m);
	slot->first = fast->third;
	slot->last = fast->op;
	slot->len = size - PAYLOAD_AT;
	memcpy(slot->data, f + PAYLOAD_AT, slot->len - (m->wrong == MODEL_WRONG_TORN));
	s->gate = ELEC_WORD(slot->epoch, fast->op);
	if (s->sleeping == 1 && waiting >= backlog) {
		s->sleeping = 0;
		out->wakes = m->wrong != MODEL_WRONG_COUNT;
	}
	return ELEC_R_ACK;
}

static enum elec_reason on_prepare(struct model *m, const uint8_t *f, size_t size,
				   const struct context *c, struct outcome *out)
{
	struct fast fast = fast_of(f + PAYLOAD_AT, WIRE_T_PREPARE);
	enum elec_reason reason = prepare(m, f, size, &fast);
	bool again = fast.op <= ELEC_WORD_OP(m->state.gate);

	if (reason != GO_ON)
		return reason;
	reason = again ? ELEC_R_ACK_AGAIN : store(m, f, size, &fast, out);
	if (reason == ELEC_R_UDP_CHECKSUM)
		return reason;
	out->view = fast.view;
	out->op = fast.op;
	if (again && m->wrong == MODEL_WRONG_NEWEST_OP)
		out->op = ELEC_WORD_OP(m->state.gate);
	out->index = page_of(m)->self;
	make_ack(f, out);
	return ACK_LEN > size && c->no_tailroom ? ELEC_R_RESIZE : reason;
}

/* -- XDP: a leader's path, S3 S7 ------------------------------------------------------------ */

static enum elec_reason ack(const struct model *m, const uint8_t *f, size_t size,
			    enum wire_kind kind, const struct fast *fast)
{
	const struct elec_state *s = &m->state;
	const struct elec_control *page = page_of(m);
	uint32_t epoch = gate_epoch(m);

	REFUSE_IF(page->self != page->leader, NOT_LEADER);
	REFUSE_IF(fast->view != page->view, OK_VIEW);
	REFUSE_IF(!fast->op, OK_ZERO);
	REFUSE_IF(fast->third >= page->n, OK_INDEX);
	REFUSE_IF(fast->third == page->self, OK_SELF);
	REFUSE_IF(!comes_from(f, &page->member[fast->third]), OK_SENDER);
	if (kind == WIRE_MY_PREPARE_OK) {
		const uint8_t *body = f + PAYLOAD_AT + WIRE_HEAD_LEN(WIRE_T_MY_PREPARE_OK);

		REFUSE_IF(size != ACK_LEN, OK_BODY);
		REFUSE_IF(le64(body) != fast->view || le64(body + 8) != fast->op, OK_BODY);
		REFUSE_IF(le32(body + 16) != fast->third, OK_BODY);
	}
	REFUSE_IF(ELEC_WORD_EPOCH(s->sent) != epoch, OK_EPOCH);
	REFUSE_IF(ELEC_WORD_EPOCH(s->committed) != epoch, OK_EPOCH);
	REFUSE_IF(ELEC_WORD_EPOCH(s->acked[fast->third]) != epoch, OK_EPOCH);
	REFUSE_IF(fast->op > ELEC_WORD_OP(s->sent) && m->wrong != MODEL_WRONG_UNSENT, OK_UNSENT);
	REFUSE_IF(udp_sum(f, size), UDP_CHECKSUM);
	return GO_ON;
}

/* Is the word of replica i a voice? */
static bool counts(const struct model *m, uint32_t i)
{
	return i != page_of(m)->self && ELEC_WORD_EPOCH(m->state.acked[i]) == gate_epoch(m);
}

uint32_t model_quorum_op(const struct model *m)
{
	const struct elec_control *page = page_of(m);
	uint32_t best = 0;

	for (uint32_t i = 0; i < page->n; i++) {
		uint32_t op = ELEC_WORD_OP(m->state.acked[i]), voices = 0;

		for (uint32_t j = 0; counts(m, i) && j < page->n; j++)
			voices += counts(m, j) && ELEC_WORD_OP(m->state.acked[j]) >= op;
		if (page->quorum && voices >= page->quorum && op > best)
			best = op;
	}
	return best;
}

static enum elec_reason on_ack(struct model *m, const uint8_t *f, size_t size, enum wire_kind kind)
{
	struct elec_state *s = &m->state;
	size_t type_length = kind == WIRE_PREPARE_OK ? WIRE_T_PREPARE_OK : WIRE_T_MY_PREPARE_OK;
	struct fast fast = fast_of(f + PAYLOAD_AT, type_length);
	enum elec_reason reason = ack(m, f, size, kind, &fast);
	uint32_t done;

	if (reason != GO_ON)
		return reason;
	REFUSE_IF(fast.op <= ELEC_WORD_OP(s->acked[fast.third]), OK_AGAIN);
	s->acked[fast.third] = ELEC_WORD(gate_epoch(m), fast.op);
	done = model_quorum_op(m);
	REFUSE_IF(done <= ELEC_WORD_OP(s->committed), ABSORBED);
	s->committed = ELEC_WORD(gate_epoch(m), done);
	return ELEC_R_QUORUM;
}

static enum verdict verdict_of(enum elec_reason reason)
{
	enum { pass = VERDICT_PASS, tx = VERDICT_TX, drop = VERDICT_DROP, note = VERDICT_COUNT };
	static const uint8_t verdicts[] = {
#define X(id, name, program, verdict, text) verdict,
		ELEC_REASONS(X)
#undef X
	};

	return verdicts[reason];
}

void model_xdp(struct model *m, const uint8_t *frame, size_t size, const struct context *c,
	       struct outcome *out)
{
	enum wire_kind kind;
	uint32_t offload;

	memset(out, 0, offsetof(struct outcome, ack));
	out->slot = -1;
	out->reason = headers(m, frame, size);
	if (out->reason == GO_ON)
		out->reason = message(frame + PAYLOAD_AT, size - PAYLOAD_AT, &kind);
	if (out->reason == GO_ON) {
		offload = kind == WIRE_PREPARE ? ELEC_OFFLOAD_ACK : ELEC_OFFLOAD_QUORUM;
		out->reason = gate(m, frame, offload, c);
	}
	if (out->reason == GO_ON)
		out->reason = kind == WIRE_PREPARE ? on_prepare(m, frame, size, c, out)
						   : on_ack(m, frame, size, kind);
	out->verdict = verdict_of(out->reason);
}

/* -- TC egress: broadcast, S9 S10 ----------------------------------------------------------- */

static enum elec_reason egress(const struct model *m, const uint8_t *f, size_t size,
			       const struct context *c)
{
	const struct elec_control *page = page_of(m);
	const uint8_t *p = f + PAYLOAD_AT;
	uint64_t length, fast, body;
	enum wire_kind kind;

	REFUSE_IF(size < UDP_AT || memcmp(f + 12, "\x08\x00\x45", 3) || f[23] != 17, TC_OTHER);
	/* Before the UDP header is read: a later piece has none. */
	REFUSE_IF(be16(f + 20) & 0xbfff, TC_FRAGMENT);
	REFUSE_IF(size < PAYLOAD_AT + 4 || be16(f + 34) != m->port, TC_OTHER);
	REFUSE_IF(le32(p) == WIRE_MAGIC_FRAGMENT, TC_FRAGMENT);
	REFUSE_IF(le32(p) != WIRE_MAGIC || size < PAYLOAD_AT + WIRE_TYPE_AT, TC_OTHER);
	length = le64(p + 4);
	fast = PAYLOAD_AT + WIRE_TYPE_AT + length;
	REFUSE_IF(length > WIRE_TYPE_MAX || size < fast + WIRE_FAST_LEN, TC_OTHER);
	REFUSE_IF(c->gso, TC_FRAGMENT);
	REFUSE_IF(!(le32(f + fast) & WIRE_BROADCAST), TC_PLAIN);
	kind = kind_of(p + WIRE_TYPE_AT, length);
	REFUSE_IF(kind != WIRE_PREPARE && kind != WIRE_COMMIT, TC_KIND);
	body = fast + WIRE_FAST_LEN + 8;
	REFUSE_IF(ETH_LEN + (size_t)be16(f + 16) != size, TC_ODD);
	REFUSE_IF(be16(f + 38) + 20 != be16(f + 16), TC_ODD);
	REFUSE_IF(size < body || le64(f + body - 8) != size - body, TC_ODD);
	REFUSE_IF(f[22] == 0, TC_ODD);
	REFUSE_IF(page->epoch != gate_epoch(m), TC_NOT_READY);
	REFUSE_IF(page->n < 1 || page->n > ELEC_REPLICAS_MAX, TC_NOT_READY);
	REFUSE_IF(page->self >= page->n || page->leader >= page->n, TC_NOT_READY);
	REFUSE_IF(memcmp(f + 6, page->member[page->self].mac, 6), TC_NOT_READY);
	REFUSE_IF(memcmp(f + 26, &page->member[page->self].addr, 4), TC_NOT_READY);
	return ELEC_R_TC_BROADCAST;
}

void model_tc(const struct model *m, const uint8_t *frame, size_t size, const struct context *c,
	      struct outcome *out)
{
	memset(out, 0, offsetof(struct outcome, ack));
	out->slot = -1;
	out->verdict = VERDICT_OK;
	out->reason = egress(m, frame, size, c);
	if (out->reason != ELEC_R_TC_BROADCAST)
		return;
	out->verdict = VERDICT_STOLEN;
	if (c->no_link)
		out->clones_failed = page_of(m)->n - 1;
	else
		out->clones = page_of(m)->n - 1;
}

/* RFC 1624: a checksum that was wrong stays wrong by as much. */
static uint16_t updated(uint16_t old, uint32_t removed, uint32_t added)
{
	return checksum(0xffff - old + 0xffff - removed % 0xffff + added);
}

void model_clone(const struct model *m, const uint8_t *frame, size_t size, uint32_t peer,
		 uint8_t *clone)
{
	const struct elec_member *to = &page_of(m)->member[peer];
	size_t flag = PAYLOAD_AT + WIRE_TYPE_AT + le64(frame + 46) + 3, word = flag & ~1;
	uint32_t removed = sum(frame + 30, 4) + be16(frame + 36) + be16(frame + word), added;

	memcpy(clone, frame, size);
	put(clone, to->mac, 6);
	put(clone + 30, &to->addr, 4);
	put(clone + 36, &to->port, 2);
	if (m->wrong != MODEL_WRONG_FLAG)
		clone[flag] &= 0x7f;
	put_be16(clone + 24, updated(be16(frame + 24), sum(frame + 30, 4), sum(clone + 30, 4)));
	added = sum(clone + 30, 4) + be16(clone + 36) + be16(clone + word);
	if (be16(frame + 40)) /* 0: none, and none it stays */
		put_be16(clone + 40, updated(be16(frame + 40), removed, added) ?: 0xffff);
}
