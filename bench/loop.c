// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * build/loop: the bare loop of a commit, as a floor under everything that a replica does besides.
 * No client, no encoding, no log: one fixed Prepare whose numbers count up, and the library.
 *
 *   leader     broadcast until so many are in flight; look for the quorum; the time of each op
 *   follower   all: reads the kernel log and says that it did    none: answers each Prepare
 *
 * One process for each replica, in its namespace. The leader ends by itself and prints a line of
 * JSON; followers end by SIGTERM.
 */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "bpf/offloads.h"
#include "replica/cluster.h"
#include "replica/elec.h"
#include "replica/histogram.h"
#include "replica/options.h"
#include "replica/wire.h"

#define PROGRAM "loop"
#define BODY 35 /* bytes; 100 in the datagram */
#define IN_FLIGHT_MAX 64
#define LOST_NS 100000000ULL /* no progress for so long: something was lost, send again */

struct loop {
	struct elec *elec;
	struct cluster cluster;
	uint64_t index, ops, in_flight;
	bool kernel; /* the offloads are on */
	int socket;
	uint64_t sent_ns[IN_FLIGHT_MAX];
	struct histogram latency_ns;
};

static volatile sig_atomic_t stop;

static void on_signal(int signal)
{
	stop = signal;
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ULL + t.tv_nsec;
}

static void prepare(struct loop *l, uint32_t op)
{
	uint8_t message[WIRE_HEAD_LEN(WIRE_T_PREPARE) + BODY] = {0};
	uint32_t fast[3] = {0, op, op};

	wire_encode_head(message, WIRE_PREPARE, fast, BODY);
	elec_broadcast(l->elec, l->socket, message, sizeof(message), op);
}

/* Evidence that came by the socket; with the offloads on only what completes a quorum. */
static void take_acks(struct loop *l, int flags)
{
	uint8_t data[256];
	ssize_t len;

	while ((len = recv(l->socket, data, sizeof(data), flags)) > 0) {
		struct wire_head head;

		if (wire_decode_head(&head, data, len) == WIRE_OK)
			elec_ack(l->elec, head.fast[2], head.fast[1]);
		flags = MSG_DONTWAIT;
	}
}

static void lead(struct loop *l)
{
	uint64_t sent = 0, done = 0, begin = now_ns(), progress = begin, again = 0, now;

	while (done < l->ops && !stop) {
		uint64_t committed;

		while (sent < l->ops && sent - done < l->in_flight) {
			l->sent_ns[++sent % IN_FLIGHT_MAX] = now_ns();
			prepare(l, sent);
		}
		committed = elec_quorum(l->elec);
		now = now_ns();
		for (; done < committed; done++, progress = now)
			histogram_add(&l->latency_ns, now - l->sent_ns[(done + 1) % IN_FLIGHT_MAX]);
		if (now - progress > LOST_NS) {
			for (uint64_t op = done + 1; op <= sent; op++, again++)
				prepare(l, op);
			progress = now;
		}
		take_acks(l, MSG_DONTWAIT);
		elec_stamp(l->elec);
	}
	now = now_ns();
	printf("{\"ops\": %" PRIu64 ", \"ops_per_s\": %.1f, \"p50_us\": %.2f, \"p99_us\": %.2f, "
	       "\"sent_again\": %" PRIu64 "}\n",
	       done, (double)done * 1e9 / (double)(now - begin),
	       (double)histogram_percentile(&l->latency_ns, 0.5) / 1000,
	       (double)histogram_percentile(&l->latency_ns, 0.99) / 1000, again);
}

static void answer(struct loop *l)
{
	uint8_t data[256], ok[WIRE_HEAD_LEN(WIRE_T_PREPARE_OK)];
	struct wire_head head;
	ssize_t len = recv(l->socket, data, sizeof(data), 0);

	if (len < 0 || wire_decode_head(&head, data, len) != WIRE_OK || head.kind != WIRE_PREPARE)
		return;
	head.fast[2] = l->index;
	wire_encode_head(ok, WIRE_PREPARE_OK, head.fast, 0);
	sendto(l->socket, ok, sizeof(ok), 0, (void *)&l->cluster.replica[0],
	       sizeof(l->cluster.replica[0]));
}

