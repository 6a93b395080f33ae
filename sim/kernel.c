/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The programs that a replica attaches, run one packet at a time. XDP: the frame goes in
 * and comes back with its verdict. TC: bpf_clone_redirect() really transmits, so the
 * packet is said to leave by a tap device, in a network namespace of this process alone,
 * and the clones are read back from the tap when the run is over.
 *
 * Programs are loaded once; between seeds their maps are set to zero.
 */
#include "sim/sim.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/pkt_cls.h>
#include <net/if.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <unistd.h>

#include <bpf/bpf.h>

#include "sim/wrap.h"

#define SLOTS 64 /* few, so that the kernel log does get full */
#define FRAME_MAX 4096

struct kernel {
	struct elec *e; /* keeps programs and maps */
	struct elec_state *state;
	struct elec_slot *log;
	int xdp_fd, tc_fd;
};

static struct kernel kernels[SIM_REPLICAS_MAX];
static uint32_t loaded;
static int tap = -1;
static unsigned int tap_index;

/* A network, and a /dev/shm for the journals, that end with this process however it ends. */
static int enter_own_world(char *error, size_t size)
{
	int ret;

	if (!unshare(CLONE_NEWNET | CLONE_NEWNS) &&
	    !mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) &&
	    !mount("sim", "/dev/shm", "tmpfs", 0, NULL))
		return 0;
	ret = -errno;
	snprintf(error, size, "cannot make namespaces and a tmpfs in them: %s; run as root",
		 strerror(-ret));
	return ret;
}

static int open_tap(char *error, size_t size)
{
	struct ifreq ifr = {.ifr_name = "tap0", .ifr_flags = IFF_TAP | IFF_NO_PI};
	int fd, ret = enter_own_world(error, size);

	if (ret)
		return ret;
	/* IPv6 would send frames of its own. */
	fd = open("/proc/sys/net/ipv6/conf/default/disable_ipv6", O_WRONLY | O_CLOEXEC);
	if (fd >= 0 && write(fd, "1", 1) == 1)
		close(fd);
	tap = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (tap < 0 || fd < 0 || ioctl(tap, TUNSETIFF, &ifr))
		goto failed;
	ifr.ifr_flags = IFF_UP;
	if (ioctl(fd, SIOCSIFFLAGS, &ifr))
		goto failed;
	close(fd);
	tap_index = if_nametoindex("tap0");
	return 0;
failed:
	ret = -errno;
	snprintf(error, size, "cannot make a tap device: %s; is /dev/net/tun there?",
		 strerror(-ret));
	return ret;
}

/* The kernel log, writable: the library maps it for reading only. */
static struct elec_slot *map_log(int program)
{
	struct bpf_prog_info program_info = {0};
	uint32_t ids[16], size = sizeof(program_info);

	program_info.nr_map_ids = 16;
	program_info.map_ids = (uintptr_t)ids;
	if (bpf_obj_get_info_by_fd(program, &program_info, &size))
		return NULL;
	for (uint32_t i = 0; i < program_info.nr_map_ids && i < 16; i++) {
		struct bpf_map_info info = {0};
		uint32_t info_size = sizeof(info);
		int fd = bpf_map_get_fd_by_id(ids[i]);
		void *memory = MAP_FAILED;

		if (fd < 0)
			return NULL;
		if (!bpf_obj_get_info_by_fd(fd, &info, &info_size) &&
		    !strcmp(info.name, "elec_log"))
			memory = mmap(NULL, SLOTS * sizeof(struct elec_slot),
				      PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		close(fd);
		if (memory != MAP_FAILED)
			return memory;
	}
	return NULL;
}

static int load_one(uint32_t i, uint32_t replicas, unsigned int offloads, char *error, size_t size)
{
	struct elec_member members[SIM_REPLICAS_MAX];
	struct elec_options options = {
		.offloads = offloads,
		.slots = SLOTS,
		.n = replicas,
		.self = i,
		.members = members,
	};
	struct kernel *k = &kernels[i];
	int ret;

	for (uint32_t j = 0; j < replicas; j++) {
		net_mac(j, members[j].mac);
		members[j].addr = net_addr(j);
		members[j].port = __builtin_bswap16(WIRE_PORT);
	}
	ret = elec_open(&k->e, &options, error, size);
	if (ret)
		return ret;
	k->state = elec_shared(k->e);
	k->xdp_fd = elec_xdp_fd(k->e);
	k->tc_fd = elec_tc_fd(k->e);
	k->log = map_log(k->xdp_fd);
	if (k->log)
		return 0;
	snprintf(error, size, "cannot map the kernel log: %s", strerror(errno));
	return -ENODEV;
}

int kernel_load(uint32_t replicas, unsigned int offloads, char *error, size_t size)
{
	int ret = tap < 0 ? open_tap(error, size) : 0;

	for (uint32_t i = 0; i < loaded; i++) {
		munmap(kernels[i].log, SLOTS * sizeof(struct elec_slot));
		elec_close(kernels[i].e);
	}
	loaded = 0;
	for (; !ret && offloads && loaded < replicas; loaded++)
		ret = load_one(loaded, replicas, offloads, error, size);
	return ret;
}

struct kernel *kernel_of(uint32_t replica)
{
	return replica < loaded ? &kernels[replica] : NULL;
}

void kernel_reset(struct kernel *k)
{
	memset(k->state, 0, sizeof(*k->state));
	for (uint32_t i = 0; i < SLOTS; i++)
		k->log[i].epoch = k->log[i].first = k->log[i].last = 0;
}

struct elec *kernel_elec(struct kernel *k)
{
	return k->e;
}

struct elec_state *kernel_state(struct kernel *k)
{
	return k->state;
}

const struct elec_slot *kernel_slot(const struct kernel *k, uint32_t op)
{
	return &k->log[op & (SLOTS - 1)];
}

void kernel_attach(struct node *node)
{
	node->xdp = node->tc = node->kernel;
}

void kernel_detach(struct node *node)
{
	node->xdp = false;
}

/* ---- XDP ---- */

static int run(int fd, const void *in, uint32_t in_len, void *out, uint32_t *out_len, void *context,
	       uint32_t context_len)
{
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = in, .data_size_in = in_len, .data_out = out,
		    .data_size_out = *out_len, .ctx_in = context, .ctx_size_in = context_len,
		    .repeat = 1);

