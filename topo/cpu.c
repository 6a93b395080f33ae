/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "topo/cpu.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

int cpu_busy_us(uint64_t *busy)
{
	/* proc(5): idle and iowait are not work, steal is somebody else's */
	uint64_t user, nice, system, idle, iowait, irq, softirq;
	FILE *file = fopen("/proc/stat", "re");
	int fields;

	if (!file)
		return -errno;
	fields = fscanf(file,
			"cpu %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64
			" %" SCNu64,
			&user, &nice, &system, &idle, &iowait, &irq, &softirq);
	fclose(file);
	if (fields != 7)
		return -EPROTO;
	*busy = (user + nice + system + irq + softirq) * (1000000 / sysconf(_SC_CLK_TCK));
	return 0;
}
