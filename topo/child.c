/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "topo/child.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "topo/progress.h"

#define LOG_LINES 12

int child_start(const struct rack *rack, struct child *c, const char *programs, const char *program,
		const char **argv, int told)
{
	char path[2 * RACK_PATH_MAX], log[32], old[RACK_PATH_MAX];
	struct rack_spawn spawn = {.argv = argv, .log = log, .err = -1, .own_group = true};

	snprintf(path, sizeof(path), "%s/%s", programs, program);
	snprintf(log, sizeof(log), "%s.log", c->node);
	unlink(rack_path(old, rack->name, "log/%s", log)); /* of an earlier run */
	argv[0] = path;
	c->out = spawn.out = memfd_create(c->node, MFD_CLOEXEC);
	if (c->out < 0 || fcntl(told, F_SETFD, 0)) {
		progress_fail("cannot start %s: %s", c->node, strerror(errno));
	} else {
		pid_t pid = rack_spawn(rack, c->node, &spawn);

		c->pid = pid > 0 ? pid : 0;
	}
	close(told);
	if (!c->pid)
		return -1;
	c->pidfd = syscall(SYS_pidfd_open, c->pid, 0);
	if (c->pidfd < 0)
		return progress_fail("cannot watch %s: %s", c->node, strerror(errno));
	return 0;
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
