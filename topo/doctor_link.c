// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* What a pair of devices can do, found out by doing it (topo/doctor_probe.h). */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <poll.h>
#include <sched.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bpf/probe.h"
#include "netns/ns.h"
#include "netns/rtnl.h"
#include "topo/doctor_probe.h"

#define GIVE_UP_MS 50 /* for what mostly does not come */
#define CARRIER_MS 3000
#define CARRIER_LOOK_MS 10
#define BRIDGE 4 /* device index */
#define MTU 1500

static void look_at_xdp(struct probe *p, bool native)
{
	int ret = probe_load(p, "probe_pass"), link = -1, got = 0;

	if (!ret)
		ret = link = probe_attach(p->program, PROBE_FAR, native);
	if (ret >= 0)
		ret = probe_send(p);
	if (!ret)
		got = probe_wait(p);
	if (!probe_add(p, DOCTOR_WARN, native ? "xdp_native" : "xdp_generic",
		       native ? "native XDP on veth" : "generic XDP on veth", ret, got,
		       "went through a program")) {
		doctor_so(p->d, "no `ack` and `quorum` in the kernel in this mode");
		doctor_remedy(p->d, native ? "`xdp: generic` in the rack file"
					   : "`xdp: native` in the rack file");
	}
	probe_close(link);
	probe_unload(p);
}

/* `helped`: with a program at the other end, as `rack up` has it. 0 or -errno. */
static int try_bounce(struct probe *p, bool helped, int *got)
{
	struct probe other = *p;
	int ret = probe_load(p, "probe_bounce"), link = -1, peer = -1;

	if (!ret)
		ret = link = probe_attach(p->program, PROBE_FAR, true);
	if (ret >= 0 && helped)
		ret = probe_load(&other, "probe_pass");
	if (ret >= 0 && helped)
		ret = peer = probe_attach(other.program, PROBE_NEAR, true);
	if (ret >= 0)
		ret = probe_send(p);
	if (!ret) {
		probe_wait(p);
		*got = probe_returned(p, helped ? PROBE_WAIT_MS : GIVE_UP_MS);
	}
	probe_close(peer);
	probe_close(link);
	if (helped)
		probe_unload(&other);
	probe_unload(p);
	return ret;
}

static void look_at_bounce(struct probe *p)
{
	int got = 0, ret = try_bounce(p, true, &got);

	if (!probe_add(p, DOCTOR_WARN, "xdp_tx", "native XDP_TX", ret, got, "came back")) {
		doctor_so(p->d, "acks made in the kernel in native mode get lost");
		doctor_remedy(p->d, "`xdp: generic` in the rack file");
	}
	got = 0;
	ret = try_bounce(p, false, &got);
	if (probe_add(p, DOCTOR_INFO, "xdp_tx_alone", "XDP_TX, peer without program", ret, got,
		      "came back"))
		doctor_so(p->d, "this kernel needs no help; a rack attaches one anyway");
	else
		doctor_so(p->d, "so the switch's ports towards replicas run a program that passes "
				"everything");
}

static int try_tc(struct probe *p, bool egress, int *got)
{
	/* near sends, far receives */
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = egress ? PROBE_NEAR : PROBE_FAR,
		    .attach_point = egress ? BPF_TC_EGRESS : BPF_TC_INGRESS);
	LIBBPF_OPTS(bpf_tc_opts, opts);
	int ret = probe_load(p, "probe_tc");

	opts.prog_fd = p->program;
	if (!ret)
		ret = bpf_tc_hook_create(&hook);
	if (!ret)
		ret = bpf_tc_attach(&hook, &opts);
	if (!ret)
		ret = probe_send(p);
	if (!ret)
		*got = probe_wait(p);
	hook.attach_point = BPF_TC_INGRESS | BPF_TC_EGRESS; /* the qdisc itself */
	bpf_tc_hook_destroy(&hook);
	probe_unload(p);
	return ret;
}

static void look_at_tc(struct probe *p, bool egress)
{
	int got = 0, ret = try_tc(p, egress, &got);

	/* The switch forwards at ingress; broadcast is one offload of three. */
	if (probe_add(p, egress ? DOCTOR_WARN : DOCTOR_MISSING, egress ? "tc_egress" : "tc_ingress",
		      egress ? "TC egress (clsact)" : "TC ingress (clsact)", ret, got,
		      "went through a program"))
		return;
	doctor_so(p->d, egress ? "no `broadcast` in the kernel"
			       : "the switch cannot forward: there is no rack");
	doctor_remedy(p->d,
		      "modprobe -a sch_ingress cls_bpf; or a kernel with CONFIG_NET_SCH_INGRESS "
		      "and CONFIG_NET_CLS_BPF");
}

static void look_at_tcx(struct probe *p)
{
	int ret = probe_load(p, "probe_tc"), link = -1;

	if (!ret)
		ret = link = bpf_link_create(p->program, PROBE_NEAR, DOCTOR_TCX_EGRESS, NULL);
	if (ret >= 0)
		doctor_add(p->d, DOCTOR_OK, "tcx", "TC by links (tcx)", "there; clsact is used");
	else
		doctor_add(p->d, DOCTOR_INFO, "tcx", "TC by links (tcx)",
			   "refused: %s; clsact is used", strerror(-ret));
	probe_close(link);
	probe_unload(p);
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
	probe_close(fd);
}

/* ---- the namespace ---- */

/* A device that was just set up drops what is sent until the kernel's link watch has seen it. */
static bool carries(const struct probe *p)
{
	struct sockaddr_ll address = {.sll_family = AF_PACKET,
				      .sll_protocol = htons(PROBE_ETHERTYPE),
				      .sll_ifindex = PROBE_FAR};
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	struct pollfd wait = {.fd = fd, .events = POLLIN};
	bool came = false;

	if (fd >= 0 && !bind(fd, (void *)&address, sizeof(address))) {
		for (int left_ms = CARRIER_MS; !came && left_ms > 0; left_ms -= CARRIER_LOOK_MS) {
			probe_send(p);
			came = poll(&wait, 1, CARRIER_LOOK_MS) > 0;
		}
	}
	probe_close(fd);
	return came;
}

static int make_pair(struct probe *p)
{
	struct rtnl_veth_end near = {.name = "near", .ifindex = PROBE_NEAR};
	struct rtnl_veth_end far = {.name = "far", .ifindex = PROBE_FAR};
	struct sockaddr_ll address = {.sll_family = AF_PACKET,
				      .sll_protocol = htons(PROBE_ETHERTYPE),
				      .sll_ifindex = PROBE_NEAR};

	memcpy(near.mac, probe_near_mac, 6);
	memcpy(far.mac, probe_far_mac, 6);
	rtnl_veth_add(p->r, &near, &far, MTU);
	rtnl_link_up(p->r, PROBE_FAR);
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
		look_at_bounce(&p);
		doctor_af_xdp(&p);
		doctor_tracepoints(&p);
	}
	probe_close(p.socket);
	rtnl_close(p.r);
}
