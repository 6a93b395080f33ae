/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The process that holds packets until they are due (see bpf/tor.bpf.c for the way there). */
#ifndef PAXRACK_WIRE_PROCESS_H
#define PAXRACK_WIRE_PROCESS_H

#include <signal.h>

#include "topo/daemon.h"

#define WIRE_NAME "rack-wire"
#define WIRE_DRAIN SIGUSR1 /* end when nothing is held any more; SIGTERM: at once */

/* A daemon_fn. */
int wire_run(const struct rack *rack, struct daemon *d);

/* p50, p99 and max of all that it released, in steps of TOR_LATE_NS. 0, or -1 having said why. */
int wire_late(const struct rack *rack, double late_us[3]);

/* The largest frame of a rack's link has to fit a page with what the kernel puts around it. */
#define WIRE_MTU_MAX 3400

#endif
