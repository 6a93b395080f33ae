/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Many seeds: workers, one for each processor, that say what came of each. */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "replica/options.h"
#include "sim/run.h"

struct record {
	uint64_t seed;
	uint32_t combination;
	bool begins; /* a worker that dies was at this one */
	struct sim_result result;
};

static void tell(int fd, const struct record *record)
{
	if (write(fd, record, sizeof(*record)) != sizeof(*record))
		exit(EXIT_FAILURE);
}

/* Every jobs-th seed; those of one combination together, for loading takes time. */
static int work(const struct settings *s, uint32_t job, int fd)
{
	for (uint32_t c = 0; c < s->combinations; c++) {
		bool loaded = false;

		for (uint64_t i = c; i < s->seeds; i += s->combinations) {
			struct record record = {s->seed + i, c, true, {0}};
			struct sim_options o = sim_options_of(s, &s->combination[c], record.seed);

			if (i / s->combinations % s->jobs != job)
				continue;
			if (!loaded && sim_load(&s->combination[c]))
				return EXIT_FAILURE;
			loaded = true;
			tell(fd, &record);
			world_run(&o, &record.result);
			record.begins = false;
			tell(fd, &record);
		}
	}
	return EXIT_SUCCESS;
}

struct worker {
	pid_t pid;
	int fd;
	struct record at;
};

struct sums {
	uint64_t seeds, violations, shortest;
	struct sim_result all;
	struct record first; /* violation with the lowest seed */
};

static void add(struct sums *sums, const struct record *record)
{
	const struct sim_result *r = &record->result;
	struct sim_result *all = &sums->all;

	sums->seeds++;
	all->events += r->events;
	all->virtual_ns += r->virtual_ns;
	all->operations += r->operations;
	all->acks_kernel += r->acks_kernel;
	all->acks_user += r->acks_user;
	all->view_changes += r->view_changes;
	all->crashes_files += r->crashes_files;
	all->crashes_amnesia += r->crashes_amnesia;
	all->recoveries += r->recoveries;
	for (int k = 0; k < SIM_FAULT_COUNT; k++)
		all->faults[k] += r->faults[k];
}

static void on_violation(const struct settings *s, struct sums *sums, const struct record *record)
{
	sim_print_command(s, &s->combination[record->combination], record->seed);
	printf("\n  %s\n", record->result.violation);
	fflush(stdout);
	if (!sums->violations++ || record->seed < sums->first.seed)
		sums->first = *record;
}

/* False: the worker is gone. */
static bool hear(const struct settings *s, struct worker *w, struct sums *sums)
{
	struct record record;
	ssize_t len = read(w->fd, &record, sizeof(record));
	int status;

	if (len == sizeof(record)) {
		w->at = record;
		if (record.begins)
			return true;
		add(sums, &record);
		if (record.result.violated)
			on_violation(s, sums, &record);
		return true;
	}
	close(w->fd);
	w->fd = -1;
	waitpid(w->pid, &status, 0);
	if (WIFSIGNALED(status) && w->at.begins) {
		snprintf(w->at.result.violation, sizeof(w->at.result.violation),
			 "L3: the code under test died of signal %d", WTERMSIG(status));
		w->at.result.violated = true;
		sums->seeds++;
		on_violation(s, sums, &w->at);
	} else if (!WIFEXITED(status) || WEXITSTATUS(status)) {
		exit(EXIT_USAGE); /* it has said why */
	}
	return false;
}

static void print_summary(const struct settings *s, const struct sums *sums, double seconds)
{
	const struct sim_result *a = &sums->all;
	double seeds = sums->seeds ? (double)sums->seeds : 1;

	printf("on average: %.0f operations, %.2f view changes, %.2f restarts with files, "
	       "%.2f without, %.2f recoveries, %.1f s of virtual time\n",
	       (double)a->operations / seeds, (double)a->view_changes / seeds,
	       (double)a->crashes_files / seeds, (double)a->crashes_amnesia / seeds,
	       (double)a->recoveries / seeds, (double)a->virtual_ns / SECOND / seeds);
	printf("faults:");
	for (int k = 0; k < SIM_FAULT_COUNT; k++)
		printf(" %s %.2f", sim_fault_names[k], (double)a->faults[k] / seeds);
	printf("\nacks made by the kernel: %.1f %%; %.1f seeds a minute with %" PRIu64 " jobs\n",
	       100.0 * (double)a->acks_kernel / (double)(a->acks_kernel + a->acks_user + 1),
	       (double)sums->seeds * 60 / seconds, s->jobs);
}

static double now_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void start_workers(struct settings *s, struct worker *worker)
{
	for (uint32_t j = 0; j < s->jobs; j++) {
		int pipes[2];

		if (pipe(pipes) || (worker[j].pid = fork()) < 0) {
			options_say(PROGRAM, "cannot start a worker: %s", strerror(errno));
			exit(EXIT_USAGE);
		}
		if (!worker[j].pid) {
			close(pipes[0]);
			_exit(work(s, j, pipes[1]));
		}
		close(pipes[1]);
		worker[j].fd = pipes[0];
	}
}

int sim_run_many(struct settings *s)
{
	struct worker worker[JOBS_MAX] = {0};
	struct pollfd polled[JOBS_MAX];
	struct sums sums = {0};
	uint32_t alive;
	double from = now_s(), told = 0, seconds;

	if (!s->jobs)
		s->jobs = sysconf(_SC_NPROCESSORS_ONLN);
	if (s->jobs > s->seeds)
		s->jobs = s->seeds;
	printf("seeds %" PRIu64 "..%" PRIu64 "\n", s->seed, s->seed + s->seeds - 1);
	fflush(stdout);
	start_workers(s, worker);
	for (alive = s->jobs; alive;) {
		for (uint32_t j = 0; j < s->jobs; j++)
			polled[j] = (struct pollfd){worker[j].fd, POLLIN, 0};
		poll(polled, s->jobs, -1);
		for (uint32_t j = 0; j < s->jobs; j++)
			if (polled[j].revents && !hear(s, &worker[j], &sums))
				alive--;
		if (s->first && sums.violations) {
			for (uint32_t j = 0; j < s->jobs; j++)
				if (worker[j].fd >= 0)
					kill(worker[j].pid, SIGKILL);
			break;
		}
		if (isatty(STDERR_FILENO) && now_s() - told > 0.5) {
			told = now_s();
			fprintf(stderr,
				"\r\033[K%" PRIu64 " of %" PRIu64 " seeds, %" PRIu64
				" violations, %.0f a minute",
				sums.seeds, s->seeds, sums.violations,
				(double)sums.seeds * 60 / (told - from));
		}
	}
	seconds = now_s() - from;
	if (told)
		fputs("\r\033[K", stderr);
	if (sums.violations) {
		const struct combination *c = &s->combination[sums.first.combination];

		printf("seed %" PRIu64 ": %s\n", sums.first.seed, sums.first.result.violation);
		fflush(stdout);
		if (!s->first && !sim_load(c))
			sim_print_tail(s, c, sums.first.seed);
	}
	print_summary(s, &sums, seconds);
	printf("%" PRIu64 " seeds, %" PRIu64 " violations, %.0f events/s\n", sums.seeds,
	       sums.violations, (double)sums.all.events / seconds);
	return sums.violations ? EXIT_VIOLATION : EXIT_SUCCESS;
}
