// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Redirects that failed after the XDP program had returned: that frame is lost, but its flow
 * is moved to the stack path before the next one comes. Loaded while a port's frames take the
 * path xdp or afxdp, with the maps of tor.bpf.c.
 *
 *   xdp_redirect_err  the device does not take the frame (Linux 6.3 and newer: its peer does not
 *                     poll), or the process on the path afxdp has no room
 *   xdp_devmap_xmit   the device did not take the batch (before Linux 6.3); then the last flow of
 *                     it is moved, and the next time another one
 */
#include <linux/bpf.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

#include "bpf/moved.bpf.h"
#include "bpf/steer_state.bpf.h"

/* What is needed of the kernel's own. */
struct ns_common {
	unsigned int inum;
} __attribute__((preserve_access_index));

struct net {
	struct ns_common ns;
} __attribute__((preserve_access_index));

typedef struct {
	struct net *net;
} __attribute__((preserve_access_index)) possible_net_t;

struct net_device {
	possible_net_t nd_net;
} __attribute__((preserve_access_index));

static void move(struct steer_state *state, __u64 frames)
{
	__u32 zero = 0;
	struct steer_key *key = bpf_map_lookup_elem(&tor_last, &zero);
	__u64 *count;

	__sync_fetch_and_add(&state->redirect_errs, frames);
	if (!key)
		return;
	count = bpf_map_lookup_elem(&tor_moved, key);
	if (count) {
		__sync_fetch_and_add(count, frames);
	} else {
		bpf_map_update_elem(&tor_moved, key, &frames, BPF_NOEXIST);
		__sync_fetch_and_add(&state->moved, 1);
	}
}

/* (dev, xdp, tgt, err, map_type, map_id, index): trace/events/xdp.h of the kernel */
SEC("raw_tp/xdp_redirect_err")
int steer_redirect_err(struct bpf_raw_tracepoint_args *ctx)
{
	struct steer_state *state = steer_state_get();
	__u32 map = ctx->args[5];

	if (!state || !map)
		return 0;
	if (map == state->sockets_map)
		__sync_fetch_and_add(&state->socket_full, 1);
	else if (map == state->ports_map)
		move(state, 1);
	return 0;
}

/* (from_dev, to_dev, sent, drops, err) */
SEC("raw_tp/xdp_devmap_xmit")
int steer_devmap_xmit(struct bpf_raw_tracepoint_args *ctx)
{
	struct net_device *to = (void *)ctx->args[1];
	int err = ctx->args[4];
	struct steer_state *state;

	if (err >= 0)
		return 0;
	state = steer_state_get();
	if (state && BPF_CORE_READ(to, nd_net.net, ns.inum) == state->netns)
		move(state, (__u32)ctx->args[3]);
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
