/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What the ToR's programs and user space share. Port i of the ToR is the port of the
 * rack's i-th node: device index TOR_IFINDEX + i, and i stands in the last two bytes of
 * the node's MAC (02, three bytes for the rack, two for the index), so neither way
 * needs a search.
 */
#ifndef PAXRACK_TOR_H
#define PAXRACK_TOR_H

#include <linux/types.h>

#define TOR_IFINDEX 32 /* of port 0; lower ones are left to what the kernel adds to a namespace */
#define TOR_BRIDGE_IFINDEX 31
#define TOR_WIRE_IFINDEX                                                                           \
	30 /* see fault.h: the ToR's end, there while a rule makes packets wait                    \
	    */
#define TOR_WIRE_END_IFINDEX 29 /* its other end, where the process listens */
/*
 * ToR t of several: its bridge, and the pair that joins it to the spine, whose bridge is one more.
 * vxlan is a port of the spine as well: there, when ToRs of the rack are on other hosts.
 */
#define TOR_SPINE_BRIDGE_IFINDEX 28
#define TOR_VXLAN_IFINDEX 27
#define TOR_BRIDGES_IFINDEX 2048 /* + t, but TOR_BRIDGE_IFINDEX for t = 0 */
#define TOR_UPLINK_IFINDEX 2304	 /* + t, a port of the ToR's bridge */
#define TOR_SPINE_IFINDEX 2560	 /* + t, its peer, a port of the spine's bridge */
#define TOR_TORS_MAX 64
#define TOR_CUT_WORDS 16 /* of 64 bits, one for each node that there can be */

enum tor_port_flag {
	TOR_SPOOF = 1,	/* its frames may carry any source */
	TOR_STACK = 2,	/* frames *to* it take the bridge, not a redirect (see verdict.bpf.h) */
	TOR_FAULTS = 4, /* fault rules or a partition concern frames *from* it */
	TOR_DETOUR = 8, /* ... and rules that only the TC program can carry out */
	TOR_TABLE = 16, /* flows *from* it are in the steering table: what is not takes the stack */
};

/* Paths of a frame through the ToR (bpf/steer.h). X(enumerator, name) */
#define TOR_PATHS(X)                                                                               \
	X(TC, "tc")	    /* the TC program redirects it */                                      \
	X(XDP, "xdp")	    /* the port's XDP program does, over a devmap */                       \
	X(BRIDGE, "bridge") /* the kernel's bridge: the stack path */                              \
	X(AFXDP, "afxdp")   /* the port's XDP program hands it to a process */

enum tor_path {
#define X(id, name) TOR_PATH_##id,
	TOR_PATHS(X)
#undef X
		TOR_PATH_COUNT
};

struct tor_port {
	__u8 mac[6]; /* of the node behind it */
	__u16 flags; /* enum tor_port_flag, or-ed */
	__be32 addr; /* of the node behind it */
	/* of frames *from* it, to a node that is known */
	__u8 path;	 /* enum tor_path */
	__u8 share_path; /* enum tor_path, of flows whose hash is below share */
	__u16 share;	 /* of 65536; 0: none */
	__u16 tor;	 /* the node is behind this one */
	__u16 spine;	 /* device by which the spine reaches that one */
};

/*
 * What became of a frame and why, counted at the port it came from (map tor_counts,
 * one struct tor_counts per port and CPU).
 * X(enumerator, printed name, what it means)
 */
#define TOR_REASONS(X)                                                                             \
	X(REDIRECT, "redirect", "sent straight to the port of its destination")                    \
	X(BRIDGE, "bridge", "left to the bridge: a port that wants the stack's path")              \
	X(FLOOD, "flood", "left to the bridge: group address, or nobody's")                        \
	X(HAIRPIN, "hairpin", "dropped: its destination is the node that sent it")                 \
	X(NO_PORT, "no-port", "dropped: came from a device that is no port of a node")             \
	X(SHORT, "short", "dropped: ends before its source can be read")                           \
	X(VLAN_DEPTH, "vlan-depth", "dropped: more VLAN tags than are looked behind")              \
	X(SPOOF_MAC, "spoof-mac", "dropped: source MAC is not the node's")                         \
	X(SPOOF_IP, "spoof-ip", "dropped: IPv4 source is not the node's")                          \
	X(SPOOF_IP6, "spoof-ip6", "dropped: IPv6, of which no node has an address")                \
	X(SPOOF_ARP, "spoof-arp", "dropped: ARP sender is not the node")                           \
	X(FAULT, "fault", "dropped: a fault rule or the partition said so")                        \
	X(HELD, "held", "sent to the wire, which sends it on when it is due")                      \
	X(XDP, "xdp", "redirected by the port's XDP program")                                      \
	X(AFXDP, "afxdp", "handed to the process on the path afxdp")                               \
	X(MISS, "miss", "left to the bridge: its flow is not in the steering table")               \
	X(NO_FLOW, "no-flow", "left to the bridge: it has no five-tuple to look up there")         \
	X(MOVED, "moved", "left to the bridge: a native redirect of its flow failed")              \
	X(NO_SOCKET, "no-socket", "left to the bridge: no process is on the path afxdp")           \
	X(NO_XDP, "no-xdp", "left to the bridge: the port's XDP program did not see it")           \
	X(CLONE, "clone", "left to the bridge: bpf_clone_redirect() failed every time")            \
	X(UPLINK, "uplink", "sent up to the spine: its destination is behind another ToR")

enum tor_reason {
#define X(id, name, text) TOR_R_##id,
	TOR_REASONS(X)
#undef X
		TOR_R_COUNT
};

struct tor_counts {
	__u64 by_reason[TOR_R_COUNT];
};

/*
 * Frames of each link and kind, as they come in by the sender's port: those that faults drop
 * or hold too, those that antispoof drops not. To tell the kind costs as much as to forward, so
 * they are counted (map tor_links) only while somebody looks: who does moves until_ns ahead.
 */
struct tor_looking {
	__u64 until_ns;	 /* CLOCK_MONOTONIC; 0: nobody looks, ~0: until somebody says otherwise */
	__u64 since_ns;	 /* the counts began to grow; 0: never */
	__u64 uncounted; /* frames that found no room */
};

struct tor_link {
	__u16 from, to; /* indexes of nodes; to TOR_ANY (fault.h): to all, or to nobody's address */
	__u16 kind;	/* enum tor_kind (fault.h) */
	__u16 zero;
};

struct tor_link_counts {
	__u64 packets, bytes; /* bytes of frames, Ethernet header included */
};

#endif
