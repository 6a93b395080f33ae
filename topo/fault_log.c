// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "topo/fault_log.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "replica/privilege.h"
#include "topo/fault.h"

struct sink {
	const struct rack *rack;
	FILE *file;
};

static volatile sig_atomic_t ending;

static void on_signal(int signal)
{
	(void)signal;
	ending = 1;
}

static int write_record(void *context, void *data, size_t size)
{
	const struct tor_fault *f = data;
	struct sink *s = context;

	(void)size;
	fprintf(s->file,
		"{\"time_ns\":%llu,\"rule\":%u,\"action\":\"%s\",\"from\":\"%s\",\"to\":\"%s\","
		"\"kind\":\"%s\",\"number\":%llu",
		f->time_ns, f->rule, fault_action_name(f->action),
		fault_node_name(s->rack, f->from), fault_node_name(s->rack, f->to),
		fault_kind_name(f->kind), f->number);
	if (f->action == TOR_ACT_DELAY || f->action == TOR_ACT_RATE)
		fprintf(s->file, ",\"delay_ns\":%llu", f->delay_ns);
	fputs("}\n", s->file);
	return 0;
}

static int follow(struct ring_buffer *ring, struct sink *s, const sigset_t *awake)
{
	struct pollfd p = {.fd = ring_buffer__epoll_fd(ring), .events = POLLIN};
	bool last;

	do {
		ppoll(&p, 1, NULL, awake);
		last = ending;
		ring_buffer__consume(ring);
		if (fflush(s->file))
			return rack_say("cannot write " FAULT_LOG ": %s", strerror(errno));
	} while (!last);
	return 0;
}

static void catch_signals(sigset_t *awake)
{
	struct sigaction action = {.sa_handler = on_signal};
	sigset_t blocked;

	sigemptyset(&blocked);
	sigaddset(&blocked, SIGTERM);
	sigprocmask(SIG_BLOCK, &blocked, awake);
	sigaction(SIGTERM, &action, NULL);
}

int fault_log_run(const struct rack *rack, struct daemon *d)
{
	struct sink s = {.rack = rack};
	struct ring_buffer *ring = NULL;
	char path[RACK_PATH_MAX];
	int fd, ret = -1;
	sigset_t awake;

	catch_signals(&awake);
	fd = bpf_obj_get(rack_path(path, rack->name, "bpf/tor/tor_log"));
	if (fd < 0)
		return rack_say("cannot open %s: %s", path, strerror(errno));
	ring = ring_buffer__new(fd, write_record, &s, NULL);
	s.file = fopen(rack_path(path, rack->name, FAULT_LOG), "ae");
	if (!ring || !s.file) {
		rack_say("cannot log to %s: %s", path, strerror(errno));
		goto out;
	}
	daemon_ready(d);
	ret = privilege_drop();
	if (ret) {
		rack_say("cannot give up privileges: %s", strerror(-ret));
		goto out;
	}
	ret = follow(ring, &s, &awake);
out:
	ring_buffer__free(ring);
	if (s.file)
		fclose(s.file);
	close(fd);
	return ret;
}
