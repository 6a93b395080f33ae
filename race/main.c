/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 *   race [--time SECONDS] [--seed N] [--first]
 *
 * Rounds of each kind in turn, for so long. Exit 0: no violation; 1: violations, one line each;
 * 2: cannot run. --first: the first violation ends it.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "race/race.h"

#define LEASE_MS 600000 /* a thread that does not get its CPU is not what is tested */
#define SHARE 75	/* per cent of a pair round's steps on the controlling CPU that are runs */
#define PRINTED_MOST 20
#define INTERRUPT_NS 50000

static struct race race;
static pthread_mutex_t printing = PTHREAD_MUTEX_INITIALIZER;

void violation(struct race *r, const char *promise, const char *format, ...)
{
	va_list args;

	pthread_mutex_lock(&printing);
	if (r->violations++ < PRINTED_MOST) {
		printf("%s: ", promise);
		va_start(args, format);
		vprintf(format, args);
		va_end(args);
		putchar('\n');
		fflush(stdout);
	}
	if (r->first)
		_exit(1);
	pthread_mutex_unlock(&printing);
}

/* elec_poll_message() aborts on such a slot rather than make up an op. */
static void on_abort(int signal)
{
	static const char text[] =
		"S1: elec_poll_message() met a slot that is torn, foreign or of another epoch\n";

	(void)signal;
	_exit(write(STDOUT_FILENO, text, sizeof(text) - 1) < 0 ? 2 : 1);
}

double seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec + now.tv_nsec / 1e9;
}

static void run_on(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	sched_setaffinity(0, sizeof(set), &set);
}

/*
 * Interrupts are what holds a program up in the middle of anything, a claim for one:
 * let there be many, on this thread's CPU.
 */
static void interrupt_often(void)
{
	struct itimerspec every = {{0, INTERRUPT_NS}, {0, INTERRUPT_NS}};
	int timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);

	if (timer < 0 || timerfd_settime(timer, 0, &every, NULL))
		perror("race: timer");
}

static void *drive(void *argument)
{
	struct driver *d = argument;
	struct race *r = d->race;

	run_on(d->cpu);
	interrupt_often();
	for (;;) {
		pthread_barrier_wait(&r->begin);
		if (r->over)
			return NULL;
		if (r->round == ROUND_WAKE)
			wake_publish(d);
		else
			drive_round(d);
		pthread_barrier_wait(&r->end);
	}
}

static void one_round(struct race *r)
{
	r->next = 0;
	r->own = OWN_FIRST;
	r->enough = false;
	r->until = seconds() + ROUND_SECONDS;
	if (r->round == ROUND_WAKE) {
		do
			control_thaw(r, OWN_FIRST);
		while (control_leads(r) && (control_freeze(r, true), true));
		r->state->wake_backlog = rng_below(&r->rng, 4);
	}
	pthread_barrier_wait(&r->begin);
	if (r->round == ROUND_WAKE)
		wake_read(r);
	else
		control_round(r, r->round == ROUND_PAIR ? SHARE : 0);
	pthread_barrier_wait(&r->end);
	if (r->round == ROUND_WAKE)
		control_freeze(r, true);
	check_round(r);
}

static int open_programs(struct race *r)
{
	struct elec_options options = {
		.offloads = ELEC_OFFLOAD_ACK | ELEC_OFFLOAD_QUORUM,
		.slots = SLOTS,
		.lease_ms = LEASE_MS,
		.n = REPLICAS,
		.self = SELF,
		.members = frame_members,
	};
	struct epoll_event event = {.events = EPOLLIN};
	char error[4096];

	if (elec_open(&r->elec, &options, error, sizeof(error))) {
		fprintf(stderr, "race: %s\n", error);
		return -1;
	}
	r->state = elec_shared(r->elec);
	r->timeline = calloc(EVENTS, sizeof(*r->timeline));
	r->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (!r->timeline || r->epoll < 0 ||
	    epoll_ctl(r->epoll, EPOLL_CTL_ADD, elec_wake_fd(r->elec), &event)) {
		fprintf(stderr, "race: %s\n", strerror(errno));
		return -1;
	}
	return 0;
}

