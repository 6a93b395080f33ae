/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What kernel programs and user space share about one replica: the gate, the control
 * pages, the quorum words and the kernel log. One mmapable array map holds one
 * struct elec_state, another holds the slots of the kernel log. Host byte order
 * throughout, but for addresses and ports (network order).
 *
 *   gate   63 frozen | 62 busy | 61..32 epoch | 31..0 last op
 *   words  61..32 epoch | 31..0 op            (acked[i], sent, committed)
 *
 * Who writes what:
 *   gate       XDP by compare-and-exchange (claim, publish); user space likewise
 *              (freeze, advance, thaw). A thaw fills control[epoch & 1] first.
 *   acked      raised by XDP and by user space, compare-and-exchange, same epoch only
 *   sent       user space raises it before it sends: no ack above it counts
 *   committed  raised by whoever completes a quorum
 *   consumed   user space: last op it has taken out of the kernel log
 *   sleeping   user space sets it before it sleeps, the waker exchanges it to 0
 *   stamp_ns   user space: the protocol loop is alive (CLOCK_MONOTONIC_COARSE)
 */
#ifndef PAXRACK_STATE_H
#define PAXRACK_STATE_H

#include <linux/types.h>

#define ELEC_REPLICAS_MAX 64 /* replicas in a cluster */
#define ELEC_BATCH_MAX 64    /* ops in one Prepare that may be taken fast */
#define ELEC_SLOT_SIZE 2048  /* bytes, header included */
#define ELEC_SLOT_DATA (ELEC_SLOT_SIZE - 16)
#define ELEC_SLOTS_DEFAULT 8192

#define ELEC_FROZEN (1ULL << 63)
#define ELEC_BUSY (1ULL << 62)
#define ELEC_EPOCH_BITS 30
#define ELEC_EPOCH_MASK ((1U << ELEC_EPOCH_BITS) - 1)

#define ELEC_WORD(epoch, op) (((__u64)((epoch)&ELEC_EPOCH_MASK) << 32) | (__u32)(op))
#define ELEC_WORD_EPOCH(word) ((__u32)((word) >> 32) & ELEC_EPOCH_MASK)
#define ELEC_WORD_OP(word) ((__u32)(word))

enum elec_status {
	ELEC_STATUS_CLOSED, /* zeroed memory: nothing is taken fast */
	ELEC_STATUS_NORMAL,
};

/* Offloads, as rodata of the programs and as an argument of elec_open(). */
enum elec_offload {
	ELEC_OFFLOAD_BROADCAST = 1, /* TC: one send reaches every peer */
	ELEC_OFFLOAD_ACK = 2,	    /* XDP: a follower's ack */
	ELEC_OFFLOAD_QUORUM = 4,    /* XDP: the leader's wait for a quorum */
	ELEC_OFFLOAD_ALL = 7,
};

struct elec_member {
	__u8 mac[6];
	__be16 port;
	__be32 addr;
};

/* Read by programs after the gate, valid while the gate's epoch stays the same. */
struct elec_control {
	__u32 epoch;  /* the gate's, 30 bits */
	__u32 status; /* enum elec_status */
	__u32 view;   /* 0..WIRE_VIEW_MAX */
	__u32 n;      /* replicas, 1..ELEC_REPLICAS_MAX */
	__u32 self;   /* own index, 0..n-1 */
	__u32 leader; /* of the view, 0..n-1 */
	__u32 quorum; /* acks of *other* replicas that commit an op: n / 2, which is f for n = 2f + 1 */
	__u32 zero;
	struct elec_member member[ELEC_REPLICAS_MAX];
};

#define ELEC_LINE __attribute__((aligned(64))) /* a cache line of its own */

/*
 * Whose memory is it? The journal and the maps of a replica carry the same ids. Where all
 * of them agree, both were written by the same life of the same replica on a machine
 * that has not restarted since.
 */
struct elec_ids {
	__u64 cluster;	/* hash of the member list: addresses and ports, in order */
	__u64 instance; /* random, new with each format and reset; 0: nobody has written here */
	__u32 replica;	/* own index */
	__u32 zero;
	__u8 boot[16]; /* of the machine: /proc/sys/kernel/random/boot_id, as bytes */
};

struct elec_state {
	__u64 gate ELEC_LINE;
	__u64 stamp_ns ELEC_LINE; /* ns, monotonic clock */
	__u64 lease_ns;		  /* ns; 0: no lease, nothing is taken fast */
	__u64 now_ns;		  /* 0: the kernel's coarse clock; else this is "now" (simulator, tests) */
	__u64 consumed ELEC_LINE; /* op number */
	__u32 sleeping ELEC_LINE; /* 1: the reader sleeps, wake it */
	__u32 wake_backlog;	  /* ops not consumed that are worth a wake-up; 0 and 1: each */
	__u64 sent ELEC_LINE;
	__u64 committed ELEC_LINE;
	__u64 acked[ELEC_REPLICAS_MAX] ELEC_LINE;
	struct elec_control control[2] ELEC_LINE;
	struct elec_ids ids ELEC_LINE; /* user space's alone */
};

/* One Prepare, as it stood in the UDP payload, at index (first op) mod (number of slots). */
struct elec_slot {
	__u32 epoch;
	__u32 first; /* op number: batchstart */
	__u32 last;  /* op number: opnum */
	__u32 len;   /* bytes in data */
	__u8 data[ELEC_SLOT_DATA];
};

#endif
