// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "topo/watch.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/perf_event.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "bpf/load.h"
#include "topo/mounts.h"
#include "watch.skel.h"

struct watch {
	const struct rack *rack;
	pthread_t thread;
};

/* The kernel's list of tracepoints is a file system. An event, or -errno. */
static int tracepoint_open(const char *name)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_TRACEPOINT, .size = sizeof(attr), .sample_period = 1};
	int tracefs = mount_loose("tracefs"), fd, event;
	char path[64], text[16] = "";
	ssize_t n;

	if (tracefs < 0)
		return tracefs;
	snprintf(path, sizeof(path), "events/xdp/%s/id", name);
	fd = openat(tracefs, path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	event = n < 0 ? -errno : 0;
	if (fd >= 0)
		close(fd);
	close(tracefs);
	if (event)
		return event;
	attr.config = strtoul(text, NULL, 10);
	/* A program at a tracepoint runs on every CPU, whichever its event was opened for. */
	event = syscall(SYS_perf_event_open, &attr, -1, 0, -1, PERF_FLAG_FD_CLOEXEC);
	return event < 0 ? -errno : event;
}

/* Of tp/xdp/<name>. */
static const char *tracepoint(const struct bpf_program *program)
{
	return strrchr(bpf_program__section_name(program), '/') + 1;
}

int watch_attach(const struct bpf_program *program)
{
	int event = tracepoint_open(tracepoint(program)), link;

	if (event < 0)
		return event;
	link = bpf_link_create(bpf_program__fd(program), event, BPF_PERF_EVENT, NULL);
	close(event);
	return link;
}

static int attach(const struct rack *rack, const struct bpf_program *program)
{
	const char *name = bpf_program__name(program);
	int link = watch_attach(program), ret = link;
	char path[RACK_PATH_MAX];

	if (link >= 0)
		ret = bpf_obj_pin(link, rack_path(path, rack->name, WATCH_PINS "/%s_link", name))
			      ?: bpf_obj_pin(bpf_program__fd(program),
					     rack_path(path, rack->name, WATCH_PINS "/%s", name));
	if (ret < 0)
		rack_say("exceptions of XDP programs will not be counted: no program can be at "
			 "tracepoint %s: %s",
			 tracepoint(program), strerror(-ret));
	if (link >= 0)
		close(link);
	return ret;
}

static void *start(void *arg)
{
	const struct rack *rack = ((struct watch *)arg)->rack;
	struct watch_bpf *bpf = watch_bpf__open();
	char path[RACK_PATH_MAX], error[4096];

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
	if (!attach(rack, bpf->progs.watch_exception))
		attach(rack, bpf->progs.watch_redirect);
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
