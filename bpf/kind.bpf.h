/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Is a message of a kind? By its whole type name, for every program that asks. */
#ifndef PAXRACK_KIND_BPF_H
#define PAXRACK_KIND_BPF_H

#include <stdbool.h>
#include <linux/types.h>

#include "bpf/wire.h"

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the wire is little-endian and the programs read it in place"
#endif

static __always_inline __u64 load8(const void *p)
{
	return *(const __u64 *)p; /* packets are not aligned; the kernel's BPF machines bear it */
}

static __always_inline __u32 load4(const void *p)
{
	return *(const __u32 *)p;
}

/* Compare n (>= 8) bytes by words, the last one overlapping. `name` is constant: it folds away. */
static __always_inline bool name_is(const __u8 *p, const char *name, __u32 n)
{
	__u64 word;

#pragma unroll
	for (__u32 i = 0; i + 8 <= n; i += 8) {
		__builtin_memcpy(&word, name + i, 8);
		if (load8(p + i) != word)
			return false;
	}
	__builtin_memcpy(&word, name + n - 8, 8);
	return load8(p + n - 8) == word;
}

/* Is the message at p, whose type name is T bytes long, of kind `id`? The whole name counts. */
#define IS_KIND(id, p, end, T)                                                                     \
	((T) == WIRE_T_##id && (p) + WIRE_TYPE_AT + WIRE_T_##id <= (__u8 *)(end) &&                \
	 name_is((p) + WIRE_TYPE_AT, WIRE_TYPE_##id, WIRE_T_##id))

#endif
