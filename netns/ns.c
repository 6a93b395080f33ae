// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "netns/ns.h"

#define OWN "/proc/thread-self/ns/net"
#define DISABLE_IPV6 "sys/net/ipv6/conf/all/disable_ipv6"
#define PROC_USES 32 /* of one proc file system: 32 cost about what making it does */

/* A switch of the calling thread's namespace. */
static int sysctl_write(int dir, const char *path, const char *value)
{
	int fd = openat(dir, path, O_WRONLY | O_CLOEXEC), ret = 0;

	if (fd < 0)
		return errno == ENOENT ? 0 : -errno; /* a kernel without what it switches */
	if (write(fd, value, strlen(value)) != (ssize_t)strlen(value))
		ret = -errno;
	close(fd);
	return ret;
}

/*
 * The kernel finds a switch of one namespace by looking at the same one of every other that it
 * was asked for (proc_sys_compare(), Linux 6.18): 0.4 ms for the thousandth. A proc file system
 * of one's own, mounted nowhere, knows only those that were asked for through it.
 */
static int own_proc(void)
{
	static int proc = -1;
	static unsigned int uses;
	int fs;

	if (proc >= 0 && ++uses % PROC_USES)
		return proc;
	if (proc >= 0)
		close(proc);
	proc = -1;
	fs = fsopen("proc", FSOPEN_CLOEXEC);
	if (fs >= 0 && !fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0))
		proc = fsmount(fs, FSMOUNT_CLOEXEC, 0);
	if (fs >= 0)
		close(fs);
	return proc;
}

/* "all" reaches the devices there are and becomes the default of those to come. */
static int ipv6_off(void)
{
	int proc = own_proc();

	if (proc < 0)
		return sysctl_write(AT_FDCWD, "/proc/" DISABLE_IPV6, "1\n");
	return sysctl_write(proc, DISABLE_IPV6, "1\n");
}

int ns_bridge_plain(void)
{
	return sysctl_write(AT_FDCWD, "/proc/sys/net/bridge/bridge-nf-call-iptables", "0\n")
		       ?: sysctl_write(AT_FDCWD, "/proc/sys/net/bridge/bridge-nf-call-ip6tables", "0\n")
		       ?: sysctl_write(AT_FDCWD, "/proc/sys/net/bridge/bridge-nf-call-arptables", "0\n");
}

int ns_create(const char *path)
{
	int fd = open(path, O_RDONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	close(fd);
	if (unshare(CLONE_NEWNET) || mount(OWN, path, NULL, MS_BIND, NULL))
		return -errno;
	return ipv6_off();
}

int ns_current(void)
{
	return ns_open(OWN);
}

int ns_open(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

int ns_enter(int ns)
{
	return setns(ns, CLONE_NEWNET) ? -errno : 0;
}
