/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What the kernel knows about a device and who is behind it. */
#ifndef PAXRACK_NEIGHBOUR_H
#define PAXRACK_NEIGHBOUR_H

#include <stdint.h>

/* The device's own MAC address. 0 or -errno. */
int neighbour_own_mac(const char *iface, uint8_t mac[6]);
/*
 * The MAC address of `addr` (IPv4, network order) in the neighbour table; asks for it
 * (one datagram to the discard port, which makes the kernel resolve) and waits up to one
 * second where it is missing. 0, -ENOENT or -errno.
 */
int neighbour_mac(const char *iface, uint32_t addr, uint8_t mac[6]);
/* The device's MTU in bytes, or -errno. */
int neighbour_mtu(const char *iface);

#endif
