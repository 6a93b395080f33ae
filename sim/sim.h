/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A cluster in one process, in virtual time, out of one seed:
 *
 *   world.c    events in order of time; one seed from start to verdict
 *   node.c     a replica: replica/process.c itself as a coroutine; crash, pause, restart
 *   wrap*.c    what that code calls (clock, sockets, elec, journal, core) is caught at link
 *              time: a point where it may be stopped, and where the checks look
 *   kernel.c   the loaded programs, one set of maps for each replica, by BPF_PROG_TEST_RUN
 *   net.c      frames between nodes; loss, duplication, delay, corruption, cuts
 *   files.c    what outlives a process
 *   client.c   closed-loop clients and their history
 *   plan.c     which fault, when, for how long
 *   check*.c   invariants after every step; history.c: the verdict at the end
 *   trace.c    the transcript; main.c, one.c, many.c: the command line
 *
 * The code under test is the code that is shipped: objects of replica/ are linked as they are.
 */
#ifndef PAXRACK_SIM_H
#define PAXRACK_SIM_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "replica/elec.h"
#include "replica/vr.h"
#include "sim/rng.h"

#define SIM_REPLICAS_MAX 9
#define SIM_CLIENTS_MAX 8
#define SIM_NODES_MAX (SIM_REPLICAS_MAX + SIM_CLIENTS_MAX)

#define US UINT64_C(1000) /* ns */
#define MS UINT64_C(1000000)
#define SECOND UINT64_C(1000000000)

/* What may go wrong. X(enumerator, name for --faults, what it is) */
#define SIM_FAULTS(X)                                                                              \
	X(LOSS, "loss", "frames vanish")                                                           \
	X(DUPLICATE, "duplicate", "frames come twice")                                             \
	X(DELAY, "delay", "frames are late and overtake each other")                               \
	X(CORRUPT, "corrupt", "bits flip, lengths and names are wrong")                            \
	X(PARTITION, "partition", "links and sides are cut, one way or both")                      \
	X(CRASH, "crash", "a process is killed, its files stay")                                   \
	X(AMNESIA, "amnesia", "a process is killed, journal or maps or both are lost")             \
	X(ALL, "all-crash", "all processes are killed at once, files stay")                        \
	X(STOP, "stop", "a process ends in good order and starts again")                           \
	X(PAUSE, "pause", "a process stands still, its kernel goes on")                            \
	X(DETACH, "detach", "the kernel programs are detached and attached again")                 \
	X(SLOW, "slow", "a process dawdles: its kernel log fills")

enum sim_fault {
#define X(id, name, text) SIM_FAULT_##id,
	SIM_FAULTS(X)
#undef X
		SIM_FAULT_COUNT
};

extern const char *const sim_fault_names[SIM_FAULT_COUNT];

struct sim_options {
	uint64_t seed;
	uint32_t replicas;
	unsigned int offloads;
	uint32_t steps;	 /* client operations */
	uint32_t faults; /* 1 << enum sim_fault, or-ed */
	bool story;	 /* faults and changes of view are printed */
	bool detail;	 /* every frame and step is printed */
	void (*progress)(uint32_t done, uint32_t steps); /* now and then; or NULL */
	uint32_t tail;	 /* so many last lines of detail are kept and printed after a violation */
};

/* What happened in one seed. */
struct sim_result {
	bool violated;
	char violation[512];
	uint64_t events, virtual_ns;
	uint64_t acks_kernel, acks_user;
	uint64_t operations, view_changes, crashes_files, crashes_amnesia, recoveries, transfers,
		snapshots;
	uint64_t faults[SIM_FAULT_COUNT];
};

struct sim;
struct node;
struct kernel;

/* ---- world.c ---- */

struct frame {
	struct frame *next; /* in a socket's queue */
	uint32_t len;
	uint8_t data[]; /* from the Ethernet header; a datagram over the MTU is one long frame */
};

enum event_kind {
	EVENT_FRAME,  /* arrives at a node */
	EVENT_RUN,    /* a replica's process goes on */
	EVENT_CLIENT, /* a client's timer */
	EVENT_FAULT,  /* plan.c: begin or end */
	EVENT_CRASH,  /* at the latest now */
	EVENT_UNLINK, /* the XDP link of a dead process goes */
};

struct event {
	uint64_t at_ns, order;
	enum event_kind kind;
	uint32_t node, argument;
	uint64_t generation; /* of the node; another one: the event is stale */
	struct frame *frame;
};

