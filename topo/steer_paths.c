// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Programs on ports, nodes that poll, the listener for failed redirects, the process on the path
 * afxdp.
 */
#include "topo/steer_paths.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/if_link.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bpf/load.h"
#include "netns/ns.h"
#include "netns/rtnl.h"
#include "steer_watch.skel.h"
#include "topo/daemon.h"
#include "topo/steer.h"
#include "topo/steer_afxdp.h"
#include "topo/tor.h"

#define WATCH_ERR "steer_redirect_err"
#define WATCH_XMIT "steer_devmap_xmit"
#define DAEMON_END_MS 5000
#define GRO_MAX_DEFAULT 65536
#define GRO_MAX_NONE 1 /* no two frames fit */

struct paths {
	const struct rack *rack;
	int host;	 /* namespace to come back to */
	int steer, pass; /* programs */
	uint32_t steer_id, pass_id;
};

static int failed(const char *node, const char *what, int error)
{
	return rack_say("%s: cannot %s: %s", node, what, strerror(error < 0 ? -error : error));
}

/* ---- programs on ports ---- */

static uint32_t program_id(int fd)
{
	struct bpf_prog_info info = {};
	uint32_t size = sizeof(info);

	return bpf_obj_get_info_by_fd(fd, &info, &size) ? 0 : info.id;
}

static uint32_t map_id(const struct rack *rack, const char *name)
{
	int fd = tor_pinned(rack, name);
	struct bpf_map_info info = {};
	uint32_t size = sizeof(info);

	if (fd < 0)
		return 0;
	if (bpf_obj_get_info_by_fd(fd, &info, &size))
		info.id = 0;
	close(fd);
	return info.id;
}

/* In the ToR's namespace until paths_close(). */
static int paths_open(struct paths *p, const struct rack *rack)
{
	int tor = -1;

	*p = (struct paths){.rack = rack, .host = ns_current(), .steer = -1, .pass = -1};
	if (p->host < 0)
		return failed(rack->name, "open this network namespace", p->host);
	p->steer = tor_pinned(rack, "tor_steer");
	p->pass = p->steer < 0 ? -1 : tor_pinned(rack, "tor_pass");
	tor = p->pass < 0 ? -1 : rack_netns(rack, "tor");
	if (tor < 0)
		return -1;
	p->steer_id = program_id(p->steer);
	p->pass_id = program_id(p->pass);
	if (ns_enter(tor)) {
		failed("tor", "enter its network namespace", errno);
		close(tor);
		return -1;
	}
	close(tor);
	return 0;
}

static void paths_close(struct paths *p)
{
	if (p->host >= 0) {
		ns_enter(p->host);
		close(p->host);
	}
	if (p->steer >= 0)
		close(p->steer);
	if (p->pass >= 0)
		close(p->pass);
}

static uint32_t attach_mode(const struct rack *rack)
{
	return rack->xdp == RACK_NATIVE ? XDP_FLAGS_DRV_MODE : XDP_FLAGS_SKB_MODE;
}

static int attach(const struct paths *p, const struct rack_node *node)
{
	LIBBPF_OPTS(bpf_xdp_attach_opts, opts, .old_prog_fd = p->pass);
	uint32_t id = 0, flags = attach_mode(p->rack);
	int ret = bpf_xdp_query_id(node->ifindex, 0, &id);

	if (ret || id == p->steer_id)
		return ret ? failed(node->name, "look at its port", ret) : 0;
	if (id && id != p->pass_id)
		return rack_say("%s: its port has another XDP program, of id %u", node->name, id);
	if (id)
		ret = bpf_xdp_attach(node->ifindex, p->steer, flags | XDP_FLAGS_REPLACE, &opts);
	else
		ret = bpf_xdp_attach(node->ifindex, p->steer, flags | XDP_FLAGS_UPDATE_IF_NOEXIST,
				     NULL);
	return ret ? failed(node->name, "attach the XDP program that the path needs", ret) : 0;
}

