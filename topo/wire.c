// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 *   receive -> held_add(): by due time, or back behind others
 *   due     -> send, at most BATCH at a time
 *   else    -> sleep until a margin before the next is due, then look at the clock only
 */
#include "topo/wire.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/capability.h>
#include <linux/if_link.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "bpf/tor.h"
#include "netns/ns.h"
#include "netns/rtnl.h"
#include "replica/privilege.h"
#include "topo/held.h"
#include "topo/private.h"
#include "topo/seconds.h"
#include "topo/tor.h"

#define FRAMES 16384 /* that can be held at a time */
#define BATCH 32
#define MARGIN_MIN_NS 5000
#define MARGIN_MAX_NS 40000
#define PRIORITY 1 /* of SCHED_FIFO */
#define NICE -20   /* where that is not allowed */

/*
 * What was sent and has not yet reached tor_release waits in a queue of the kernel that holds
 * 1000 (netdev_max_backlog): not more than this at a time.
 */
#define WINDOW 512
#define WINDOW_NS 10000000 /* no progress for so long: they are lost */

#define WIRE "wire"
#define WIRE_END "wire-end"
#define WIRE_GUARD "rack-wire-guard"

struct wire {
	const struct rack *rack;
	struct xsk_umem *memory;
	struct xsk *x;
	struct tor_fault_state *state;
	struct held_set held;
	uint64_t sent;
	uint64_t margin_ns;
};

static volatile sig_atomic_t draining, ending;

static void on_signal(int signal)
{
	if (signal == WIRE_DRAIN)
		draining = 1;
	else
		ending = 1;
}

static int failed(const char *what, int error)
{
	return rack_say("cannot %s the wire: %s", what, strerror(error < 0 ? -error : error));
}

/* ---- the devices ---- */

static int offloads_off(void)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), ret;
	struct features *features = NULL;

	if (fd < 0)
		return -errno;
	ret = features_open(&features, fd, WIRE) ?: features_off(features, fd, WIRE)
						     ?: features_off(features, fd, WIRE_END);
	features_close(features);
	close(fd);
	return ret;
}

static void remove_devices(struct rtnl *r)
{
	char name[IF_NAMESIZE];

	if (!if_indextoname(TOR_WIRE_IFINDEX, name))
		return;
	rtnl_link_del(r, TOR_WIRE_IFINDEX);
	rtnl_commit(r);
}

static int make_devices(const struct rack *rack, struct rtnl *r)
{
	struct rtnl_veth_end wire = {
		.name = WIRE, .ifindex = TOR_WIRE_IFINDEX, .group = RACK_PORT_GROUP};
	struct rtnl_veth_end end = {.name = WIRE_END, .ifindex = TOR_WIRE_END_IFINDEX};
	int release = tor_pinned(rack, "tor_release"), xdp = tor_pinned(rack, "tor_wire"), ret = -1;

	if (release < 0 || xdp < 0)
		goto out;
	memcpy(wire.mac, rack->nodes[0].mac, sizeof(wire.mac));
	wire.mac[0] |= 0x04; /* like the ports': not a node's */
	wire.mac[4] = 0xff;
	memcpy(end.mac, wire.mac, sizeof(end.mac));
	wire.mac[5] = 0xfe;
	end.mac[5] = 0xfd;
	rtnl_veth_add(r, &end, &wire, rack->mtu + sizeof(struct tor_held));
	rtnl_clsact_add(r, TOR_WIRE_IFINDEX);
	rtnl_ingress_add(r, TOR_WIRE_IFINDEX, release, "tor_release");
	rtnl_link_up(r, TOR_WIRE_IFINDEX);
	if (rtnl_commit(r)) {
		rack_say("the wire: %s", rtnl_error(r));
		goto out;
	}
	ret = offloads_off();
	if (!ret)
		ret = bpf_xdp_attach(TOR_WIRE_END_IFINDEX, xdp, XDP_FLAGS_DRV_MODE, NULL);
	if (ret)
		ret = failed("attach programs to", ret);
out:
	if (release >= 0)
		close(release);
	if (xdp >= 0)
		close(xdp);
	return ret;
}

static int open_socket(struct wire *w)
{
	uint32_t size = xsk_frame_size(w->rack->mtu, sizeof(struct tor_held));
	int map = tor_pinned(w->rack, "tor_xsk"), fd, ret;
	uint32_t zero = 0;

	if (map < 0)
		return -1;
	ret = xsk_umem_open(&w->memory, FRAMES, size)
		      ?: xsk_open(&w->x, w->memory, TOR_WIRE_END_IFINDEX, 0, FRAMES)
		      ?: held_open(&w->held, FRAMES);
	if (!ret) {
		xsk_fill(w->x, FRAMES);
		fd = xsk_fd(w->x);
		ret = bpf_map_update_elem(map, &zero, &fd, BPF_ANY);
	}
	close(map);
	return ret ? failed("open the socket of", ret) : 0;
}

static int map_state(struct wire *w)
{
	w->state = tor_shared(w->rack, "tor_fault_state", sizeof(*w->state), PROT_READ);
	if (!w->state)
		return -1;
	w->sent = w->state->released;
	return 0;
}

/* ---- at work ---- */

static void receive(struct wire *w, uint64_t now)
{
	struct xsk_frame frames[BATCH];
	struct tor_held trailer;
	uint32_t n = xsk_receive(w->x, frames, BATCH);

	for (uint32_t i = 0; i < n; i++) {
		/* Nothing but the ToR's programs sends here. */
		memcpy(&trailer,
		       (char *)xsk_data(w->memory, frames[i].addr) + frames[i].len -
			       sizeof(trailer),
		       sizeof(trailer));
		held_add(&w->held, &frames[i], &trailer, now);
	}
}