static int find_cpus(struct race *r)
{
	cpu_set_t set;
	int found = 0;

	sched_getaffinity(0, sizeof(set), &set);
	for (int cpu = 0; cpu < CPU_SETSIZE && found < DRIVERS; cpu++)
		if (CPU_ISSET(cpu, &set))
			r->drivers[found++].cpu = cpu;
	if (found == DRIVERS)
		return 0;
	fprintf(stderr, "race: needs two CPUs\n");
	return -1;
}

static int run(struct race *r, double how_long, uint64_t seed)
{
	pthread_t thread;
	double end;

	r->rng.state = seed;
	for (int i = 0; i < DRIVERS; i++) {
		r->drivers[i].race = r;
		r->drivers[i].index = i;
		r->drivers[i].fd = elec_xdp_fd(r->elec);
		r->drivers[i].rng.state = rng_next(&r->rng);
	}
	pthread_barrier_init(&r->begin, NULL, DRIVERS);
	pthread_barrier_init(&r->end, NULL, DRIVERS);
	if (pthread_create(&thread, NULL, drive, &r->drivers[1])) {
		fprintf(stderr, "race: cannot start a thread\n");
		return -1;
	}
	run_on(r->drivers[0].cpu);
	end = seconds() + how_long;
	do {
		one_round(r);
		r->round = (r->round + 1) % ROUND_COUNT;
	} while (seconds() < end || r->round != 0);
	r->over = true;
	pthread_barrier_wait(&r->begin);
	pthread_join(thread, NULL);
	return 0;
}

static void report(struct race *r)
{
	static const enum elec_reason shown[] = {
		ELEC_R_ACK,	   ELEC_R_ACK_AGAIN, ELEC_R_FROZEN,	  ELEC_R_FROZEN_LATE,
		ELEC_R_CLAIM_LOST, ELEC_R_LOG_FULL,  ELEC_R_UDP_CHECKSUM, ELEC_R_WAKE,
		ELEC_R_QUORUM,	   ELEC_R_ABSORBED,  ELEC_R_OK_EPOCH,
	};
	uint64_t counts[ELEC_R_COUNT], runs = r->drivers[0].runs + r->drivers[1].runs;

	printf("freezes %" PRIu64 ", polled %" PRIu64 ", advanced %" PRIu64 ", looks %" PRIu64
	       ", sleeps %" PRIu64 "\n",
	       r->freezes, r->polled, r->advanced, r->looks, r->sleeps);
	if (!elec_counts(r->elec, counts))
		for (size_t i = 0; i < sizeof(shown) / sizeof(*shown); i++)
			printf("%s%s %" PRIu64, i ? ", " : "", elec_reason_names[shown[i]],
			       counts[shown[i]]);
	printf("\n%" PRIu64 " runs, %" PRIu64 " violations\n", runs, r->violations);
}

static int usage(void)
{
	fprintf(stderr, "usage: race [--time SECONDS] [--seed N] [--first]\n");
	return 2;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{"time", required_argument, NULL, 't'},
		{"seed", required_argument, NULL, 's'},
		{"first", no_argument, NULL, 'f'},
		{0},
	};
	struct race *r = &race;
	double how_long = 10;
	uint64_t seed;
	char *end;
	int c;

	if (getrandom(&seed, sizeof(seed), 0) != sizeof(seed))
		return 2;
	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		end = "";
		if (c == 't')
			how_long = strtod(optarg, &end);
		else if (c == 's')
			seed = strtoull(optarg, &end, 0);
		else if (c == 'f')
			r->first = true;
		else
			return usage();
		if (*end)
			return usage();
	}
	if (optind < argc)
		return usage();
	signal(SIGABRT, on_abort);
	if (find_cpus(r) || open_programs(r) || run(r, how_long, seed))
		return 2;
	report(r);
	elec_close(r->elec);
	return r->violations > 0;
}
