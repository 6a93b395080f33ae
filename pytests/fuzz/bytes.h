/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Integers in frames, and the sums over them. */
#ifndef PAXRACK_FUZZ_BYTES_H
#define PAXRACK_FUZZ_BYTES_H

#include <arpa/inet.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline uint32_t le32(const uint8_t *at)
{
	return at[0] | at[1] << 8 | at[2] << 16 | (uint32_t)at[3] << 24;
}

static inline uint64_t le64(const uint8_t *at)
{
	return le32(at) | (uint64_t)le32(at + 4) << 32;
}

static inline uint16_t be16(const uint8_t *at)
{
	return at[0] << 8 | at[1];
}

static inline uint8_t *put_be16(uint8_t *at, uint16_t value)
{
	at[0] = value >> 8;
	at[1] = value;
	return at + 2;
}

static inline uint8_t *put_le(uint8_t *at, uint64_t value, int size)
{
	for (int i = 0; i < size; i++)
		at[i] = value >> 8 * i;
	return at + size;
}

static inline uint8_t *put(uint8_t *at, const void *bytes, size_t size)
{
	memcpy(at, bytes, size);
	return at + size;
}

/*
 * The one's complement sum of 16-bit words, modulo 2^16 - 1 (RFC 1071): words of 32 bits in
 * host order give the same, 2^32 being 1 there and a swap of bytes a multiplication.
 */
static inline uint32_t sum(const uint8_t *at, size_t size)
{
	uint64_t total = 0;
	uint32_t word;

	for (; size >= sizeof(word); at += sizeof(word), size -= sizeof(word)) {
		memcpy(&word, at, sizeof(word));
		total += word;
	}
	word = 0;
	memcpy(&word, at, size);
	total = (total + word) % 0xffff;
	return ntohs(total) % 0xffff;
}

/* The checksum for a sum: 0..0xfffe. */
static inline uint16_t checksum(uint32_t total)
{
	return (0xffff - total % 0xffff) % 0xffff;
}

#endif
