// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * One process, pinned to a CPU, one AF_XDP socket on each queue of each port, one piece of memory.
 *
 *   node --> port: tor_steer, judges --> [socket] --> process --> [socket] --> port --> node
 *                                                       |  failed 3 times
 *                                                       '--> stack path (steer_send.c)
 *
 * The sockets on the path share the memory in equal parts. What a socket was given to receive into
 * cannot be taken back from it: so when other ports are on the path than before, or memory ran out
 * (then it is twice as large), all sockets are made anew. Meanwhile the XDP program finds none, and
 * frames take the stack path.
 */
#include "topo/steer_afxdp.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/capability.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "bpf/tor.h"
#include "replica/privilege.h"
#include "topo/seconds.h"
#include "topo/steer.h"
#include "topo/steer_send.h"
#include "topo/tor.h"
#include "topo/xsk.h"

#define BATCH 32
#define LOOK_AGAIN SIGUSR1
#define LOOK_MS 5000
#define OPEN_MS 2000
#define STATISTICS_NS 1000000 /* between two looks at what the kernel counted */

struct afxdp {
	const struct rack *rack;
	struct steer_state *state;
	struct steer_afxdp *counts; /* within it */
	int sockets;		    /* a map */
	struct steer_sender sender;
	struct xsk_umem *memory;
	uint32_t frames;    /* in it */
	unsigned int count; /* sockets: queue q of port i is i * queues + q */
	struct xsk **socket;
	struct pollfd *wait;	    /* of those that are on the path; others -1 */
	uint64_t on[TOR_CUT_WORDS]; /* ports, as of steer_state */
	uint64_t *missed;	    /* as the kernel counted, of each socket */
	uint64_t next_statistics_ns;
	bool counted; /* it has been looked since frames came */
	bool starved; /* a socket on the path has nothing to receive into */
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

/* ---- memory ---- */

static unsigned int ports_on(const uint64_t *ports)
{
	unsigned int count = 0;

	for (int i = 0; i < TOR_CUT_WORDS; i++)
		count += __builtin_popcountll(ports[i]);
	return count;
}

static uint64_t frame_size(const struct rack *rack)
{
	return xsk_frame_size(rack->mtu, sizeof(struct steer_meta));
}

/* What sockets of so many ports need; it may be more than there can be. */
static uint64_t bytes_for(const struct rack *rack, unsigned int ports)
{
	uint64_t bytes = rack->umem_bytes;

	while (bytes / frame_size(rack) < (uint64_t)ports * rack->queues * STEER_SHARE_MIN)
		bytes *= 2;
	return bytes;
}

int steer_afxdp_check(const struct rack *rack, unsigned int ports)
{
	if (rack->mtu > STEER_AFXDP_MTU_MAX)
		return rack_say("frames of an MTU of %u are too large for the path afxdp, which "
				"takes %u",
				rack->mtu, STEER_AFXDP_MTU_MAX);
	if (bytes_for(rack, ports) <= STEER_UMEM_MAX)
		return 0;
	return rack_say("the path afxdp would have %u sockets, %u for each of %u nodes, and its "
			"memory, at most %u bytes, is enough for %u: put fewer nodes on it or give "
			"their links fewer `queues`; nothing was changed",
			ports * rack->queues, rack->queues, ports, STEER_UMEM_MAX,
			(unsigned int)(STEER_UMEM_MAX / frame_size(rack) / STEER_SHARE_MIN));
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
			       a->frames)) == -EBUSY &&
	       left_ms--)
		poll(NULL, 0, 1);
	a->missed[i] = 0;
	return ret;
}

static bool is_on(const struct afxdp *a, unsigned int i)
{
	unsigned int port = i / a->rack->queues;

	return a->on[port / 64] >> port % 64 & 1;
}

static void feed(struct afxdp *a, unsigned int i)
{
	unsigned int sockets = ports_on(a->on) * a->rack->queues;

	xsk_fill(a->socket[i], a->frames / sockets);
}

/* With so much memory, for the ports that are on. */
static int open_sockets(struct afxdp *a, uint64_t bytes)
{
	int ret;

	bytes = bytes < STEER_UMEM_MAX ? bytes : STEER_UMEM_MAX;
	a->frames = bytes / frame_size(a->rack);
	a->counts->umem_bytes = bytes;
	ret = xsk_umem_open(&a->memory, a->frames, frame_size(a->rack));
	for (unsigned int i = 0; i < a->count && !ret; i++)
		ret = open_socket(a, i);
	for (uint32_t i = 0; i < a->count && !ret; i++) {
		int fd = xsk_fd(a->socket[i]);

		a->wait[i].fd = is_on(a, i) ? fd : -1;
		if (!is_on(a, i))
			continue;
		feed(a, i);
		ret = bpf_map_update_elem(a->sockets, &i, &fd, BPF_ANY);
	}
	return ret ? failed("open its sockets", ret) : 0;
}

/* ---- frames ---- */

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
		if (meta.to < a->rack->count) {
			steer_send(&a->sender, a->memory, a->socket[meta.to * queues + i % queues],
				   frames[k]);
		} else {
			a->counts->no_port++;
			xsk_free(a->memory, frames[k].addr);
		}
	}
	a->counts->received += n;
	return n;
}

/* Those that went out since something was last sent by that socket are free only now. */
static void reap_all(struct afxdp *a)
{
	for (unsigned int i = 0; i < a->count; i++)
		xsk_reap(a->socket[i]);
}

