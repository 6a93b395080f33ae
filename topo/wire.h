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

/* The largest frame of a rack's link has to fit a page with what the kernel puts around it. */
#define WIRE_MTU_MAX 3400

#endif