	if (bpf_prog_test_run_opts(fd, &opts)) {
		fprintf(stderr, "sim: cannot run a program: %s\n", strerror(errno));
		exit(EXIT_FAILURE);
	}
	*out_len = opts.data_size_out;
	return opts.retval;
}

static uint64_t gate_of(const struct node *node)
{
	return node->kernel->state->gate;
}

/* What the programs must leave as it is when they pass a frame (S5). */
static void check_passed(struct node *node, const struct frame *f, const uint8_t *out,
			 uint32_t out_len, uint64_t gate)
{
	if (out_len != f->len || memcmp(out, f->data, f->len))
		violation(node->sim, "S5", "r%u: a passed frame was changed: %s", node->index,
			  trace_frame(f));
	if (gate_of(node) != gate)
		violation(node->sim, "S5", "r%u: a passed frame moved the gate: %s", node->index,
			  trace_frame(f));
}

static void on_ack_made(struct node *node, struct frame *f, const uint8_t *out, uint32_t out_len,
			uint64_t gate)
{
	struct sim *s = node->sim;
	struct frame *ack = need(sizeof(*ack) + out_len);

	ack->len = out_len;
	memcpy(ack->data, out, out_len);
	detail(s, "kernel %s -> ack", trace_frame(f));
	check_kernel_ack(node, ack, gate);
	unneed(f);
	net_send(s, node->index, ack);
}

/* A datagram over the MTU comes in IP fragments, of which the programs take none (S8). */
static bool fragments_pass(struct node *node, const struct frame *f)
{
	static uint8_t piece[FRAME_MAX], out[FRAME_MAX];
	uint32_t len = 14 + NET_MTU, out_len = sizeof(out);

	memcpy(piece, f->data, len);
	piece[16] = NET_MTU >> 8;
	piece[17] = NET_MTU & 0xff;
	piece[20] = 0x20; /* more fragments */
	return run(node->kernel->xdp_fd, piece, len, out, &out_len, NULL, 0) == XDP_PASS;
}

static void to_socket(struct node *node, struct frame *f)
{
	if (node->status == NODE_UP && net_accepts(node->sim, node->index, f)) {
		node_receive(node, f);
		return;
	}
	detail(node->sim, "refuse %s", trace_frame(f));
	unneed(f);
}

void kernel_ingress(struct node *node, struct frame *f)
{
	static uint8_t out[FRAME_MAX];
	uint32_t out_len = sizeof(out), sleeping;
	struct kernel *k = node->kernel;
	uint64_t gate;
	int verdict;

	if (!node->xdp) {
		to_socket(node, f);
		return;
	}
	k->state->now_ns = node->sim->now_ns;
	if (f->len > 14 + NET_MTU) {
		if (!fragments_pass(node, f))
			violation(node->sim, "S8", "r%u: an IP fragment was not passed",
				  node->index);
		to_socket(node, f);
		return;
	}
	gate = k->state->gate;
	sleeping = k->state->sleeping;
	verdict = run(k->xdp_fd, f->data, f->len, out, &out_len, NULL, 0);
	switch (verdict) {
	case XDP_TX:
		on_ack_made(node, f, out, out_len, gate);
		break;
	case XDP_DROP:
		detail(node->sim, "absorb %s", trace_frame(f));
		unneed(f);
		break;
	case XDP_PASS:
		check_passed(node, f, out, out_len, gate);
		to_socket(node, f);
		break;
	default:
		violation(node->sim, "S8", "r%u: verdict %d", node->index, verdict);
		unneed(f);
	}
	if (sleeping && !k->state->sleeping) {
		node->woken = true;
		if (!node->deaf)
			node_wake(node);
	}
}

/* ---- TC ---- */

static void send_clones(struct node *node, struct frame *f)
{
	static uint8_t clone[FRAME_MAX];
	ssize_t len;

	while ((len = read(tap, clone, sizeof(clone))) > 0) {
		struct frame *c = need(sizeof(*c) + len);

		c->len = len;
		memcpy(c->data, clone, len);
		detail(node->sim, "clone  %s", trace_frame(c));
		net_send(node->sim, node->index, c);
	}
	unneed(f);
}

void kernel_egress(struct node *node, struct frame *f)
{
	static uint8_t out[FRAME_MAX];
	struct __sk_buff context = {.ifindex = tap_index};
	uint32_t out_len = sizeof(out);

	if (!node->tc || f->len > 14 + NET_MTU) {
		detail(node->sim, "send   %s", trace_frame(f));
		net_send(node->sim, node->index, f);
		return;
	}
	switch (run(node->kernel->tc_fd, f->data, f->len, out, &out_len, &context,
		    sizeof(context))) {
	case TC_ACT_STOLEN:
		send_clones(node, f);
		break;
	case TC_ACT_OK:
		if (out_len != f->len || memcmp(out, f->data, f->len))
			violation(node->sim, "S8", "r%u: TC changed what it let go: %s",
				  node->index, trace_frame(f));
		detail(node->sim, "send   %s", trace_frame(f));
		net_send(node->sim, node->index, f);
		break;
	default:
		violation(node->sim, "S8", "r%u: TC dropped a frame", node->index);
		unneed(f);
	}
}
