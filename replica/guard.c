// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "replica/guard.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "replica/elec_attach.h"
#include "replica/journal_file.h"
#include "replica/privilege.h"

#define NAME "replica-guard"
#define SOCKET_FD 3 /* all above are closed: none of the replica's may live on in here */

enum verb { ATTACH, COUNTS, CREATE, REPLACE, REMOVE, SYNC };

/* Descriptors that come along with ATTACH; there may be no folder. */
enum passed { PASS_PROGRAM, PASS_COUNTS, PASS_FOLDER, PASS_MAX };

struct request {
	uint32_t verb;
	uint32_t ifindex, mode, tc; /* ATTACH */
};

struct reply {
	int32_t ret;
	char error[256];
	uint64_t counts[ELEC_R_COUNT];
};

struct guard {
	int socket;
	pid_t pid;
	struct elec_keeper keeper;
};

/* ---- messages with descriptors ---- */

union control {
	char data[CMSG_SPACE(PASS_MAX * sizeof(int))];
	struct cmsghdr align;
};

static int send_with(int socket, const void *data, size_t size, const int *fd, unsigned int count)
{
	union control control = {0};
	struct iovec iov = {(void *)data, size};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};
	ssize_t n;

	if (count) {
		struct cmsghdr *c = &control.align;

		m.msg_control = &control;
		m.msg_controllen = CMSG_SPACE(count * sizeof(int));
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(count * sizeof(int));
		memcpy(CMSG_DATA(c), fd, count * sizeof(int));
	}
	do
		n = sendmsg(socket, &m, MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : 0;
}

/* Exactly `size` bytes; *count: in, how many descriptors there is room for, out, how many came. */
static int receive_with(int socket, void *data, size_t size, int *fd, unsigned int *count)
{
	union control control = {0};
	struct iovec iov = {data, size};
	struct msghdr m = {.msg_iov = &iov,
			   .msg_iovlen = 1,
			   .msg_control = &control,
			   .msg_controllen = CMSG_SPACE(*count * sizeof(int))};
	struct cmsghdr *c;
	ssize_t n;

	*count = 0;
	do
		n = recvmsg(socket, &m, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	c = CMSG_FIRSTHDR(&m);
	if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS) {
		*count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		memcpy(fd, CMSG_DATA(c), *count * sizeof(int));
	}
	return (size_t)n == size && !(m.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) ? 0 : -EPIPE;
}

/* ---- the guard ---- */

struct service {
	char path[PATH_MAX], path_new[PATH_MAX]; /* of the journal; empty: none */
	struct elec_attached attached;
	bool used[2]; /* XDP, TC: each comes once */
	int counts;
};

static int do_attach(struct service *s, const struct request *r, const int fd[PASS_MAX],
		     unsigned int count, struct reply *reply)
{
	struct elec_attach what = {.ifindex = r->ifindex, .mode = r->mode, .tc = r->tc};

	if (count < PASS_FOLDER || r->mode > ELEC_XDP_GENERIC || r->tc > 1 || s->used[r->tc])
		return -EINVAL;
	s->used[r->tc] = true;
	s->counts = fd[PASS_COUNTS]; /* it, the program and the mark stay open until the end */
	if (count > PASS_FOLDER) {
		int mark = elec_attach_mark(fd[PASS_FOLDER]);

		close(fd[PASS_FOLDER]);
		if (mark < 0)
			return mark;
	}
	what.program = fd[PASS_PROGRAM];
	return elec_attach(&s->attached, &what, reply->error, sizeof(reply->error));
}

static int do_name(const struct service *s, uint32_t verb, int *fd)
{
	if (!*s->path)
		return -EINVAL;
	switch (verb) {
	case CREATE:
		return journal_names_direct.create(s->path_new, fd);
	case REPLACE:
		return journal_names_direct.replace(s->path_new, s->path);
	case REMOVE:
		return journal_names_direct.remove(s->path_new);
	case SYNC:
		return journal_names_direct.sync(s->path);
	default:
		return -EINVAL;
	}
}

/* One request; false: the replica has ended, or what it says is not of this protocol. */
static bool serve_one(struct service *s)
{
	int fds[PASS_MAX], back = -1;
	unsigned int count = PASS_MAX;
	struct reply reply = {0};
	struct request r;

	if (receive_with(SOCKET_FD, &r, sizeof(r), fds, &count))
		return false;
	if (count && r.verb != ATTACH)
		return false;
	switch (r.verb) {
	case ATTACH:
		reply.ret = do_attach(s, &r, fds, count, &reply);
		back = s->attached.xdp_link;
		s->attached.xdp_link = -1; /* the replica's */
		break;
	case COUNTS:
		reply.ret = elec_attach_counts(s->counts, reply.counts);
		break;
	default:
		reply.ret = do_name(s, r.verb, &back);
	}
	if (send_with(SOCKET_FD, &reply, sizeof(reply), &back, back >= 0))
		return false;
	if (back >= 0)
		close(back);
	return true;
}

