/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A replica's process: process_open(), process_run() on a stack of its own. It runs until
 * it waits or is interrupted at a point; then other nodes, and its own kernel programs,
 * have their turn. A kill drops the stack where it stands.
 */
#include <arpa/inet.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <ucontext.h>
#include <unistd.h>

#include "sim/wrap.h"

#define STACK (512 << 10)
#define QUEUE_MAX 2048 /* datagrams in a socket's buffer */
#define LEASE_MS 200
/* SIGKILL: the kernel takes the link away within this. */
#define UNLINK_NS (1 * MS)
/* From readable to running. */
#define WAKE_NS (20 * US)
/* An interruption in the middle of the code. */
#define INTERRUPT_LEAST_NS (200ULL)
#define INTERRUPT_MOST_NS (20 * MS)

/* At points that are passed only around a change of view, in a million. */
#define RARE_CHANCE 250000
#define RARE_LEAST_NS (50 * US) /* frames come meanwhile */

struct coroutine {
	jmp_buf here, home; /* where its code goes on; where the simulator does */
	ucontext_t first;   /* the way onto the stack; later jumps need no system call */
	bool begun;
	void *stack;
	bool finished, killed;
};

struct node *node_current;

static void *sim_app_open(void)
{
	node_current->app = app_kv.open();
	return node_current->app;
}

/* The application, with an eye on its state. */
static struct app sim_app;

