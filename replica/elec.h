/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * elec: consensus offload as a library. It loads the kernel programs, shares memory
 * with them (bpf/state.h) and knows views (terms), ops (indexes) and replicas; it
 * knows nothing of the bodies of messages. Any protocol whose followers append in
 * order and whose leader waits for a quorum can use it.
 *
 *   follower                               leader
 *     elec_thaw(view, last)                  elec_thaw(view, last)
 *     while (elec_poll_message(...))         elec_broadcast(prepare)   raises sent
 *        append to the own log               elec_quorum()             committed op
 *     elec_consumed(op)
 *     elec_advance(op)   ops that came by the socket
 *     elec_freeze()      before any change of view or status
 *
 * With no offload (or no interface) the same calls work on private memory and plain
 * sends: user space may not tell the difference, but in speed.
 *
 * Functions return 0 or -errno unless said otherwise; on failure outputs are
 * untouched and `elec_error()` has one sentence for people. Op numbers are 1..2^32-1,
 * views 0..WIRE_VIEW_MAX: beyond that keep the gate frozen. One thread per handle.
 */
#ifndef PAXRACK_ELEC_H
#define PAXRACK_ELEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bpf/reasons.h"
#include "bpf/state.h"

struct elec;

enum elec_xdp_mode { ELEC_XDP_NATIVE, ELEC_XDP_GENERIC };

/* A program that is to be attached to a device, by descriptors. */
struct elec_attach {
	uint32_t ifindex;
	enum elec_xdp_mode mode;
	bool tc; /* at TC egress, else XDP */
	int program;
	int counts; /* the map of counters */
	int folder; /* of the pins, for the mark of a keeper (elec_attach.h); -1: none */
};

/*
 * Who attaches, and reads the counters, in the place of a caller that will not have the
 * privileges: 0 or -errno. What was attached to TC ends with it, the XDP link is the caller's.
 */
struct elec_keeper {
	void *context;
	int (*attach)(void *context, const struct elec_attach *what, int *xdp_link, char *error,
		      size_t size);
	int (*counts)(void *context, uint64_t counts[ELEC_R_COUNT]);
};

struct elec_options {
	const char *iface; /* device that reaches the other replicas; NULL: no kernel programs */
	unsigned int offloads; /* ELEC_OFFLOAD_* or-ed; 0: no kernel programs */
	enum elec_xdp_mode mode;
	const char *pin;       /* folder on a bpf file system for the maps, NULL: not pinned;
				  those that are there are used again, if they fit */
	uint32_t slots;	       /* of the kernel log, a power of two; 0: ELEC_SLOTS_DEFAULT */
	uint32_t lease_ms;     /* 0: 200 */
	uint32_t wake_backlog; /* wake the sleeping reader when so many ops wait; 0: 1 */
	uint32_t n, self;      /* replicas, own index */
	const struct elec_member
		*members; /* n of them; MACs may be zero: looked up (neighbour table) */
	const struct elec_keeper *keeper; /* NULL: the caller itself, which stays privileged */
};

/* One Prepare out of the kernel log. Valid until elec_consumed() of an op at or above `last`. */
struct elec_message {
	uint64_t first, last; /* op numbers */
	const uint8_t *data;  /* the UDP payload */
	uint32_t len;
};

/*
 * Open, load, attach; the gate is frozen afterwards. `error` receives one sentence on failure;
 * -EBUSY: another process has the pinned maps, or the device.
 */
int elec_open(struct elec **e, const struct elec_options *options, char *error, size_t error_size);
/*
 * The i-th fast path, from 0 on, that was asked for and that this kernel or device does not
 * have: one sentence that says which and why; NULL: no more. User space does its work.
 */
const char *elec_given_up(const struct elec *e, unsigned int i);
/*
 * After a crash, before anything else: the pinned maps of an earlier life under these ids,
 * whose last thaw began `epoch` (or was about to). True: elec_poll_message() gives what it
 * acked above `known`, up to which the own log is complete. False: the maps are others,
 * or damaged, and nothing was changed: elec_reset().
 */
bool elec_resume(struct elec *e, const struct elec_ids *ids, uint32_t epoch, uint64_t known);
/* Nothing of an earlier life counts: memory as new, under these ids. */
void elec_reset(struct elec *e, const struct elec_ids *ids);
/* The epoch that the next elec_thaw() begins. */
uint32_t elec_next_epoch(const struct elec *e);
/* False: no kernel programs, so nothing is acked but by the caller. */
bool elec_has_log(const struct elec *e);
/* Detaches and frees; pins stay. NULL is allowed. */
void elec_close(struct elec *e);

/* Descriptor that turns readable when a sleeping reader is woken, -1 without offload. */
int elec_wake_fd(const struct elec *e);
/* The reader is about to sleep: returns false when there is something to read instead. */
bool elec_sleep(struct elec *e);
/* The reader woke up (also takes pending wake-ups off the descriptor). */
void elec_awake(struct elec *e);
/* The protocol loop is alive: at least four times in a lease. */
void elec_stamp(struct elec *e);

/* Up to max messages after the last one polled; returns how many. */
int elec_poll_message(struct elec *e, struct elec_message *messages, int max);
/* Ops up to `op` are in the reader's own log: their slots may be used again. */
void elec_consumed(struct elec *e, uint64_t op);
uint64_t elec_consumed_to(const struct elec *e);

/*
 * Send one Prepare (or another flagged kind) to every other replica through `socket`.
 * `message` starts with the wire's magic; op is its last op number, 0 if it has none:
 * raises `sent` first. Falls back to one send per peer where the kernel cannot.
 */
int elec_broadcast(struct elec *e, int socket, uint8_t *message, size_t len, uint64_t op);

/* The `sent` word by itself, for who sends without elec_broadcast(): before the send, or acks do
 * not count. */
void elec_sent(struct elec *e, uint64_t op);

/* Evidence that came by the socket: replica i acked everything up to op in this epoch. */
void elec_ack(struct elec *e, uint32_t i, uint64_t op);
/* Highest op that replica i acked in this epoch. */
uint64_t elec_acked(const struct elec *e, uint32_t i);
/* Highest op that a quorum acked in this epoch; 0: none. */
uint64_t elec_quorum(const struct elec *e);

/* The fence: when it returned, the last op is final, nobody copies, no new ack is made. Returns the
 * last op. */
uint64_t elec_freeze(struct elec *e);
/* New epoch: in this view, led by `leader`, ops 1..last are in the own log. */
int elec_thaw(struct elec *e, uint64_t view, uint32_t leader, uint64_t last);
/* The own log holds 1..to of this view. False: frozen or overtaken, poll first. */
bool elec_advance(struct elec *e, uint64_t to);
/* Last op of the gate. */
uint64_t elec_last(const struct elec *e);
bool elec_frozen(const struct elec *e);

/* For simulators and tests that run the loaded programs themselves; NULL, -1 without offload. */
struct elec_state *elec_shared(struct elec *e);
int elec_xdp_fd(const struct elec *e);
int elec_tc_fd(const struct elec *e);

/* Sum over CPUs of each reason's counter. */
int elec_counts(const struct elec *e, uint64_t counts[ELEC_R_COUNT]);
extern const char *const elec_reason_names[ELEC_R_COUNT];

#endif
