// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* What this machine has to have room for before a rack is begun. */
#include <stdio.h>
#include <sys/resource.h>

#include "topo/private.h"

#define FILES 64       /* open at a time while a rack is built; half of that is used */
#define MOUNTS 3       /* besides one for each node: two file systems, the ToR */
#define NODE_KIB 256   /* of kernel memory: 180 were measured (Linux 6.18) */
#define RACK_KIB 16384 /* the ToR's programs and maps, and this process */

/* The number behind `key` in a file of /proc; -1 when the kernel does not say. */
static long long read_number(const char *path, const char *format)
{
	FILE *f = fopen(path, "re");
	long long number = -1;
	char line[128];

	while (f && number < 0 && fgets(line, sizeof(line), f)) {
		if (sscanf(line, format, &number) != 1)
			number = -1;
	}
	if (f)
		fclose(f);
	return number;
}

int limits_check(const struct rack *rack)
{
	long long namespaces = read_number("/proc/sys/user/max_net_namespaces", "%lld");
	long long mounts = read_number("/proc/sys/fs/mount-max", "%lld");
	long long free_kib = read_number("/proc/meminfo", "MemAvailable: %lld kB");
	struct rlimit files;
	long long here = 0, need;

	for (unsigned int i = 0; i < rack->count; i++)
		here += rack->nodes[i].here;
	if (!getrlimit(RLIMIT_NOFILE, &files) && files.rlim_cur < FILES)
		return rack_say("%s needs %d open files, this process may have %llu: ulimit -n",
				rack->name, FILES, (unsigned long long)files.rlim_cur);
	if (namespaces >= 0 && here + 1 > namespaces)
		return rack_say("%s needs %lld network namespaces, there may be %lld: sysctl "
				"user.max_net_namespaces",
				rack->name, here + 1, namespaces);
	if (mounts >= 0 && here + MOUNTS > mounts)
		return rack_say("%s needs %lld mounts, there may be %lld: sysctl fs.mount-max",
				rack->name, here + MOUNTS, mounts);
	need = here * NODE_KIB + RACK_KIB;
	if (free_kib >= 0 && need > free_kib)
		return rack_say("%s needs about %lld MiB of memory, %lld are available", rack->name,
				need / 1024, free_kib / 1024);
	return 0;
}
