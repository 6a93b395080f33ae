// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Ending what still runs in a rack. */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "topo/process.h"

#define VICTIMS_MAX 512 /* in one round */
#define ROUNDS 8	/* a process may fork while it is being ended */
#define TERM_MS 1000	/* to end by itself */
#define KILL_MS 2000	/* to be gone after SIGKILL */

struct ns_id {
	ino_t ino;
	char node[16];
};

struct reap {
	const char *name;
	struct ns_id *ns; /* of the rack's namespaces, sorted */
	size_t ns_count;
	struct pollfd victim[VICTIMS_MAX]; /* pidfds */
	pid_t pid[VICTIMS_MAX];
	int victims;
	bool tell; /* about other people's processes */
};

static int by_ino(const void *a, const void *b)
{
	const struct ns_id *x = a, *y = b;

	return x->ino < y->ino ? -1 : x->ino > y->ino;
}

static void list_namespaces(struct reap *r)
{
	char path[RACK_PATH_MAX];
	DIR *dir = opendir(rack_path(path, r->name, "ns"));
	struct dirent *entry;
	struct ns_id *more;
	struct stat st;

	while (dir && (entry = readdir(dir))) {
		if (entry->d_name[0] == '.' || fstatat(dirfd(dir), entry->d_name, &st, 0))
			continue;
		more = realloc(r->ns, (r->ns_count + 1) * sizeof(*r->ns));
		if (!more)
			break;
		r->ns = more;
		r->ns[r->ns_count].ino = st.st_ino;
		snprintf(r->ns[r->ns_count].node, sizeof(r->ns->node), "%.15s", entry->d_name);
		r->ns_count++;
	}
	if (dir)
		closedir(dir);
	if (r->ns_count)
		qsort(r->ns, r->ns_count, sizeof(*r->ns), by_ino);
}

static void add_victim(struct reap *r, pid_t pid, int pidfd)
{
	if (r->victims < VICTIMS_MAX) {
		r->pid[r->victims] = pid;
		r->victim[r->victims++] = (struct pollfd){.fd = pidfd, .events = POLLIN};
	} else {
		close(pidfd);
	}
}

static bool is_victim(const struct reap *r, pid_t pid)
{
	for (int i = 0; i < r->victims; i++) {
		if (r->pid[i] == pid)
			return true;
	}
	return false;
}

static void on_recorded(pid_t pid, const char *node, const char *comm, void *arg)
{
	int pidfd = pid == getpid() ? -1 : (int)syscall(SYS_pidfd_open, pid, 0);

	(void)node, (void)comm;
	if (pidfd >= 0)
		add_victim(arg, pid, pidfd);
}

/* Was it started by, or by a child of, rack_enter()? The environment says so. */
static bool inherited(const struct reap *r, pid_t pid)
{
	char path[32], want[RACK_NAME_MAX + 16];
	size_t size = 0;
	char *text = NULL;
	bool found = false;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/environ", pid);
	snprintf(want, sizeof(want), "PAXRACK=%s/", r->name);
	f = fopen(path, "re");
	while (f && !found && getdelim(&text, &size, '\0', f) > 0)
		found = !strncmp(text, want, strlen(want));
	free(text);
	if (f)
		fclose(f);
	return found;
}

static void look_at(struct reap *r, pid_t pid)
{
	char path[32], comm[32] = "";
	const struct ns_id *ns;
	struct ns_id key;
	struct stat st;
	int pidfd;
	FILE *f;

	/* First a handle on the process, then what is true of it. */
	pidfd = syscall(SYS_pidfd_open, pid, 0);
	if (pidfd < 0)
		return;
	snprintf(path, sizeof(path), "/proc/%d/ns/net", pid);
	key.ino = stat(path, &st) ? 0 : st.st_ino;
	ns = bsearch(&key, r->ns, r->ns_count, sizeof(*r->ns), by_ino);
	if (!ns) {
		close(pidfd);
	} else if (inherited(r, pid)) {
		add_victim(r, pid, pidfd);
	} else {
		close(pidfd);
		snprintf(path, sizeof(path), "/proc/%d/comm", pid);
		f = fopen(path, "re");
		if (f && fgets(comm, sizeof(comm), f))
			comm[strcspn(comm, "\n")] = '\0';
		if (f)
			fclose(f);
		if (r->tell)
			rack_say("process %d (%s) is in %s-%s and was not started by rack: its "
				 "namespace lasts until it ends",
				 pid, comm, r->name, ns->node);
	}
}

static void list_offspring(struct reap *r)
{
	DIR *dir = r->ns_count ? opendir("/proc") : NULL;
	struct dirent *entry;

	while (dir && (entry = readdir(dir))) {
		pid_t pid = isdigit((unsigned char)entry->d_name[0]) ? atoi(entry->d_name) : 0;

		if (pid && pid != getpid() && !is_victim(r, pid))
			look_at(r, pid);
	}
	if (dir)
		closedir(dir);
}

static void signal_all(struct reap *r, int signal)
{
	for (int i = 0; i < r->victims; i++) {
		if (r->victim[i].fd >= 0)
			syscall(SYS_pidfd_send_signal, r->victim[i].fd, signal, NULL, 0);
	}
}

/* Waits until all are over, closing their descriptors; how many are not. */
static int wait_all(struct reap *r, int timeout_ms)
{
	struct timespec now, until;
	int left = r->victims, ms;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += timeout_ms / 1000;
	for (;;) {
		left = 0;
		for (int i = 0; i < r->victims; i++) {
			if (r->victim[i].revents) {
				close(r->victim[i].fd);
				r->victim[i].fd = -1;
				r->victim[i].revents = 0;
			}
			left += r->victim[i].fd >= 0;
		}
		clock_gettime(CLOCK_MONOTONIC, &now);
		ms = (until.tv_sec - now.tv_sec) * 1000 + (until.tv_nsec - now.tv_nsec) / 1000000;
		if (!left || ms <= 0)
			return left;
		poll(r->victim, r->victims, ms);
	}
}

void process_end_all(const char *name)
{
	struct reap *r = calloc(1, sizeof(*r));

	if (!r) {
		rack_say("no memory");
		return;
	}
	r->name = name;
	list_namespaces(r);
	for (int round = 0; round < ROUNDS; round++) {
		r->victims = 0;
		process_each(name, on_recorded, r);
		r->tell = !round;
		list_offspring(r);
		if (!r->victims)
			break;
		signal_all(r, SIGTERM);
		signal_all(r, SIGCONT);
		if (wait_all(r, TERM_MS)) {
			signal_all(r, SIGKILL);
			if (wait_all(r, KILL_MS))
				rack_say("a process in %s does not end, not even by SIGKILL", name);
		}
		for (int i = 0; i < r->victims; i++) {
			if (r->victim[i].fd >= 0)
				close(r->victim[i].fd);
		}
	}
	free(r->ns);
	free(r);
}
