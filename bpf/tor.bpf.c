// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The ToR's programs.
 *
 *   tor_ingress  TC, ingress of every port: judges each frame and forwards it
 *   tor_steer    XDP, on ports whose frames take the paths xdp or afxdp: judges and forwards
 *                those; what it passes it has not judged
 *   tor_pass     XDP, on ports of nodes that bounce frames with native XDP_TX: only has to
 *                exist: veth delivers what a native program transmits to a peer that runs
 *                one too
 *   tor_uplink   TC, ingress of what joins several ToRs: both ends of uplinks, and vxlan
 *
 *   r0 --> port: tor_ingress --> [up0]----[down0: tor_uplink] --> [down1]----[up1: tor_uplink] -->
 * port --> r2
 *
 * and, while fault rules make packets wait:
 *
 *   from node --> port: tor_ingress --> [wire]----[wire-end]: tor_wire --> process
 *   to node   <-- port  <--------------- tor_release [wire]----[wire-end] <--'
 *
 * tor_ingress has judged what goes that way; tor_release only looks once more whether the
 * link has been cut meanwhile.
 */
#include <linux/pkt_cls.h>

#include "bpf/fault.bpf.h"
#include "bpf/links.bpf.h"
#include "bpf/verdict.bpf.h"

/*
 * On a frame that re-enters its own port, to reach the bridge: it has been judged. No node can
 * send it: marks do not cross from one namespace to another.
 */
#define MARK_JUDGED 0x70617872

/*
 * Between ToRs: a frame that is for this node alone, whatever its address. 16 bits, so that
 * VXLAN carries it to another host (its group policy extension, IFLA_VXLAN_GBP).
 */
#define MARK_TO 0x8000
#define MARK_TO_MASK 0x7fff

const volatile __u32 nodes;	 /* of the rack, set before loading */
const volatile __u32 queues = 1; /* of each port */

struct {
	__uint(type, BPF_MAP_TYPE_DEVMAP);
	__uint(max_entries, 1); /* set to the number of nodes before loading */
	__type(key, __u32);
	__type(value, __u32); /* device index */
} tor_devices SEC(".maps");

/* The sockets of the process on the path afxdp: queue q of port i is i * queues + q. */
struct {
	__uint(type, BPF_MAP_TYPE_XSKMAP);
	__uint(max_entries, 1); /* set to nodes * queues before loading */
	__type(key, __u32);
	__type(value, __u32);
} tor_sockets SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_XSKMAP);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} tor_xsk SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, TOR_LATE_STEPS);
	__type(key, __u32);
	__type(value, __u64);
} tor_late SEC(".maps");

/* Headers may lie outside the linear part; what is shorter than asked for stays as it is. */
static __always_inline void pull(struct __sk_buff *skb, __u32 len)
{
	__u64 linear = (void *)(long)skb->data_end - (void *)(long)skb->data;

	if (linear < len && linear < skb->len)
		bpf_skb_pull_data(skb, skb->len < len ? skb->len : len);
}

/*
 * The packet's own checksums are left wrong. What the kernel may know of the sum of its bytes
 * is kept right, or it would complain in its log.
 */
static __always_inline void flip(struct __sk_buff *skb, const struct judgement *j)
{
	__u8 byte;

	if (!j->corrupt_bits || bpf_skb_load_bytes(skb, j->corrupt_at, &byte, 1))
		return;
	byte ^= j->corrupt_bits;
	bpf_skb_store_bytes(skb, j->corrupt_at, &byte, 1, BPF_F_RECOMPUTE_CSUM);
}