void world_at(struct sim *s, uint64_t delay_ns, struct event event);
/* One seed; kernel_load() was before. */
void world_run(const struct sim_options *options, struct sim_result *result);
/* Ends the run: the first one counts. */
void violation(struct sim *s, const char *promise, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* ---- trace.c ---- */

void trace_begin(struct sim *s);
void trace_end(struct sim *s);
void trace_line(struct sim *s, bool story, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/* A frame in one line, e.g. "r0>r2 Prepare v3 4..7". */
const char *trace_frame(const struct frame *f);

#define story(s, ...) trace_line(s, true, __VA_ARGS__)
#define detail(s, ...)                                                                             \
	do {                                                                                       \
		if ((s)->tracing)                                                                  \
			trace_line(s, false, __VA_ARGS__);                                         \
	} while (0)

/* ---- kernel.c ---- */

/* Loads the programs of all replicas, once for a process. 0, or -errno with a sentence. */
int kernel_load(uint32_t replicas, unsigned int offloads, char *error, size_t size);
struct kernel *kernel_of(uint32_t replica); /* NULL: no offload */
void kernel_reset(struct kernel *k);	    /* as if the maps were new */
void kernel_clock(struct kernel *k, uint64_t now_ns);
void kernel_attach(struct node *node); /* both programs */
void kernel_detach(struct node *node);
struct elec_state *kernel_state(struct kernel *k);
const struct elec_slot *kernel_slot(const struct kernel *k, uint32_t op);
/* A frame arrives at a node's device / leaves its stack: the programs judge it. Takes the frame. */
void kernel_ingress(struct node *node, struct frame *f);
void kernel_egress(struct node *node, struct frame *f);

/* ---- net.c ---- */

struct net {
	struct rng rng;
	bool cut[SIM_NODES_MAX][SIM_NODES_MAX];	     /* [from][to] */
	uint32_t loss[SIM_NODES_MAX][SIM_NODES_MAX]; /* in a million */
	uint32_t duplicate, late, corrupt;	     /* in a million */
	uint64_t latency_ns, late_ns;
	uint32_t loss_usual, duplicate_usual, late_usual, corrupt_usual; /* between storms */
};

#define NET_MTU 1500
#define NET_PAYLOAD_AT 42 /* Ethernet, IPv4, UDP */
#define NET_CLIENT_PORT 20000

void net_open(struct sim *s);
void net_calm(struct sim *s); /* a storm is over */
/* Position: a replica's index, or SIM_REPLICAS_MAX + a client's. Network order. */
uint32_t net_addr(uint32_t position);
uint16_t net_port(const struct sim *s, uint32_t node); /* network order */
void net_mac(uint32_t position, uint8_t mac[6]);
/* A datagram in its frame, sums filled in. */
struct frame *net_frame(struct sim *s, uint32_t from, uint32_t to, const uint8_t *data, size_t len);
/* What leaves a device: lost, late, doubled, or delivered. Takes the frame. */
void net_send(struct sim *s, uint32_t from, struct frame *f);
/* As the stack would: is this frame whole, right and to this node's port? */
bool net_accepts(const struct sim *s, uint32_t node, const struct frame *f);
/* Address that it comes from, network order. */
uint32_t net_sender(const struct frame *f);
/* Node at this address and port (network order), -1: none. */
int net_node(const struct sim *s, uint32_t addr, uint16_t port);

/* ---- node.c, files.c, wrap.c ---- */

enum node_status { NODE_DOWN, NODE_UP };

/* What its process holds, to be given back when it is killed. */
enum held_kind { HELD_BLOCK, HELD_MAPPING, HELD_DESCRIPTOR };

struct held {
	enum held_kind kind;
	void *at;
	size_t size;
	int fd;
};

#define NODE_HELD_MAX 512

struct node {
	struct sim *sim;
	uint32_t index;
	enum node_status status;
	struct kernel *kernel;
	bool xdp, tc;	     /* attached */
	uint64_t generation; /* of wake-ups */
	uint32_t life;	     /* starts so far */

	struct coroutine *coroutine;
	const char *point;	      /* where its code stands */
	bool waiting;		      /* in a system call */
	bool deaf;		      /* in one that waits for the socket alone */
	bool woken;		      /* by its kernel program: that descriptor is readable */
	bool paused, run_missed;      /* SIGSTOP; its time came meanwhile */
	int crash_in, pause_in;	      /* points until it is killed, stopped; -1: never */
	bool lose_journal, lose_maps; /* by SIM_FAULT_AMNESIA */
	bool without_memory;	      /* since then, until it has recorded its recovery */
	enum sim_fault crash_how;
	volatile sig_atomic_t stop;
	uint64_t receive_ns; /* longest wait for the socket alone */
	uint64_t busy_ns;    /* used up since it last let the world go on */
	uint32_t dawdle;     /* times slower than usual */

	struct vr *vr;
	struct elec *elec;
	void *app; /* state of the application */

	struct frame *queue, **queue_end; /* of its socket */
	uint32_t queued;

	struct held held[NODE_HELD_MAX];
	uint32_t held_used;

	char journal[64]; /* its file */
};

void node_open(struct node *node, struct sim *s, uint32_t index);
void node_close(struct node *node);
void node_start(struct node *node);
void node_run(struct node *node);		       /* its time has come */
void node_wake(struct node *node);		       /* something to read */
void node_receive(struct node *node, struct frame *f); /* by its socket; takes the frame */
void node_crash(struct node *node, enum sim_fault how);
void node_pause(struct node *node, bool on);
void node_stop(struct node *node); /* SIGTERM */
/* Called by the code under test, wherever it may be interrupted. */
void node_point(const char *name);
void node_rare_point(const char *name); /* one that is seldom passed: interrupted more often */
/* ... where what it did takes its time. */
void node_busy(void);
/* ... and where it waits: until woken, or until so much time is gone. */
void node_wait(uint64_t timeout_ns);

/* Memory of the simulator's own, also while a process runs. Zeroed; never NULL. */
void *need(size_t size);
void unneed(void *at);

extern struct node *node_current; /* whose code runs; NULL: the simulator's own */

/* ---- client.c, history.c ---- */

#define SIM_KEYS 16 /* k0.. */

struct operation {
	uint32_t client;
	uint64_t reqid, invoked_ns, returned_ns;
	uint64_t op;	 /* number that the Reply named; 0: no Reply yet */
	uint64_t result; /* hash */
};

struct client {
	uint32_t index;
	uint64_t id, reqid, view;
	bool leader_known, busy; /* busy: waits for a reply */
	uint32_t tries;
	uint64_t generation; /* of its timer */
	uint32_t operation;  /* in flight */
	uint32_t len;
	uint8_t message[16384];
	uint32_t reply_from; /* a reply in fragments: whose, which, */
	uint64_t reply_id;
	uint32_t reply_got; /* bits: the pieces that are there */
	uint8_t reply[32768];
};

void clients_start(struct sim *s);
void client_timer(struct sim *s, uint32_t client);
void client_receive(struct sim *s, uint32_t client, struct frame *f);
bool clients_done(const struct sim *s);

/* Linearizable, nothing lost, all replicas agree? Calls violation() if not. */
void history_check(struct sim *s);
/* All replicas normal, in one view, with everything executed. */
bool history_settled(const struct sim *s);

/* ---- check.c ---- */

void check_open(struct sim *s);
void check_close(struct sim *s);
void check_start(struct node *node);
void check_lost(struct node *node, bool journal, bool maps); /* gone */
/* Since then it has recorded that it is normal. */
bool check_remembers(struct node *node);
/* The journal of a node has these now. */
void check_entry(struct node *node, const struct entry *e);
void check_truncate(struct node *node, uint64_t op);
void check_snapshot(struct node *node, uint64_t op);
void check_view(struct node *node, const struct vr_view_state *state);
void check_before_step(struct node *node, const struct vr_event *event);
void check_after_step(struct node *node, const struct vr_event *event);
void check_step(struct node *node, const struct vr_event *event, enum vr_result result,
		const struct vr_out *out);
void check_thaw(struct node *node, uint64_t view, uint32_t leader, uint64_t last);
void check_advance(struct node *node, uint64_t to);
void check_frozen(struct node *node, uint64_t last);
/* The kernel of a node turned a Prepare into an ack; its gate before that. */
void check_kernel_ack(struct node *node, const struct frame *ack, uint64_t gate);
/* The process of a node sends a datagram. */
void check_sent(struct node *node, const uint8_t *data, size_t len);
uint64_t check_hash(const void *data, size_t len);

struct committed {
	uint64_t hash, clientid, reqid;
	uint64_t view;	/* in which it was committed first */
	uint64_t chain; /* of all up to this one */
	uint32_t len;
	uint8_t *op;
};

/* Last op that anybody committed, and all of them: log[1..]. */
uint64_t check_committed(const struct sim *s, const struct committed **log);

/* ---- plan.c ---- */

void plan_open(struct sim *s);
void plan_progress(struct sim *s); /* an operation was done */
void plan_event(struct sim *s, const struct event *event);
void plan_heal(struct sim *s); /* the end of all faults */
/* Cuts off one replica, in some way in which the others can go on; false: not in this seed. */
bool plan_cut_one(struct sim *s);
void plan_mend(struct sim *s);
bool plan_done(const struct sim *s);

struct fault {
	enum sim_fault kind;
	uint64_t after;	      /* operations */
	uint64_t duration_ns; /* of what has one */
	uint32_t victim;
	uint32_t part; /* DETACH: 1 XDP, 2 TC */
};

#define PLAN_MAX 32

struct sim {
	struct sim_options o;
	struct sim_result *result;
	uint64_t now_ns, order;
	struct event *heap;
	uint32_t heap_used, heap_size;
	bool over, tracing, healed;

	uint32_t n, clients;
	struct node node[SIM_REPLICAS_MAX];
	struct client client[SIM_CLIENTS_MAX];
	struct rng rng_client, rng_node, rng_plan;
	uint32_t wake_backlog;
	uint32_t log_ops;      /* entries that a core keeps in memory */
	uint32_t point_chance; /* in a million: a process is interrupted at a point */
	struct net net;

	struct operation *operations;
	uint32_t operations_begun, operations_done;

	struct fault plan[PLAN_MAX];
	uint32_t plan_count, plan_next, plan_active;

	struct check *check;
	struct trace *trace;
};

#endif
