// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "topo/doctor_probe.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_link.h>
#include <linux/if_packet.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bpf/probe.h"

const uint8_t probe_near_mac[6] = {0x02, 0, 0, 0, 0, 1};
const uint8_t probe_far_mac[6] = {0x02, 0, 0, 0, 0, 2};

/* ---- frames ---- */

int probe_send(const struct probe *p)
{
	struct {
		struct ethhdr eth;
		uint8_t rest[46];
	} frame = {.eth.h_proto = htons(PROBE_ETHERTYPE)};

	memcpy(frame.eth.h_dest, probe_far_mac, 6);
	memcpy(frame.eth.h_source, probe_near_mac, 6);
	for (int i = 0; i < PROBE_FRAMES; i++) {
		if (send(p->socket, &frame, sizeof(frame), 0) < 0)
			return -errno;
	}
	return 0;
}

int probe_wait(const struct probe *p)
{
	int map = bpf_map__fd(p->bpf->maps.probe_seen), left_ms = PROBE_WAIT_MS;
	uint32_t zero = 0;
	uint64_t seen = 0;

	while (!bpf_map_lookup_elem(map, &zero, &seen) && seen < PROBE_FRAMES && left_ms > 0) {
		poll(NULL, 0, PROBE_LOOK_MS);
		left_ms -= PROBE_LOOK_MS;
	}
	/* Frames of an earlier probe may have come late. */
	return seen < PROBE_FRAMES ? seen : PROBE_FRAMES;
}

int probe_returned(const struct probe *p, int patience_ms)
{
	struct pollfd wait = {.fd = p->socket, .events = POLLIN};
	struct sockaddr_ll from;
	int count = 0;
	char frame[64];

	while (count < PROBE_FRAMES && poll(&wait, 1, patience_ms) > 0) {
		socklen_t len = sizeof(from);

		if (recvfrom(p->socket, frame, sizeof(frame), MSG_DONTWAIT, (void *)&from, &len) <
		    0)
			break;
		count += from.sll_pkttype != PACKET_OUTGOING;
	}
	return count;
}

/* ---- programs ---- */

int probe_load(struct probe *p, const char *name)
{
	struct bpf_program *program;
	int ret;

	p->bpf = probe_bpf__open();
	if (!p->bpf)
		return -errno;
	bpf_map__set_autocreate(p->bpf->maps.probe_xsk, !strcmp(name, "probe_socket"));
	bpf_object__for_each_program(program, p->bpf->obj)
		bpf_program__set_autoload(program, !strcmp(bpf_program__name(program), name));
	ret = bpf_object__load(p->bpf->obj);
	if (!ret)
		p->program = bpf_program__fd(bpf_object__find_program_by_name(p->bpf->obj, name));
	return ret;
}

void probe_unload(struct probe *p)
{
	probe_bpf__destroy(p->bpf);
	p->bpf = NULL;
	probe_returned(p, 0);
}

int probe_attach(int program, int ifindex, bool native)
{
	LIBBPF_OPTS(bpf_link_create_opts, opts,
		    .flags = native ? XDP_FLAGS_DRV_MODE : XDP_FLAGS_SKB_MODE);

	return bpf_link_create(program, ifindex, BPF_XDP, &opts);
}

void probe_close(int fd)
{
	if (fd >= 0)
		close(fd);
}

bool probe_add(struct probe *p, enum doctor_status lacks, const char *key, const char *what,
	       int ret, int got, const char *did)
{
	bool well = ret >= 0 && got == PROBE_FRAMES;

	if (ret < 0)
		doctor_add(p->d, lacks, key, what, "refused: %s", strerror(-ret));
	else
		doctor_add(p->d, well ? DOCTOR_OK : lacks, key, what, "%d of %d frames %s", got,
			   PROBE_FRAMES, did);
	return well;
}
