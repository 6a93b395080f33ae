// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Where a rack's run-time state is, whether it is there, and the lock on all of it. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "topo/private.h"

const char *rack_folder(char buf[RACK_PATH_MAX], const char *name)
{
	snprintf(buf, RACK_PATH_MAX, RACK_RUN "/%.*s", RACK_NAME_MAX, name);
	return buf;
}

const char *rack_path(char buf[RACK_PATH_MAX], const char *name, const char *fmt, ...)
{
	size_t at = strlen(rack_folder(buf, name));
	va_list args;

	buf[at++] = '/';
	va_start(args, fmt);
	vsnprintf(buf + at, RACK_PATH_MAX - at, fmt, args);
	va_end(args);
	return buf;
}

/*
 * The lock is on the folder itself, which goes when the last rack goes: a lock on a
 * folder that somebody removed meanwhile is worth nothing, so look again.
 */
int rack_lock(bool exclusive)
{
	int how = exclusive ? LOCK_EX : LOCK_SH;
	struct stat held, now;
	int fd;

	for (;;) {
		if (mkdir(RACK_RUN, 0755) && errno != EEXIST)
			return rack_say("cannot make " RACK_RUN ": %s", strerror(errno));
		fd = open(RACK_RUN, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (fd < 0 && errno == ENOENT)
			continue;
		if (fd < 0)
			return rack_say("cannot open " RACK_RUN ": %s", strerror(errno));
		if (flock(fd, how | LOCK_NB)) {
			fprintf(stderr, "rack: waiting for another rack command to end\n");
			while (flock(fd, how)) {
				if (errno != EINTR) {
					close(fd);
					return rack_say("cannot lock " RACK_RUN ": %s",
							strerror(errno));
				}
			}
		}
		if (!fstat(fd, &held) && !stat(RACK_RUN, &now) && held.st_ino == now.st_ino &&
		    held.st_dev == now.st_dev)
			return fd;
		close(fd);
	}
}

void rack_unlock(int lock)
{
	/* Whoever is alone in here removes the folder if it is empty. */
	if (!flock(lock, LOCK_EX | LOCK_NB))
		rmdir(RACK_RUN);
	close(lock);
}

enum rack_state rack_state(const char *name)
{
	char path[RACK_PATH_MAX];
	struct statfs fs;

	if (statfs(rack_folder(path, name), &fs))
		return RACK_ABSENT;
	if (fs.f_type == TMPFS_MAGIC && !access(rack_path(path, name, "up"), F_OK))
		return RACK_UP;
	return RACK_BROKEN;
}

int rack_find(struct rack **rack, const char *name)
{
	char path[RACK_PATH_MAX];

	if (!rack_is_name(name))
		return rack_cannot_be("'%.60s' is no name of a rack", name);
	switch (rack_state(name)) {
	case RACK_ABSENT:
		return rack_say(
			"%s: there is no such rack; `rack up FILE` makes one, `rack ls` lists them",
			name);
	case RACK_BROKEN:
		return rack_say("%s is incomplete (an `up` or `down` was killed): `rack down %s`, "
				"or `rack up` again",
				name, name);
	case RACK_UP:
		break;
	}
	if (rack_load(rack, rack_path(path, name, "rack.yaml")))
		return -1;
	/* Which nodes are here was decided when it was built, wherever this process is. */
	for (unsigned int i = 0; i < (*rack)->count; i++) {
		struct rack_node *node = &(*rack)->nodes[i];

		node->here = !access(rack_path(path, name, "ns/%s", node->name), F_OK);
		(*rack)->tor[node->tor].here = node->here;
	}
	return 0;
}

int state_each(int (*fn)(const char *name, void *arg), void *arg)
{
	DIR *dir = opendir(RACK_RUN);
	struct dirent *entry;
	int ret = 0;

	while (dir && !ret && (entry = readdir(dir))) {
		if (entry->d_type == DT_DIR && entry->d_name[0] != '.')
			ret = fn(entry->d_name, arg);
	}
	if (dir)
		closedir(dir);
	return ret;
}

int state_names_add(struct state_names *names, const char *name)
{
	void *more;

	for (size_t i = 0; i < names->count; i++) {
		if (!strcmp(names->name[i], name))
			return 0;
	}
	more = reallocarray(names->name, names->count + 1, sizeof(*names->name));
	if (!more)
		return rack_say("no memory");
	names->name = more;
	snprintf(names->name[names->count++], sizeof(*names->name), "%s", name);
	return 0;
}