void node_open(struct node *node, struct sim *s, uint32_t index)
{
	*node = (struct node){
		.sim = s,
		.index = index,
		.kernel = kernel_of(index),
		.crash_in = -1,
		.pause_in = -1,
		.dawdle = 1,
		.queue_end = &node->queue,
		.coroutine = need(sizeof(*node->coroutine)),
	};
	node->queue_end = &node->queue;
	sim_app = app_kv;
	sim_app.open = sim_app_open;
	node->coroutine->stack = mmap(NULL, STACK, PROT_READ | PROT_WRITE,
				      MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
	if (node->coroutine->stack == MAP_FAILED)
		abort();
	files_open(node);
}

static void empty_queue(struct node *node)
{
	while (node->queue) {
		struct frame *f = node->queue;

		node->queue = f->next;
		unneed(f);
	}
	node->queue_end = &node->queue;
	node->queued = 0;
}

void node_close(struct node *node)
{
	empty_queue(node);
	wrap_release(node);
	munmap(node->coroutine->stack, STACK);
	unneed(node->coroutine);
	files_lose(node, true, true);
}

/* ---- running ---- */

/* Gives the processor back; returns when node_run() comes again. */
static void yield(struct node *node)
{
	if (!_setjmp(node->coroutine->here))
		_longjmp(node->coroutine->home, 1);
}

static void resume(struct node *node)
{
	struct coroutine *c = node->coroutine;

	if (_setjmp(c->home))
		return;
	if (c->begun)
		_longjmp(c->here, 1);
	c->begun = true;
	setcontext(&c->first);
}

static void life(void)
{
	struct node *node = node_current;
	struct sim *s = node->sim;
	struct cluster cluster = {.n = s->n, .f = (s->n - 1) / 2};
	struct process_options options = {
		.cluster = &cluster,
		.index = node->index,
		.offloads = node->kernel ? s->o.offloads : 0,
		.app = &sim_app,
		.lease_ms = LEASE_MS,
		.wake_backlog = s->wake_backlog,
	};
	struct process *process;
	char error[512] = "";

	for (uint32_t i = 0; i < s->n; i++)
		cluster.replica[i] = (struct sockaddr_in){
			.sin_family = AF_INET,
			.sin_addr.s_addr = net_addr(i),
			.sin_port = net_port(s, i),
		};
	files_options(node, &options);
	if (process_open(&process, &options, error, sizeof(error))) {
		violation(s, "L3", "r%u does not start: %s", node->index, error);
	} else {
		process_run(process, &node->stop);
		process_close(process);
	}
	node->coroutine->finished = true;
	for (;;)
		yield(node);
}

static void schedule(struct node *node, uint64_t delay_ns)
{
	world_at(node->sim, delay_ns,
		 (struct event){
			 .kind = EVENT_RUN, .node = node->index, .generation = ++node->generation});
}

void node_start(struct node *node)
{
	struct coroutine *c = node->coroutine;

	node->status = NODE_UP;
	node->life++;
	node->waiting = node->deaf = node->woken = node->paused = node->run_missed = false;
	node->busy_ns = 0;
	node->point = "start";
	c->begun = c->finished = c->killed = false;
	getcontext(&c->first);
	c->first.uc_stack.ss_sp = c->stack;
	c->first.uc_stack.ss_size = STACK;
	makecontext(&c->first, life, 0);
	story(node->sim, "r%u starts", node->index);
	check_start(node);
	schedule(node, 0);
}

static void gone(struct node *node)
{
	node->status = NODE_DOWN;
	node->stop = 0;
	node->crash_in = node->pause_in = -1;
	node->generation++;
	node->waiting = false;
	node->vr = NULL;
	node->elec = NULL;
	node->app = NULL;
	empty_queue(node);
	wrap_release(node);
	world_at(node->sim, rng_below(&node->sim->rng_node, UNLINK_NS),
		 (struct event){.kind = EVENT_UNLINK, .node = node->index, .argument = node->life});
}

void node_run(struct node *node)
{
	if (node->status != NODE_UP)
		return;
	if (node->paused) {
		node->run_missed = true;
		return;
	}
	node->waiting = false;
	node_current = node;
	resume(node);
	node_current = NULL;
	if (node->coroutine->killed) {
		node_crash(node, node->crash_how);
	} else if (node->coroutine->finished) {
		story(node->sim, "r%u ended", node->index);
		gone(node);
	}
}

void node_wake(struct node *node)
{
	if (node->status != NODE_UP || !node->waiting)
		return;
	node->waiting = false;
	schedule(node, rng_below(&node->sim->rng_node, WAKE_NS));
}

static void point(const char *name, uint32_t chance, uint64_t least_ns)
{
	struct node *node = node_current;
	struct rng *rng = &node->sim->rng_node;

	node->point = name;
	if (node->sim->over)
		yield(node); /* for ever */
	if (node->crash_in >= 0 && !node->crash_in--) {
		node->coroutine->killed = true;
		yield(node);
	}
	if (node->pause_in >= 0 && !node->pause_in--) {
		story(node->sim, "r%u stands still at %s", node->index, name);
		node->paused = node->run_missed = true;
		yield(node);
	} else if (rng_chance(rng, chance)) {
		uint64_t pause = rng_spread(rng, least_ns, INTERRUPT_MOST_NS);

		detail(node->sim, "r%u interrupted at %s for %.1f us", node->index, name,
		       (double)pause / US);
		schedule(node, pause);
		yield(node);
	}
}

void node_point(const char *name)
{
	if (node_current)
		point(name, node_current->sim->point_chance, INTERRUPT_LEAST_NS);
}

void node_rare_point(const char *name)
{
	if (node_current)
		point(name, RARE_CHANCE, RARE_LEAST_NS);
}

void node_busy(void)
{
	struct node *node = node_current;

	if (!node->busy_ns)
		return;
	schedule(node, node->busy_ns * node->dawdle);
	node->busy_ns = 0;
	yield(node);
}

void node_wait(uint64_t timeout_ns)
{
	struct node *node = node_current;

	node->point = "asleep";
	node->waiting = true;
	schedule(node, timeout_ns);
	yield(node);
}

void node_receive(struct node *node, struct frame *f)
{
	if (node->queued == QUEUE_MAX) {
		unneed(f);
		return;
	}
	detail(node->sim, "arrive %s", trace_frame(f));
	f->next = NULL;
	*node->queue_end = f;
	node->queue_end = &f->next;
	node->queued++;
	node_wake(node);
}

/* ---- faults ---- */

void node_crash(struct node *node, enum sim_fault how)
{
	if (node->status != NODE_UP)
		return;
	story(node->sim, "r%u killed at %s%s", node->index, node->point,
	      how == SIM_FAULT_AMNESIA ? ", files lost" : "");
	gone(node);
	if (how == SIM_FAULT_AMNESIA) {
		kernel_detach(node); /* files are lost when the process and its programs are gone */
		files_lose(node, node->lose_journal, node->lose_maps);
	}
}

void node_pause(struct node *node, bool on)
{
	node->pause_in = -1;
	if (node->paused == on)
		return;
	node->paused = on;
	story(node->sim, "r%u %s", node->index, on ? "stands still" : "goes on");
	if (!on && node->run_missed) {
		node->run_missed = false;
		schedule(node, 0);
	}
}

void node_stop(struct node *node)
{
	if (node->status != NODE_UP)
		return;
	node->stop = 1;
	node_wake(node);
}
