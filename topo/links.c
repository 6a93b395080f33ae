// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * /run/netns/<rack>-<node>, so that iproute2 and people find the namespaces. The mount
 * points themselves are in the rack's own folder: a link can be told to be ours by where
 * it leads, and namespaces mounted in a plain /run would cost a disk write each.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "topo/private.h"

static int make_folder(void)
{
	int mark;

	if (!access(RACK_NETNS, F_OK))
		return 0;
	/* The mark first: killed between the two, it says too much about an empty folder only. */
	mark = open(RACK_NETNS_OURS, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	if (mark < 0)
		return rack_say("cannot make " RACK_NETNS_OURS ": %s", strerror(errno));
	close(mark);
	if (mkdir(RACK_NETNS, 0755) && errno != EEXIST)
		return rack_say("cannot make " RACK_NETNS ": %s", strerror(errno));
	return 0;
}

static int make_link(const struct rack *rack, const char *node)
{
	char link[PATH_MAX], path[RACK_PATH_MAX];

	snprintf(link, sizeof(link), RACK_NETNS "/%s-%s", rack->name, node);
	if (symlink(rack_path(path, rack->name, "ns/%s", node), link))
		return rack_say("cannot make %s: %s", link, strerror(errno));
	return 0;
}

int links_make(const struct rack *rack)
{
	int ret = make_folder() ?: make_link(rack, "tor");

	for (unsigned int i = 0; i < rack->count && !ret; i++) {
		if (rack->nodes[i].here)
			ret = make_link(rack, rack->nodes[i].name);
	}
	return ret;
}

void links_remove(const char *name)
{
	char ours[RACK_PATH_MAX], to[PATH_MAX];
	size_t len = strlen(rack_path(ours, name, "ns/"));
	DIR *dir = opendir(RACK_NETNS);
	struct dirent *entry;
	ssize_t n;

	while (dir && (entry = readdir(dir))) {
		n = readlinkat(dirfd(dir), entry->d_name, to, sizeof(to));
		if (n > (ssize_t)len && !memcmp(to, ours, len))
			unlinkat(dirfd(dir), entry->d_name, 0);
	}
	if (dir)
		closedir(dir);
}
