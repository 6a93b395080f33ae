/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A rack: its description, and what a subcommand needs to work in one.
 *
 *   up        YAML file -> struct rack -> namespaces, ToR, programs (up.c)
 *   find      a rack that is up, by name, without its YAML file (state.c)
 *   spawn     a process in one of its nodes (process.c)
 *   down      all of it away, whatever state it was left in (down.c)
 *
 * Everything of a rack at run time lives in /run/paxrack/<rack>/, a tmpfs of its own:
 *
 *   ns/<node>     the node's network namespace, also ns/tor; links in /run/netns lead here
 *   bpf/<node>/   pinned maps and programs, also bpf/tor/
 *   rack.yaml     the description, in the format of topo/rack3.yaml
 *   cluster.conf  the replicas, in the published format
 *   pids/         <pid>.<start time> of each process started in the rack: its node
 *   log/          what they wrote
 *   status/       a page of each replica: what it is at the moment (replica/status.h)
 *   journal/      the journal of each replica: what it must know after a crash
 *   up            the rack is complete; its time is the time of `rack up`
 *
 * Functions return 0 or -1 unless said otherwise; before -1 they have said why on
 * standard error, in one sentence. On failure outputs are untouched.
 */
#ifndef PAXRACK_RACK_H
#define PAXRACK_RACK_H

#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define RACK_RUN "/run/paxrack"
#define RACK_NAME_MAX 32     /* characters in a rack's name */
#define RACK_NODES_MAX 1023  /* nodes of one rack: a Linux bridge has no more ports */
#define RACK_STATUS "status" /* folder of the replicas' pages, see above */
#define RACK_IFACE "eth0"    /* a node's own device */

enum rack_role { RACK_REPLICA, RACK_CLIENT, RACK_TESTER };
enum rack_xdp { RACK_NATIVE, RACK_GENERIC };

struct rack_node {
	char name[8]; /* r0.., c0.., t0.. */
	enum rack_role role;
	unsigned int number; /* within its role: 2 of r2, which is also its replica index */
	unsigned int index;  /* within the rack: replicas, then clients, then testers */
	uint8_t mac[6];
	uint32_t addr;	     /* network order */
	int ifindex;	     /* of eth0, and of its port in the ToR */
	unsigned int tor;    /* behind this one of rack->tor */
	bool here;	     /* built on this host */
	bool spoof;	     /* may send from any address */
	const char *command; /* foreign program with {index}, {iface}, {conf}, or NULL */
	cpu_set_t cpus;	     /* its processes run on these; empty: on any */
};

/* One of the ToRs that a spine joins. */
struct rack_tor {
	uint32_t host; /* network order: it is on the host with this address; 0: on this one */
	bool here;
};

struct rack {
	char name[RACK_NAME_MAX + 1];
	uint32_t subnet;     /* host order */
	unsigned int prefix; /* bits of the subnet */
	unsigned int replicas, clients, testers;
	enum rack_xdp xdp;
	unsigned int mtu;			 /* bytes */
	unsigned int queues;			 /* of each link, to transmit and to receive */
	unsigned int umem_bytes, fill_threshold; /* of the path afxdp (docs/egress.md) */
	int afxdp_cpu;
	unsigned int count;	 /* nodes: replicas + clients + testers */
	struct rack_node *nodes; /* count of them, by index */
	struct rack_tor *tor;	 /* tors of them; one, and no spine, when the file names none */
	unsigned int tors;
	bool stretched;			   /* over several hosts, by VXLAN */
	unsigned int vxlan_id, vxlan_port; /* of that */
	struct rack_file *file;		   /* what was read, owns the strings */
};

/* ---- description (rack.c) ---- */

/* Read and check a rack file. Free with rack_free(). */
int rack_load(struct rack **rack, const char *path);
/* Check what was read from the file at path; `file` is the rack's from now on, or freed. */
int rack_make(struct rack **rack, struct rack_file *file, const char *path);
/* The description as a rack file, to be freed; NULL when there is no memory. */
char *rack_text(const struct rack *rack, size_t *len);
/* The file's attach mode is not the one wanted. */
void rack_set_xdp(struct rack *rack, enum rack_xdp xdp);
bool rack_is_name(const char *name); /* could it be a rack's? */
void rack_free(struct rack *rack);   /* NULL is allowed */
/* By name; NULL when there is none (nothing is said). "tor" is not a node. */
struct rack_node *rack_node(const struct rack *rack, const char *name);
/* The i-th of a role, e.g. RACK_CLIENT, 0 for c0; NULL when there is none. */
struct rack_node *rack_nth(const struct rack *rack, enum rack_role role, unsigned int i);
const char *rack_xdp_name(enum rack_xdp xdp);		  /* "native", "generic" */
int rack_xdp_parse(enum rack_xdp *xdp, const char *name); /* says nothing */

