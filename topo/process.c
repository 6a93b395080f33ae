// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Processes of a rack. One is recorded by a file pids/<pid>.<start time>, which it writes
 * itself before it becomes what it is to be: whoever finds the record finds that process
 * or none, for a pid is used again but not with the same start time.
 */
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "netns/ns.h"
#include "topo/process.h"

/* Start time of a process in clock ticks since boot, 0 when there is none or it is a zombie. */
static unsigned long long start_time(pid_t pid)
{
	char path[32], text[1024];
	unsigned long long start = 0;
	char *at, state = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	f = fopen(path, "re");
	/* Fields 3 and 22; counted from behind the name, which may hold anything, parentheses too.
	 */
	if (f && fgets(text, sizeof(text), f) && (at = strrchr(text, ')')))
		sscanf(at + 1,
		       " %c %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s "
		       "%*s %llu",
		       &state, &start);
	if (f)
		fclose(f);
	return state == 'Z' ? 0 : start;
}

static const char *record_path(char buf[RACK_PATH_MAX], const char *name, pid_t pid,
			       unsigned long long start)
{
	return rack_path(buf, name, "pids/%d.%llu", pid, start);
}

void process_each(const char *name, process_fn fn, void *arg)
{
	char path[RACK_PATH_MAX], node[16], comm[32];
	DIR *dir = opendir(rack_path(path, name, "pids"));
	unsigned long long start;
	struct dirent *entry;
	FILE *f;
	int pid;

	while (dir && (entry = readdir(dir))) {
		if (sscanf(entry->d_name, "%d.%llu", &pid, &start) != 2)
			continue;
		if (start_time(pid) != start) {
			unlinkat(dirfd(dir), entry->d_name, 0); /* it is over */
			continue;
		}
		node[0] = comm[0] = '\0';
		f = fopen(record_path(path, name, pid, start), "re");
		if (f && fgets(node, sizeof(node), f))
			node[strcspn(node, "\n")] = '\0';
		if (f)
			fclose(f);
		snprintf(path, sizeof(path), "/proc/%d/comm", pid);
		f = fopen(path, "re");
		if (f && fgets(comm, sizeof(comm), f))
			comm[strcspn(comm, "\n")] = '\0';
		if (f)
			fclose(f);
		fn(pid, node, comm, arg);
	}
	if (dir)
		closedir(dir);
}

static void ignore(pid_t pid, const char *node, const char *comm, void *arg)
{
	(void)pid, (void)node, (void)comm, (void)arg;
}

int process_record(const char *name, const char *node)
{
	char path[RACK_PATH_MAX];
	FILE *f;

	process_each(name, ignore, NULL); /* forgets the dead */
	f = fopen(record_path(path, name, getpid(), start_time(getpid())), "we");
	if (!f || fprintf(f, "%s\n", node) < 0 || fclose(f))
		return rack_say("cannot write %s: %s", path, strerror(errno));
	return 0;
}

int rack_netns(const struct rack *rack, const char *node)
{
	const struct rack_node *n = rack_node(rack, node);
	char path[RACK_PATH_MAX], host[16];
	int ns;

	if (n && !n->here)
		return rack_say("%s of %s is not on this host, but on %s", node, rack->name,
				inet_ntop(AF_INET, &rack->tor[n->tor].host, host, sizeof(host)));
	if (strcmp(node, "tor") && !n)
		return rack_cannot_be("%s has no node %.20s (`rack ls %s` lists them)", rack->name,
				      node, rack->name);
	ns = ns_open(rack_path(path, rack->name, "ns/%s", node));
	if (ns < 0)
		return rack_say("cannot open %s: %s", path, strerror(-ns));
	return ns;
}