static __always_inline bool hold(struct __sk_buff *skb, const struct judgement *j, bool group)
{
	struct tor_fault_state *state = fault_state();
	struct tor_held held = {
		.due_ns = j->now + j->delay_ns,
		.number = j->number,
		.behind = j->behind,
		.from = j->from,
		.to = j->to,
		.kind = j->kind,
		.rule = j->rule,
		.group = group,
		.serial = j->serial,
		.magic = TOR_HELD_MAGIC,
	};

	if (!state || bpf_skb_change_tail(skb, j->len + sizeof(held), 0) ||
	    bpf_skb_store_bytes(skb, j->len, &held, sizeof(held), BPF_F_RECOMPUTE_CSUM))
		return false;
	__sync_fetch_and_add(&state->held, j->duplicate ? 2 : 1);
	return true;
}

/* To a port that the steering table named: it may be one that is down. */
static __always_inline int send_ruled(struct __sk_buff *skb, __u32 to, enum tor_reason *reason)
{
	if (steer_clone(skb, to))
		return TC_ACT_STOLEN;
	*reason = TOR_R_CLONE;
	return TC_ACT_OK;
}

/* Where a frame from one node to another leaves the sender's ToR. */
static __always_inline __u32 way(__u32 from, __u32 to)
{
	struct tor_port *sender = bpf_map_lookup_elem(&tor_ports, &from);
	struct tor_port *dest = bpf_map_lookup_elem(&tor_ports, &to);

	if (sender && dest && sender->tor != dest->tor)
		return TOR_UPLINK_IFINDEX + sender->tor;
	return TOR_IFINDEX + to;
}

/* One frame to one node. */
static __always_inline int send_one(struct __sk_buff *skb, const struct judgement *j, bool ruled,
				    enum tor_reason *reason)
{
	bool up = *reason == TOR_R_UPLINK, stack = *reason != TOR_R_REDIRECT && !up;
	__u32 to = way(j->from, j->to);

	flip(skb, j);
	if (j->hold) {
		*reason = TOR_R_HELD;
		if (!hold(skb, j, false))
			return TC_ACT_SHOT;
		to = TOR_WIRE_IFINDEX;
	} else if (stack) {
		if (j->duplicate) {
			skb->mark = MARK_JUDGED;
			bpf_clone_redirect(skb, TOR_IFINDEX + j->from, BPF_F_INGRESS);
		}
		return TC_ACT_OK;
	}
	if (up && ruled)
		skb->mark = MARK_TO | j->to;
	if (j->duplicate)
		bpf_clone_redirect(skb, to, 0);
	return ruled && !up && !j->hold ? send_ruled(skb, to, reason) : bpf_redirect(to, 0);
}

/*
 * The judgement at hand. Not on the stack: of that Linux 6.1 allows 512 bytes to all functions of a chain
 * of calls together, and the one from a frame to all down to a rule is five long.
 */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct judgement);
} tor_judgement SEC(".maps");

static __always_inline struct judgement *judgement(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&tor_judgement, &zero);
}

struct group {
	struct __sk_buff *skb;
};

/* A copy for one of all nodes; the frame is afterwards what it was. */
static long send_copy(__u32 to, void *context)
{
	struct group *group = context;
	struct __sk_buff *skb = group->skb;
	struct judgement *j = judgement();
	__u32 ifindex;

	if (!j || to == j->from)
		return 0;
	ifindex = way(j->from, to);
	j->to = to;
	judge_link(j);
	if (j->drop)
		return 0;
	flip(skb, j);
	if (j->hold) {
		if (!hold(skb, j, true))
			return 0;
		ifindex = TOR_WIRE_IFINDEX;
	}
	skb->mark = MARK_TO | to;
	bpf_clone_redirect(skb, ifindex, 0);
	if (j->duplicate)
		bpf_clone_redirect(skb, ifindex, 0);
	if (j->hold)
		bpf_skb_change_tail(skb, j->len, 0);
	flip(skb, j);
	return 0;
}

static __always_inline void judgement_begin(struct judgement *j, const struct frame *frame,
					    __u32 from, __u32 to, __u32 len)
{
	j->from = from;
	j->to = to;
	j->kind = frame->kind;
	j->len = len;
	j->covered_at = frame->covered_at;
	j->covered_len = frame->covered_len;
	j->gap_at = frame->gap_at;
	j->now = bpf_ktime_get_ns();
}