/* ---- a rack that is up (state.c) ---- */

enum rack_state { RACK_ABSENT, RACK_BROKEN, RACK_UP }; /* broken: a killed `up` or `down` */

enum rack_state rack_state(const char *name);
/* The description of a rack that is up. Free with rack_free(). */
int rack_find(struct rack **rack, const char *name);
/* Paths below /run/paxrack/<rack>/, printf-like, e.g. rack_path(buf, "lab", "bpf/%s", "r0"). */
#define RACK_PATH_MAX 256
const char *rack_folder(char buf[RACK_PATH_MAX], const char *name);
const char *rack_path(char buf[RACK_PATH_MAX], const char *name, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/*
 * One lock for all of /run/paxrack, held while a rack is built, removed (exclusive) or
 * entered (shared); returns a descriptor, close-on-exec, that rack_unlock() takes.
 */
int rack_lock(bool exclusive);
void rack_unlock(int lock);

/* ---- up and down (up.c, down.c) ---- */

/* Builds it. *made is false when the rack was up already: nothing was changed. */
int rack_up(const struct rack *rack, bool *made);
int rack_down(const char *name);

/* ---- processes (process.c) ---- */

struct rack_spawn {
	const char *const *argv; /* NULL-terminated; argv[0] is looked up in PATH */
	const char *log; /* file below log/ for output that goes nowhere else; NULL: inherit */
	int out, err;	 /* descriptors for stdout, stderr; -1: the log, or inherit */
	bool own_group;	 /* its own process group: a terminal's Ctrl-C is the caller's to handle */
};

/*
 * Turn this process into one of the rack: recorded for `rack down`, in the network
 * namespace of `node` ("tor" too), on its CPUs, PAXRACK=<rack>/<node> in the
 * environment. The mount namespace stays (so /sys/fs/bpf and all files are there).
 */
int rack_enter(const struct rack *rack, const char *node);
/* Start argv in a node; dies with its parent. Returns the pid, or -1. */
pid_t rack_spawn(const struct rack *rack, const char *node, const struct rack_spawn *spawn);
/*
 * End a process of rack_spawn(): SIGTERM, after timeout_ms SIGKILL; its record goes too.
 * Returns its wait status, or -1 (nothing is said) when it was no child of ours.
 */
int rack_stop(const struct rack *rack, pid_t pid, int timeout_ms);
/* A descriptor inside a node's network namespace: open(2) of ns/<node>, for setns(2). */
int rack_netns(const struct rack *rack, const char *node);

/* ---- the command (main.c) ---- */

/* One sentence on standard error, "rack: " before and a newline after it; returns -1. */
int rack_say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/*
 * Same, of what was typed and cannot be (no name of a rack, no node of this one), whatever the
 * machine's state: if the subcommand fails, the exit status is 2 instead of 1.
 */
int rack_cannot_be(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* Same, then how the subcommand is called, or what shows it; returns 2, the exit status of usage errors. */
int rack_usage(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* A subcommand's own: `rack NAME RACK VERB ...` */
struct rack_verb {
	const char *name;
	int (*run)(const struct rack *rack, char **argv); /* what follows it; argv ends with NULL */
};
/* Does the one that argv[2] names, in the rack argv[1]; {} ends the table. The exit status. */
int rack_do(const struct rack_verb *verbs, int argc, char **argv);
/* Not root, or no BPF: says so, returns -1. */
int rack_privileged(void);

/* Subcommands return the exit status: 0, 1 (failed), 2 (what was typed cannot be). argv[0] is the subcommand. */
int cmd_up(int argc, char **argv);
int cmd_down(int argc, char **argv);
int cmd_ls(int argc, char **argv);
int cmd_doctor(int argc, char **argv);
int cmd_exec(int argc, char **argv);
int cmd_shell(int argc, char **argv);
int cmd_run(int argc, char **argv);
int cmd_check(int argc, char **argv);
int cmd_report(int argc, char **argv);
int cmd_fault(int argc, char **argv);
int cmd_steer(int argc, char **argv);
int cmd_capture(int argc, char **argv);
int cmd_show(int argc, char **argv);
int cmd_stats(int argc, char **argv);
int cmd_top(int argc, char **argv);

#endif
