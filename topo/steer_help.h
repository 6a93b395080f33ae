/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The lines of `rack steer --help` below how it is called. */
#ifndef PAXRACK_STEER_HELP_H
#define PAXRACK_STEER_HELP_H

/* clang-format off */
#define STEER_HELP \
	"  NODE   r0, c0, t0, ...: all that it sends\n" \
	"  FLOW   tcp:SOURCE:PORT:DESTINATION:PORT or udp:...; SOURCE is a node, DESTINATION a\n" \
	"         node or an IPv4 address\n" \
	"  TO     a node: to its port, whatever the frame's MAC says; r1,r2 (up to 32): to one of\n" \
	"         them, which the flow's hash chooses; mac, or nothing: where the MAC says\n" \
	"  PATH   tc      the TC program redirects the frame (what a node begins with)\n" \
	"         xdp     the port's XDP program does\n" \
	"         bridge  the kernel's bridge: the stack path\n" \
	"         afxdp   the port's XDP program hands it to a process, which sends it\n" \
	"         A rule without one takes the path of the node that sends.\n" \
	"  TIME   200ms to 3600s: us, ms or s, as in 1.5s\n" \
	"  N%     0 < N <= 100, as in 12.5%: a share of the node's flows, by their hash\n" \
	"\n" \
	"A node that has a rule is steered by the rules: what it sends in none of them takes the\n" \
	"bridge. path FLOW makes a rule, or gives the flow's rule another path.\n" \
	"\n" \
	"--guard measures all that the node sends for TIME before and TIME after, and goes back\n" \
	"(status 1) when that is worse; with --share that share goes first, then all.\n" \
	"\n" \
	"FILE has a rule on each line: FLOW [TO [PATH]]. # begins a comment, empty lines are\n" \
	"skipped, of several lines of one flow the last counts. load adds to the rules that are\n" \
	"there, all lines or none.\n" \
	"\n" \
	"  rack steer lab path r0 xdp\n" \
	"  rack steer lab path r0 afxdp --guard 5s --share 10%\n" \
	"  rack steer lab add udp:c0:4001:r0:9 r1,r2 tc"
/* clang-format on */

#endif