static int run(int socket, const char *journal)
{
	static const int kept[] = {CAP_NET_ADMIN, CAP_BPF, CAP_DAC_OVERRIDE};
	/* It ends when the replica has: what ends all of a group, or a rack, is not for it. */
	static const int ignored[] = {SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1};
	struct service s = {.attached = ELEC_ATTACHED_NONE, .counts = -1};
	int null = open("/dev/null", O_RDWR);

	for (size_t i = 0; i < sizeof(ignored) / sizeof(*ignored); i++)
		signal(ignored[i], SIG_IGN);
	signal(SIGCHLD, SIG_DFL);
	prctl(PR_SET_NAME, NAME);
	for (int i = 0; i < SOCKET_FD; i++)
		dup2(null, i);
	dup2(socket, SOCKET_FD);
	close_range(SOCKET_FD + 1, ~0u, 0);
	if (journal) {
		snprintf(s.path, sizeof(s.path), "%s", journal);
		if (snprintf(s.path_new, sizeof(s.path_new), "%s.new", journal) >= PATH_MAX)
			return 1;
	}
	if (privilege_keep(kept, sizeof(kept) / sizeof(*kept)))
		return 1;
	while (serve_one(&s))
		;
	elec_detach(&s.attached);
	return 0;
}

/* ---- the replica's side ---- */

static int ask(struct guard *g, const struct request *r, const int *fds, unsigned int count,
	       struct reply *reply, int *back)
{
	unsigned int came = 1;
	int fd = -1, ret;

	ret = send_with(g->socket, r, sizeof(*r), fds, count);
	if (!ret)
		ret = receive_with(g->socket, reply, sizeof(*reply), &fd, &came);
	if (ret)
		return -EPIPE;
	if (came)
		*back = fd;
	return reply->ret;
}

static int keeper_attach(void *context, const struct elec_attach *what, int *xdp_link, char *error,
			 size_t size)
{
	const int fd[PASS_MAX] = {what->program, what->counts, what->folder};
	struct request r = {.verb = ATTACH, what->ifindex, what->mode, what->tc};
	struct reply reply;
	int ret;

	ret = ask(context, &r, fd, what->folder < 0 ? PASS_FOLDER : PASS_MAX, &reply, xdp_link);
	if (ret)
		snprintf(error, size, "%s",
			 ret == -EPIPE	? "the process that keeps the privileges has ended"
			 : *reply.error ? reply.error
					: strerror(-ret));
	return ret;
}

static int keeper_counts(void *context, uint64_t counts[ELEC_R_COUNT])
{
	struct request r = {.verb = COUNTS};
	struct reply reply;
	int none, ret = ask(context, &r, NULL, 0, &reply, &none);

	if (!ret)
		memcpy(counts, reply.counts, sizeof(reply.counts));
	return ret;
}

/* One journal, one guard: the names that the journal's functions give are those it knows. */
static struct guard *names_guard;

static int ask_names(enum verb verb, int *fd)
{
	struct request r = {.verb = verb};
	struct reply reply;

	return ask(names_guard, &r, NULL, 0, &reply, fd);
}

static int names_create(const char *path, int *fd)
{
	(void)path;
	return ask_names(CREATE, fd);
}

static int names_replace(const char *from, const char *to)
{
	int none;

	(void)from, (void)to;
	return ask_names(REPLACE, &none);
}

static int names_remove(const char *path)
{
	int none;

	(void)path;
	return ask_names(REMOVE, &none);
}

static int names_sync(const char *path)
{
	int none;

	(void)path;
	return ask_names(SYNC, &none);
}

void guard_take_names(struct guard *g)
{
	static const struct journal_names names = {
		.create = names_create,
		.replace = names_replace,
		.remove = names_remove,
		.sync = names_sync,
	};

	names_guard = g;
	journal_names = &names;
}

const struct elec_keeper *guard_keeper(struct guard *g)
{
	return &g->keeper;
}

int guard_open(struct guard **out, const char *journal)
{
	struct guard *g = calloc(1, sizeof(*g));
	int pair[2];

	if (!g)
		return -ENOMEM;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair)) {
		free(g);
		return -errno;
	}
	g->pid = fork();
	if (!g->pid)
		_exit(run(pair[1], journal));
	close(pair[1]);
	g->socket = pair[0];
	g->keeper = (struct elec_keeper){g, keeper_attach, keeper_counts};
	if (g->pid < 0) {
		int ret = -errno;

		close(g->socket);
		free(g);
		return ret;
	}
	*out = g;
	return 0;
}

void guard_close(struct guard *g)
{
	if (!g)
		return;
	journal_names = &journal_names_direct;
	close(g->socket);
	while (waitpid(g->pid, NULL, 0) < 0 && errno == EINTR)
		;
	free(g);
}
