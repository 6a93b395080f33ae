// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * One process, pinned to a CPU, one AF_XDP socket on each queue of each port, one piece of memory.
 *
 *   node --> port: tor_steer, judges --> [socket] --> process --> [socket] --> port --> node
 *                                                       |  failed 3 times
 *                                                       '--> packet socket on the bridge: stack
 * path
 *
 * Each frame is sent by a call of its own: only so is it known which one failed. When memory ran
 * out it is made anew, twice as large; meanwhile the XDP program finds no socket, and frames
 * take the stack path.
 */
#include "topo/steer_afxdp.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/capability.h>
#include <linux/if_packet.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "bpf/tor.h"
#include "replica/privilege.h"
#include "topo/seconds.h"
#include "topo/steer.h"
#include "topo/tor.h"
#include "topo/xsk.h"
#include "topo/tors.h"

#define RING 2048 /* entries: not fewer than frames in the largest memory */
#define BATCH 32
#define LOOK_AGAIN SIGUSR1
#define LOOK_MS 5000
#define OPEN_MS 2000
#define STATISTICS_NS 1000000 /* between two looks at what the kernel counted */

struct afxdp {
	const struct rack *rack;
	struct steer_state *state;
	struct steer_afxdp *counts; /* within it */
	int ports, sockets;	    /* maps */
	int stack;		    /* packet socket */
	struct xsk_umem *memory;
	uint32_t frames;    /* in it */
	unsigned int count; /* sockets: queue q of port i is i * queues + q */
	struct xsk **socket;
	struct pollfd *wait; /* of those that are on the path; others -1 */
	bool *on;
	unsigned int on_count;
	uint64_t *missed; /* as the kernel counted, of each socket */
	uint64_t next_statistics_ns;
};

static volatile sig_atomic_t look_again, ending;

static void on_signal(int signal)
{
	if (signal == LOOK_AGAIN)
		look_again = 1;
	else
		ending = 1;
}

static int failed(const char *what, int error)
{
	return rack_say("the path afxdp: cannot %s: %s", what,
			strerror(error < 0 ? -error : error));
}

/* ---- sockets ---- */

static void close_sockets(struct afxdp *a)
{
	for (unsigned int i = 0; i < a->count; i++) {
		xsk_close(a->socket[i]);
		a->socket[i] = NULL;
	}
	xsk_umem_close(a->memory);
	a->memory = NULL;
}

/* The kernel lets go of the sockets that were there before a moment after they were closed. */
static int open_socket(struct afxdp *a, unsigned int i)
{
	const struct rack_node *node = &a->rack->nodes[i / a->rack->queues];
	int ret, left_ms = OPEN_MS;

	while ((ret = xsk_open(&a->socket[i], a->memory, node->ifindex, i % a->rack->queues,
			       RING)) == -EBUSY &&
	       left_ms--)
		poll(NULL, 0, 1);
	a->missed[i] = 0;
	return ret;
}

static int open_sockets(struct afxdp *a, uint64_t bytes)
{
	uint32_t size = xsk_frame_size(a->rack->mtu, sizeof(struct steer_meta));
	int ret;

	a->frames = bytes / size;
	a->counts->umem_bytes = bytes;
	ret = xsk_umem_open(&a->memory, a->frames, size);
	for (unsigned int i = 0; i < a->count && !ret; i++)
		ret = open_socket(a, i);
	return ret ? failed("open its sockets", ret) : 0;
}

static bool is_on(const struct tor_port *port)
{
	return port->path == TOR_PATH_AFXDP || port->flags & TOR_TABLE ||
	       (port->share && port->share_path == TOR_PATH_AFXDP);
}

static uint32_t most_filled(const struct afxdp *a)
{
	return a->frames / (a->on_count ?: 1);
}

static void take_off(struct afxdp *a, uint32_t i)
{
	bpf_map_delete_elem(a->sockets, &i);
	a->wait[i].fd = -1;
	a->on[i] = false;
}

/* Which ports are on the path? */
static int look(struct afxdp *a)
{
	struct tor_port port;

	a->on_count = 0;
	for (uint32_t i = 0; i < a->count; i++) {
		uint32_t index = i / a->rack->queues;

		if (bpf_map_lookup_elem(a->ports, &index, &port))
			return failed("read the ports", errno);
		if (!is_on(&port)) {
			take_off(a, i);
			continue;
		}
		a->on[i] = true;
		a->on_count++;
	}
	for (uint32_t i = 0; i < a->count; i++) {
		int fd = xsk_fd(a->socket[i]);

		if (!a->on[i])
			continue;
		xsk_fill(a->socket[i], most_filled(a));
		a->wait[i].fd = fd;
		if (bpf_map_update_elem(a->sockets, &i, &fd, BPF_ANY))
			return failed("put its sockets in place", errno);
	}
	__atomic_fetch_add(&a->counts->scans, 1, __ATOMIC_RELEASE);
	return 0;
}

