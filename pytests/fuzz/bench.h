/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The programs themselves, run by BPF_PROG_TEST_RUN. bpf_clone_redirect() really transmits
 * there, so TC runs on a tap device in a namespace of this process's own, and what it sent
 * is read back; a second tap, never up, is the link that cannot send.
 *
 *    frame -> replica_tc on [tap0] -> clones -> read()
 */
#ifndef PAXRACK_FUZZ_BENCH_H
#define PAXRACK_FUZZ_BENCH_H

#include "pytests/fuzz/story.h"

#define BENCH_FRAGMENT 4096 /* bytes behind a frame that cannot grow */
#define BENCH_SUBJECTS 8

/* One load of the programs with constants of its own, and what the model thinks of it. */
struct subject {
	struct replica_bpf *skel;
	struct ring_buffer *wake;
	struct elec_state *state; /* shared with the programs */
	struct elec_slot *log;
	uint64_t counts[ELEC_R_COUNT]; /* as read last */
	struct model model;
	bool dirty; /* the log may differ from the model's */
};

/* What a program did with one frame. */
struct observed {
	uint32_t returned;		/* XDP_*, TC_ACT_* */
	uint32_t counted[ELEC_R_COUNT]; /* by this frame */
	const uint8_t *data;		/* the frame afterwards */
	uint32_t size, meta;		/* ... and its metadata before it, in bytes */
	uint32_t clones;		/* in the order of sending */
	uint32_t clone_size[ELEC_REPLICAS_MAX];
	uint8_t clone[ELEC_REPLICAS_MAX][FRAME_MAX];
};

struct bench {
	struct subject subject[BENCH_SUBJECTS];
	int tap, tap_down;
	uint32_t ifindex, ifindex_down;
	int cpus;
	uint64_t *counts; /* of each reason and CPU */
	bool fragments;	  /* BPF_PROG_TEST_RUN makes frames in pieces (Linux 6.18) */
	uint8_t buffer[FRAME_MAX + 512 + BENCH_FRAGMENT];
	struct observed observed;
};

/* Enters a network namespace of its own. 0 or -errno with one sentence in `error`. */
int bench_open(struct bench **b, char *error, size_t size);
void bench_close(struct bench *b);
/* The load with these constants, or NULL. */
struct subject *bench_find(struct bench *b, uint32_t slots, uint32_t offloads, uint16_t port);

/* User space writes the whole state as the model has it; with a new story the log is zeroed. */
void subject_write(struct subject *s, bool new_story);
/* One frame; fills b->observed. 0 or -errno: it could not be run. */
int subject_run(struct bench *b, struct subject *s, bool tc, const uint8_t *frame, size_t size,
		const struct context *c);

#endif
