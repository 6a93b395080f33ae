/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Ctrl-C and friends as a descriptor. */
#ifndef PAXRACK_INTERRUPT_H
#define PAXRACK_INTERRUPT_H

/*
 * A descriptor that turns readable with the first SIGINT, SIGTERM or SIGHUP, and stays so; -1:
 * said why. (A blocked mask with a signalfd would be inherited by every process started here.)
 */
int interrupt_open(void);

#endif
