// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "netns/ns.h"

#define OWN "/proc/thread-self/ns/net"
/* A switch of the calling thread's namespace. */
static int sysctl_write(const char *path, const char *value)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC), ret = 0;

	if (fd < 0)
		return errno == ENOENT ? 0 : -errno; /* a kernel without what it switches */
	if (write(fd, value, strlen(value)) != (ssize_t)strlen(value))
		ret = -errno;
	close(fd);
	return ret;
}

/* "all" reaches the devices there are and becomes the default of those to come. */
static int ipv6_off(void)
{
	return sysctl_write("/proc/sys/net/ipv6/conf/all/disable_ipv6", "1\n");
}

int ns_bridge_plain(void)
{
	return sysctl_write("/proc/sys/net/bridge/bridge-nf-call-iptables", "0\n")
		       ?: sysctl_write("/proc/sys/net/bridge/bridge-nf-call-ip6tables", "0\n")
		       ?: sysctl_write("/proc/sys/net/bridge/bridge-nf-call-arptables", "0\n");
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