static void follow(struct loop *l)
{
	struct pollfd wake = {.fd = elec_wake_fd(l->elec), .events = POLLIN};
	struct elec_message m[IN_FLIGHT_MAX];

	while (!stop) {
		int n;

		elec_stamp(l->elec);
		if (!l->kernel) {
			answer(l);
			continue;
		}
		n = elec_poll_message(l->elec, m, IN_FLIGHT_MAX);
		if (n)
			elec_consumed(l->elec, m[n - 1].last);
		if (n || !elec_sleep(l->elec))
			continue;
		poll(&wake, 1, 50);
		elec_awake(l->elec);
	}
}

static int open_all(struct loop *l, struct elec_options *o, char *error, size_t size)
{
	struct elec_member members[ELEC_REPLICAS_MAX] = {0};
	struct sockaddr_in *own = &l->cluster.replica[l->index];
	const struct timeval patience = {.tv_usec = 50000};
	int ret;

	for (uint32_t i = 0; i < l->cluster.n; i++) {
		members[i].addr = l->cluster.replica[i].sin_addr.s_addr;
		members[i].port = l->cluster.replica[i].sin_port;
	}
	o->members = members;
	o->n = l->cluster.n;
	o->self = l->index;
	l->socket = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	/* a follower that sleeps in recv() must see the signal that came before */
	if (l->socket < 0 || bind(l->socket, (void *)own, sizeof(*own)) ||
	    setsockopt(l->socket, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience))) {
		ret = -errno;
		snprintf(error, size, "cannot open its socket: %s", strerror(-ret));
		return ret;
	}
	ret = elec_open(&l->elec, o, error, size);
	return ret ?: elec_thaw(l->elec, 0, 0, 0);
}

int main(int argc, char **argv)
{
	static struct loop l = {.index = UINT64_MAX, .ops = 100000, .in_flight = 1};
	struct elec_options o = {.iface = "eth0", .wake_backlog = 64, .lease_ms = 1000};
	struct sigaction action = {.sa_handler = on_signal};
	const char *config = NULL, *offload = "all", *xdp = "native";
	uint64_t ready_fd = UINT64_MAX;
	char error[4096] = "";
	const struct option_row rows[] = {
		{"config", "FILE", "the replicas; the first one leads (needed)", .text = &config},
		{"index", "N", "which of them this one is (needed)", .number = &l.index,
		 .max = ELEC_REPLICAS_MAX - 1},
		{"offload", "SET", ELEC_OFFLOAD_NAMES " (all)", .text = &offload},
		{"xdp", "MODE", "native or generic (native)", .text = &xdp},
		{"ops", "N", "of the leader (100000)", .number = &l.ops, .min = 1,
		 .max = UINT32_MAX},
		{"in-flight", "N", "ops (1)", .number = &l.in_flight, .min = 1,
		 .max = IN_FLIGHT_MAX},
		{"ready-fd", "FD", "write 'ready' there once it serves", .number = &ready_fd,
		 .max = 1 << 20},
	};
	int ret = options_parse(PROGRAM, "the bare loop of a commit", rows,
				sizeof(rows) / sizeof(*rows), argc, argv);

	if (ret >= 0)
		return ret;
	if (!config || l.index == UINT64_MAX || !elec_offload_parse(offload, &o.offloads)) {
		options_say(PROGRAM,
			    "--config, --index and --offload (" ELEC_OFFLOAD_NAMES ") say what to "
			    "run");
		return 2;
	}
	l.kernel = o.offloads & ELEC_OFFLOAD_ACK;
	o.mode = *xdp == 'g' ? ELEC_XDP_GENERIC : ELEC_XDP_NATIVE;
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGINT, &action, NULL);
	if (cluster_read(&l.cluster, config, error, sizeof(error)) ||
	    (l.index >= l.cluster.n && snprintf(error, sizeof(error), "no such replica")) ||
	    open_all(&l, &o, error, sizeof(error))) {
		options_say(PROGRAM, "%s", error);
		return EXIT_FAILURE;
	}
	if (ready_fd != UINT64_MAX && write(ready_fd, "ready\n", 6) != 6)
		return EXIT_FAILURE;
	if (l.index)
		follow(&l);
	else
		lead(&l);
	elec_close(l.elec);
	return fflush(stdout) ? EXIT_FAILURE : EXIT_SUCCESS;
}
