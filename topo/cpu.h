/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What the whole machine's processors did, from /proc/stat. */
#ifndef PAXRACK_CPU_H
#define PAXRACK_CPU_H

#include <stdint.h>

/*
 * Time of all processors since boot that was not idle: user, nice, system, irq and
 * softirq, in us (counted by the kernel in steps of 10 ms). Returns 0 or -errno.
 */
int cpu_busy_us(uint64_t *busy);

#endif
