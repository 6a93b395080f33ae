// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Small packets, as many as go:
 *
 *   packets send ADDRESS SECONDS BYTES FLOWS   prints how many datagrams were sent
 *   packets receive                            prints how many came, when SIGTERM asks for it
 *
 * UDP port 9, many datagrams a system call, FLOWS sockets in turn.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define PORT 9
#define LOOK_MS 1
#define BATCH 64
#define BYTES_MAX 9000
#define FLOWS_MAX 64

static volatile sig_atomic_t ending;

static void on_signal(int signal)
{
	(void)signal;
	ending = 1;
}

static double now_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

static int fail(const char *what)
{
	fprintf(stderr, "packets: cannot %s: %s\n", what, strerror(errno));
	return 1;
}

static int send_for(const char *address, double seconds, unsigned int bytes, unsigned int flows)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(PORT)};
	static char data[BYTES_MAX];
	struct iovec iov = {.iov_base = data, .iov_len = bytes};
	struct mmsghdr messages[BATCH];
	int fd[FLOWS_MAX];
	unsigned long long sent = 0;
	double end;

	if (inet_pton(AF_INET, address, &to.sin_addr) != 1 || bytes > BYTES_MAX || !flows ||
	    flows > FLOWS_MAX) {
		fprintf(stderr, "packets: send ADDRESS SECONDS BYTES FLOWS\n");
		return 2;
	}
	for (unsigned int i = 0; i < flows; i++) {
		fd[i] = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
		if (fd[i] < 0 || connect(fd[i], (struct sockaddr *)&to, sizeof(to)))
			return fail("connect");
	}
	memset(messages, 0, sizeof(messages));
	for (int i = 0; i < BATCH; i++)
		messages[i].msg_hdr = (struct msghdr){.msg_iov = &iov, .msg_iovlen = 1};
	end = now_s() + seconds;
	for (unsigned int i = 0; now_s() < end; i = (i + 1) % flows) {
		int n = sendmmsg(fd[i], messages, BATCH, 0);

		if (n > 0)
			sent += n;
		else if (errno != ECONNREFUSED && errno != ENOBUFS && errno != EAGAIN)
			return fail("send");
	}
	printf("%llu\n", sent);
	return 0;
}

static int receive(void)
{
	struct sockaddr_in here = {.sin_family = AF_INET, .sin_port = htons(PORT)};
	struct sigaction action = {.sa_handler = on_signal};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), room = 64 << 20;
	static char data[BATCH][BYTES_MAX];
	struct mmsghdr messages[BATCH];
	struct iovec iov[BATCH];
	unsigned long long got = 0;
	int n;

	sigaction(SIGTERM, &action, NULL);
	if (fd < 0 || bind(fd, (struct sockaddr *)&here, sizeof(here)))
		return fail("listen");
	setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room));
	memset(messages, 0, sizeof(messages));
	for (int i = 0; i < BATCH; i++) {
		iov[i] = (struct iovec){data[i], BYTES_MAX};
		messages[i].msg_hdr = (struct msghdr){.msg_iov = &iov[i], .msg_iovlen = 1};
	}
	printf("ready\n");
	fflush(stdout);
	do {
		/* Never woken by a packet: that costs the sender much, or nothing. */
		n = recvmmsg(fd, messages, BATCH, MSG_DONTWAIT, NULL);
		if (n > 0)
			got += n;
		else if (!ending)
			poll(NULL, 0, LOOK_MS);
	} while (!ending || n > 0);
	printf("%llu\n", got);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 6 && !strcmp(argv[1], "send"))
		return send_for(argv[2], atof(argv[3]), atoi(argv[4]), atoi(argv[5]));
	if (argc == 2 && !strcmp(argv[1], "receive"))
		return receive();
	fprintf(stderr, "packets: send ADDRESS SECONDS BYTES FLOWS, or receive\n");
	return 2;
}
