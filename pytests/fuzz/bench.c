/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "bpf/load.h"
#include "pytests/fuzz/bench.h"

#include "replica.skel.h"

/* Constants of each load: small logs, so that their end is reached; each offload missing. */
static const struct {
	uint32_t slots, offloads;
	uint16_t port;
} loads[BENCH_SUBJECTS] = {
	{128, ELEC_OFFLOAD_ALL, WIRE_PORT},   {PIECES_SLOTS, ELEC_OFFLOAD_ALL, WIRE_PORT},
	{4, ELEC_OFFLOAD_ALL, WIRE_PORT},     {1, ELEC_OFFLOAD_ALL, WIRE_PORT},
	{16, ELEC_OFFLOAD_ALL, 7000},	      {16, ELEC_OFFLOAD_ACK, WIRE_PORT},
	{16, ELEC_OFFLOAD_QUORUM, WIRE_PORT}, {16, ELEC_OFFLOAD_BROADCAST, WIRE_PORT},
};

static int no_record(void *context, void *data, size_t size)
{
	(void)context, (void)data, (void)size;
	return 0;
}

static size_t page_round(size_t size)
{
	size_t page = sysconf(_SC_PAGESIZE);

	return (size + page - 1) / page * page;
}

static int map_memory(void **memory, const struct bpf_map *map, size_t size)
{
	*memory = mmap(NULL, page_round(size), PROT_READ | PROT_WRITE, MAP_SHARED, bpf_map__fd(map),
		       0);
	if (*memory != MAP_FAILED)
		return 0;
	*memory = NULL;
	return -errno;
}

static int subject_open(struct subject *s, int number, char *error, size_t size)
{
	uint32_t slots = loads[number].slots;
	int ret;

	ret = model_init(&s->model, slots, loads[number].offloads, loads[number].port);
	if (ret)
		return ret;
	libbpf_set_print(NULL);
	s->skel = replica_bpf__open();
	if (!s->skel)
		return -errno;
	s->skel->rodata->offloads = loads[number].offloads;
	s->skel->rodata->port = htons(loads[number].port);
	s->skel->rodata->log_slots = slots;
	bpf_map__set_max_entries(s->skel->maps.elec_log, slots);
	if (slots == PIECES_SLOTS)
		bpf_program__set_flags(s->skel->progs.replica_xdp, BPF_F_XDP_HAS_FRAGS);
	ret = bpf_load(s->skel->obj, error, size);
	if (!ret)
		ret = map_memory((void **)&s->state, s->skel->maps.elec_state, sizeof(*s->state));
	if (!ret)
		ret = map_memory((void **)&s->log, s->skel->maps.elec_log, slots * sizeof(*s->log));
	if (ret)
		return ret;
	s->wake = ring_buffer__new(bpf_map__fd(s->skel->maps.elec_wake), no_record, NULL, NULL);
	return s->wake ? 0 : -errno;
}

static void subject_close(struct subject *s)
{
	ring_buffer__free(s->wake);
	if (s->log)
		munmap(s->log, page_round(s->model.slots * sizeof(*s->log)));
	if (s->state)
		munmap(s->state, page_round(sizeof(*s->state)));
	replica_bpf__destroy(s->skel);
	model_free(&s->model);
}

/* Else the kernel sends its own packets (neighbour discovery) to a new device. */
static void quiet_ipv6(void)
{
	int fd = open("/proc/sys/net/ipv6/conf/default/disable_ipv6", O_WRONLY | O_CLOEXEC);

	if (fd < 0) /* a kernel without IPv6 */
		return;
	if (write(fd, "1", 1) != 1)
		perror("disable_ipv6");
	close(fd);
}

static int tap_open(const char *name, bool up, int *tap, uint32_t *ifindex)
{
	struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI};
	int sock = -1, ret = 0;

	strcpy(request.ifr_name, name);
	*tap = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (*tap < 0 || ioctl(*tap, TUNSETIFF, &request))
		return -errno;
	*ifindex = if_nametoindex(name);
	sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	request.ifr_flags = IFF_UP;
	if (sock < 0 || (up && ioctl(sock, SIOCSIFFLAGS, &request)))
		ret = -errno;
	if (sock >= 0)
		close(sock);
	return ret;
}

static bool makes_fragments(struct bench *b)
{
	struct context context = {.no_tailroom = true};
	struct subject *s = bench_find(b, PIECES_SLOTS, ELEC_OFFLOAD_ALL, WIRE_PORT);
	uint8_t frame[ETH_LEN] = {0};

	return !subject_run(b, s, false, frame, sizeof(frame), &context);
}

