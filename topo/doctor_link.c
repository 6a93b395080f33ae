// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * What a pair of devices can do, found out by doing it.
 *
 *   network namespace of this process alone
 *     packet socket on [near]=========[far]   program under test
 *
 * A probe sends frames of an EtherType that no stack answers from `near`, and looks for what
 * must come of them: counts of the program at `far`, frames that come back.
 */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_link.h>
#include <linux/if_packet.h>
#include <poll.h>
#include <sched.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "bpf/load.h"
#include "bpf/probe.h"
#include "bpf/watch.h"
#include "netns/ns.h"
#include "netns/rtnl.h"
#include "topo/doctor.h"
#include "topo/watch.h"
#include "topo/xsk.h"

#include "probe.skel.h"
#include "watch.skel.h"

#define FRAMES 16
#define WAIT_MS 2000  /* for what must come */
#define GIVE_UP_MS 50 /* for what mostly does not */
#define LOOK_MS 1
#define CARRIER_MS 3000
#define CARRIER_LOOK_MS 10
#define NEAR 2 /* device indexes */
#define FAR 3
#define BRIDGE 4
#define MTU 1500
#define XSK_FRAMES 64
#define XSK_SIZE 2048

/* enum bpf_attach_type since Linux 6.6; Debian 12's headers are older */
#define TCX_EGRESS 47

static const uint8_t near_mac[6] = {0x02, 0, 0, 0, 0, 1}, far_mac[6] = {0x02, 0, 0, 0, 0, 2};

struct probe {
	struct doctor *d;
	struct rtnl *r;
	int socket;	       /* bound to near */
	struct probe_bpf *bpf; /* the program under test */
	int program;
};

/* ---- frames ---- */

static int send_frames(const struct probe *p)
{
	struct {
		struct ethhdr eth;
		uint8_t rest[46];
	} frame = {.eth.h_proto = htons(PROBE_ETHERTYPE)};

	memcpy(frame.eth.h_dest, far_mac, 6);
	memcpy(frame.eth.h_source, near_mac, 6);
	for (int i = 0; i < FRAMES; i++) {
		if (send(p->socket, &frame, sizeof(frame), 0) < 0)
			return -errno;
	}
	return 0;
}

/* Asks until it is `want`, or patience ends; the last answer. */
static int wait_for(const struct probe *p, int (*ask)(const struct probe *p), int want,
		    int patience_ms)
{
	int got;

	while ((got = ask(p)) < want && patience_ms > 0) {
		poll(NULL, 0, LOOK_MS);
		patience_ms -= LOOK_MS;
	}
	return got;
}

static int seen(const struct probe *p)
{
	uint64_t value = 0;
	uint32_t zero = 0;

	bpf_map_lookup_elem(bpf_map__fd(p->bpf->maps.probe_seen), &zero, &value);
	return value;
}

/* Frames that have come to `near` since the last call. */
static int returned(const struct probe *p, int patience_ms)
{
	struct pollfd wait = {.fd = p->socket, .events = POLLIN};
	struct sockaddr_ll from;
	int count = 0;
	char frame[64];

	while (count < FRAMES && poll(&wait, 1, patience_ms) > 0) {
		socklen_t len = sizeof(from);

		if (recvfrom(p->socket, frame, sizeof(frame), MSG_DONTWAIT, (void *)&from, &len) <
		    0)
			break;
		count += from.sll_pkttype != PACKET_OUTGOING;
	}
	return count;
}

/* ---- programs ---- */

/* One of bpf/probe.bpf.c, alone. 0 or -errno. */
static int load(struct probe *p, const char *name)
{
	struct bpf_program *program;
	int ret;

	p->bpf = probe_bpf__open();
	if (!p->bpf)
		return -errno;
	bpf_map__set_autocreate(p->bpf->maps.probe_xsk, !strcmp(name, "probe_socket"));
	bpf_object__for_each_program(program, p->bpf->obj)
		bpf_program__set_autoload(program, !strcmp(bpf_program__name(program), name));
	ret = bpf_object__load(p->bpf->obj);
	if (!ret)
		p->program = bpf_program__fd(bpf_object__find_program_by_name(p->bpf->obj, name));
	return ret;
}

