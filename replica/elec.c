/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The user-space half of the gate and the words in bpf/state.h.
 *
 * Every word that a program may change at the same moment is changed here by
 * compare-and-exchange too, with the same rules: same epoch, never lower. Programs
 * publish with a full barrier, so plain acquire loads suffice to read what they wrote.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "bpf/wire.h"
#include "replica/elec_internal.h"

#define LEASE_MS_DEFAULT 200

const char *const elec_reason_names[ELEC_R_COUNT] = {
#define X(id, name, program, verdict, text) [ELEC_R_##id] = name,
	ELEC_REASONS(X)
#undef X
};

#define LOAD(p) __atomic_load_n(p, __ATOMIC_ACQUIRE)
#define STORE(p, v) __atomic_store_n(p, v, __ATOMIC_RELEASE)

static bool exchange(__u64 *word, uint64_t old, uint64_t new)
{
	return __atomic_compare_exchange_n(word, &old, new, false, __ATOMIC_SEQ_CST,
					   __ATOMIC_RELAXED);
}

static uint32_t epoch_of(const struct elec *e)
{
	return ELEC_WORD_EPOCH(LOAD(&e->state->gate));
}

/* The op of a word, 0 if the word is of another epoch. */
static uint32_t word_op(const __u64 *word, uint32_t epoch)
{
	uint64_t value = LOAD(word);

	return ELEC_WORD_EPOCH(value) == epoch ? ELEC_WORD_OP(value) : 0;
}

static void word_raise(__u64 *word, uint32_t epoch, uint32_t op)
{
	uint64_t old;

	do {
		old = LOAD(word);
		if (ELEC_WORD_EPOCH(old) != epoch || ELEC_WORD_OP(old) >= op)
			return;
	} while (!exchange(word, old, ELEC_WORD(epoch, op)));
}

static uint64_t coarse_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
	return now.tv_sec * 1000000000ULL + now.tv_nsec;
}

/* The programs read a clock that is behind by up to one tick: the lease is shorter by it. */
static uint64_t lease_ns(uint32_t lease_ms)
{
	uint64_t lease = (lease_ms ? lease_ms : LEASE_MS_DEFAULT) * 1000000ULL;
	struct timespec tick;

	clock_getres(CLOCK_MONOTONIC_COARSE, &tick);
	return lease > (uint64_t)tick.tv_nsec ? lease - tick.tv_nsec : 1;
}

int elec_open(struct elec **out, const struct elec_options *options, char *error, size_t size)
{
	struct elec *e;
	int ret;

	if (!options->n || options->n > ELEC_REPLICAS_MAX || options->self >= options->n ||
	    (options->slots & (options->slots - 1))) {
		snprintf(error, size,
			 "replicas must be 1 to %d, the own index below that, slots a power of two",
			 ELEC_REPLICAS_MAX);
		return -EINVAL;
	}
	e = calloc(1, sizeof(*e));
	if (!e) {
		snprintf(error, size, "out of memory");
		return -ENOMEM;
	}
	e->n = options->n;
	e->self = options->self;
	e->quorum = options->n / 2; /* a majority with oneself; f where n = 2f + 1 */
	e->slots = options->slots ? options->slots : ELEC_SLOTS_DEFAULT;
	memcpy(e->members, options->members, options->n * sizeof(*e->members));
	for (uint32_t i = 0; i < e->n; i++) {
		e->addresses[i].sin_family = AF_INET;
		e->addresses[i].sin_addr.s_addr = e->members[i].addr;
		e->addresses[i].sin_port = e->members[i].port;
	}
	if (options->offloads) {
		e->offloads = options->offloads;
		ret = elec_kernel_open(e, options, error, size);
	} else {
		e->state = aligned_alloc(64, sizeof(*e->state));
		ret = e->state ? 0 : -ENOMEM;
		if (!ret)
			memset(e->state, 0, sizeof(*e->state));
	}
	if (!ret) {
		/* Pinned memory may have been left open: frozen before the programs see a packet. */
		e->was_open = !elec_frozen(e);
		elec_freeze(e);
		e->cursor = elec_last(e);
		e->state->lease_ns = lease_ns(options->lease_ms);
		/* Before the log is full, or the reader would be woken by what no longer fits. */
		e->state->wake_backlog = options->wake_backlog < e->slots / 2
						 ? options->wake_backlog
						 : e->slots / 2;
		elec_stamp(e);
		if (e->kernel)
			ret = elec_kernel_attach(e, options, error, size);
	}
	if (ret) {
		elec_close(e);
		return ret;
	}
	*out = e;
	return 0;
}

/* ---- after a crash ---- */

/*
 * From the last op that was taken out to the first slot that is not known. Between them
 * may lie slots that were recorded and not yet counted as consumed, and ops that came by
 * the socket, for which the gate was moved on: the caller knows both.
 */
