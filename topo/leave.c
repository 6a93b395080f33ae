// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "topo/leave.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "topo/fault.h"

#define PATH_ROOM 1024

/* ---- the folder ---- */

static const char *const parts[] = {"parts", "capture", "journal", "log"};

static int remove_one(const char *path, const struct stat *stat, int type, struct FTW *at)
{
	(void)stat, (void)type;
	return at->level ? remove(path) : 0;
}

/* Somebody may well have typed --out / --force: only what is an experiment's is emptied. */
static int make_empty(const char *folder)
{
	char path[PATH_ROOM];

	if (!rmdir(folder))
		return mkdir(folder, 0755);
	snprintf(path, sizeof(path), "%s/experiment.yaml", folder);
	if (access(path, F_OK)) {
		rack_say("%s is no experiment's folder: it has no experiment.yaml", folder);
		return -1;
	}
	if (nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS))
		return rack_say("cannot empty %s: %s", folder, strerror(errno));
	return 0;
}

static int make_parents(const char *folder)
{
	char path[PATH_ROOM];

	snprintf(path, sizeof(path), "%s", folder);
	for (char *slash = path + 1; (slash = strchr(slash, '/')); slash++) {
		*slash = '\0';
		if (mkdir(path, 0755) && errno != EEXIST)
			return rack_say("cannot make %s: %s", path, strerror(errno));
		*slash = '/';
	}
	return 0;
}

int leave_open(const char *folder, bool force)
{
	char path[PATH_ROOM];

	if (make_parents(folder))
		return -1;
	if (mkdir(folder, 0755)) {
		if (errno != EEXIST)
			return rack_say("cannot make %s: %s", folder, strerror(errno));
		if (!force)
			return rack_say("%s is there already: give --force, or another --out or "
					"--seed",
					folder);
		if (make_empty(folder))
			return -1;
	}
	for (size_t i = 0; i < sizeof(parts) / sizeof(*parts); i++) {
		snprintf(path, sizeof(path), "%s/%s", folder, parts[i]);
		if (mkdir(path, 0755))
			return rack_say("cannot make %s: %s", path, strerror(errno));
	}
	return 0;
}

/* ---- files ---- */

int leave_copy(const char *from, const char *to)
{
	FILE *in = fopen(from, "re"), *out = NULL;
	char buf[65536];
	size_t len;
	int ret = -1;

	if (!in) {
		if (errno == ENOENT) /* it said nothing */
			return 0;
		return rack_say("cannot read %s: %s", from, strerror(errno));
	}
	out = fopen(to, "we");
	while (out && (len = fread(buf, 1, sizeof(buf), in)) > 0) {
		if (fwrite(buf, 1, len, out) != len)
			break;
	}
	if (out && !ferror(in) && !ferror(out) && !fflush(out))
		ret = 0;
	else
		rack_say("cannot copy %s to %s: %s", from, to, strerror(errno));
	if (out)
		fclose(out);
	fclose(in);
	return ret;
}

int leave_log(const struct rack *rack, const char *folder, unsigned int run, const char *node)
{
	char from[RACK_PATH_MAX], to[PATH_ROOM];

	snprintf(to, sizeof(to), "%s/log/%u-%s.log", folder, run, node);
	return leave_copy(rack_path(from, rack->name, "log/%s.log", node), to);
}

int leave_faults(const struct rack *rack, const char *folder, unsigned int run)
{
	char from[RACK_PATH_MAX], to[PATH_ROOM];

	snprintf(to, sizeof(to), "%s/parts/%u-faults.jsonl", folder, run);
	if (leave_copy(rack_path(from, rack->name, FAULT_LOG), to))
		return -1;
	unlink(from);
	return 0;
}

int leave_journal(const struct rack *rack, const char *programs, const char *folder,
		  unsigned int run, const char *node)
{
	char journal[RACK_PATH_MAX], program[PATH_ROOM], to[PATH_ROOM];
	int status = -1, out;
	pid_t pid;

	snprintf(program, sizeof(program), "%s/journal", programs);
	snprintf(to, sizeof(to), "%s/journal/%u-%s.jsonl", folder, run, node);
	rack_path(journal, rack->name, "journal/%s", node);
	if (access(journal, F_OK)) /* it never came to make one */
		return 0;
	out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (out < 0)
		return rack_say("cannot write %s: %s", to, strerror(errno));
	pid = fork();
	if (!pid) {
		setpgid(0, 0); /* a terminal's Ctrl-C is not meant for it */
		dup2(out, STDOUT_FILENO);
		execl(program, program, "--snapshots", journal, (char *)NULL);
		_exit(127);
	}
	close(out);
	if (pid < 0 || waitpid(pid, &status, 0) != pid || status)
		return rack_say("cannot print the journal of %s: `%s %s` says why", node, program,
				journal);
	return 0;
}