static void unload(struct probe *p)
{
	probe_bpf__destroy(p->bpf);
	p->bpf = NULL;
	returned(p, 0);
}

/* As a replica does it. A descriptor or -errno. */
static int attach_xdp(int program, int ifindex, bool native)
{
	LIBBPF_OPTS(bpf_link_create_opts, opts,
		    .flags = native ? XDP_FLAGS_DRV_MODE : XDP_FLAGS_SKB_MODE);

	return bpf_link_create(program, ifindex, BPF_XDP, &opts);
}

static void close_fd(int fd)
{
	if (fd >= 0)
		close(fd);
}

/* ---- probes ---- */

static void look_at_xdp(struct probe *p, bool native)
{
	const char *key = native ? "xdp_native" : "xdp_generic";
	const char *what = native ? "native XDP on veth" : "generic XDP on veth";
	int ret = load(p, "probe_pass"), link = -1, got = 0;

	if (!ret)
		link = attach_xdp(p->program, FAR, native);
	if (link >= 0) {
		send_frames(p);
		got = wait_for(p, seen, FRAMES, WAIT_MS);
	}
	if (got == FRAMES) {
		doctor_add(p->d, DOCTOR_OK, key, what, "a program saw %d of %d frames", got,
			   FRAMES);
	} else {
		if (ret || link < 0)
			doctor_add(p->d, DOCTOR_WARN, key, what, "refused: %s",
				   strerror(ret ? -ret : -link));
		else
			doctor_add(p->d, DOCTOR_WARN, key, what, "a program saw %d of %d frames",
				   got, FRAMES);
		doctor_so(p->d, "no `ack` and `quorum` in the kernel in this mode");
		doctor_remedy(p->d, native ? "`xdp: generic` in the rack file"
					   : "`xdp: native` in the rack file");
	}
	close_fd(link);
	unload(p);
}

/* `helped`: with a program at the other end, as `rack up` has it. */
static void look_at_bounce(struct probe *p, bool helped)
{
	const char *key = helped ? "xdp_tx" : "xdp_tx_alone";
	const char *what = helped ? "native XDP_TX" : "XDP_TX, peer without program";
	struct probe other = *p;
	int ret = load(p, "probe_bounce"), pass = 0, link = -1, peer = -1, got = 0;

	if (!ret)
		ret = link = attach_xdp(p->program, FAR, true);
	if (ret >= 0 && helped) {
		pass = load(&other, "probe_pass");
		ret = peer = pass ?: attach_xdp(other.program, NEAR, true);
	}
	if (ret >= 0) {
		ret = send_frames(p);
		wait_for(p, seen, FRAMES, WAIT_MS);
		got = returned(p, helped ? WAIT_MS : GIVE_UP_MS);
	}
	if (ret < 0) {
		doctor_add(p->d, DOCTOR_WARN, key, what, "refused: %s", strerror(-ret));
		doctor_so(p->d, "no `ack` in the kernel in native mode");
	} else if (helped) {
		doctor_add(p->d, got == FRAMES ? DOCTOR_OK : DOCTOR_WARN, key, what,
			   "%d of %d frames came back", got, FRAMES);
		if (got != FRAMES) {
			doctor_so(p->d, "acks made in the kernel get lost");
			doctor_remedy(p->d, "`xdp: generic` in the rack file");
		}
	} else {
		doctor_add(p->d, DOCTOR_INFO, key, what, "%d of %d frames came back", got, FRAMES);
		doctor_so(p->d, got == FRAMES
					? "this kernel needs no help; a rack attaches one anyway"
					: "so the switch's ports towards replicas run a program "
					  "that passes everything");
	}
	close_fd(peer);
	close_fd(link);
	if (other.bpf)
		probe_bpf__destroy(other.bpf);
	unload(p);
}

static int try_tc(struct probe *p, bool egress, int *got)
{
	/* near sends, far receives */
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = egress ? NEAR : FAR,
		    .attach_point = egress ? BPF_TC_EGRESS : BPF_TC_INGRESS);
	LIBBPF_OPTS(bpf_tc_opts, opts);
	int ret = load(p, "probe_tc");

	opts.prog_fd = p->program;
	if (!ret)
		ret = bpf_tc_hook_create(&hook);
	if (!ret)
		ret = bpf_tc_attach(&hook, &opts);
	if (!ret)
		ret = send_frames(p);
	if (!ret)
		*got = wait_for(p, seen, FRAMES, WAIT_MS);
	hook.attach_point = BPF_TC_INGRESS | BPF_TC_EGRESS; /* the qdisc itself */
	bpf_tc_hook_destroy(&hook);
	unload(p);
	return ret;
}

