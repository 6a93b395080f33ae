// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* What is true of this machine without building anything. */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <bpf/bpf.h>

#include "topo/doctor.h"
#include "topo/mounts.h"

#define KERNEL_MAJOR 6 /* 6.1, Debian 12's, is the oldest that paxrack was run on */
#define KERNEL_MINOR 1
#define BTF_FILE "/sys/kernel/btf/vmlinux"
#define RECEIVE_BYTES (16 << 20) /* what a replica's socket asks for (replica/process.c) */

/* First line of a file, without its end; empty when there is none. */
static void read_line(int folder, const char *path, char *line, size_t size)
{
	int fd = openat(folder, path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, line, size - 1);

	line[n > 0 ? n : 0] = '\0';
	line[strcspn(line, "\n")] = '\0';
	if (fd >= 0)
		close(fd);
}

static void look_at_privileges(struct doctor *d)
{
	static const struct {
		int bit;
		const char *name;
	} needed[] = {
		{CAP_SYS_ADMIN, "CAP_SYS_ADMIN"}, {CAP_NET_ADMIN, "CAP_NET_ADMIN"},
		{CAP_NET_RAW, "CAP_NET_RAW"},	  {CAP_BPF, "CAP_BPF"},
		{CAP_PERFMON, "CAP_PERFMON"},
	};
	char line[256], lacking[128] = "";
	unsigned long long capabilities = 0;
	FILE *status = fopen("/proc/self/status", "re");

	while (status && fgets(line, sizeof(line), status))
		sscanf(line, "CapEff: %llx", &capabilities);
	if (status)
		fclose(status);
	for (size_t i = 0; i < sizeof(needed) / sizeof(*needed); i++) {
		if (capabilities >> needed[i].bit & 1)
			continue;
		strcat(lacking, " ");
		strcat(lacking, needed[i].name);
	}
	if (geteuid()) {
		doctor_add(d, DOCTOR_MISSING, "privileges", "privileges", "user %u, not root",
			   geteuid());
		doctor_so(d, "nothing can be built, and what needs root was not tried");
		doctor_remedy(d, "sudo %s doctor", program_invocation_name);
	} else if (lacking[0]) {
		doctor_add(d, DOCTOR_MISSING, "privileges", "privileges", "root without%s",
			   lacking);
		doctor_so(d, "namespaces or programs will be refused");
		doctor_remedy(d, "run it on the host, or in a privileged container");
	} else {
		doctor_add(d, DOCTOR_OK, "privileges", "privileges",
			   "root, with every capability that is needed");
	}
}

static void look_at_kernel(struct doctor *d)
{
	int major = 0, minor = 0;
	struct utsname name;
	bool old;

	uname(&name);
	sscanf(name.release, "%d.%d", &major, &minor);
	old = major < KERNEL_MAJOR || (major == KERNEL_MAJOR && minor < KERNEL_MINOR);
	doctor_add(d, old ? DOCTOR_WARN : DOCTOR_OK, "kernel", "kernel", "Linux %s, %s",
		   name.release, name.machine);
	if (old) {
		doctor_so(d, "older than %d.%d: nobody has tried", KERNEL_MAJOR, KERNEL_MINOR);
		doctor_remedy(d, "what is tried below tells more than the version does");
	}
}

static void look_at_btf(struct doctor *d)
{
	bool there = !access(BTF_FILE, R_OK);

	doctor_add(d, there ? DOCTOR_OK : DOCTOR_INFO, "btf", "types of the kernel (BTF)", "%s",
		   there ? BTF_FILE : "no " BTF_FILE);
	if (!there)
		doctor_so(d, "programs of ours need none; bpftool and fentry do");
}

/* "none [integrity] confidentiality" */
static void look_at_lockdown(struct doctor *d)
{
	int securityfs = mount_loose("securityfs");
	char line[128] = "", *begin = NULL, *end;

	if (securityfs >= 0) {
		read_line(securityfs, "lockdown", line, sizeof(line));
		close(securityfs);
		begin = strchr(line, '[');
	}
	end = begin ? strchr(begin, ']') : NULL;
	if (end)
		*end = '\0';
	if (!end || !strcmp(begin + 1, "none")) {
		doctor_add(d, DOCTOR_OK, "lockdown", "lockdown", "%s",
			   end ? "none" : "the kernel has none");
		return;
	}
	doctor_add(d, DOCTOR_INFO, "lockdown", "lockdown", "%s", begin + 1);
	doctor_so(d, "the kernel refuses some kinds of programs (below); none of ours");
}

