/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Between the program that redirects (tor.bpf.c) and those that hear that it failed
 * (steer_watch.bpf.c). */
#ifndef PAXRACK_MOVED_BPF_H
#define PAXRACK_MOVED_BPF_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "bpf/steer.h"

/*
 * Flows of which a native redirect failed. What has no five-tuple is one flow for each two ports:
 * see link_key() in verdict.bpf.h.
 */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, STEER_MOVED_MAX);
	__type(key, struct steer_key);
	__type(value, __u64); /* how often */
} tor_moved SEC(".maps");

/* The flow that the XDP program last redirected on this CPU, for who hears that it failed. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct steer_key);
} tor_last SEC(".maps");

#endif
