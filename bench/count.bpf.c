// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* System calls of each process, counted: a figure that does not depend on the machine. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 128);
	__type(key, __u32); /* process id, put there by who wants to know */
	__type(value, __u64);
} system_calls SEC(".maps");

SEC("raw_tp/sys_enter") /* which needs no tracefs */
int count_sys_enter(void *context)
{
	__u32 process = bpf_get_current_pid_tgid() >> 32;
	__u64 *count = bpf_map_lookup_elem(&system_calls, &process);

	(void)context;
	if (count)
		__sync_fetch_and_add(count, 1);
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
