/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Settings, maps and counters of the replica's programs. */
#ifndef PAXRACK_MAPS_BPF_H
#define PAXRACK_MAPS_BPF_H

#include <stdbool.h>
#include <linux/bpf.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "bpf/reasons.h"
#include "bpf/state.h"
#include "bpf/wire.h"

/* Set before loading; the verifier then drops the code of what is switched off. */
const volatile __u32 offloads = ELEC_OFFLOAD_ALL;
const volatile __be16 port = bpf_htons(WIRE_PORT);   /* the replica's own UDP port */
const volatile __u32 log_slots = ELEC_SLOTS_DEFAULT; /* a power of two, = max_entries of elec_log */
const volatile enum elec_reason reasons = ELEC_R_COUNT; /* puts the enum into the object's BTF */

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct elec_state);
} elec_state SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, ELEC_SLOTS_DEFAULT);
	__type(key, __u32);
	__type(value, struct elec_slot);
} elec_log SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, ELEC_R_COUNT);
	__type(key, __u32); /* enum elec_reason; the kernel wants an int here */
	__type(value, __u64);
} elec_counts SEC(".maps");

/* Only its wake-up is used: one record each time that a sleeping reader is woken. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} elec_wake SEC(".maps");

/* Where a packet is copied whose checksum is tested but whose bytes are not kept. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct elec_slot);
} elec_scratch SEC(".maps");

static __always_inline void count(enum elec_reason reason)
{
	__u32 key = reason;
	__u64 *counter = bpf_map_lookup_elem(&elec_counts, &key);

	if (counter)
		(*counter)++;
}

static __always_inline struct elec_state *state_get(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&elec_state, &zero);
}

/* Words that another CPU changes: read once, as they are now. */
#define READ_ONCE(x) (*(volatile typeof(x) *)&(x))

/*
 * Linux 6.1's verifier forgets a bound that was tested on one copy of a spilled value when
 * another is used: this makes one register of it, to test (or mask) and then to use.
 */
#define one_register(x) asm volatile("" : "+r"(x))

/* Element i of arrays with one element per replica; i is below ELEC_REPLICAS_MAX already. */
static __always_inline const struct elec_member *member_at(const struct elec_control *control,
							   __u64 i)
{
	one_register(i);
	return &control->member[i & (ELEC_REPLICAS_MAX - 1)];
}

static __always_inline __u64 *acked_at(struct elec_state *state, __u64 i)
{
	one_register(i);
	return &state->acked[i & (ELEC_REPLICAS_MAX - 1)];
}

/* The control page of the gate's epoch, NULL while it is not filled for it. */
static __always_inline struct elec_control *control_get(struct elec_state *state, __u64 gate)
{
	__u32 epoch = ELEC_WORD_EPOCH(gate);
	struct elec_control *control = &state->control[epoch & 1];

	if (control->epoch != epoch || control->n - 1 >= ELEC_REPLICAS_MAX ||
	    control->self >= control->n || control->leader >= control->n)
		return NULL;
	return control;
}

#endif
