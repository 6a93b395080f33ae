/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The reference model again, in C and fast: pytests/conformance/model.py says the same and
 * is easier to read. test_fuzz.py holds the two equal over every conformance case and over
 * random stories. Written from that page, the design and the headers in bpf/, not from the
 * programs.
 */
#ifndef PAXRACK_FUZZ_MODEL_H
#define PAXRACK_FUZZ_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bpf/reasons.h"
#include "bpf/state.h"
#include "bpf/wire.h"

#define ETH_LEN 14
#define UDP_AT 34     /* Ethernet, IPv4 without options */
#define PAYLOAD_AT 42 /* ... UDP */

#define ACK_LEN (PAYLOAD_AT + WIRE_MY_PREPARE_OK_LEN)

/* What a slot of the log holds, as far as the design says. */
enum slot_is {
	SLOT_ZERO,    /* never written */
	SLOT_WRITTEN, /* header and `len` bytes */
	SLOT_SCRATCH, /* a Prepare whose checksum was wrong: anything */
};

/* Rules that the model can be told to get wrong, so that the loop is seen to find it. */
#define MODEL_WRONGS(X)                                                                            \
	X(NEWEST_OP, "newest-op") /* a re-ack names the last op, not the Prepare's own */          \
	X(LOG_FULL, "log-full")	  /* the log holds one op more */                                  \
	X(UNSENT, "unsent")	  /* acks above `sent` count */                                    \
	X(FLAG, "flag")		  /* clones keep the broadcast flag */                             \
	X(TTL, "ttl")		  /* TTL 0 is as good as any */                                    \
	X(TORN, "torn")		  /* a stored Prepare loses its last byte */                       \
	X(COUNT, "count")	  /* a wake-up is not counted */

enum model_wrong {
	MODEL_RIGHT,
#define X(id, name) MODEL_WRONG_##id,
	MODEL_WRONGS(X)
#undef X
};

struct model {
	struct elec_state state;
	struct elec_slot *log; /* `slots` of them */
	uint8_t *slot_is;      /* enum slot_is, for each */
	uint32_t slots;
	uint32_t offloads;
	uint16_t port; /* host byte order */
	enum model_wrong wrong;
};

/* What surrounds a frame. */
struct context {
	uint64_t clock_ns; /* the kernel's clock, asked when now_ns is 0 */
	uint32_t meta;	   /* XDP: bytes of metadata before the frame; changes nothing */
	bool no_tailroom;  /* XDP: the frame cannot grow */
	bool gso;	   /* TC: the buffer stands for several frames */
	bool no_link;	   /* TC: the device cannot send */
};

enum verdict { VERDICT_PASS, VERDICT_TX, VERDICT_DROP, VERDICT_OK, VERDICT_STOLEN, VERDICT_COUNT };
extern const char *const verdict_names[VERDICT_COUNT];
extern const char *const reason_names[ELEC_R_COUNT];

/* PASS and OK: the frame goes on as it is. */
struct outcome {
	enum verdict verdict;
	enum elec_reason reason;
	uint32_t wakes, clones, clones_failed; /* counted beside the reason */
	int slot;			       /* index of the slot that was written, or -1 */
	uint32_t view, op, index;	       /* TX: what the ack says */
	uint8_t ack[ACK_LEN];		       /* TX */
};

/* 0 or -ENOMEM; slots a power of two. */
int model_init(struct model *m, uint32_t slots, uint32_t offloads, uint16_t port);
void model_free(struct model *m);
/* Everything zero: state and log. */
void model_reset(struct model *m);

/* One frame that came in; changes the state. */
void model_xdp(struct model *m, const uint8_t *frame, size_t size, const struct context *c,
	       struct outcome *out);
/* One frame that leaves; changes nothing. */
void model_tc(const struct model *m, const uint8_t *frame, size_t size, const struct context *c,
	      struct outcome *out);
/* After model_tc() said STOLEN: the clone to one peer, as long as the frame. */
void model_clone(const struct model *m, const uint8_t *frame, size_t size, uint32_t peer,
		 uint8_t *clone);

/* The highest op that `quorum` other replicas acked in this epoch; 0: none. */
uint32_t model_quorum_op(const struct model *m);

#endif