/* ---- frames ---- */

/* The bridge takes it like a frame of its own: where its MAC, whose end is an index, says. */
static void to_stack(struct afxdp *a, const uint8_t *data, uint32_t len)
{
	unsigned int node = data[4] << 8 | data[5];
	struct sockaddr_ll to = {.sll_family = AF_PACKET, .sll_ifindex = TOR_BRIDGE_IFINDEX};

	if (node < a->rack->count)
		to.sll_ifindex = tors_bridge(a->rack->nodes[node].tor);

	if (sendto(a->stack, data, len, 0, (struct sockaddr *)&to, sizeof(to)) == (ssize_t)len)
		a->counts->to_stack++;
	else
		a->counts->lost++;
}

/*
 * What the device dropped is on its way to the free ones and cannot be sent again: a copy of it
 * can, while its bytes are there.
 */
static bool copy_frame(struct afxdp *a, struct xsk_frame *f)
{
	uint64_t addr;

	if (!xsk_take(a->memory, &addr))
		return false;
	memcpy(xsk_data(a->memory, addr), xsk_data(a->memory, f->addr), f->len);
	f->addr = addr;
	return true;
}

static void send_frame(struct afxdp *a, struct xsk *out, struct xsk_frame f)
{
	bool queued = false;
	uint64_t begin = 0;
	int ret = 0;

	for (int tries = 0;; tries++) {
		if (!queued)
			xsk_send(out, &f);
		ret = xsk_kick(out);
		if (!ret)
			break;
		queued = ret != -EBUSY; /* it still is */
		if (!begin)
			begin = now_ns();
		if (tries == STEER_TRIES || now_ns() - begin >= STEER_TRY_NS)
			break;
		if (!queued && !copy_frame(a, &f))
			break;
		a->counts->retries++;
	}
	if (!ret) {
		a->counts->sent++;
		a->counts->zero_copied += xsk_zero_copy(out);
		xsk_reap(out);
		return;
	}
	to_stack(a, xsk_data(a->memory, f.addr), f.len);
	if (queued) {
		xsk_unsend(out);
		xsk_free(a->memory, f.addr);
	}
	xsk_reap(out);
}

/* How many came. */
static uint32_t forward(struct afxdp *a, unsigned int i)
{
	struct xsk_frame frames[BATCH];
	uint32_t n = xsk_receive(a->socket[i], frames, BATCH);
	unsigned int queues = a->rack->queues;

	for (uint32_t k = 0; k < n; k++) {
		struct steer_meta meta;

		memcpy(&meta, (char *)xsk_data(a->memory, frames[k].addr) - sizeof(meta),
		       sizeof(meta));
		if (meta.to < a->rack->count)
			send_frame(a, a->socket[meta.to * queues + i % queues], frames[k]);
		else
			xsk_free(a->memory, frames[k].addr);
	}
	a->counts->received += n;
	return n;
}

static uint32_t forward_all(struct afxdp *a)
{
	uint32_t n = 0;

	for (unsigned int i = 0; i < a->count; i++) {
		if (!a->on[i])
			continue;
		n += forward(a, i);
		if (xsk_filled(a->socket[i]) < a->rack->fill_threshold)
			xsk_fill(a->socket[i], most_filled(a));
	}
	return n;
}

/* ---- more memory ---- */

static bool ran_out(struct afxdp *a)
{
	uint64_t missed, now = now_ns();
	bool any = false;

	if (now < a->next_statistics_ns)
		return false;
	a->next_statistics_ns = now + STATISTICS_NS;
	for (unsigned int i = 0; i < a->count; i++) {
		if (!a->on[i])
			continue;
		missed = xsk_missed(a->socket[i]);
		a->counts->no_frames += missed - a->missed[i];
		any |= missed != a->missed[i];
		a->missed[i] = missed;
	}
	return any;
}

static int remake(struct afxdp *a)
{
	for (uint32_t i = 0; i < a->count; i++)
		bpf_map_delete_elem(a->sockets, &i);
	tor_wait_for_programs(); /* now nothing comes any more */
	while (forward_all(a))
		;
	for (uint32_t i = 0; i < a->count; i++)
		a->counts->remade_lost += xsk_unsent(a->socket[i]);
	close_sockets(a);
	if (open_sockets(a, a->counts->umem_bytes * 2) || look(a))
		return -1;
	a->counts->remade++;
	return 0;
}

/* ---- at work ---- */

