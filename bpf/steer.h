/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Steering: which path through the ToR a frame takes and, for flows in the table, to which
 * port it goes. Shared by programs and user space; what it is for: docs/egress.md.
 */
#ifndef PAXRACK_STEER_H
#define PAXRACK_STEER_H

#include <linux/types.h>

#include "bpf/tor.h"

#define STEER_FLOWS_MAX 16384 /* five-tuples in the table */
#define STEER_GROUPS_MAX 256
#define STEER_GROUP_SLOTS (2 * STEER_GROUPS_MAX) /* a change's stand beside those they replace */
#define STEER_GROUP_PORTS_MAX 32
#define STEER_QUEUES_MAX 16 /* of one port */
#define STEER_MOVED_MAX                                                                            \
	4096 /* flows of which a native redirect failed; the oldest get another try */

/* Memory for frames on the path afxdp: doubled when it ran out, up to the most. */
#define STEER_UMEM_MIN (1u << 20)
#define STEER_UMEM_MAX (1u << 22)
#define STEER_SHARE_MIN 16     /* frames of it that each socket on the path gets, or more */
#define STEER_FILL_DEFAULT 512 /* a fill ring with fewer frames than this is filled up */
#define STEER_FILL_MAX 2048

/* Key of the table: a five-tuple of IPv4 and TCP or UDP; 13 bytes are used, the others are 0. */
struct steer_key {
	__be32 saddr, daddr;
	__be16 sport, dport;
	__u8 protocol; /* IPPROTO_TCP, IPPROTO_UDP */
	__u8 zero[3];
};

/*
 * Its value: bits 0-15 the index of a port, or of a group when STEER_GROUP is set;
 * STEER_BY_MAC: the port of the frame's destination. Bits 16-18: enum tor_path + 1, 0: the
 * path of the port that it came from.
 */
#define STEER_TO 0xffffu
#define STEER_BY_MAC 0xffffu
#define STEER_PATH_SHIFT 16
#define STEER_PATH_MASK 7u
#define STEER_GROUP (1u << 31)

/* The five-tuple's hash chooses one of `count`; count 0: no such group. */
struct steer_group {
	__u32 count;
	__u16 port[STEER_GROUP_PORTS_MAX];
};

/* Of bpf/steer.bpf.c. */
#define STEER_DEVICES_MAX 1024

enum steer_outcome {
	STEER_SENT,	 /* by the device that the table named */
	STEER_MISS,	 /* not in the table */
	STEER_NO_FLOW,	 /* no five-tuple */
	STEER_NO_DEVICE, /* the table names a port that has no device */
	STEER_FAILED,	 /* bpf_clone_redirect() failed every time */
	STEER_OUTCOMES,
};

/* What failed and is known to have failed is tried so often again, for no longer than so. */
#define STEER_TRIES 3
#define STEER_TRY_NS 10000

/* Of the process on the path afxdp; its own to write. */
struct steer_afxdp {
	__u64 received, sent; /* frames */
	__u64 zero_copied;    /* of those sent */
	__u64 retries;	      /* a send that failed, tried again */
	__u64 to_stack;	      /* failed every time, then given to the bridge */
	__u64 lost;	      /* ... which did not take it either */
	__u64 remade;	      /* times that the sockets were made anew, with more memory */
	__u64 shared_anew;    /* ... because other ports are on the path now */
	__u64 remade_lost;    /* frames that found no memory meanwhile; among no_frames too */
	__u64 umem_bytes;
	__u64 no_frames; /* frames that found no memory: these are lost */
	__u64 no_port;	 /* frames for a port that there is not: lost as well */
	__u64 looked;	 /* the afxdp_asked that it has heeded */
};

/* One, shared by mmap(). */
struct steer_state {
	/* by user space, while a path needs them */
	__u32 ports_map, sockets_map; /* ids of tor_devices and tor_sockets */
	__u32 netns;		      /* inode number of the ToR's namespace */
	__u32 polling;		      /* nodes were told to poll (NAPI) */
	/* flows in tor_moved, or more; by the programs, as what follows, and user space */
	__u32 moved;
	__u32 padding;
	__u64 clone_retries; /* bpf_clone_redirect() that failed, tried again */
	__u64 redirect_errs; /* native redirects that failed after the program returned */
	__u64 socket_full;   /* ... because the process on the path afxdp was too slow */
	struct steer_afxdp afxdp;
	/* by commands: bit i: frames of port i may take the path afxdp; how often that was said */
	__u64 afxdp_ports[TOR_CUT_WORDS];
	__u64 afxdp_asked;
};

/* Before each frame that goes to the process on the path afxdp. */
struct steer_meta {
	__u32 to; /* index of a port */
};

#endif