static void look_at_tc(struct probe *p, bool egress)
{
	const char *key = egress ? "tc_egress" : "tc_ingress";
	const char *what = egress ? "TC egress (clsact)" : "TC ingress (clsact)";
	int got = 0, ret = try_tc(p, egress, &got);

	if (!ret && got == FRAMES) {
		doctor_add(p->d, DOCTOR_OK, key, what, "a program saw %d of %d frames", got,
			   FRAMES);
		return;
	}
	/* The switch forwards at ingress; broadcast is one offload of three. */
	if (ret)
		doctor_add(p->d, egress ? DOCTOR_WARN : DOCTOR_MISSING, key, what, "refused: %s",
			   strerror(-ret));
	else
		doctor_add(p->d, egress ? DOCTOR_WARN : DOCTOR_MISSING, key, what,
			   "a program saw %d of %d frames", got, FRAMES);
	doctor_so(p->d, egress ? "no `broadcast` in the kernel"
			       : "the switch cannot forward: there is no rack");
	doctor_remedy(p->d,
		      "modprobe -a sch_ingress cls_bpf; or a kernel with CONFIG_NET_SCH_INGRESS "
		      "and CONFIG_NET_CLS_BPF");
}

static void look_at_tcx(struct probe *p)
{
	int ret = load(p, "probe_tc"), link = -1;

	if (!ret)
		ret = link = bpf_link_create(p->program, NEAR, TCX_EGRESS, NULL);
	if (ret >= 0)
		doctor_add(p->d, DOCTOR_OK, "tcx", "TC by links (tcx)", "there; clsact is used");
	else
		doctor_add(p->d, DOCTOR_INFO, "tcx", "TC by links (tcx)",
			   "refused: %s; clsact is used", strerror(-ret));
	close_fd(link);
	unload(p);
}

static int frames_in_socket(struct xsk *x)
{
	struct xsk_frame frames[FRAMES];
	struct pollfd wait = {.fd = xsk_fd(x), .events = POLLIN};
	int got = 0;

	while (got < FRAMES && poll(&wait, 1, WAIT_MS) > 0)
		got += xsk_receive(x, frames, FRAMES - got);
	return got;
}

/* 0 or -errno; *got frames came to the socket. */
static int try_af_xdp(struct probe *p, int *got, bool *zero_copy)
{
	struct xsk_umem *memory = NULL;
	struct xsk *x = NULL;
	uint32_t zero = 0;
	int ret = load(p, "probe_socket"), link = -1, fd;

	if (!ret)
		ret = link = attach_xdp(p->program, FAR, true);
	if (ret >= 0)
		ret = xsk_umem_open(&memory, XSK_FRAMES, XSK_SIZE)
			      ?: xsk_open(&x, memory, FAR, 0, XSK_FRAMES);
	if (!ret) {
		*zero_copy = xsk_zero_copy(x);
		xsk_fill(x, XSK_FRAMES);
		fd = xsk_fd(x);
		ret = bpf_map_update_elem(bpf_map__fd(p->bpf->maps.probe_xsk), &zero, &fd, BPF_ANY)
			      ?: send_frames(p);
	}
	if (!ret)
		*got = frames_in_socket(x);
	close_fd(link);
	xsk_close(x);
	xsk_umem_close(memory);
	unload(p);
	return ret;
}

static void look_at_af_xdp(struct probe *p)
{
	bool zero_copy = false;
	int got = 0, ret = try_af_xdp(p, &got, &zero_copy);

	if (ret)
		doctor_add(p->d, DOCTOR_WARN, "af_xdp", "AF_XDP on veth", "refused: %s",
			   strerror(-ret));
	else
		doctor_add(p->d, got == FRAMES ? DOCTOR_OK : DOCTOR_WARN, "af_xdp",
			   "AF_XDP on veth", "%d of %d frames came to a socket", got, FRAMES);
	if (ret || got < FRAMES) {
		doctor_so(p->d,
			  "no fault rules that delay, reorder or limit a rate, no path `afxdp`");
		doctor_remedy(p->d, "a kernel with CONFIG_XDP_SOCKETS");
		return;
	}
	doctor_add(p->d, DOCTOR_INFO, "af_xdp_zero_copy", "AF_XDP without copying", "%s",
		   zero_copy ? "veth has it" : "veth has none");
	if (!zero_copy)
		doctor_so(p->d, "each frame that takes this path is copied twice");
}

