/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A story: a state to begin with, then frames, and what user space does in between. It is
 * kept in the vocabulary of the conformance cases (pytests/conformance/cases.py, frames.py):
 * only what differs from their defaults is there, which is what makes a story printable as
 * a case and lets the shrinker take things away one by one.
 */
#ifndef PAXRACK_FUZZ_STORY_H
#define PAXRACK_FUZZ_STORY_H

#include "pytests/fuzz/model.h"

/* X(enumerator, key, how it is printed): keys of `before` and `set`. */
#define BEFORE_FIELDS(X)                                                                           \
	X(N, "n", NUMBER)                                                                          \
	X(OWN, "own", NUMBER)                                                                      \
	X(LEADER, "leader", NUMBER)                                                                \
	X(VIEW, "view", NUMBER)                                                                    \
	X(QUORUM, "quorum", NUMBER)                                                                \
	X(STATUS, "status", NUMBER)                                                                \
	X(EPOCH, "epoch", NUMBER)                                                                  \
	X(PAGE_EPOCH, "page_epoch", NUMBER)                                                        \
	X(FROZEN, "frozen", BOOL)                                                                  \
	X(BUSY, "busy", BOOL)                                                                      \
	X(LAST, "last", NUMBER)                                                                    \
	X(CONSUMED, "consumed", NUMBER)                                                            \
	X(SLEEPING, "sleeping", NUMBER)                                                            \
	X(BACKLOG, "backlog", NUMBER)                                                              \
	X(SENT, "sent", WORD)                                                                      \
	X(COMMITTED, "committed", WORD)                                                            \
	X(LOG_SIZE, "log_size", NUMBER)                                                            \
	X(LEASE_MS, "lease_ms", NUMBER)                                                            \
	X(AGE_MS, "age_ms", SIGNED)                                                                \
	X(CLOCK, "clock", CLOCK)                                                                   \
	X(OFFLOADS, "offloads", OFFLOADS)                                                          \
	X(PORT, "port", NUMBER)

enum before_field {
#define X(id, key, print) BEFORE_##id,
	BEFORE_FIELDS(X)
#undef X
		BEFORE_COUNT
};

/* Some of the fields above, and words of `acked`: words hold ELEC_WORD(epoch, op). */
struct change {
	uint64_t has; /* bit per field */
	uint64_t value[BEFORE_COUNT];
	uint64_t acked_has; /* bit per replica */
	__u64 acked[ELEC_REPLICAS_MAX];
};

struct start {
	bool leader; /* base: leader, else follower */
	struct change change;
	uint64_t members_has; /* whose addresses are not the usual ones */
	struct elec_member members[ELEC_REPLICAS_MAX];
};

/* Fields of a frame. Addresses below ELEC_REPLICAS_MAX are members' indexes. */
#define FRAME_FIELDS(X)                                                                            \
	X(FROM, "from", NUMBER)                                                                    \
	X(TO, "to", NUMBER)                                                                        \
	X(ETH_DST, "eth_dst", MAC)                                                                 \
	X(ETH_SRC, "eth_src", MAC)                                                                 \
	X(ETH_TYPE, "eth_type", NUMBER)                                                            \
	X(VLAN, "vlan", LIST)                                                                      \
	X(VIHL, "vihl", NUMBER)                                                                    \
	X(TOS, "tos", NUMBER)                                                                      \
	X(TOTAL, "total", NUMBER)                                                                  \
	X(ID, "id", NUMBER)                                                                        \
	X(FRAG, "frag", NUMBER)                                                                    \
	X(TTL, "ttl", NUMBER)                                                                      \
	X(PROTO, "proto", NUMBER)                                                                  \
	X(IP_SUM, "ip_sum", SUM)                                                                   \
	X(SRC, "src", IP)                                                                          \
	X(DST, "dst", IP)                                                                          \
	X(OPTIONS, "options", NOPS)                                                                \
	X(SPORT, "sport", NUMBER)                                                                  \
	X(DPORT, "dport", NUMBER)                                                                  \
	X(UDP_LEN, "udp_len", NUMBER)                                                              \
	X(UDP_SUM, "udp_sum", SUM)                                                                 \
	X(PAYLOAD, "payload", BYTES)                                                               \
	X(MAGIC, "magic", NUMBER)                                                                  \
	X(T, "T", NUMBER)                                                                          \
	X(NAME, "name", NAME)                                                                      \
	X(VIEW, "view", NUMBER)                                                                    \
	X(OP, "op", NUMBER)                                                                        \
	X(THIRD, "third", NUMBER)                                                                  \
	X(FLAG, "flag", BOOL)                                                                      \
	X(B, "B", NUMBER)                                                                          \
	X(BODY, "body", BODY)                                                                      \
	X(BODY_VIEW, "body_view", NUMBER)                                                          \
	X(BODY_OP, "body_op", NUMBER)                                                              \
	X(BODY_INDEX, "body_index", NUMBER)                                                        \
	X(TAIL, "tail", NUMBER)                                                                    \
	X(CUT, "cut", NUMBER)

