/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Network namespaces and the switches that no rtnetlink message has. Functions return 0 or -errno.
 */
#ifndef PAXRACK_NS_H
#define PAXRACK_NS_H

#include <stdbool.h>
#include <stdint.h>

/*
 * Make a network namespace, mount it on the new file `path`, stay in it, with IPv6
 * off (an idle namespace then sends nothing). The caller returns by ns_enter().
 */
int ns_create(const char *path);
/* Bridges of the calling thread's namespace forward without asking iptables, whatever it has. */
int ns_bridge_plain(void);
/* The calling thread's own: a descriptor, or -errno. */
int ns_current(void);
/* Descriptor of a namespace mounted at path, or -errno. */
int ns_open(const char *path);
int ns_enter(int ns);

/*
 * Switches of a device's transmit and receive offloads: checksums, scatter-gather, all
 * kinds of segmentation and merging, VLAN tags. `socket` is any socket of the device's
 * namespace; the list of them is asked for once.
 */
struct features;
int features_open(struct features **features, int socket, const char *iface);
void features_close(struct features *features);
/* Off, all of them; -EOPNOTSUPP when the device kept one on. */
int features_off(const struct features *features, int socket, const char *iface);
/* Generic receive offload alone: a veth that has it polls (NAPI), as one with XDP does. */
int features_gro(int socket, const char *iface, bool on);

/* Every switch of a device. What is on and was not asked for is the kernel's own doing. */
struct feature {
	const char *name; /* the kernel's: "tx-checksum-ip-generic" */
	bool offload;	  /* features_off() switches it off */
	bool on, asked;
};
typedef void (*features_fn)(void *arg, const struct feature *feature);
int features_each(const struct features *features, int socket, const char *iface, features_fn fn,
		  void *arg);
/* Name of a device's driver, e.g. "veth". */
int features_driver(int socket, const char *iface, char driver[32]);
/*
 * What a device of the calling thread's namespace can do with XDP: NETDEV_XDP_ACT_* of the
 * kernel. -ENOENT: this kernel (before 6.3) does not tell.
 */
int features_xdp(int ifindex, uint64_t *can);

/*
 * The kernel acts on a carrier that came or went in its own time, with thousands of links up to
 * a second later: nothing is sent before. Since Linux 6.8 to ask for the carrier is to make it.
 */
int link_settle(int socket, const char *iface);

#endif
