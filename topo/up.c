// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Building a rack.
 *
 *   1  /run/paxrack/<rack>/, a tmpfs mounted on it, everything else inside
 *   2  the ToR's namespace and bridge, the ToR's programs
 *   3  each node: a namespace; the pair of its port, up, with programs, member of the bridge, and
 *      eth0; offloads off; address, neighbours; eth0 up
 *   4  links in /run/netns, cluster.conf, and last the mark that the rack is complete
 *
 * Killed anywhere, what was made can be reached from that one mount (down.c), or was
 * held by this process alone.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bpf/state.h"
#include "bpf/tor.h"
#include "bpf/wire.h"
#include "netns/ns.h"
#include "netns/rtnl.h"
#include "topo/private.h"
#include "topo/tor.h"
#include "topo/tors.h"
#include "topo/watch.h"

#define PORTS_MS 5000 /* for the bridge to forward on all of them */
#define LOOPBACK 1    /* device index of lo in every namespace */

struct build {
	const struct rack *rack;
	int host; /* namespace to come back to, and a socket in it */
	struct rtnl *host_rtnl;
	struct rtnl *tor_rtnl, *node_rtnl; /* in the ToR, in the node being built */
	struct tor tor;
	struct features *features;
};

static int failed(const char *node, const char *what, int error)
{
	return rack_say("%s: cannot %s: %s%s", node, what, strerror(-error),
			error == -EPERM ? "; run on the host or in a privileged container" : "");
}

/* Ctrl-C and friends are held back while a rack is built, and looked at between nodes. */
static bool interrupted(void)
{
	sigset_t set;

	return !sigpending(&set) && (sigismember(&set, SIGINT) || sigismember(&set, SIGTERM) ||
				     sigismember(&set, SIGHUP));
}

static void signals_hold(sigset_t *before)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	sigprocmask(SIG_BLOCK, &set, before);
}

static int write_file(const struct rack *rack, const char *name, const char *text, size_t len)
{
	char path[RACK_PATH_MAX];
	int fd =
		open(rack_path(path, rack->name, "%s", name), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	ssize_t n = fd < 0 ? -1 : write(fd, text, len);

	if (n != (ssize_t)len)
		rack_say("cannot write %s: %s", path, n < 0 ? strerror(errno) : "no space");
	if (fd >= 0)
		close(fd);
	return n == (ssize_t)len ? 0 : -1;
}

/* Large pages for those who ask for them: the journals. Not every kernel knows that option. */
static int mount_tmpfs(const char *path)
{
	const unsigned long flags = MS_NOSUID | MS_NOEXEC;

	int ret = mount("paxrack", path, "tmpfs", flags, "mode=0700,huge=advise");

	return ret && errno == EINVAL ? mount("paxrack", path, "tmpfs", flags, "mode=0700") : ret;
}

static int make_folders(const struct rack *rack)
{
	static const char *const folders[] = {"ns", "bpf", "pids", "log", "journal", RACK_STATUS};
	char path[RACK_PATH_MAX];
	size_t len;
	char *text;
	int ret;

	if (mkdir(rack_folder(path, rack->name), 0700))
		return rack_say("cannot make %s: %s", path, strerror(errno));
	/*
	 * Shared: a mount namespace that somebody makes later gets copies of what is mounted
	 * in here, and only between shared mounts does their removal reach the copies.
	 */
	if (mount_tmpfs(path) || mount(NULL, path, NULL, MS_SHARED, NULL))
		return rack_say("cannot mount a tmpfs on %s: %s", path, strerror(errno));
	for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++) {
		if (mkdir(rack_path(path, rack->name, "%s", folders[i]), 0700))
			return rack_say("cannot make %s: %s", path, strerror(errno));
	}
	if (mount("bpf", rack_path(path, rack->name, "bpf"), "bpf", MS_NOSUID | MS_NOEXEC,
		  "mode=0700"))
		return rack_say("cannot mount a bpf file system on %s: %s%s", path, strerror(errno),
				errno == ENODEV ? "; this kernel was built without BPF" : "");
	text = rack_text(rack, &len);
	if (!text)
		return rack_say("no memory");
	ret = write_file(rack, "rack.yaml", text, len);
	free(text);
	return ret;
}

