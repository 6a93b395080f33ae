// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "topo/watch.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/perf_event.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "bpf/load.h"
#include "watch.skel.h"

struct watch {
	const struct rack *rack;
	pthread_t thread;
};

/*
 * The kernel's list of tracepoints. It need not be mounted anywhere, and if it is, somebody may
 * unmount it: so a mount that has no place in any tree.
 */
static int tracefs(void)
{
	int fs = fsopen("tracefs", FSOPEN_CLOEXEC), mount = -1;

	if (fs < 0)
		return -1;
	if (!fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0))
		mount = fsmount(fs, FSMOUNT_CLOEXEC, 0);
	close(fs);
	return mount;
}

static int tracepoint_open(int tracefs, const char *name)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_TRACEPOINT, .size = sizeof(attr), .sample_period = 1};
	char path[64], text[16] = "";
	int fd;
	ssize_t n;

	snprintf(path, sizeof(path), "events/xdp/%s/id", name);
	fd = openat(tracefs, path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (n <= 0)
		return -1;
	attr.config = strtoul(text, NULL, 10);
	/* A program at a tracepoint runs on every CPU, whichever its event was opened for. */
	return syscall(SYS_perf_event_open, &attr, -1, 0, -1, PERF_FLAG_FD_CLOEXEC);
}

static int attach(const struct rack *rack, int tracefs, struct bpf_program *program)
{
	const char *name = bpf_program__name(program);
	const char *tracepoint = strrchr(bpf_program__section_name(program), '/') + 1;
	int event = tracepoint_open(tracefs, tracepoint), link = -1, ret = -1;
	char path[RACK_PATH_MAX];

	if (event >= 0)
		link = bpf_link_create(bpf_program__fd(program), event, BPF_PERF_EVENT, NULL);
	if (link >= 0 &&
	    !bpf_obj_pin(link, rack_path(path, rack->name, WATCH_PINS "/%s_link", name)) &&
	    !bpf_obj_pin(bpf_program__fd(program),
			 rack_path(path, rack->name, WATCH_PINS "/%s", name)))
		ret = 0;
	if (ret)
		rack_say("exceptions of XDP programs will not be counted: no program can be at "
			 "tracepoint %s: %s",
			 tracepoint, strerror(errno));
	if (link >= 0)
		close(link);
	if (event >= 0)
		close(event);
	return ret;
}

static void *start(void *arg)
{
	const struct rack *rack = ((struct watch *)arg)->rack;
	struct watch_bpf *bpf = watch_bpf__open();
	char path[RACK_PATH_MAX], error[4096];
	int fs = -1;

	if (!bpf || bpf_load(bpf->obj, error, sizeof(error))) {
		rack_say("%s", bpf ? error : "no memory");
		goto out;
	}
	if (mkdir(rack_path(path, rack->name, WATCH_PINS), 0700) ||
	    bpf_obj_pin(bpf_map__fd(bpf->maps.watch_counts),
			rack_path(path, rack->name, WATCH_PINS "/watch_counts"))) {
		rack_say("cannot make %s: %s", path, strerror(errno));
		goto out;
	}
	fs = tracefs();
	if (!attach(rack, fs, bpf->progs.watch_exception))
		attach(rack, fs, bpf->progs.watch_redirect);
	if (fs >= 0)
		close(fs);
out:
	watch_bpf__destroy(bpf);
	return NULL;
}

struct watch *watch_begin(const struct rack *rack)
{
	struct watch *w = malloc(sizeof(*w));

	if (!w)
		return NULL;
	w->rack = rack;
	if (!pthread_create(&w->thread, NULL, start, w))
		return w;
	start(w); /* slower, that is all */
	free(w);
	return NULL;
}

void watch_end(struct watch *w)
{
	if (!w)
		return;
	pthread_join(w->thread, NULL);
	free(w);
}
