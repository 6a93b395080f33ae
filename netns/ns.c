// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>

#include "netns/ns.h"

#define OWN "/proc/thread-self/ns/net"
#define IPV6_OFF "/proc/sys/net/ipv6/conf/all/disable_ipv6"

/* "all" reaches the devices there are and becomes the default of those to come. */
static int ipv6_off(void)
{
	int fd = open(IPV6_OFF, O_WRONLY | O_CLOEXEC), ret = 0;

	if (fd < 0)
		return errno == ENOENT ? 0 : -errno; /* a kernel without IPv6 */
	if (write(fd, "1\n", 2) != 2)
		ret = -errno;
	close(fd);
	return ret;
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