static int build_tor(struct build *b)
{
	const struct rack *rack = b->rack;
	char path[RACK_PATH_MAX];
	int ret = ns_create(rack_path(path, rack->name, "ns/tor"));

	if (!ret)
		ret = ns_bridge_plain();
	if (!ret)
		ret = rtnl_open(&b->tor_rtnl);
	if (ret)
		return failed("tor", "make its network namespace", ret);
	ret = features_open(&b->features, rtnl_fd(b->tor_rtnl), "lo");
	if (ret)
		return failed("tor", "list offloads of devices", ret);
	rtnl_link_up(b->tor_rtnl, LOOPBACK);
	return tor_load(&b->tor, rack)
		       ?: tors_build(rack, b->tor_rtnl, b->host_rtnl, b->features, b->tor.uplink);
}

/* The pair, eth0 in the namespace that this process is in; and all that is the port's. */
static int build_port(struct build *b, const struct rack_node *node)
{
	const struct rack *rack = b->rack;
	struct rtnl *r = b->tor_rtnl;
	struct rtnl_veth_end eth0 = {
		.name = RACK_IFACE, .ifindex = node->ifindex, .here = true, .queues = rack->queues};
	struct rtnl_veth_end port = {.name = node->name,
				     .ifindex = node->ifindex,
				     .group = RACK_PORT_GROUP,
				     .queues = rack->queues,
				     .bridge = tors_bridge(node->tor)};
	int ret;

	memcpy(eth0.mac, node->mac, sizeof(eth0.mac));
	memcpy(port.mac, node->mac, sizeof(port.mac));
	port.mac[0] |= 0x04; /* the port's own, which sends nothing: 06 for 02 */
	rtnl_veth_add(r, &port, &eth0, rack->mtu);
	rtnl_clsact_add(r, node->ifindex);
	rtnl_ingress_add(r, node->ifindex, b->tor.ingress, "tor_ingress");
	rtnl_fdb_add(r, node->ifindex, node->mac);
	if (rtnl_commit(r))
		return rack_say("tor: %s", rtnl_error(r));
	ret = features_off(b->features, rtnl_fd(r), node->name);
	return ret ? failed(node->name, "switch off offloads of its port", ret) : 0;
}

/* Nothing can come out of eth0 before it is up, which is last. */
static int fill_node(struct build *b, const struct rack_node *node)
{
	const struct rack *rack = b->rack;
	struct rtnl *r = b->node_rtnl;
	int ret = features_off(b->features, rtnl_fd(r), RACK_IFACE);

	if (ret)
		return failed(node->name, "switch off offloads of eth0", ret);
	/*
	 * Not before: while its peer has a program, the kernel hides eth0's segmentation from being
	 * switched off, and has it on again when the program goes. Sent with the next node's.
	 */
	if (tor_bounces(rack, node))
		rtnl_xdp_set(b->tor_rtnl, node->ifindex, b->tor.pass);
	rtnl_link_up(r, LOOPBACK);
	rtnl_addr_add(r, node->ifindex, node->addr, rack->prefix);
	rtnl_link_up(r, node->ifindex);
	for (unsigned int i = 0; i < rack->replicas; i++) {
		const struct rack_node *peer = &rack->nodes[i];

		if (peer != node)
			rtnl_neigh_add(r, node->ifindex, peer->addr, peer->mac);
	}
	if (rtnl_commit(r))
		return rack_say("%s: %s", node->name, rtnl_error(r));
	ret = link_settle(rtnl_fd(r), RACK_IFACE) ?: link_settle(rtnl_fd(b->tor_rtnl), node->name);
	return ret ? failed(node->name, "ask for the carrier", ret) : 0;
}

/* Leaves the process in the node's namespace: the next one to be made starts from there as well. */
static int build_node(struct build *b, const struct rack_node *node)
{
	char path[RACK_PATH_MAX];
	int ret = ns_create(rack_path(path, b->rack->name, "ns/%s", node->name));

	if (!ret)
		ret = b->node_rtnl ? rtnl_reopen(b->node_rtnl) : rtnl_open(&b->node_rtnl);
	if (ret)
		return failed(node->name, "make its network namespace", ret);
	return build_port(b, node) ?: fill_node(b, node);
}