#define RULED (1u << 31)

/* Global, see judge_link(). */
__noinline int read_frame(struct __sk_buff *skb, struct frame *frame)
{
	pull(skb, KIND_BYTES);
	if (frame)
		frame_read(frame, (void *)(long)skb->data, (void *)(long)skb->data_end,
			   skb->vlan_present);
	return 0;
}

/*
 * A frame from a port that rules concern, which judge() lets go to node `to` (RULED: the
 * steering table named it), or to all. One to all is not left to the bridge, which knows no
 * links: each node gets a copy of its own.
 */
__noinline int judge_faults(struct __sk_buff *skb, __u32 from, __u32 to, __u32 reason)
{
	struct group group = {.skb = skb};
	struct judgement *j = judgement();
	struct frame frame = {};
	int action = TC_ACT_SHOT;

	if (skb->mark == MARK_JUDGED)
		return TC_ACT_OK;
	if (!j)
		return TC_ACT_SHOT;
	read_frame(skb, &frame);
	*j = (struct judgement){};
	judgement_begin(j, &frame, from, to & ~RULED, skb->len);
	if (reason == TOR_R_FLOOD) {
		bpf_loop(nodes, send_copy, &group, 0);
	} else {
		judge_link(j);
		if (j->drop)
			reason = TOR_R_FAULT;
		else
			action = send_one(skb, j, to & RULED, &reason);
	}
	tor_count(from, reason);
	return action;
}

__noinline int count_link(struct __sk_buff *skb, __u32 from, __u32 to)
{
	struct tor_looking *l = looking();
	struct tor_link link = {.from = from, .to = to};
	struct frame frame = {};

	if (!l || look_over(l) || skb->mark == MARK_JUDGED)
		return 0;
	read_frame(skb, &frame);
	link.kind = frame.kind;
	link_count(l, &link, skb->len);
	return 0;
}

/* What it lets go is to be sent somewhere; the others are drops. */
static __always_inline bool lets_go(enum tor_reason reason)
{
	switch (reason) {
	case TOR_R_REDIRECT:
	case TOR_R_BRIDGE:
	case TOR_R_FLOOD:
	case TOR_R_MISS:
	case TOR_R_NO_FLOW:
	case TOR_R_MOVED:
	case TOR_R_NO_SOCKET:
	case TOR_R_NO_XDP:
	case TOR_R_UPLINK:
		return true;
	default:
		return false;
	}
}

/* It was for the port's XDP program, which left it to this one. */
static __always_inline enum tor_reason left_over(enum tor_reason reason, const struct verdict *v)
{
	if (reason != TOR_R_XDP && reason != TOR_R_AFXDP)
		return reason;
	if (v->faults && v->detour)
		return TOR_R_REDIRECT;
	return reason == TOR_R_AFXDP ? TOR_R_NO_SOCKET : TOR_R_NO_XDP;
}

SEC("tc")
int tor_ingress(struct __sk_buff *skb)
{
	__u32 from = skb->ingress_ifindex - TOR_IFINDEX;
	int action = TC_ACT_SHOT;
	enum tor_reason reason;
	struct verdict v = {};

	pull(skb, VERDICT_BYTES);
	reason = judge(from, (void *)(long)skb->data, (void *)(long)skb->data_end,
		       skb->vlan_present, &v);
	reason = left_over(reason, &v);
	if (lets_go(reason) && looked_at())
		count_link(skb, from, reason == TOR_R_FLOOD ? TOR_ANY : v.to);
	if (v.faults && lets_go(reason))
		return judge_faults(skb, from, v.ruled ? v.to | RULED : v.to, reason);
	if (reason == TOR_R_REDIRECT) {
		action = v.ruled ? send_ruled(skb, TOR_IFINDEX + v.to, &reason)
				 : bpf_redirect(TOR_IFINDEX + v.to, 0);
	} else if (reason == TOR_R_UPLINK) {
		if (v.ruled)
			skb->mark = MARK_TO | v.to;
		action = bpf_redirect(TOR_UPLINK_IFINDEX + v.tor, 0);
	} else if (lets_go(reason)) {
		action = TC_ACT_OK;
	}
	tor_count(from, reason);
	return action;
}