int bench_open(struct bench **out, char *error, size_t size)
{
	struct bench *b = calloc(1, sizeof(*b));
	int ret = 0;

	if (!b)
		return -ENOMEM;
	error[0] = '\0';
	b->tap = b->tap_down = -1;
	b->cpus = libbpf_num_possible_cpus();
	b->counts = calloc(b->cpus * ELEC_R_COUNT, sizeof(*b->counts));
	if (!b->counts)
		ret = -ENOMEM;
	if (!ret && unshare(CLONE_NEWNET))
		ret = -errno;
	quiet_ipv6();
	if (!ret)
		ret = tap_open("tap0", true, &b->tap, &b->ifindex);
	if (!ret)
		ret = tap_open("tap1", false, &b->tap_down, &b->ifindex_down);
	for (int i = 0; !ret && i < BENCH_SUBJECTS; i++)
		ret = subject_open(&b->subject[i], i, error, size);
	if (!ret) {
		b->fragments = makes_fragments(b);
		*out = b;
		return 0;
	}
	if (!error[0])
		snprintf(error, size, "cannot set the programs up: %s%s", strerror(-ret),
			 ret == -EPERM ? "; run as root" : "");
	bench_close(b);
	return ret;
}

void bench_close(struct bench *b)
{
	for (int i = 0; i < BENCH_SUBJECTS; i++)
		subject_close(&b->subject[i]);
	if (b->tap >= 0)
		close(b->tap);
	if (b->tap_down >= 0)
		close(b->tap_down);
	free(b->counts);
	free(b);
}

struct subject *bench_find(struct bench *b, uint32_t slots, uint32_t offloads, uint16_t port)
{
	for (int i = 0; i < BENCH_SUBJECTS; i++)
		if (loads[i].slots == slots && loads[i].offloads == offloads &&
		    loads[i].port == port)
			return &b->subject[i];
	return NULL;
}

void subject_write(struct subject *s, bool new_story)
{
	memcpy(s->state, &s->model.state, sizeof(*s->state));
	if (!new_story)
		return;
	if (s->dirty)
		memset(s->log, 0, s->model.slots * sizeof(*s->log));
	s->dirty = true;
	ring_buffer__consume(s->wake);
}

/* One system call for all reasons. */
static int read_counts(struct bench *b, struct subject *s)
{
	uint32_t keys[ELEC_R_COUNT], batch, count = ELEC_R_COUNT;
	int ret = bpf_map_lookup_batch(bpf_map__fd(s->skel->maps.elec_counts), NULL, &batch, keys,
				       b->counts, &count, NULL);

	if (ret && ret != -ENOENT) /* the end of the map */
		return ret;
	for (int reason = 0; reason < ELEC_R_COUNT; reason++) {
		uint64_t total = 0;

		for (int cpu = 0; cpu < b->cpus; cpu++)
			total += b->counts[reason * b->cpus + cpu];
		b->observed.counted[reason] = total - s->counts[reason];
		s->counts[reason] = total;
	}
	return 0;
}

static int run_xdp(struct bench *b, struct subject *s, const uint8_t *frame, size_t size,
		   const struct context *c)
{
	uint32_t fragment = c->no_tailroom ? BENCH_FRAGMENT : 0;
	uint8_t in[FRAME_MAX + 256 + BENCH_FRAGMENT];
	struct xdp_md md = {.data = c->meta, .data_end = c->meta + size}, after = {0};
	LIBBPF_OPTS(bpf_test_run_opts, run, .data_in = frame, .data_size_in = size,
		    .data_out = b->buffer, .data_size_out = sizeof(b->buffer));
	int ret;

	if (c->meta || fragment) {
		memset(in, 0xa5, c->meta);
		memcpy(in + c->meta, frame, size);
		memset(in + c->meta + size, 0, fragment);
		run.data_in = in;
		run.data_size_in += c->meta + fragment;
		run.ctx_in = &md;
		run.ctx_size_in = sizeof(md);
		run.ctx_out = &after;
		run.ctx_size_out = sizeof(after);
	}
	ret = bpf_prog_test_run_opts(bpf_program__fd(s->skel->progs.replica_xdp), &run);
	b->observed.returned = run.retval;
	b->observed.meta = after.data;
	b->observed.data = b->buffer + after.data;
	b->observed.size = run.data_size_out - after.data - fragment;
	return ret;
}

static int run_tc(struct bench *b, struct subject *s, const uint8_t *frame, size_t size,
		  const struct context *c)
{
	struct observed *o = &b->observed;
	struct __sk_buff ctx = {.ifindex = c->no_link ? b->ifindex_down : b->ifindex};
	LIBBPF_OPTS(bpf_test_run_opts, run, .data_in = frame, .data_size_in = size,
		    .data_out = b->buffer, .data_size_out = sizeof(b->buffer), .ctx_in = &ctx,
		    .ctx_size_in = sizeof(ctx));
	int ret;

	if (c->gso) {
		ctx.gso_size = 100;
		ctx.gso_segs = 2;
	}
	ret = bpf_prog_test_run_opts(bpf_program__fd(s->skel->progs.replica_tc), &run);
	o->returned = run.retval;
	o->data = b->buffer;
	o->size = run.data_size_out;
	while (o->clones < ELEC_REPLICAS_MAX) {
		ssize_t got = read(b->tap, o->clone[o->clones], FRAME_MAX);

		if (got < 0)
			break;
		o->clone_size[o->clones++] = got;
	}
	return ret;
}

int subject_run(struct bench *b, struct subject *s, bool tc, const uint8_t *frame, size_t size,
		const struct context *c)
{
	int ret;

	b->observed.clones = b->observed.meta = 0;
	ret = (tc ? run_tc : run_xdp)(b, s, frame, size, c);
	return ret ?: read_counts(b, s);
}