/* How often did the program under test do this, as the tracepoint has it? */
static int told(const struct watch_bpf *watch, struct watch_key key)
{
	uint64_t count = 0;
	int left_ms = WAIT_MS;

	while (bpf_map_lookup_elem(bpf_map__fd(watch->maps.watch_counts), &key, &count) < 0 &&
	       left_ms-- > 0)
		poll(NULL, 0, LOOK_MS);
	return count;
}

/* 0 or -errno; *count of the tracepoint for FRAMES frames. */
static int try_tracepoint(struct probe *p, bool redirect, int *count)
{
	struct watch_bpf *watch = watch_bpf__open();
	struct watch_key key = {.action = redirect ? XDP_REDIRECT : XDP_ABORTED, .ifindex = FAR};
	struct bpf_prog_info info = {0};
	uint32_t len = sizeof(info);
	int ret = watch ? bpf_object__load(watch->obj) : -ENOMEM, link = -1, xdp = -1;

	if (!ret)
		ret = link = watch_attach(redirect ? watch->progs.watch_redirect
						   : watch->progs.watch_exception);
	if (ret >= 0)
		ret = load(p, redirect ? "probe_nowhere" : "probe_abort");
	if (!ret)
		ret = xdp = attach_xdp(p->program, FAR, false);
	if (ret >= 0)
		ret = bpf_obj_get_info_by_fd(p->program, &info, &len);
	if (!ret)
		ret = send_frames(p);
	if (!ret) {
		wait_for(p, seen, FRAMES, WAIT_MS);
		key.program = info.id;
		key.error = redirect ? -EINVAL : 0;
		key.to_ifindex = redirect ? PROBE_NOWHERE : 0;
		*count = told(watch, key);
	}
	close_fd(xdp);
	close_fd(link);
	watch_bpf__destroy(watch);
	unload(p);
	return ret;
}

static void look_at_tracepoint(struct probe *p, bool redirect)
{
	const char *key = redirect ? "tracepoint_xdp_redirect_err" : "tracepoint_xdp_exception";
	const char *what = redirect ? "tracepoint xdp_redirect_err" : "tracepoint xdp_exception";
	int count = 0, ret = try_tracepoint(p, redirect, &count);

	if (!ret && count == FRAMES) {
		doctor_add(p->d, DOCTOR_OK, key, what, "told of %d of %d planted ones", count,
			   FRAMES);
		return;
	}
	if (ret)
		doctor_add(p->d, DOCTOR_WARN, key, what, "refused: %s", strerror(-ret));
	else
		doctor_add(p->d, DOCTOR_WARN, key, what, "told of %d of %d planted ones", count,
			   FRAMES);
	doctor_so(p->d, redirect ? "redirects that fail are not counted"
				 : "XDP_ABORTED, and XDP_TX that fails, are not counted");
	doctor_remedy(p->d, "a kernel with CONFIG_BPF_EVENTS, not locked down to confidentiality");
}

static void look_at_bridge(struct probe *p)
{
	static const uint8_t mac[6] = {0x02, 0, 0, 0, 0, 3};

	rtnl_bridge_add(p->r, "bridge", BRIDGE, mac);
	if (!rtnl_commit(p->r)) {
		doctor_add(p->d, DOCTOR_OK, "bridge", "bridge", "can be made");
		return;
	}
	doctor_add(p->d, DOCTOR_MISSING, "bridge", "bridge", "%s", rtnl_error(p->r));
	doctor_so(p->d, "there is no switch, so no rack");
	doctor_remedy(p->d, "modprobe bridge; or a kernel with CONFIG_BRIDGE");
}

