/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Faults in the ToR: what its programs and user space share.
 *
 * A rule looks at the packets of a link (from one node to another, in that direction) and
 * kind. It counts them from 1, for each link and kind apart, since it was added: dropped or
 * cut ones count too, so the numbers follow from what was sent, whatever other rules do.
 * A frame to all is one packet on each link. Which packets a rule takes, and what it does to
 * each, follows from two hashes (a window of time, and the queue of a rate, are the exceptions):
 *
 *   h1 = mix(mix(seed ^ (rule << 48 | from << 32 | to << 16 | kind)) + number), h2 = mix(h1)
 *
 * where mix() is splitmix64, from and to are indexes of nodes, kind an enum tor_kind. With a
 * probability p a packet is taken when h1 < p * 2^64. A delay is D - J + h2 % (2 J + 1) ns. Corrupt
 * flips bit h2 % n of the n bits that a checksum in the packet covers (struct frame in
 * fault.bpf.h), and leaves the checksum: what is corrupt can be seen to be. Frames without any
 * are left alone.
 *
 * A packet that has to wait leaves the ToR by the device `wire`, with a struct tor_held
 * behind its last byte, to a process (topo/wire.c) that sends it back when it is due.
 */
#ifndef PAXRACK_FAULT_H
#define PAXRACK_FAULT_H

#include <linux/types.h>

#include "bpf/tor.h"
#include "bpf/wire.h"

#define TOR_RULES_MAX 64
#define TOR_ANY 0xffff /* node, kind: all of them */

/* Kinds of packets: those of messages (enum wire_kind), and */
enum tor_kind {
	TOR_KIND_OTHER = WIRE_NONE, /* none of the rest; anything behind a VLAN tag */
	TOR_KIND_ARP = WIRE_KIND_COUNT,
	TOR_KIND_COUNT
};

/* X(enumerator, name): what becomes of a packet; PARTITION is no rule's. */
#define TOR_ACTIONS(X)                                                                             \
	X(DROP, "drop")                                                                            \
	X(DUPLICATE, "duplicate")                                                                  \
	X(CORRUPT, "corrupt")                                                                      \
	X(DELAY, "delay")                                                                          \
	X(REORDER, "reorder")                                                                      \
	X(RATE, "rate")                                                                            \
	X(RATE_DROP, "rate-drop")                                                                  \
	X(PARTITION, "partition")

enum tor_action {
#define X(id, name) TOR_ACT_##id,
	TOR_ACTIONS(X)
#undef X
		TOR_ACT_COUNT
};

enum tor_which { TOR_ALL, TOR_EVERY, TOR_NTH, TOR_PROBABILITY };

struct tor_rule {
	__u32 serial; /* never used twice in a rack; 0: the rule is not in force */
	__u16 from, to, kind;
	__u8 action, which; /* enum tor_action, enum tor_which */
	__u64 k;	    /* every k-th, the k-th; probability: taken when the hash is below k */
	__u64 seed;
	__u64 added_ns;		   /* CLOCK_MONOTONIC */
	__u64 begin_ns, end_ns;	   /* takes packets from begin to before end; CLOCK_MONOTONIC */
	__u64 delay_ns, jitter_ns; /* DELAY: uniform in delay +- jitter; jitter <= delay */
	__u64 amount;		   /* REORDER: packets; RATE: bits per second */
};

/* A packet waits no longer than this for room on a link with a rate; RATE_DROP otherwise. */
#define TOR_RATE_QUEUE_NS 200000000ull

/* Number 0 is the partition, 1..TOR_RULES_MAX are rules: slot + 1. */
struct tor_fault_counts {
	__u64 seen;  /* packets of its links and kinds */
	__u64 taken; /* those of them that it did something to */
};

/* One, shared by mmap(). User space writes the first four, the programs the others. */
struct tor_fault_state {
	__u32 slots;	  /* rules stand in slots below this */
	__u32 partition;  /* serial of the partition, 0: there is none */
	__u32 serial;	  /* last one given out */
	__u32 ending;	  /* the wire's process has been told to end when it holds nothing */
	__u64 held;	  /* packets sent to the wire */
	__u64 unheld;	  /* those of them lost because no process was there */
	__u64 released;	  /* those of them that came back */
	__u64 early;	  /* ... before they were due: a bug in the wire */
	__u64 log_lost;	  /* verdicts that found no room in the log */
	__u64 numberless; /* packets that no rule saw: too many links and kinds */
};

/* Row of the partition matrix: a bit for each node that frames from here do not reach. */
struct tor_cut {
	__u64 to[TOR_CUT_WORDS];
};

/* What is counted apart: a rule's packets of one link and kind. */
struct tor_flow_key {
	__u32 serial;
	__u16 from, to, kind, padding;
};

/* Verdicts of rules, as they come: records of the ring buffer tor_log. */
struct tor_fault {
	__u64 time_ns; /* CLOCK_MONOTONIC */
	__u64 number;
	__u64 delay_ns; /* DELAY, RATE: how long */
	__u16 from, to, kind;
	__u8 action;
	__u8 rule;
};

/* Behind the last byte of a packet on its way to the wire and back. */
#define TOR_HELD_MAGIC 0x64656c68u

struct tor_held {
	__u64 due_ns; /* CLOCK_MONOTONIC: not before */
	__u64 number; /* of `rule`, which reorders its link and kind; rule 0: nothing to reorder */
	__u64 behind; /* not before the packet with this number; 0: as it comes */
	__u16 from, to, kind;
	__u8 rule;
	__u8 group; /* a copy of a frame to more than one node */
	__u32 serial;
	__u32 magic;
} __attribute__((packed));

#define TOR_REORDER_NS 1000000000ull /* then it waits no longer for packets to go ahead */

/* How late packets left the wire: counts by steps of TOR_LATE_NS, the last takes the rest. */
#define TOR_LATE_NS 100
#define TOR_LATE_STEPS 16384

#endif
