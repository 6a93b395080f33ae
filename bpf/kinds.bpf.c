// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * One program of each kind that kernels refuse one by one (lockdown, missing options): each is
 * loaded alone, and attached where libbpf can (topo/doctor_kinds.c). They do nothing, at
 * functions that the kernel keeps for tests or at events that are rare. Nothing of paxrack
 * depends on any.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#define KIND(name, section)                                                                        \
	SEC(section)                                                                               \
	int kind_##name(void *ctx)                                                                 \
	{                                                                                          \
		(void)ctx;                                                                         \
		return 0;                                                                          \
	}

KIND(fentry, "fentry/bpf_fentry_test1")
KIND(fexit, "fexit/bpf_fentry_test1")
KIND(fmod_ret, "fmod_ret/bpf_modify_return_test")
KIND(lsm, "lsm/bpf_map")
/* In place of a function of another program, of the type of that one. */
SEC("freplace")
int kind_freplace(struct xdp_md *ctx)
{
	(void)ctx;
	return XDP_PASS;
}

KIND(tp_btf, "tp_btf/xdp_exception")
KIND(raw_tp, "raw_tp/xdp_exception")
KIND(kprobe, "kprobe/bpf_fentry_test1")
KIND(kprobe_multi, "kprobe.multi/bpf_fentry_test1")
KIND(iter, "iter/task")
KIND(syscall, "syscall")
KIND(sk_lookup, "sk_lookup")
KIND(cgroup_skb, "cgroup_skb/egress")

char LICENSE[] SEC("license") = "Dual BSD/GPL";
