// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* What else becomes of frames: they go to a socket, or wrong, and somebody is told. */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <poll.h>
#include <string.h>

#include "bpf/probe.h"
#include "bpf/watch.h"
#include "topo/doctor_probe.h"
#include "topo/watch.h"
#include "topo/xsk.h"

#include "watch.skel.h"

#define XSK_FRAMES 64
#define XSK_SIZE 2048

static int frames_in_socket(struct xsk *x)
{
	struct xsk_frame frames[PROBE_FRAMES];
	struct pollfd wait = {.fd = xsk_fd(x), .events = POLLIN};
	int got = 0;

	while (got < PROBE_FRAMES && poll(&wait, 1, PROBE_WAIT_MS) > 0)
		got += xsk_receive(x, frames, PROBE_FRAMES - got);
	return got;
}

/* 0 or -errno; *got frames came to the socket. */
static int try_af_xdp(struct probe *p, int *got, bool *zero_copy)
{
	struct xsk_umem *memory = NULL;
	struct xsk *x = NULL;
	uint32_t zero = 0;
	int ret = probe_load(p, "probe_socket"), link = -1, fd;

	if (!ret)
		ret = link = probe_attach(p->program, PROBE_FAR, true);
	if (ret >= 0)
		ret = xsk_umem_open(&memory, XSK_FRAMES, XSK_SIZE)
			      ?: xsk_open(&x, memory, PROBE_FAR, 0, XSK_FRAMES);
	if (!ret) {
		*zero_copy = xsk_zero_copy(x);
		xsk_fill(x, XSK_FRAMES);
		fd = xsk_fd(x);
		ret = bpf_map_update_elem(bpf_map__fd(p->bpf->maps.probe_xsk), &zero, &fd, BPF_ANY)
			      ?: probe_send(p);
	}
	if (!ret)
		*got = frames_in_socket(x);
	probe_close(link);
	xsk_close(x);
	xsk_umem_close(memory);
	probe_unload(p);
	return ret;
}

void doctor_af_xdp(struct probe *p)
{
	bool zero_copy = false;
	int got = 0, ret = try_af_xdp(p, &got, &zero_copy);

	if (!probe_add(p, DOCTOR_WARN, "af_xdp", "AF_XDP on veth", ret, got, "came to a socket")) {
		doctor_so(p->d,
			  "no fault rules that delay, reorder or limit a rate, no path `afxdp`");
		doctor_remedy(p->d, "a kernel with CONFIG_XDP_SOCKETS");
		return;
	}
	doctor_add(p->d, DOCTOR_INFO, "af_xdp_zero_copy", "AF_XDP without copying", "%s",
		   zero_copy ? "veth has it" : "veth has none");
	if (!zero_copy)
		doctor_so(p->d, "each frame that takes this path is copied twice");
}

/* How often did the program under test do this, as the tracepoint has it? */
static int told(const struct watch_bpf *watch, const struct watch_key *key)
{
	int map = bpf_map__fd(watch->maps.watch_counts), left_ms = PROBE_WAIT_MS;
	uint64_t count = 0;

	while ((bpf_map_lookup_elem(map, key, &count) || count < PROBE_FRAMES) && left_ms > 0) {
		poll(NULL, 0, PROBE_LOOK_MS);
		left_ms -= PROBE_LOOK_MS;
	}
	return count;
}

/* 0 or -errno; *count of the tracepoint for PROBE_FRAMES frames. */
static int try_tracepoint(struct probe *p, bool redirect, int *count)
{
	struct watch_bpf *watch = watch_bpf__open();
	struct watch_key key = {.action = redirect ? XDP_REDIRECT : XDP_ABORTED,
				.ifindex = PROBE_FAR};
	struct bpf_prog_info info = {0};
	uint32_t len = sizeof(info);
	int ret = watch ? bpf_object__load(watch->obj) : -ENOMEM, link = -1, xdp = -1;

	if (!ret)
		ret = link = watch_attach(redirect ? watch->progs.watch_redirect
						   : watch->progs.watch_exception);
	if (ret >= 0)
		ret = probe_load(p, redirect ? "probe_nowhere" : "probe_abort");
	if (!ret)
		ret = xdp = probe_attach(p->program, PROBE_FAR, false);
	if (ret >= 0)
		ret = bpf_obj_get_info_by_fd(p->program, &info, &len);
	if (!ret)
		ret = probe_send(p);
	if (!ret) {
		probe_wait(p);
		key.program = info.id;
		key.error = redirect ? -EINVAL : 0;
		key.to_ifindex = redirect ? PROBE_NOWHERE : 0;
		*count = told(watch, &key);
	}
	probe_close(xdp);
	probe_close(link);
	watch_bpf__destroy(watch);
	probe_unload(p);
	return ret;
}

static void look_at_tracepoint(struct probe *p, bool redirect)
{
	int count = 0, ret = try_tracepoint(p, redirect, &count);

	if (probe_add(p, DOCTOR_WARN,
		      redirect ? "tracepoint_xdp_redirect_err" : "tracepoint_xdp_exception",
		      redirect ? "tracepoint xdp_redirect_err" : "tracepoint xdp_exception", ret,
		      count, "went wrong as planned, and were told of"))
		return;
	doctor_so(p->d, redirect ? "redirects that fail are not counted"
				 : "XDP_ABORTED, and XDP_TX that fails, are not counted");
	doctor_remedy(p->d, "a kernel with CONFIG_BPF_EVENTS, not locked down to confidentiality");
}

void doctor_tracepoints(struct probe *p)
{
	look_at_tracepoint(p, false);
	look_at_tracepoint(p, true);
}
