/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "topo/child.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "topo/progress.h"

#define LOG_LINES 12
#define COMMAND_MAX 4096

const char *child_programs(char buf[RACK_PATH_MAX])
{
	static const char *const names[] = {"replica", "client", "journal", "results.py",
					    "report.py"};
	char path[RACK_PATH_MAX + 16];
	ssize_t len = readlink("/proc/self/exe", buf, RACK_PATH_MAX - 1);
	const char *folder;

	if (len < 0) {
		rack_say("cannot find this program's folder: %s", strerror(errno));
		return NULL;
	}
	buf[len] = 0;
	folder = dirname(buf);
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		snprintf(path, sizeof(path), "%s/%s", folder, names[i]);
		if (access(path, R_OK)) {
			rack_say("cannot use %s: %s; `make` builds it", path, strerror(errno));
			return NULL;
		}
	}
	return folder;
}

static int spawn(const struct rack *rack, struct child *c, const char *const *argv)
{
	char log[32];
	struct rack_spawn spawn = {.argv = argv, .log = log, .err = -1, .own_group = true};
	pid_t pid;

	snprintf(log, sizeof(log), "%s.log", c->node);
	c->out = spawn.out = memfd_create(c->node, MFD_CLOEXEC);
	if (c->out < 0)
		return progress_fail("cannot start %s: %s", c->node, strerror(errno));
	pid = rack_spawn(rack, c->node, &spawn);
	if (pid < 0)
		return -1;
	c->pid = pid;
	c->pidfd = syscall(SYS_pidfd_open, c->pid, 0);
	if (c->pidfd < 0)
		return progress_fail("cannot watch %s: %s", c->node, strerror(errno));
	return 0;
}

int child_start(const struct rack *rack, struct child *c, const char *programs, const char *program,
		const char **argv, int told)
{
	char path[2 * RACK_PATH_MAX];
	int ret;

	snprintf(path, sizeof(path), "%s/%s", programs, program);
	argv[0] = path;
	ret = fcntl(told, F_SETFD, 0)
		      ? progress_fail("cannot start %s: %s", c->node, strerror(errno))
		      : spawn(rack, c, argv);
	close(told);
	return ret;
}

/* Writes `value` for each {key} of the text. */
static void replace(char text[COMMAND_MAX], const char *key, const char *value)
{
	char before[COMMAND_MAX], *from = before, *at;
	size_t len = 0;

	snprintf(before, sizeof(before), "%s", text);
	while (len < COMMAND_MAX && (at = strstr(from, key))) {
		len += snprintf(text + len, COMMAND_MAX - len, "%.*s%s", (int)(at - from), from,
				value);
		from = at + strlen(key);
	}
	if (len < COMMAND_MAX)
		snprintf(text + len, COMMAND_MAX - len, "%s", from);
}

int child_start_command(const struct rack *rack, struct child *c, const struct rack_node *node)
{
	char text[COMMAND_MAX], conf[RACK_PATH_MAX], index[16];
	const char *argv[] = {"/bin/sh", "-c", text, NULL};

	snprintf(text, sizeof(text), "exec %s", node->command);
	snprintf(index, sizeof(index), "%u", node->number);
	replace(text, "{index}", index);
	replace(text, "{iface}", RACK_IFACE);
	replace(text, "{conf}", rack_path(conf, rack->name, "cluster.conf"));
	return spawn(rack, c, argv);
}

void child_forget_log(const struct rack *rack, const char *node)
{
	char path[RACK_PATH_MAX];

	unlink(rack_path(path, rack->name, "log/%s.log", node));
}

int child_stop(const struct rack *rack, struct child *c)
{
	int status = c->pid ? rack_stop(rack, c->pid, CHILD_STOP_MS) : -1;

	c->pid = 0;
	return status;
}

void child_close(struct child *c)
{
	if (c->pidfd >= 0)
		close(c->pidfd);
	if (c->out >= 0)
		close(c->out);
	if (c->pipe >= 0)
		close(c->pipe);
	c->pidfd = c->out = c->pipe = -1;
}

ssize_t child_output(const struct child *c, char *text, size_t size)
{
	return pread(c->out, text, size, 0);
}

ssize_t child_last_line(const struct child *c, char *text, size_t size)
{
	struct stat stat;
	ssize_t len;
	char *begin;

	if (c->out < 0 || fstat(c->out, &stat))
		return -1;
	len = pread(c->out, text, size - 1,
		    (size_t)stat.st_size < size ? 0 : stat.st_size - (off_t)size + 1);
	while (len > 0 && text[len - 1] != '\n') /* not yet whole */
		len--;
	if (len <= 0)
		return -1;
	text[--len] = '\0';
	begin = strrchr(text, '\n');
	begin = begin ? begin + 1 : text;
	len -= begin - text;
	memmove(text, begin, len + 1);
	return len;
}

void child_show_log(const struct rack *rack, const char *node)
{
	char path[RACK_PATH_MAX], *line[LOG_LINES] = {};
	size_t size[LOG_LINES] = {};
	unsigned int count = 0;
	FILE *file;

	file = fopen(rack_path(path, rack->name, "log/%s.log", node), "re");
	if (!file)
		return;
	while (getline(&line[count % LOG_LINES], &size[count % LOG_LINES], file) >= 0)
		count++;
	for (unsigned int i = count > LOG_LINES ? count - LOG_LINES : 0; i < count; i++)
		fprintf(stderr, "  %s: %.*s\n", node, (int)strcspn(line[i % LOG_LINES], "\n"),
			line[i % LOG_LINES]);
	for (unsigned int i = 0; i < LOG_LINES; i++)
		free(line[i]);
	fclose(file);
}

const char *child_describe(int status, char how[CHILD_HOW_MAX])
{
	if (WIFSIGNALED(status))
		snprintf(how, CHILD_HOW_MAX, "killed by signal %d", WTERMSIG(status));
	else
		snprintf(how, CHILD_HOW_MAX, "exit status %d", WEXITSTATUS(status));
	return how;
}