static void feed_all(struct afxdp *a)
{
	a->starved = false;
	for (unsigned int i = 0; i < a->count; i++) {
		if (!is_on(a, i))
			continue;
		if (xsk_filled(a->socket[i]) < a->rack->fill_threshold)
			feed(a, i);
		a->starved |= !xsk_filled(a->socket[i]);
	}
}

static uint32_t forward_all(struct afxdp *a)
{
	uint32_t n = 0;

	for (unsigned int i = 0; i < a->count; i++) {
		if (is_on(a, i))
			n += forward(a, i);
	}
	if (!n || a->starved)
		reap_all(a);
	feed_all(a);
	a->counted &= !n;
	return n;
}

/* ---- sockets anew ---- */

/* Frames that found no memory since this was last asked. */
static uint64_t count_missed(struct afxdp *a)
{
	uint64_t missed, more = 0;

	for (unsigned int i = 0; i < a->count; i++) {
		if (!is_on(a, i))
			continue;
		missed = xsk_missed(a->socket[i]);
		more += missed - a->missed[i];
		a->missed[i] = missed;
	}
	a->counts->no_frames += more;
	a->next_statistics_ns = now_ns() + STATISTICS_NS;
	a->counted = true;
	return more;
}

static bool ran_out(struct afxdp *a)
{
	return (!a->counted || a->starved) && now_ns() >= a->next_statistics_ns && count_missed(a);
}

static void drain(struct afxdp *a)
{
	count_missed(a);
	for (uint32_t i = 0; i < a->count; i++)
		bpf_map_delete_elem(a->sockets, &i);
	tor_wait_for_programs(); /* now nothing comes any more */
	while (forward_all(a))
		;
}

static int remake(struct afxdp *a, const uint64_t *on, uint64_t bytes)
{
	drain(a);
	a->counts->remade_lost += count_missed(a);
	close_sockets(a);
	memmove(a->on, on, sizeof(a->on));
	return open_sockets(a, bytes);
}

static int grow(struct afxdp *a)
{
	if (a->counts->umem_bytes >= STEER_UMEM_MAX)
		return 0;
	a->counts->remade++;
	return remake(a, a->on, a->counts->umem_bytes * 2);
}

/* Which ports are on the path? */
static int look(struct afxdp *a)
{
	uint64_t asked = __atomic_load_n(&a->state->afxdp_asked, __ATOMIC_ACQUIRE);
	uint64_t on[TOR_CUT_WORDS], bytes;

	memcpy(on, a->state->afxdp_ports, sizeof(on));
	if (!a->memory) {
		memcpy(a->on, on, sizeof(on));
		if (open_sockets(a, bytes_for(a->rack, ports_on(on))))
			return -1;
	} else if (memcmp(on, a->on, sizeof(on))) {
		bytes = bytes_for(a->rack, ports_on(on));
		a->counts->shared_anew++;
		if (remake(a, on, bytes > a->counts->umem_bytes ? bytes : a->counts->umem_bytes))
			return -1;
	}
	__atomic_store_n(&a->counts->looked, asked, __ATOMIC_RELEASE);
	return 0;
}

/* ---- at work ---- */

static int work(struct afxdp *a, const sigset_t *awake)
{
	static const struct timespec no_time, a_while = {.tv_nsec = STATISTICS_NS};
	unsigned int rounds = 0;

	while (!ending) {
		bool idle = !forward_all(a);

		if (ran_out(a) && grow(a))
			return -1;
		if (look_again) {
			look_again = 0;
			if (look(a))
				return -1;
		}
		/*
		 * Signals get in while it sleeps: so it does now and then, for no time at all. What
		 * finds no memory wakes nobody.
		 */
		if (idle || ++rounds % 256 == 0)
			ppoll(a->wait, a->count,
			      !idle			  ? &no_time
			      : !a->counted || a->starved ? &a_while
							  : NULL,
			      awake);
	}
	drain(a);
	count_missed(a);
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
	a->missed = calloc(a->count, sizeof(*a->missed));
	if (!a->socket || !a->wait || !a->missed)
		return failed("start", ENOMEM);
	for (unsigned int i = 0; i < a->count; i++)
		a->wait[i] = (struct pollfd){.fd = -1, .events = POLLIN};
	a->sockets = tor_pinned(a->rack, "tor_sockets");
	if (a->sockets < 0 || map_counts(a))
		return -1;
	if (steer_sender_open(&a->sender, a->rack, a->counts))
		return -1;
	CPU_ZERO(&cpu);
	CPU_SET(a->rack->afxdp_cpu, &cpu);
	if (sched_setaffinity(0, sizeof(cpu), &cpu))
		return failed("run on its CPU", errno);
	return look(a);
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
	struct afxdp a = {.rack = rack, .counted = true, .sockets = -1, .sender.stack = -1};
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
	close(a.sockets);
	steer_sender_close(&a.sender);
	free(a.socket);
	free(a.wait);
	free(a.missed);
	return ret;
}

int steer_afxdp_look(const struct rack *rack, struct steer_state *state, bool wait)
{
	uint64_t asked = __atomic_add_fetch(&state->afxdp_asked, 1, __ATOMIC_RELEASE);
	uint64_t end = now_ns() + LOOK_MS * 1000000ull;
	pid_t pid = daemon_find(rack, STEER_DAEMON);
	bool gone = !pid || kill(pid, LOOK_AGAIN);

	while (!gone && wait && __atomic_load_n(&state->afxdp.looked, __ATOMIC_ACQUIRE) < asked) {
		if (now_ns() > end)
			return rack_say("the process on the path afxdp does not answer");
		poll(NULL, 0, 1);
		gone = kill(pid, 0);
	}
	return gone ? rack_say("the process on the path afxdp is gone: frames take the bridge") : 0;
}