static void detach(const struct paths *p, const struct rack_node *node)
{
	LIBBPF_OPTS(bpf_xdp_attach_opts, opts, .old_prog_fd = p->steer);
	int next = tor_bounces(p->rack, node) ? p->pass : -1, ret;
	uint32_t id = 0;

	if (bpf_xdp_query_id(node->ifindex, 0, &id) || id != p->steer_id)
		return;
	ret = bpf_xdp_attach(node->ifindex, next, attach_mode(p->rack) | XDP_FLAGS_REPLACE, &opts);
	if (ret)
		failed(node->name, "take the XDP program from its port", ret);
}

static int fill_devices(const struct rack *rack)
{
	int fd = tor_pinned(rack, "tor_devices"), ret = 0;

	if (fd < 0)
		return -1;
	for (uint32_t i = 0; i < rack->count && !ret; i++) {
		uint32_t ifindex = rack->nodes[i].ifindex;

		ret = bpf_map_update_elem(fd, &i, &ifindex, BPF_ANY);
		if (ret)
			failed(rack->nodes[i].name, "tell the XDP programs of its port", errno);
	}
	close(fd);
	return ret ? -1 : 0;
}

/* ---- nodes that poll ---- */

static int poll_here(const struct rack_node *node, bool on)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), ret;
	struct rtnl *r = NULL;

	if (fd < 0)
		return -errno;
	ret = rtnl_open(&r);
	if (!ret) {
		/* Nothing may be merged: what arrives is what was sent. */
		rtnl_gro_max(r, node->ifindex, on ? GRO_MAX_NONE : GRO_MAX_DEFAULT);
		ret = rtnl_commit(r);
	}
	if (!ret)
		ret = features_gro(fd, RACK_IFACE, on);
	rtnl_close(r);
	close(fd);
	return ret;
}

/* A native redirect to a veth whose peer does not poll (NAPI) is dropped. */
static int set_polling(const struct rack *rack, struct steer_state *state, bool on)
{
	int here, ret = 0;

	/* Somebody may have told a node otherwise since. */
	if (rack->xdp != RACK_NATIVE || (!on && !state->polling))
		return 0;
	state->polling = on;
	here = ns_current();
	if (here < 0)
		return failed(rack->name, "open this network namespace", here);
	for (unsigned int i = 0; i < rack->count && !ret; i++) {
		int ns;

		if (!rack->nodes[i].here)
			continue;
		ns = rack_netns(rack, rack->nodes[i].name);
		if (ns < 0) {
			ret = -1;
			break;
		}
		ret = ns_enter(ns) ? -errno : poll_here(&rack->nodes[i], on);
		close(ns);
		if (ret)
			ret = failed(rack->nodes[i].name, "have it poll for frames", ret);
	}
	ns_enter(here);
	close(here);
	return ret;
}

/* ---- the listener ---- */

static int reuse(const struct rack *rack, struct bpf_map *map)
{
	int fd = tor_pinned(rack, bpf_map__name(map)), ret;

	if (fd < 0)
		return -1;
	ret = bpf_map__reuse_fd(map, fd);
	close(fd);
	return ret;
}

static int attach_pinned(const struct rack *rack, struct bpf_program *program, const char *name)
{
	struct bpf_link *link = bpf_program__attach(program);
	char path[RACK_PATH_MAX];
	int ret;

	if (!link)
		return -errno;
	ret = bpf_link__pin(link, rack_path(path, rack->name, "bpf/tor/%s", name));
	bpf_link__destroy(link); /* the pin keeps it */
	return ret;
}

static void stop_watch(const struct rack *rack)
{
	char path[RACK_PATH_MAX];

	unlink(rack_path(path, rack->name, "bpf/tor/" WATCH_ERR));
	unlink(rack_path(path, rack->name, "bpf/tor/" WATCH_XMIT));
}