static bool find_unknown(struct elec *e, uint32_t epoch, uint64_t known)
{
	uint32_t last = elec_last(e), cursor = LOAD(&e->state->consumed);

	while (cursor < last) {
		const struct elec_slot *slot = &e->log[(cursor + 1) & (e->slots - 1)];

		if (slot->epoch == epoch && slot->first == cursor + 1 && slot->last > cursor &&
		    slot->last <= last && slot->len <= ELEC_SLOT_DATA) {
			if (slot->last > known)
				break;
			cursor = slot->last;
		} else if (cursor + 1 <= known) {
			cursor++;
		} else {
			return false;
		}
	}
	e->cursor = cursor;
	return true;
}

bool elec_resume(struct elec *e, const struct elec_ids *ids, uint32_t epoch, uint64_t known)
{
	uint32_t gate = epoch_of(e);

	if (!e->kernel || memcmp(&e->state->ids, ids, sizeof(*ids)) != 0)
		return false;
	/* About to thaw: its gate was frozen and drained by then. */
	if (gate == ((epoch - 1) & ELEC_EPOCH_MASK))
		return true;
	/*
	 * What was consumed is in the journal, until behind a closed gate its end is cut off:
	 * else the file is an old copy.
	 */
	if (e->was_open && known < elec_consumed_to(e))
		return false;
	return gate == epoch && find_unknown(e, epoch, known);
}

void elec_reset(struct elec *e, const struct elec_ids *ids)
{
	struct elec_state *state = e->state;
	/* Epochs go on: slots of an earlier life never look like this one's. */
	uint64_t gate = ELEC_FROZEN | ELEC_WORD(epoch_of(e), 0);

	STORE(&state->gate, gate);
	state->consumed = state->sent = state->committed = 0;
	memset(state->acked, 0, sizeof(state->acked));
	memset(state->control, 0, sizeof(state->control));
	state->ids = *ids;
	e->cursor = 0;
}

uint32_t elec_next_epoch(const struct elec *e)
{
	return (epoch_of(e) + 1) & ELEC_EPOCH_MASK;
}

bool elec_has_log(const struct elec *e)
{
	return e->kernel;
}

void elec_close(struct elec *e)
{
	if (!e)
		return;
	if (e->kernel)
		elec_kernel_close(e);
	else
		free(e->state);
	free(e);
}

int elec_wake_fd(const struct elec *e)
{
	return e->kernel ? elec_kernel_wake_fd(e) : -1;
}

bool elec_sleep(struct elec *e)
{
	uint64_t backlog;

	if (!e->kernel)
		return true;
	/* Set, then look again: a program publishes, then exchanges. One of the two sees the other.
	 */
	__atomic_exchange_n(&e->state->sleeping, 1, __ATOMIC_SEQ_CST);
	backlog = elec_last(e) - e->cursor;
	if (!backlog || backlog < e->state->wake_backlog)
		return true;
	elec_awake(e);
	return false;
}

void elec_awake(struct elec *e)
{
	if (!e->kernel)
		return;
	STORE(&e->state->sleeping, 0);
	elec_kernel_awake(e);
}

void elec_stamp(struct elec *e)
{
	STORE(&e->state->stamp_ns, coarse_ns());
}

int elec_poll_message(struct elec *e, struct elec_message *messages, int max)
{
	uint32_t last = elec_last(e);
	int n = 0;

	while (n < max && e->cursor < last) {
		uint32_t first = e->cursor + 1;
		const struct elec_slot *slot = &e->log[first & (e->slots - 1)];

		/* Published means whole; anything else is a bug, and no op may be made up. */
		if (slot->first != first || slot->last < first || slot->last > last ||
		    slot->epoch != epoch_of(e) || slot->len > ELEC_SLOT_DATA)
			abort();
		messages[n++] = (struct elec_message){
			.first = first,
			.last = slot->last,
			.data = slot->data,
			.len = slot->len,
		};
		e->cursor = slot->last;
	}
	return n;
}

void elec_consumed(struct elec *e, uint64_t op)
{
	STORE(&e->state->consumed, op);
}

uint64_t elec_consumed_to(const struct elec *e)
{
	return LOAD(&e->state->consumed);
}

static int send_each(const struct elec *e, int socket, const uint8_t *message, size_t len)
{
	struct mmsghdr headers[ELEC_REPLICAS_MAX] = {0};
	struct iovec body = {.iov_base = (void *)message, .iov_len = len};
	unsigned int n = 0, sent = 0;
	int ret, error = 0;

	for (uint32_t i = 0; i < e->n; i++) {
		if (i == e->self)
			continue;
		headers[n++].msg_hdr = (struct msghdr){
			.msg_name = (void *)&e->addresses[i],
			.msg_namelen = sizeof(e->addresses[i]),
			.msg_iov = &body,
			.msg_iovlen = 1,
		};
	}
	/* One peer that cannot be reached must not cost the others their message. */
	while (sent < n) {
		ret = sendmmsg(socket, headers + sent, n - sent, 0);
		if (ret < 0)
			error = -errno;
		sent += ret > 0 ? ret : 1;
	}
	return error;
}

void elec_sent(struct elec *e, uint64_t op)
{
	word_raise(&e->state->sent, epoch_of(e), op);
}

