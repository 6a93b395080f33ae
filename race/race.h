/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Races between user space and the loaded programs, which build/sim cannot show: there a
 * program runs between two steps of user space, never during one. Here two CPUs run:
 *
 *   CPU a  control.c  freeze, drain, thaw, poll, advance ... (replica/elec.h, as shipped)
 *   CPU b  drive.c    frames into the loaded programs, by BPF_PROG_TEST_RUN
 *
 * in rounds of three kinds: `freeze` as drawn; `pair`, in which CPU a gives the programs frames
 * as well between its own steps; `wake` (wake.c), in which the reader really sleeps.
 *
 * Everything that happens takes the next number of one shared counter, before it begins and
 * after it is over, and is written down in the timeline at that number. "After elec_freeze()
 * returned" is thus decided by numbers, after the round (check.c): two things whose numbers
 * overlap may have happened in either order, and only what no order explains is a violation.
 */
#ifndef PAXRACK_RACE_H
#define PAXRACK_RACE_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bpf/wire.h"
#include "replica/elec.h"
#include "sim/rng.h"

#define REPLICAS 5
#define SELF 2
#define QUORUM 2
#define SLOTS 16 /* few, so that slots are soon used again and the log gets full */
#define DRIVERS 2
#define FRAME_MAX 4096
#define PAYLOAD_AT 42

#define BATCH_MOST 3		/* ops that one Prepare or one elec_advance() adds */
#define BACK_MOST 8		/* ops below the last one that a late frame names */
#define EVENTS (1u << 18)	/* at most, of one round */
#define ROUND_SECONDS 0.2	/* at most */
#define EVENTS_SPARE (1u << 12) /* for what is under way when a round has enough */
#define OWN_FIRST 1000000	/* last op when a round begins */

/* What a frame says. View and epoch are one number here: an ack's view tells its epoch. */
struct spec {
	enum wire_kind kind; /* WIRE_PREPARE, WIRE_PREPARE_OK, WIRE_MY_PREPARE_OK */
	uint32_t view, op;
	uint32_t first;	  /* of a Prepare */
	uint32_t from;	  /* index of the sender */
	uint32_t variant; /* not of a MyPrepareOK: which of many bodies that all are whole */
	bool corrupt;	  /* the UDP checksum does not fit */
};

enum event_kind {
	EVENT_NONE,
	EVENT_START,	/* of a run of the program: spec */
	EVENT_END,	/* of the run that began at `begin`: verdict */
	EVENT_THAW,	/* about to: epoch, op = last */
	EVENT_FROZEN,	/* elec_freeze() returned op */
	EVENT_POLLED,	/* first..op came out of the kernel log, with this variant's bytes */
	EVENT_ADVANCED, /* elec_advance(op) came true */
	EVENT_SENT,	/* about to raise `sent` to op */
	EVENT_EVIDENCE, /* about to give elec_ack(from, op) */
	EVENT_LOOK,	/* about to read the words */
	EVENT_ACKED,	/* elec_acked(from) was op, read after `begin` */
	EVENT_COMMITTED /* elec_quorum() was op, read after `begin` */
};

struct event {
	uint8_t kind, verdict, driver;
	uint32_t epoch, begin;
	struct spec spec; /* of other events: op, first, from, variant */
};

struct driver {
	struct race *race;
	int index, cpu, fd;
	struct rng rng;
	uint64_t runs, acks, absorbed, passed;
	uint8_t in[FRAME_MAX], out[FRAME_MAX];
};

enum round { ROUND_FREEZE, ROUND_PAIR, ROUND_WAKE, ROUND_COUNT };

struct race {
	struct elec *elec;
	struct elec_state *state;
	struct event *timeline;
	uint32_t next;			/* number of the next event */
	bool first;			/* stop at the first violation */
	uint32_t own;			/* last op of the own log */
	struct rng rng;			/* of the controlling thread */
	struct driver drivers[DRIVERS]; /* [0] on the controlling thread's CPU */
	enum round round;
	double until; /* when the round is to end */
	bool enough;  /* the round ends */
	bool over;    /* there are no more rounds */
	pthread_barrier_t begin, end;
	uint64_t violations, freezes, polled, advanced, looks, sleeps;
	/* wake.c */
	int epoll;
	bool publishing;
};

/* frame.c */
extern const struct elec_member frame_members[REPLICAS];
uint32_t frame_leader(uint32_t view); /* self in half of them */
size_t frame_build(uint8_t *frame, const struct spec *spec);
/* The variant whose Prepare these bytes are, whole and unmixed; -1 if there is none. */
int64_t frame_variant(const uint8_t *payload, size_t len, uint32_t view, uint32_t first,
		      uint32_t op);
/* The frame is the ack that SELF makes of a Prepare. */
bool frame_is_ack(const uint8_t *frame, size_t len, const struct spec *prepare);

/* drive.c */
uint32_t take_number(struct race *r);
void note(struct race *r, struct event event);
int drive_run(struct driver *d, const struct spec *spec); /* the verdict */
void drive_some(struct driver *d);
void drive_round(struct driver *d);
bool round_goes_on(const struct race *r);
void pause_a_while(struct rng *rng, uint32_t most); /* rounds of an empty loop, any number */

/* control.c */
bool control_goes_on(struct race *r);
bool control_leads(const struct race *r);
void control_thaw(struct race *r, uint32_t last);
int control_poll(struct race *r, bool consume);	    /* how many messages */
void control_freeze(struct race *r, bool at_once);  /* no pauses */
void control_round(struct race *r, uint32_t share); /* per cent: runs among the steps */

/* wake.c */
void wake_publish(struct driver *d);
void wake_read(struct race *r);

/* check.c */
void check_round(struct race *r);

/* main.c */
double seconds(void); /* by a clock that only goes forward */
/* Counts and prints; ends the process if the first is enough. */
__attribute__((format(printf, 3, 4))) void violation(struct race *r, const char *promise,
						     const char *format, ...);

#endif
