// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Removing a rack, from whatever state it was left in. All that keeps it alive is below
 * one mount: processes end, ports go (and their peers with them), links in /run/netns go,
 * the mount is detached. Then wait until the kernel, which frees behind one's back, has
 * let go of the programs and maps, so that they are gone when `rack down` says so.
 */
#include <bpf/bpf.h>
#include <dirent.h>
#include <errno.h>
#include <ftw.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "netns/ns.h"
#include "netns/rtnl.h"
#include "topo/private.h"
#include "topo/process.h"

#define KERNEL_MS 3000 /* for the kernel to free what nobody uses any more */
#define LOOK_MS 2

/* Programs and maps that were pinned. */
static struct {
	__u32 *id; /* programs have bit 31 set */
	size_t count;
} pinned;

#define IS_PROGRAM (1u << 31)

static void remember(__u32 id)
{
	__u32 *more = realloc(pinned.id, (pinned.count + 1) * sizeof(*more));

	if (!more)
		return;
	pinned.id = more;
	pinned.id[pinned.count++] = id;
}

static int unpin(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	union {
		struct bpf_map_info map;
		struct bpf_prog_info prog;
	} info;
	__u32 len = sizeof(info);
	int fd;

	(void)st, (void)ftw;
	if (type != FTW_F)
		return 0;
	fd = bpf_obj_get(path);
	if (fd < 0)
		return 0;
	/* The first fields of both are type and id; only the kind of the object is to be told. */
	memset(&info, 0, sizeof(info));
	if (!bpf_obj_get_info_by_fd(fd, &info, &len)) {
		char link[64], target[64] = "";

		snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
		if (readlink(link, target, sizeof(target) - 1) > 0) {
			if (strstr(target, "bpf-prog"))
				remember(info.prog.id | IS_PROGRAM);
			else if (strstr(target, "bpf-map"))
				remember(info.map.id);
		}
	}
	close(fd);
	unlink(path);
	return 0;
}

static bool still_there(__u32 id)
{
	int fd = id & IS_PROGRAM ? bpf_prog_get_fd_by_id(id & ~IS_PROGRAM)
				 : bpf_map_get_fd_by_id(id);

	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

static void wait_for_kernel(const char *name)
{
	int left_ms = KERNEL_MS;
	size_t i = 0;

	while (i < pinned.count && left_ms > 0) {
		if (still_there(pinned.id[i])) {
			poll(NULL, 0, LOOK_MS);
			left_ms -= LOOK_MS;
		} else {
			i++;
		}
	}
	if (i < pinned.count)
		rack_say("%s %u of %s is still in use: somebody else holds it",
			 pinned.id[i] & IS_PROGRAM ? "program" : "map", pinned.id[i] & ~IS_PROGRAM,
			 name);
	free(pinned.id);
	pinned.id = NULL;
	pinned.count = 0;
}

/* Faster than letting them die one namespace at a time; a rack without a ToR has none. */
static void delete_ports(const char *name)
{
	char path[RACK_PATH_MAX];
	int host = ns_current(), tor = ns_open(rack_path(path, name, "ns/tor"));
	struct rtnl *r = NULL;

	/* Killed before it was mounted on, ns/tor is a plain file, and cannot be entered. */
	if (host >= 0 && tor >= 0 && !ns_enter(tor)) {
		if (!rtnl_open(&r)) {
			rtnl_group_del(r, RACK_PORT_GROUP);
			rtnl_commit(r);
		}
		if (ns_enter(host))
			rack_say("cannot return to this network namespace: %s", strerror(errno));
	}
	rtnl_close(r);
	if (host >= 0)
		close(host);
	if (tor >= 0)
		close(tor);
}

static int any_rack(const char *name, void *arg)
{
	(void)name, (void)arg;
	return 1;
}

static void remove_netns_folder(void)
{
	if (access(RACK_NETNS_OURS, F_OK) || state_each(any_rack, NULL))
		return;
	rmdir(RACK_NETNS); /* stays when somebody else put something into it */
	unlink(RACK_NETNS_OURS);
}

int down_locked(const char *name)
{
	char path[RACK_PATH_MAX];
	int ret = 0;

	if (rack_state(name) != RACK_ABSENT) {
		process_end_all(name);
		nftw(rack_path(path, name, "bpf"), unpin, 16, FTW_PHYS | FTW_MOUNT);
		delete_ports(name);
	}
	links_remove(name);
	rack_folder(path, name);
	while (!umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW))
		;
	if (rmdir(path) && errno != ENOENT)
		ret = rack_say("cannot remove %s: %s", path, strerror(errno));
	remove_netns_folder();
	wait_for_kernel(name);
	return ret;
}

int rack_down(const char *name)
{
	sigset_t hold, before;
	int lock, ret;

	if (rack_privileged())
		return -1;
	lock = rack_lock(true);
	if (lock < 0)
		return -1;
	/* Half a removal helps nobody. */
	sigemptyset(&hold);
	sigaddset(&hold, SIGINT);
	sigaddset(&hold, SIGTERM);
	sigaddset(&hold, SIGHUP);
	sigprocmask(SIG_BLOCK, &hold, &before);
	ret = down_locked(name);
	rack_unlock(lock);
	sigprocmask(SIG_SETMASK, &before, NULL);
	return ret;
}