static void look_at_jit(struct doctor *d)
{
	char line[16];

	read_line(AT_FDCWD, "/proc/sys/net/core/bpf_jit_enable", line, sizeof(line));
	if (line[0] != '0') {
		doctor_add(d, DOCTOR_OK, "jit", "BPF compiler", "on");
		return;
	}
	doctor_add(d, DOCTOR_WARN, "jit", "BPF compiler", "off: programs are interpreted");
	doctor_so(d, "the offloads gain little");
	doctor_remedy(d, "sysctl net.core.bpf_jit_enable=1");
}

static void look_at_bpffs(struct doctor *d)
{
	int fs = mount_loose("bpf"), map = -1, ret = fs;
	char path[64];

	if (fs >= 0) {
		map = bpf_map_create(BPF_MAP_TYPE_ARRAY, "doctor", 4, 4, 1, NULL);
		snprintf(path, sizeof(path), "/proc/self/fd/%d/map", fs);
		ret = map < 0 ? map : bpf_obj_pin(map, path);
	}
	if (ret < 0) {
		doctor_add(d, DOCTOR_MISSING, "bpf_fs", "bpf file system", "cannot pin: %s",
			   strerror(-ret));
		doctor_so(d,
			  "a replica's maps cannot outlive it, and `rack` cannot find the switch");
		doctor_remedy(d, "a kernel with CONFIG_BPF_SYSCALL, outside of containers");
	} else {
		doctor_add(d, DOCTOR_OK, "bpf_fs", "bpf file system", "maps can be pinned");
	}
	if (map >= 0)
		close(map);
	if (fs >= 0)
		close(fs);
}

static void look_at_cpus(struct doctor *d)
{
	long there = sysconf(_SC_NPROCESSORS_ONLN);
	cpu_set_t set;
	int ours = sched_getaffinity(0, sizeof(set), &set) ? 0 : CPU_COUNT(&set);

	doctor_add(d, ours < 2 ? DOCTOR_WARN : DOCTOR_OK, "cpus", "CPUs", "%d of %ld may be used",
		   ours, there);
	if (ours >= 2)
		return;
	doctor_so(d,
		  "replicas take turns, races between CPUs cannot be tried, and figures of speed "
		  "mean little");
	doctor_remedy(d, ours < there ? "taskset, or the cgroup's cpuset.cpus, allows fewer than "
					"there are"
				      : "a machine with two or more");
}

static void look_at_numa(struct doctor *d)
{
	char path[64], cpus[128], text[512] = "";
	int nodes = 0;

	for (int i = 0; i < 64; i++) {
		snprintf(path, sizeof(path), "/sys/devices/system/node/node%d/cpulist", i);
		read_line(AT_FDCWD, path, cpus, sizeof(cpus));
		if (!cpus[0])
			continue;
		snprintf(text + strlen(text), sizeof(text) - strlen(text), "%snode %d: CPUs %s",
			 nodes++ ? "; " : "", i, cpus);
	}
	doctor_add(d, nodes > 1 ? DOCTOR_INFO : DOCTOR_OK, "numa", "NUMA", "%s",
		   nodes ? text : "no nodes");
	if (nodes > 1) {
		doctor_so(d, "a frame that changes nodes costs more");
		doctor_remedy(d, "keep `cpus:` of a rack file within one node to compare figures");
	}
}

static void look_at_socket_buffers(struct doctor *d)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), want = RECEIVE_BYTES, has = 0;
	socklen_t len = sizeof(has);
	char limit[32];

	if (fd < 0)
		return;
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &want, sizeof(want)))
		setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &want, sizeof(want));
	getsockopt(fd, SOL_SOCKET, SO_RCVBUF, &has, &len);
	close(fd);
	has /= 2; /* the kernel doubles what it was asked for (socket(7)) */
	read_line(AT_FDCWD, "/proc/sys/net/core/rmem_max", limit, sizeof(limit));
	doctor_add(d, has < want ? DOCTOR_WARN : DOCTOR_OK, "socket_buffers", "socket buffers",
		   "%d KiB to receive, of %d KiB asked for (limit without privilege: %ld KiB)",
		   has >> 10, want >> 10, atol(limit) >> 10);
	if (has < want) {
		doctor_so(d, "a replica that is busy loses packets, and waits for them to be sent "
			     "again");
		doctor_remedy(d, "sysctl net.core.rmem_max=%d", want);
	}
}

void doctor_machine(struct doctor *d)
{
	doctor_group(d, "machine");
	look_at_privileges(d);
	look_at_kernel(d);
	look_at_cpus(d);
	look_at_numa(d);
	look_at_socket_buffers(d);
	look_at_jit(d);
	look_at_btf(d);
	if (geteuid())
		return;
	look_at_lockdown(d);
	look_at_bpffs(d);
}
