/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef PAXRACK_PROBE_H
#define PAXRACK_PROBE_H

#define PROBE_ETHERTYPE 0x88b5 /* for local experiments (IEEE 802): no stack answers it */
#define PROBE_NOWHERE 0x7fff   /* device index that nothing has in the probe's namespace */

#endif