static void wait_for_room(struct wire *w)
{
	const __u64 *released = &w->state->released;
	uint64_t begin = now_ns();

	while (w->sent - __atomic_load_n(released, __ATOMIC_ACQUIRE) > WINDOW) {
		if (now_ns() - begin > WINDOW_NS)
			w->sent = __atomic_load_n(released, __ATOMIC_ACQUIRE);
		else
			sched_yield();
	}
}

/* Everything that is queued. The kernel takes a few at each call. */
static int send_all(struct wire *w)
{
	while (xsk_unsent(w->x)) {
		int ret = xsk_kick(w->x);

		if (ret && ret != -EAGAIN && ret != -EBUSY && ret != -ENOBUFS && ret != -EINTR)
			return ret;
	}
	xsk_reap(w->x);
	xsk_fill(w->x, FRAMES);
	return 0;
}

static int release(struct wire *w, uint64_t now)
{
	uint32_t n = 0;

	while (n < BATCH && w->held.count && w->held.heap[0].due_ns <= now) {
		struct held h = held_pop(&w->held);
		char *end = (char *)xsk_data(w->memory, h.frame.addr) + h.frame.len;

		/* One that fell behind is due when it was let go. */
		memcpy(end - sizeof(struct tor_held) + offsetof(struct tor_held, due_ns), &h.due_ns,
		       sizeof(h.due_ns));
		xsk_send(w->x, &h.frame);
		n++;
	}
	if (!n)
		return 0;
	w->sent += n;
	wait_for_room(w);
	return send_all(w);
}

/* The margin is what sleeping overshoots by on this machine, most of the time. */
static void learn(struct wire *w, uint64_t over_ns)
{
	if (over_ns > w->margin_ns)
		w->margin_ns += (over_ns - w->margin_ns) / 4;
	else
		w->margin_ns -= w->margin_ns / 64;
	if (w->margin_ns < MARGIN_MIN_NS)
		w->margin_ns = MARGIN_MIN_NS;
	if (w->margin_ns > MARGIN_MAX_NS)
		w->margin_ns = MARGIN_MAX_NS;
}

/* Until frames come, a signal does, or shortly before `next`. */
static void sleep_until(struct wire *w, uint64_t next, uint64_t now, const sigset_t *awake)
{
	struct pollfd p = {.fd = xsk_fd(w->x), .events = POLLIN};
	uint64_t ns = next > now + w->margin_ns ? next - now - w->margin_ns : 0;
	struct timespec t = {ns / 1000000000, ns % 1000000000};

	if (!ppoll(&p, 1, next == UINT64_MAX ? NULL : &t, awake) && ns)
		learn(w, now_ns() - now - ns);
}

static int work(struct wire *w, const sigset_t *awake)
{
	unsigned int rounds = 0;

	for (;;) {
		uint64_t now = now_ns(), next;
		int ret;

		receive(w, now);
		held_let_go(&w->held, now, draining);
		ret = release(w, now);
		if (ret)
			return failed("send on", ret);
		next = held_next(&w->held);
		if (ending || (draining && next == UINT64_MAX))
			return 0;
		now = now_ns();
		/* Signals get in while it sleeps: so it does now and then, for no time at all. */
		if (next > now + w->margin_ns || ++rounds % 1024 == 0)
			sleep_until(w, next, now, awake);
	}
}

static void catch_signals(sigset_t *awake)
{
	struct sigaction action = {.sa_handler = on_signal};
	sigset_t blocked;

	sigemptyset(&blocked);
	sigaddset(&blocked, SIGTERM);
	sigaddset(&blocked, SIGCHLD);
	sigaddset(&blocked, WIRE_DRAIN);
	sigprocmask(SIG_BLOCK, &blocked, awake);
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGCHLD, &action, NULL); /* its guard */
	sigaction(WIRE_DRAIN, &action, NULL);
}

/* In a process that still may. After a wire that was killed they stay: there packets are counted.
 */
static void remove_all(void)
{
	struct rtnl *r = NULL;

	if (!rtnl_open(&r))
		remove_devices(r);
	rtnl_close(r);
}

/* Like a cable, it does not wait for its turn. It sleeps until shortly before the next is due. */
static void be_punctual(void)
{
	struct sched_param p = {.sched_priority = PRIORITY};

	if (sched_setscheduler(0, SCHED_FIFO, &p))
		setpriority(PRIO_PROCESS, 0, NICE);
	prctl(PR_SET_TIMERSLACK, 1);
}

static int set_up(struct wire *w)
{
	struct rtnl *r = NULL;
	int ret;

	ret = rtnl_open(&r);
	if (ret)
		return failed("make", ret);
	remove_devices(r); /* of one that was killed */
	ret = make_devices(w->rack, r) ?: map_state(w) ?: open_socket(w);
	rtnl_close(r);
	return ret;
}

static int drop(void)
{
	int ret = privilege_drop();

	return ret ? failed("give up the privileges of", ret) : 0;
}

int wire_run(const struct rack *rack, struct daemon *d)
{
	static const int kept[] = {CAP_NET_ADMIN};
	struct wire w = {.rack = rack, .margin_ns = MARGIN_MIN_NS};
	sigset_t awake;
	int ret;

	catch_signals(&awake);
	ret = daemon_guard_start(d, WIRE_GUARD, kept, 1, remove_all) ?: set_up(&w);
	if (!ret) {
		be_punctual();
		daemon_ready(d);
		ret = drop() ?: work(&w, &awake);
	}
	xsk_close(w.x);
	held_close(&w.held);
	if (w.state)
		munmap(w.state, sizeof(*w.state));
	daemon_guard_end(d);
	return ret;
}