static int start_watch(const struct rack *rack, struct steer_state *state)
{
	char path[RACK_PATH_MAX], error[4096];
	struct steer_watch_bpf *bpf;
	struct stat st;
	int ret;

	if (!access(rack_path(path, rack->name, "bpf/tor/" WATCH_XMIT), F_OK))
		return 0;
	stop_watch(rack); /* half of one */
	if (stat(rack_path(path, rack->name, "ns/tor"), &st))
		return failed("tor", "look at its network namespace", errno);
	state->netns = st.st_ino;
	state->ports_map = map_id(rack, "tor_devices");
	state->sockets_map = map_id(rack, "tor_sockets");
	bpf = steer_watch_bpf__open();
	if (!bpf)
		return rack_say("cannot open the listener for failed redirects: %s",
				strerror(errno));
	ret = reuse(rack, bpf->maps.steer_state) ?: reuse(rack, bpf->maps.tor_moved)
							    ?: reuse(rack, bpf->maps.tor_last);
	if (!ret && bpf_load(bpf->obj, error, sizeof(error)))
		ret = rack_say("%s", error);
	if (!ret) {
		ret = attach_pinned(rack, bpf->progs.steer_redirect_err, WATCH_ERR)
			      ?: attach_pinned(rack, bpf->progs.steer_devmap_xmit, WATCH_XMIT);
		if (ret)
			failed(rack->name, "listen for redirects that fail", ret);
	}
	steer_watch_bpf__destroy(bpf);
	return ret ? -1 : 0;
}

/* ---- the process on the path afxdp ---- */

static unsigned int ports_of(const struct rack *rack, const struct steer_needs *needs,
			     uint64_t *ports)
{
	unsigned int count = 0;

	memset(ports, 0, TOR_CUT_WORDS * sizeof(*ports));
	for (unsigned int i = 0; i < rack->count; i++) {
		if (!(needs->port[i] & STEER_NEEDS_AFXDP))
			continue;
		ports[i / 64] |= 1ull << i % 64;
		count++;
	}
	return count;
}

static int start_afxdp(const struct rack *rack, struct steer_state *state,
		       const struct steer_needs *needs)
{
	uint64_t ports[TOR_CUT_WORDS], come = 0;

	ports_of(rack, needs, ports);
	for (int i = 0; i < TOR_CUT_WORDS; i++) {
		come |= ports[i] & ~state->afxdp_ports[i];
		state->afxdp_ports[i] |= ports[i];
	}
	if (!daemon_find(rack, STEER_DAEMON))
		return daemon_start(rack, STEER_DAEMON, steer_afxdp_run);
	return come ? steer_afxdp_look(rack, state, true) : 0;
}

/* To leave the path has to work also when its process is stuck: nobody waits for it. */
static void stop_afxdp(const struct rack *rack, struct steer_state *state,
		       const struct steer_needs *needs)
{
	uint64_t ports[TOR_CUT_WORDS];

	if (!needs->afxdp)
		daemon_end(rack, STEER_DAEMON, SIGTERM, DAEMON_END_MS);
	ports_of(rack, needs, ports);
	if (!memcmp(ports, state->afxdp_ports, sizeof(ports)))
		return;
	memcpy(state->afxdp_ports, ports, sizeof(ports));
	if (needs->afxdp)
		steer_afxdp_look(rack, state, false);
}

/* ---- all of it ---- */

int steer_paths_prepare(const struct rack *rack, struct steer_state *state,
			const struct steer_needs *needs)
{
	uint64_t ports[TOR_CUT_WORDS];
	struct paths p;
	int ret;

	if (!needs->xdp && !needs->afxdp)
		return 0;
	if (needs->afxdp && steer_afxdp_check(rack, ports_of(rack, needs, ports)))
		return -1;
	ret = paths_open(&p, rack);
	for (unsigned int i = 0; i < rack->count && !ret; i++) {
		if (needs->port[i])
			ret = attach(&p, &rack->nodes[i]);
	}
	if (!ret)
		ret = start_watch(rack, state);
	if (!ret && needs->xdp)
		ret = fill_devices(rack) ?: set_polling(rack, state, true);
	paths_close(&p);
	if (!ret && needs->afxdp)
		ret = start_afxdp(rack, state, needs);
	return ret;
}

void steer_paths_settle(const struct rack *rack, struct steer_state *state,
			const struct steer_needs *needs)
{
	struct paths p;

	stop_afxdp(rack, state, needs);
	if (!paths_open(&p, rack)) {
		for (unsigned int i = 0; i < rack->count; i++) {
			if (!needs->port[i])
				detach(&p, &rack->nodes[i]);
		}
		if (!needs->xdp)
			set_polling(rack, state, false);
		if (!needs->xdp && !needs->afxdp)
			stop_watch(rack);
	}
	paths_close(&p);
}