/* Like flip(), in a frame that has no sum. */
static __always_inline void flip_xdp(struct xdp_md *ctx, const struct judgement *j)
{
	__u8 byte;

	if (!j->corrupt_bits || bpf_xdp_load_bytes(ctx, j->corrupt_at, &byte, 1))
		return;
	byte ^= j->corrupt_bits;
	bpf_xdp_store_bytes(ctx, j->corrupt_at, &byte, 1);
}

__noinline int read_frame_xdp(struct xdp_md *ctx, struct frame *frame)
{
	if (frame)
		frame_read(frame, (void *)(long)ctx->data, (void *)(long)ctx->data_end, false);
	return ctx->data_end - ctx->data;
}

__noinline int count_link_xdp(struct xdp_md *ctx, __u32 from, __u32 to)
{
	struct tor_link link = {.from = from, .to = to};
	struct tor_looking *l = looking();
	struct frame frame = {};
	__u32 len;

	if (!l || look_over(l))
		return 0;
	len = read_frame_xdp(ctx, &frame);
	link.kind = frame.kind;
	link_count(l, &link, len);
	return 0;
}

/* Does a rule drop it? Those that double it or make it wait are the TC program's (TOR_DETOUR). */
__noinline int judge_faults_xdp(struct xdp_md *ctx, __u32 from, __u32 to)
{
	struct judgement j = {};
	struct frame frame = {};
	__u32 len = read_frame_xdp(ctx, &frame);

	judgement_begin(&j, &frame, from, to, len);
	judge_link(&j);
	if (j.drop)
		return XDP_DROP;
	flip_xdp(ctx, &j);
	return XDP_PASS;
}

static __always_inline bool put_meta(struct xdp_md *ctx, __u32 to)
{
	struct steer_meta *meta;

	/* A node's own XDP program may have left some there. */
	if (bpf_xdp_adjust_meta(ctx, (int)(ctx->data - ctx->data_meta) - (int)sizeof(*meta)))
		return false;
	meta = (void *)(long)ctx->data_meta;
	if ((void *)(meta + 1) > (void *)(long)ctx->data)
		return false;
	meta->to = to;
	return true;
}

SEC("xdp")
int tor_steer(struct xdp_md *ctx)
{
	__u32 from = ctx->ingress_ifindex - TOR_IFINDEX, zero = 0, socket;
	struct verdict v = {};
	struct steer_key *last;
	enum tor_reason reason;

	reason = judge(from, (void *)(long)ctx->data, (void *)(long)ctx->data_end, false, &v);
	if ((reason != TOR_R_XDP && reason != TOR_R_AFXDP) || (v.faults && v.detour))
		return XDP_PASS;
	socket = from * queues + ctx->rx_queue_index;
	if (reason == TOR_R_XDP
		    ? !bpf_map_lookup_elem(&tor_devices, &v.to)
		    : !bpf_map_lookup_elem(&tor_sockets, &socket) || !put_meta(ctx, v.to))
		return XDP_PASS;
	if (looked_at())
		count_link_xdp(ctx, from, v.to);
	if (v.faults && judge_faults_xdp(ctx, from, v.to) == XDP_DROP) {
		tor_count(from, TOR_R_FAULT);
		return XDP_DROP;
	}
	last = bpf_map_lookup_elem(&tor_last, &zero);
	if (last)
		*last = v.key;
	tor_count(from, reason);
	if (reason == TOR_R_AFXDP)
		return bpf_redirect_map(&tor_sockets, socket, XDP_DROP);
	return bpf_redirect_map(&tor_devices, v.to, XDP_DROP);
}

SEC("xdp")
int tor_pass(struct xdp_md *ctx)
{
	(void)ctx;
	return XDP_PASS;
}

