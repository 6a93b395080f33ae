/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The process that writes what the ToR's rules did, as it happens, to faults.jsonl: one
 * object a line,
 *
 *   {"time_ns":12,"rule":1,"action":"drop","from":"r1","to":"r0","kind":"Prepare","number":3}
 *
 * time_ns is CLOCK_MONOTONIC; rule 0 is the partition; delay and rate have delay_ns too.
 */
#ifndef PAXRACK_FAULT_LOG_H
#define PAXRACK_FAULT_LOG_H

#include "topo/daemon.h"

#define FAULT_LOG_NAME "rack-fault-log"

/* A daemon_fn. SIGTERM: writes what there is and ends. */
int fault_log_run(const struct rack *rack, struct daemon *d);

#endif
