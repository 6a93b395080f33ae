// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The steering table alone, for the egress of any device:
 *
 *   tc qdisc add dev X clsact
 *   tc filter add dev X egress bpf da obj build/steer.bpf.o section egress
 *
 * A flow in steer_table leaves by the device of its port (steer_devices), as it is; what is not
 * there, or cannot be sent there, leaves by X as it would have. docs/egress.md has an example.
 * tc sets the type of the program: its section is named as tc's users are used to.
 */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>

#include "bpf/steer.bpf.h"

/* Device index of each port that the table may name; 0: none. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, STEER_DEVICES_MAX);
	__type(key, __u32);
	__type(value, __u32);
} steer_devices SEC(".maps");

/* By enum steer_outcome. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, STEER_OUTCOMES);
	__type(key, __u32);
	__type(value, __u64);
} steer_counts SEC(".maps");

static __always_inline int outcome(__u32 what, int action)
{
	__u64 *count = bpf_map_lookup_elem(&steer_counts, &what);

	if (count)
		(*count)++;
	return action;
}

SEC("egress")
int steer_egress(struct __sk_buff *skb)
{
	__u64 linear = (void *)(long)skb->data_end - (void *)(long)skb->data;
	__u32 *value, *device, port;
	struct steer_key key;

	if (linear < STEER_BYTES && linear < skb->len)
		bpf_skb_pull_data(skb, skb->len < STEER_BYTES ? skb->len : STEER_BYTES);
	if (skb->vlan_present ||
	    !steer_key_read(&key, (void *)(long)skb->data, (void *)(long)skb->data_end))
		return outcome(STEER_NO_FLOW, TC_ACT_OK);
	value = bpf_map_lookup_elem(&steer_table, &key);
	if (!value)
		return outcome(STEER_MISS, TC_ACT_OK);
	port = steer_port(*value, &key);
	device = bpf_map_lookup_elem(&steer_devices, &port);
	if (!device || !*device)
		return outcome(STEER_NO_DEVICE, TC_ACT_OK);
	if (!steer_clone(skb, *device))
		return outcome(STEER_FAILED, TC_ACT_OK);
	/* Not dropped, as the sender would be told of one that was. */
	return outcome(STEER_SENT, TC_ACT_STOLEN);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
