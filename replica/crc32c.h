/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* CRC-32C (Castagnoli, reflected), by the processor's instruction where it has one. */
#ifndef PAXRACK_CRC32C_H
#define PAXRACK_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* Of data that follows data with checksum `crc`; 0: nothing before it. */
uint32_t crc32c(uint32_t crc, const void *data, size_t len);
/* The same by tables, on any machine. */
uint32_t crc32c_table(uint32_t crc, const void *data, size_t len);

#endif