int rack_enter(const struct rack *rack, const char *node)
{
	const struct rack_node *n = rack_node(rack, node);
	char value[RACK_NAME_MAX + 16];
	int lock = rack_lock(false), ns = -1, ret = -1;

	if (lock < 0)
		return -1;
	if (rack_state(rack->name) != RACK_UP) {
		rack_say("%s is not up any more", rack->name);
		goto out;
	}
	ns = rack_netns(rack, node);
	if (ns < 0 || process_record(rack->name, node))
		goto out;
	ret = ns_enter(ns);
	if (ret) {
		rack_say("cannot enter %s-%s: %s", rack->name, node, strerror(-ret));
		ret = -1;
		goto out;
	}
	if (n && CPU_COUNT(&n->cpus) && sched_setaffinity(0, sizeof(n->cpus), &n->cpus)) {
		ret = rack_say("cannot run on the CPUs of %s: %s", node, strerror(errno));
		goto out;
	}
	snprintf(value, sizeof(value), "%s/%.8s", rack->name, node);
	setenv("PAXRACK", value, 1);
out:
	if (ns >= 0)
		close(ns);
	rack_unlock(lock);
	return ret;
}

static int open_log(const struct rack *rack, const char *log)
{
	char path[RACK_PATH_MAX];
	int fd = open(rack_path(path, rack->name, "log/%s", log),
		      O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

	return fd < 0 ? rack_say("cannot open %s: %s", path, strerror(errno)) : fd;
}

static void child(const struct rack *rack, const char *node, const struct rack_spawn *spawn,
		  pid_t parent)
{
	sigset_t none;
	int log = -1;

	if (prctl(PR_SET_PDEATHSIG, SIGKILL) || getppid() != parent)
		return;
	if (spawn->own_group)
		setpgid(0, 0);
	if (spawn->log && (log = open_log(rack, spawn->log)) < 0)
		return;
	if (rack_enter(rack, node))
		return;
	if (spawn->out >= 0 || log >= 0)
		dup2(spawn->out >= 0 ? spawn->out : log, STDOUT_FILENO);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	/* Standard error last: until here it is where a failure is told. */
	if (spawn->err >= 0 || log >= 0) {
		int before = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);

		dup2(spawn->err >= 0 ? spawn->err : log, STDERR_FILENO);
		execvp(spawn->argv[0], (char *const *)spawn->argv);
		dup2(before, STDERR_FILENO);
	} else {
		execvp(spawn->argv[0], (char *const *)spawn->argv);
	}
	rack_say("cannot start %s: %s", spawn->argv[0], strerror(errno));
}

pid_t rack_spawn(const struct rack *rack, const char *node, const struct rack_spawn *spawn)
{
	pid_t parent = getpid(), pid;
	int started[2];
	ssize_t n;
	char word;

	/* Closed by a successful exec; a byte in it says that there was none. */
	if (pipe2(started, O_CLOEXEC))
		return rack_say("cannot make a pipe: %s", strerror(errno));
	pid = fork();
	if (!pid) {
		child(rack, node, spawn, parent);
		word = 1;
		_exit(write(started[1], &word, 1) == 1 ? 127 : 126);
	}
	close(started[1]);
	if (pid < 0)
		rack_say("cannot fork: %s", strerror(errno));
	do
		n = read(started[0], &word, 1);
	while (n < 0 && errno == EINTR);
	close(started[0]);
	if (pid > 0 && n == 1) {
		waitpid(pid, NULL, 0);
		pid = -1;
	}
	return pid;
}

int rack_stop(const struct rack *rack, pid_t pid, int timeout_ms)
{
	int pidfd = syscall(SYS_pidfd_open, pid, 0), status = -1;
	struct pollfd p = {.fd = pidfd, .events = POLLIN};
	unsigned long long start = start_time(pid);
	char path[RACK_PATH_MAX];

	kill(pid, SIGTERM);
	kill(pid, SIGCONT);
	/* Interrupted by a signal, it has had its time too: never wait without end. */
	if (pidfd >= 0 && poll(&p, 1, timeout_ms) <= 0)
		kill(pid, SIGKILL);
	if (waitpid(pid, &status, 0) != pid)
		status = -1;
	if (pidfd >= 0)
		close(pidfd);
	unlink(record_path(path, rack->name, pid, start));
	return status;
}
