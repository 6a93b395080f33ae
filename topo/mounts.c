// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "topo/mounts.h"

#include <errno.h>
#include <sys/mount.h>
#include <unistd.h>

int mount_loose(const char *type)
{
	int fs = fsopen(type, FSOPEN_CLOEXEC), mount = -1, ret = 0;

	if (fs < 0)
		return -errno;
	if (fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) ||
	    (mount = fsmount(fs, FSMOUNT_CLOEXEC, 0)) < 0)
		ret = -errno;
	close(fs);
	return ret ?: mount;
}