static int work(struct afxdp *a, const sigset_t *awake)
{
	static const struct timespec no_time;
	unsigned int rounds = 0;

	while (!ending) {
		bool idle = !forward_all(a);

		if (ran_out(a) && a->counts->umem_bytes < STEER_UMEM_MAX && remake(a))
			return -1;
		if (look_again) {
			look_again = 0;
			if (look(a))
				return -1;
		}
		/* Signals get in while it sleeps: so it does now and then, for no time at all. */
		if (idle || ++rounds % 256 == 0)
			ppoll(a->wait, a->count, idle ? NULL : &no_time, awake);
	}
	for (uint32_t i = 0; i < a->count; i++)
		bpf_map_delete_elem(a->sockets, &i);
	tor_wait_for_programs();
	while (forward_all(a))
		;
	return 0;
}

static void catch_signals(sigset_t *awake)
{
	struct sigaction action = {.sa_handler = on_signal};
	sigset_t blocked;

	sigemptyset(&blocked);
	sigaddset(&blocked, SIGTERM);
	sigaddset(&blocked, LOOK_AGAIN);
	sigprocmask(SIG_BLOCK, &blocked, awake);
	sigaction(SIGTERM, &action, NULL);
	sigaction(LOOK_AGAIN, &action, NULL);
}

static int map_counts(struct afxdp *a)
{
	a->state = tor_shared(a->rack, "steer_state", sizeof(*a->state), PROT_READ | PROT_WRITE);
	if (!a->state)
		return -1;
	a->counts = &a->state->afxdp;
	return 0;
}

static int start(struct afxdp *a)
{
	cpu_set_t cpu;

	a->count = a->rack->count * a->rack->queues;
	a->socket = calloc(a->count, sizeof(*a->socket));
	a->wait = calloc(a->count, sizeof(*a->wait));
	a->on = calloc(a->count, sizeof(*a->on));
	a->missed = calloc(a->count, sizeof(*a->missed));
	if (!a->socket || !a->wait || !a->on || !a->missed)
		return failed("start", ENOMEM);
	for (unsigned int i = 0; i < a->count; i++)
		a->wait[i] = (struct pollfd){.fd = -1, .events = POLLIN};
	a->ports = tor_pinned(a->rack, "tor_ports");
	a->sockets = a->ports < 0 ? -1 : tor_pinned(a->rack, "tor_sockets");
	if (a->sockets < 0 || map_counts(a))
		return -1;
	a->stack = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	if (a->stack < 0)
		return failed("open its packet socket", errno);
	CPU_ZERO(&cpu);
	CPU_SET(a->rack->afxdp_cpu, &cpu);
	if (sched_setaffinity(0, sizeof(cpu), &cpu))
		return failed("run on its CPU", errno);
	return open_sockets(a, a->rack->umem_bytes) ?: look(a);
}

/* It may need more memory and look for ports later: sockets and maps, no more than that. */
static int lower(void)
{
	static const int kept[] = {CAP_NET_ADMIN, CAP_NET_RAW, CAP_BPF, CAP_IPC_LOCK};
	int ret = privilege_keep(kept, sizeof(kept) / sizeof(*kept));

	return ret ? failed("give up its privileges", -ret) : 0;
}

int steer_afxdp_run(const struct rack *rack, struct daemon *d)
{
	struct afxdp a = {.rack = rack, .ports = -1, .sockets = -1, .stack = -1};
	sigset_t awake;
	int ret;

	catch_signals(&awake);
	ret = start(&a) ?: lower();
	if (!ret) {
		daemon_ready(d);
		ret = work(&a, &awake);
	}
	if (a.socket)
		close_sockets(&a);
	if (a.state)
		munmap(a.state, sizeof(*a.state));
	close(a.ports);
	close(a.sockets);
	close(a.stack);
	free(a.socket);
	free(a.wait);
	free(a.on);
	free(a.missed);
	return ret;
}

int steer_afxdp_look(const struct rack *rack, const struct steer_state *state, bool wait)
{
	const __u64 *scans = &state->afxdp.scans;
	uint64_t before = __atomic_load_n(scans, __ATOMIC_ACQUIRE),
		 end = now_ns() + LOOK_MS * 1000000ull;
	pid_t pid = daemon_find(rack, STEER_DAEMON);

	if (!pid || kill(pid, LOOK_AGAIN))
		return rack_say("the process on the path afxdp is gone: frames take the bridge");
	while (wait && __atomic_load_n(scans, __ATOMIC_ACQUIRE) == before) {
		if (now_ns() > end)
			return rack_say("the process on the path afxdp does not answer");
		poll(NULL, 0, 1);
	}
	return 0;
}
