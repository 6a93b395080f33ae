/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What XDP programs did that no program can count itself: a verdict of XDP_ABORTED, one that is
 * no verdict at all, an XDP_TX or redirect that failed. The kernel tells of these by the
 * tracepoints xdp:xdp_exception and xdp:xdp_redirect_err, for the whole machine; a rack counts them
 * from `rack up` on, and whoever reads picks out the programs that are the rack's.
 */
#ifndef PAXRACK_WATCH_H
#define PAXRACK_WATCH_H

#include <linux/types.h>

#define WATCH_ENTRIES 4096 /* the longest untouched ones are forgotten first */

/* Key of the map watch_counts; the value is a u64. */
struct watch_key {
	__u32 program;	  /* id */
	__u32 action;	  /* the program's verdict, enum xdp_action or anything else */
	__s32 error;	  /* redirect that failed: -errno; 0: exception */
	__s32 ifindex;	  /* device whose program it is, in its own namespace */
	__s32 to_ifindex; /* redirect: where to; 0: not to a device */
};

#endif
