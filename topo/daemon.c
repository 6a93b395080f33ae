// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "topo/daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "replica/privilege.h"
#include "topo/process.h"

#define READY_FD 3 /* all above are closed: locks of the command must not live on in here */

struct daemon {
	const struct rack *rack;
	const char *name;
	pid_t guard;   /* 0: none */
	int guard_end; /* of the pipe that tells it when this process has ended */
};

struct search {
	const char *name;
	pid_t pid;
};

static void compare(pid_t pid, const char *node, const char *comm, void *arg)
{
	struct search *s = arg;

	if (!strcmp(node, "tor") && !strcmp(comm, s->name))
		s->pid = pid;
}

pid_t daemon_find(const struct rack *rack, const char *name)
{
	struct search s = {name, 0};

	process_each(rack->name, compare, &s);
	return s.pid;
}

void daemon_ready(struct daemon *d)
{
	char path[RACK_PATH_MAX];
	int log = open(rack_path(path, d->rack->name, "log/%s.log", d->name),
		       O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

	if (log < 0)
		log = open("/dev/null", O_WRONLY | O_CLOEXEC);
	dup2(log, STDOUT_FILENO);
	dup2(log, STDERR_FILENO);
	close(log);
	(void)!write(READY_FD, "", 1);
	close(READY_FD);
}

static int guard(const struct daemon *d, const char *name, int pipe, const int *capabilities,
		 size_t count, void (*at_end)(void))
{
	ssize_t n;
	char byte;

	prctl(PR_SET_NAME, name);
	/* What ends all processes of a rack is not for it: it follows the daemon. */
	signal(SIGTERM, SIG_IGN);
	signal(SIGCHLD, SIG_DFL);
	if (process_record(d->rack->name, "tor") || privilege_keep(capabilities, count))
		return 1;
	dup2(STDOUT_FILENO, STDERR_FILENO); /* which is nowhere: the command's error output ends */
	do
		n = read(pipe, &byte, 1);
	while (n < 0 && errno == EINTR);
	if (n == 1)
		at_end();
	return 0;
}

int daemon_guard_start(struct daemon *d, const char *name, const int *capabilities, size_t count,
		       void (*at_end)(void))
{
	int pipe[2];

	if (pipe2(pipe, O_CLOEXEC))
		return rack_say("cannot make a pipe: %s", strerror(errno));
	d->guard = fork();
	if (!d->guard) {
		close(pipe[1]);
		close(READY_FD);
		_exit(guard(d, name, pipe[0], capabilities, count, at_end));
	}
	close(pipe[0]);
	d->guard_end = pipe[1];
	if (d->guard > 0)
		return 0;
	d->guard = 0;
	close(pipe[1]);
	return rack_say("cannot fork: %s", strerror(errno));
}

void daemon_guard_end(struct daemon *d)
{
	if (!d->guard)
		return;
	(void)!write(d->guard_end, "", 1); /* it may have ended: SIGPIPE is ignored */
	close(d->guard_end);
	while (waitpid(d->guard, NULL, 0) < 0 && errno == EINTR)
		;
	d->guard = 0;
}

/* In the new process. */
static int child(struct daemon *d, int ready, daemon_fn run)
{
	int null = open("/dev/null", O_RDWR);
	sigset_t none;

	setsid();
	dup2(null, STDIN_FILENO);
	dup2(null, STDOUT_FILENO);
	dup2(ready, READY_FD);
	close_range(READY_FD + 1, ~0u, 0);
	(void)!chdir("/");
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	for (int signal = 1; signal < NSIG; signal++) {
		struct sigaction action = {.sa_handler = SIG_DFL};

		sigaction(signal, &action, NULL);
	}
	signal(SIGPIPE, SIG_IGN);
	prctl(PR_SET_NAME, d->name);
	if (rack_enter(d->rack, "tor"))
		return 1;
	return run(d->rack, d) ? 1 : 0;
}

int daemon_start(const struct rack *rack, const char *name, daemon_fn run)
{
	struct daemon d = {.rack = rack, .name = name};
	int ready[2];
	ssize_t n;
	pid_t pid;
	char byte;

	if (pipe2(ready, O_CLOEXEC))
		return rack_say("cannot make a pipe: %s", strerror(errno));
	fflush(NULL);
	pid = fork();
	if (!pid) {
		/* Twice: it is nobody's child, and nobody has to wait for it. */
		pid = fork();
		_exit(pid ? pid < 0 : child(&d, ready[1], run));
	}
	close(ready[1]);
	if (pid > 0)
		waitpid(pid, NULL, 0);
	do
		n = read(ready[0], &byte, 1);
	while (n < 0 && errno == EINTR);
	close(ready[0]);
	return n == 1 ? 0 : rack_say("%s of %s did not start", name, rack->name);
}

void daemon_end(const struct rack *rack, const char *name, int signal, int timeout_ms)
{
	pid_t pid = daemon_find(rack, name);
	struct pollfd p = {.events = POLLIN};
	int ret;

	if (!pid)
		return;
	p.fd = syscall(SYS_pidfd_open, pid, 0);
	if (p.fd < 0 || daemon_find(rack, name) != pid)
		goto out;
	syscall(SYS_pidfd_send_signal, p.fd, signal, NULL, 0);
	syscall(SYS_pidfd_send_signal, p.fd, SIGCONT, NULL, 0);
	do
		ret = poll(&p, 1, timeout_ms);
	while (ret < 0 && errno == EINTR);
	if (!ret) {
		rack_say("%s of %s did not end within %d s and was killed", name, rack->name,
			 timeout_ms / 1000);
		syscall(SYS_pidfd_send_signal, p.fd, SIGKILL, NULL, 0);
		poll(&p, 1, timeout_ms);
	}
out:
	if (p.fd >= 0)
		close(p.fd);
}