/* Before Linux 6.8 the ports forward a moment after they are up. */
static int wait_for_ports(struct build *b)
{
	int waited_ms = 0, look_ms = 1, idle;

	while ((idle = rtnl_ports_idle(b->tor_rtnl)) > 0 && waited_ms < PORTS_MS) {
		poll(NULL, 0, look_ms);
		waited_ms += look_ms;
		look_ms *= 2; /* looking is not cheap */
	}
	if (idle < 0)
		return failed("tor", "look at its ports", idle);
	if (idle)
		return rack_say("tor: %d ports of its bridge do not forward", idle);
	return 0;
}

static int build(struct build *b)
{
	const struct rack *rack = b->rack;
	struct watch *watch;
	int ret;

	b->host = ns_current();
	if (b->host < 0)
		return failed(rack->name, "open this network namespace", b->host);
	ret = rtnl_open(&b->host_rtnl);
	if (ret) {
		close(b->host);
		return failed(rack->name, "open a netlink socket", ret);
	}
	watch = watch_begin(rack);
	ret = build_tor(b);
	for (unsigned int i = 0; i < rack->count && !ret; i++) {
		if (!rack->nodes[i].here)
			continue;
		ret = build_node(b, &rack->nodes[i]);
		if (!ret && interrupted())
			ret = rack_say("interrupted, everything is being removed again");
	}
	if (!ret && rtnl_commit(b->tor_rtnl)) /* the last node's */
		ret = rack_say("tor: %s", rtnl_error(b->tor_rtnl));
	if (!ret)
		ret = wait_for_ports(b);
	if (ns_enter(b->host) && !ret)
		ret = rack_say("cannot return to this network namespace: %s", strerror(errno));

	watch_end(watch);
	tor_close(&b->tor);
	features_close(b->features);
	rtnl_close(b->node_rtnl);
	rtnl_close(b->tor_rtnl);
	rtnl_close(b->host_rtnl);
	close(b->host);
	return ret;
}

/* The published format, see replica/cluster.h. */
static int write_cluster(const struct rack *rack)
{
	char text[64 + ELEC_REPLICAS_MAX * 40], dotted[16];
	int len = sprintf(text, "f %u\n", (rack->replicas - 1) / 2);

	for (unsigned int i = 0; i < rack->replicas; i++) {
		inet_ntop(AF_INET, &rack->nodes[i].addr, dotted, sizeof(dotted));
		len += sprintf(text + len, "replica %s:%d\n", dotted, WIRE_PORT);
	}
	return write_file(rack, "cluster.conf", text, len);
}

/* Is what is up what this file describes? */
static int same_as_up(const struct rack *rack)
{
	char path[RACK_PATH_MAX];
	size_t len, n;
	char *text = rack_text(rack, &len), *there;
	FILE *f = fopen(rack_path(path, rack->name, "rack.yaml"), "re");
	bool same;

	there = malloc(len + 1);
	if (!text || !there || !f) {
		rack_say("cannot compare with %s: %s", path, f ? "no memory" : strerror(errno));
		same = true;
	} else {
		n = fread(there, 1, len + 1, f);
		same = n == len && !memcmp(there, text, len);
		if (!same)
			rack_say("%s is up, built from another description (%s): `rack down %s` "
				 "first",
				 rack->name, path, rack->name);
	}
	if (f)
		fclose(f);
	free(there);
	free(text);
	return same ? 0 : -1;
}

static int up_locked(const struct rack *rack, bool *made)
{
	struct build b = {.rack = rack, .host = -1};

	switch (rack_state(rack->name)) {
	case RACK_UP:
		*made = false;
		return same_as_up(rack);
	case RACK_BROKEN:
		if (down_locked(rack->name))
			return -1;
		break;
	case RACK_ABSENT:
		break;
	}
	if (limits_check(rack) || tors_check(rack) || conflict_check(rack))
		return -1;
	if (make_folders(rack) || build(&b) || links_make(rack) || write_cluster(rack) ||
	    write_file(rack, "up", "", 0)) {
		down_locked(rack->name);
		return -1;
	}
	*made = true;
	return 0;
}

int rack_up(const struct rack *rack, bool *made)
{
	sigset_t before;
	int lock, ret;

	if (rack_privileged())
		return -1;
	lock = rack_lock(true);
	if (lock < 0)
		return -1;
	signals_hold(&before);
	ret = up_locked(rack, made);
	rack_unlock(lock);
	sigprocmask(SIG_SETMASK, &before, NULL);
	return ret;
}