SEC("xdp")
int tor_wire(struct xdp_md *ctx)
{
	struct tor_fault_state *state = fault_state();
	__u32 zero = 0;

	(void)ctx;
	if (bpf_map_lookup_elem(&tor_xsk, &zero))
		return bpf_redirect_map(&tor_xsk, 0, XDP_DROP);
	if (state)
		__sync_fetch_and_add(&state->unheld, 1);
	return XDP_DROP;
}

static __always_inline void count_released(__u64 now, __u64 due)
{
	struct tor_fault_state *state = fault_state();
	__u64 late = now > due ? now - due : 0, *count;
	__u32 step = late / TOR_LATE_NS;

	if (state) {
		__sync_fetch_and_add(&state->released, 1);
		if (now < due)
			__sync_fetch_and_add(&state->early, 1);
	}
	if (late >= (__u64)TOR_LATE_NS * TOR_LATE_STEPS)
		step = TOR_LATE_STEPS - 1;
	count = bpf_map_lookup_elem(&tor_late, &step);
	if (count)
		__sync_fetch_and_add(count, 1);
}

SEC("tc")
int tor_release(struct __sk_buff *skb)
{
	struct judgement j = {};
	struct tor_port *port;
	struct tor_held held;
	__u32 to, device;

	if (skb->len < ETH_HLEN + sizeof(held))
		return TC_ACT_SHOT;
	j.len = skb->len - sizeof(held);
	if (bpf_skb_load_bytes(skb, j.len, &held, sizeof(held)) || held.magic != TOR_HELD_MAGIC ||
	    bpf_skb_change_tail(skb, j.len, 0))
		return TC_ACT_SHOT;
	j.from = held.from;
	j.to = held.to;
	j.kind = held.kind;
	j.now = bpf_ktime_get_ns();
	count_released(j.now, held.due_ns);
	if (is_cut(&j))
		return TC_ACT_SHOT;
	to = held.to;
	port = bpf_map_lookup_elem(&tor_ports, &to);
	device = way(held.from, to);
	if (device != TOR_IFINDEX + to) {
		skb->mark = held.group ? MARK_TO | to : 0;
	} else if (port && port->flags & TOR_STACK && !held.group) {
		skb->mark = MARK_JUDGED;
		return bpf_redirect(TOR_IFINDEX + held.from, BPF_F_INGRESS);
	}
	return bpf_redirect(device, 0);
}

/*
 * Between ToRs nothing is judged any more. To whom the frame goes, by the mark or by its MAC:
 * down to the port, on to the ToR or host that has it, or (one to all, or to nobody) as the
 * bridge does. Of a copy for one node on another host all hosts get one: the others drop it.
 */
SEC("tc")
int tor_uplink(struct __sk_buff *skb)
{
	__u32 here = skb->ingress_ifindex, marked = skb->mark & MARK_TO, to, tor;
	struct tor_port *port;
	struct ethhdr *eth;

	pull(skb, ETH_HLEN);
	eth = (void *)(long)skb->data;
	if ((void *)(eth + 1) > (void *)(long)skb->data_end)
		return TC_ACT_SHOT;
	to = marked ? skb->mark & MARK_TO_MASK : eth->h_dest[4] << 8 | eth->h_dest[5];
	port = bpf_map_lookup_elem(&tor_ports, &to);
	if (!marked && (!port || !same(eth->h_dest, port->mac, 6)))
		return TC_ACT_OK;
	if (!port)
		return TC_ACT_SHOT;
	tor = here - TOR_UPLINK_IFINDEX;
	if (tor >= TOR_TORS_MAX)
		return port->spine == here ? TC_ACT_SHOT : bpf_redirect(port->spine, 0);
	if (port->tor != tor)
		return TC_ACT_SHOT;
	if (port->flags & TOR_STACK && !marked)
		return TC_ACT_OK;
	return bpf_redirect(TOR_IFINDEX + to, 0);
}