enum frame_field {
#define X(id, key, print) FRAME_##id,
	FRAME_FIELDS(X)
#undef X
		FRAME_COUNT
};

#define FRAME_ADDRESS (1ULL << 62) /* in a MAC or IP field: not an index, the bytes in order */
#define FRAME_SUM_WRONG (1ULL << 16)
#define FRAME_SUM_ZERO (2ULL << 16)
#define FRAME_SUM_PARTIAL (3ULL << 16)
#define FRAME_BYTES 32		      /* most random bytes in `payload` or in a body */
#define FRAME_BODY_BYTES (1ULL << 62) /* in BODY: so many of `bytes`, not a filler */
#define FRAME_PATCHES 4

extern const char *const frame_names[];		       /* what NAME is an index of */
extern const char *const frame_kinds[WIRE_KIND_COUNT]; /* short names */

struct frame {
	enum wire_kind kind;
	uint64_t has; /* bit per field */
	uint64_t value[FRAME_COUNT];
	uint8_t bytes[FRAME_BYTES]; /* PAYLOAD: value is their number */
	uint8_t patches, flips;
	uint16_t patch_at[FRAME_PATCHES];
	uint8_t patch[FRAME_PATCHES];
	uint16_t flip[FRAME_PATCHES]; /* bit numbers */
};

struct step {
	struct change set; /* before the frame; usually nothing */
	struct frame frame;
	struct context context;
};

#define STORY_STEPS 200
#define PIECES_SLOTS 8 /* a log of that size: programs that take frames in pieces, too */

struct story {
	uint64_t number; /* of the seed, to repeat it */
	bool tc;
	struct start start;
	int steps;
	struct step step[STORY_STEPS];
};

static inline void change_put(struct change *c, enum before_field field, uint64_t value)
{
	c->has |= 1ULL << field;
	c->value[field] = value;
}

static inline bool change_has(const struct change *c, enum before_field field)
{
	return c->has >> field & 1;
}

static inline bool change_empty(const struct change *c)
{
	return !c->has && !c->acked_has;
}

static inline void frame_put(struct frame *f, enum frame_field field, uint64_t value)
{
	f->has |= 1ULL << field;
	f->value[field] = value;
}

static inline bool frame_has(const struct frame *f, enum frame_field field)
{
	return f->has >> field & 1;
}

/* The value of a field of `before`, its default if it is not there. */
uint64_t start_value(const struct start *s, enum before_field field);
/* Members that the control pages list. */
uint32_t start_members(const struct start *s);
struct elec_member start_member(const struct start *s, uint32_t i);
/* The state that a story begins with. clock_ns: the kernel's clock, for `clock: kernel`. */
void start_apply(const struct start *s, struct model *m, uint64_t clock_ns);
/* What user space does between two frames. */
void change_apply(const struct change *c, struct model *m, bool kernel_clock, uint64_t clock_ns);

/*
 * States that do not happen: an op above the last one consumed; an op that a quorum acked and
 * that is not committed, for who raises a word of `acked` raises `committed` too. Adds to
 * the change what puts that right; false: nothing is wrong.
 */
bool story_mend(const struct model *m, struct change *c);

#define FRAME_MAX 3400 /* bytes, what BPF_PROG_TEST_RUN takes in one page */

/* Its bytes for the replica in that state, a length from 14; -1: it cannot be built there. */
int frame_build(const struct frame *f, const struct model *m, uint32_t members, bool egress,
		uint8_t bytes[FRAME_MAX]);

#endif