int elec_broadcast(struct elec *e, int socket, uint8_t *message, size_t len, uint64_t op)
{
	uint8_t T = message[4]; /* the message is our own: its type name is short */
	uint8_t *flag = message + WIRE_TYPE_AT + T + 3;
	const struct sockaddr_in *to;
	ssize_t ret;

	elec_sent(e, op);
	if (e->n == 1)
		return 0;
	if (!(e->offloads & ELEC_OFFLOAD_BROADCAST) || elec_frozen(e) || len > e->frame_max)
		return send_each(e, socket, message, len);

	to = &e->addresses[e->self == 0];
	*flag |= 0x80;
	ret = sendto(socket, message, len, 0, (const void *)to, sizeof(*to));
	*flag &= 0x7f;
	return ret < 0 ? -errno : 0;
}

/* The highest op that `quorum` others acked; alone, no ack can complete anything. */
static uint32_t quorum_op(const struct elec *e, uint32_t epoch)
{
	uint32_t best = 0;

	for (uint32_t i = 0; i < e->n; i++) {
		uint32_t op = i == e->self ? 0 : word_op(&e->state->acked[i], epoch), acks = 0;

		for (uint32_t j = 0; op > best && j < e->n; j++)
			acks += j != e->self && word_op(&e->state->acked[j], epoch) >= op;
		if (op > best && acks >= e->quorum)
			best = op;
	}
	return best;
}

void elec_ack(struct elec *e, uint32_t i, uint64_t op)
{
	uint32_t epoch = epoch_of(e);

	if (i >= e->n || i == e->self || op > word_op(&e->state->sent, epoch))
		return;
	word_raise(&e->state->acked[i], epoch, op);
	word_raise(&e->state->committed, epoch, quorum_op(e, epoch));
}

uint64_t elec_acked(const struct elec *e, uint32_t i)
{
	return i < e->n ? word_op(&e->state->acked[i], epoch_of(e)) : 0;
}

uint64_t elec_quorum(const struct elec *e)
{
	return word_op(&e->state->committed, epoch_of(e));
}

uint64_t elec_freeze(struct elec *e)
{
	uint64_t gate = __atomic_or_fetch(&e->state->gate, ELEC_FROZEN, __ATOMIC_SEQ_CST);

	/* A program holds the claim for well under a microsecond and cannot be interrupted by us.
	 */
	while (gate & ELEC_BUSY)
		gate = LOAD(&e->state->gate);
	return ELEC_WORD_OP(gate);
}

int elec_thaw(struct elec *e, uint64_t view, uint32_t leader, uint64_t last)
{
	struct elec_control *control;
	uint32_t epoch;

	if (view > WIRE_VIEW_MAX || last > UINT32_MAX || leader >= e->n)
		return -ERANGE;
	elec_freeze(e);
	epoch = elec_next_epoch(e);
	control = &e->state->control[epoch & 1];
	*control = (struct elec_control){
		.epoch = epoch,
		.status = ELEC_STATUS_NORMAL,
		.view = view,
		.n = e->n,
		.self = e->self,
		.leader = leader,
		.quorum = e->quorum,
	};
	memcpy(control->member, e->members, e->n * sizeof(*e->members));
	for (uint32_t i = 0; i < e->n; i++)
		STORE(&e->state->acked[i], ELEC_WORD(epoch, 0));
	STORE(&e->state->sent, ELEC_WORD(epoch, last));
	STORE(&e->state->committed, ELEC_WORD(epoch, 0));
	STORE(&e->state->consumed, last);
	e->cursor = last;
	__atomic_store_n(&e->state->gate, ELEC_WORD(epoch, last), __ATOMIC_SEQ_CST);
	return 0;
}

bool elec_advance(struct elec *e, uint64_t to)
{
	uint64_t gate;

	do {
		do
			gate = LOAD(&e->state->gate);
		while (gate & ELEC_BUSY);
		if ((gate & ELEC_FROZEN) || ELEC_WORD_OP(gate) != e->cursor || to > UINT32_MAX)
			return false;
		if (to <= e->cursor)
			return true;
	} while (!exchange(&e->state->gate, gate, ELEC_WORD(ELEC_WORD_EPOCH(gate), to)));
	e->cursor = to;
	elec_consumed(e, to);
	return true;
}

uint64_t elec_last(const struct elec *e)
{
	return ELEC_WORD_OP(LOAD(&e->state->gate));
}

bool elec_frozen(const struct elec *e)
{
	return LOAD(&e->state->gate) & ELEC_FROZEN;
}

struct elec_state *elec_shared(struct elec *e)
{
	return e->kernel ? e->state : NULL;
}

int elec_xdp_fd(const struct elec *e)
{
	return e->kernel ? elec_kernel_xdp_fd(e) : -1;
}

int elec_tc_fd(const struct elec *e)
{
	return e->kernel ? elec_kernel_tc_fd(e) : -1;
}

int elec_counts(const struct elec *e, uint64_t counts[ELEC_R_COUNT])
{
	if (!e->kernel) {
		memset(counts, 0, ELEC_R_COUNT * sizeof(*counts));
		return 0;
	}
	return elec_kernel_counts(e, counts);
}