static void look_at_switches(struct probe *p)
{
	struct features *features = NULL;
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int ret = fd < 0 ? -errno : features_open(&features, fd, "near");

	if (!ret)
		ret = features_off(features, fd, "near") ?: features_off(features, fd, "far");
	if (ret) {
		doctor_add(p->d, DOCTOR_MISSING, "offload_switches", "offloads of veth",
			   "cannot be switched off: %s", strerror(-ret));
		doctor_so(p->d, "programs would see partial checksums and merged frames: no rack");
	} else {
		doctor_add(p->d, DOCTOR_OK, "offload_switches", "offloads of veth",
			   "can be switched off");
	}
	features_close(features);
	close_fd(fd);
}

/* ---- the namespace ---- */

/* A device that was just set up drops what is sent until the kernel's link watch has seen it. */
static bool carries(const struct probe *p)
{
	struct sockaddr_ll address = {.sll_family = AF_PACKET,
				      .sll_protocol = htons(PROBE_ETHERTYPE),
				      .sll_ifindex = FAR};
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	struct pollfd wait = {.fd = fd, .events = POLLIN};
	bool came = false;

	if (fd >= 0 && !bind(fd, (void *)&address, sizeof(address))) {
		for (int left_ms = CARRIER_MS; !came && left_ms > 0; left_ms -= CARRIER_LOOK_MS) {
			send_frames(p);
			came = poll(&wait, 1, CARRIER_LOOK_MS) > 0;
		}
	}
	close_fd(fd);
	return came;
}

static int make_pair(struct probe *p)
{
	struct rtnl_veth_end near = {.name = "near", .ifindex = NEAR};
	struct rtnl_veth_end far = {.name = "far", .ifindex = FAR};
	struct sockaddr_ll address = {.sll_family = AF_PACKET,
				      .sll_protocol = htons(PROBE_ETHERTYPE),
				      .sll_ifindex = NEAR};

	memcpy(near.mac, near_mac, 6);
	memcpy(far.mac, far_mac, 6);
	rtnl_veth_add(p->r, &near, &far, MTU);
	rtnl_link_up(p->r, FAR);
	if (rtnl_commit(p->r)) {
		doctor_add(p->d, DOCTOR_MISSING, "veth", "veth", "%s", rtnl_error(p->r));
		doctor_so(p->d, "there is no link, so no rack");
		doctor_remedy(p->d, "modprobe veth; or a kernel with CONFIG_VETH");
		return -1;
	}
	doctor_add(p->d, DOCTOR_OK, "veth", "veth", "a pair can be made");
	p->socket = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	if (p->socket < 0 || bind(p->socket, (void *)&address, sizeof(address))) {
		doctor_add(p->d, DOCTOR_MISSING, "packet_socket", "packet sockets", "refused: %s",
			   strerror(errno));
		doctor_so(p->d, "nothing more can be tried, and tests cannot run");
		doctor_remedy(p->d, "a kernel with CONFIG_PACKET");
		return -1;
	}
	if (!carries(p)) {
		doctor_add(p->d, DOCTOR_MISSING, "frames", "frames", "do not cross a veth pair");
		doctor_so(p->d, "there is no link, so no rack");
		return -1;
	}
	return 0;
}

void doctor_link(struct doctor *d)
{
	struct probe p = {.d = d, .socket = -1};
	int ret;

	doctor_group(d, "links");
	ret = unshare(CLONE_NEWNET) ? -errno : rtnl_open(&p.r);
	if (ret) {
		doctor_add(d, DOCTOR_MISSING, "namespaces", "network namespaces", "refused: %s",
			   strerror(-ret));
		doctor_so(d, "there are no nodes, so no rack");
		doctor_remedy(d, "run it on the host, or in a privileged container");
		return;
	}
	doctor_add(d, DOCTOR_OK, "namespaces", "network namespaces", "can be made");
	look_at_bridge(&p);
	if (!make_pair(&p)) {
		look_at_switches(&p);
		look_at_tc(&p, false);
		look_at_tc(&p, true);
		look_at_tcx(&p);
		look_at_xdp(&p, true);
		look_at_xdp(&p, false);
		look_at_bounce(&p, true);
		look_at_bounce(&p, false);
		look_at_af_xdp(&p);
		look_at_tracepoint(&p, false);
		look_at_tracepoint(&p, true);
	}
	close_fd(p.socket);
	rtnl_close(p.r);
}
