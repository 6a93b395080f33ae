/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* build/replica: the command line around process.c. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "bpf/offloads.h"
#include "replica/guard.h"
#include "replica/options.h"
#include "replica/privilege.h"
#include "replica/process.h"

#define PROGRAM "replica"

enum { EXIT_FAILED = 1, EXIT_USAGE = 2 };

static volatile sig_atomic_t stop, report;

static void on_signal(int signal)
{
	stop = signal;
}

static void on_report(int signal)
{
	report = signal;
}

static int usage(const char *option, const char *value, const char *want)
{
	options_say(PROGRAM, "--%s '%s': want %s", option, value, want);
	return EXIT_USAGE;
}

/* Set up with all privileges, at work with none; returns the exit status. */
static int serve(const struct process_options *options, struct guard *guard, uint64_t ready_fd)
{
	const char *sentence;
	struct process *process;
	char error[4096] = "";
	int ret;

	if (process_open(&process, options, error, sizeof(error))) {
		options_say(PROGRAM, "%s", error);
		return EXIT_FAILED;
	}
	for (unsigned int i = 0; (sentence = process_given_up(process, i)); i++)
		options_say(PROGRAM, "%s", sentence);
	if (options->journal)
		guard_take_names(guard);
	ret = privilege_drop();
	if (ret) {
		options_say(PROGRAM, "cannot give up privileges: %s", strerror(-ret));
		goto out;
	}
	if (ready_fd != UINT64_MAX && write(ready_fd, "ready\n", 6) != 6) {
		ret = -errno;
		options_say(PROGRAM, "--ready-fd %llu: %s", (unsigned long long)ready_fd,
			    strerror(-ret));
		goto out;
	}
	ret = process_run(process, &stop);
	if (stop == SIGCHLD) {
		options_say(PROGRAM, "stopped: the process that keeps the privileges has ended");
		ret = -EPIPE;
	} else if (ret) {
		options_say(PROGRAM, "stopped: cannot write the journal: %s", strerror(-ret));
	}
	process_report(process, stdout);
out:
	process_close(process);
	return ret ? EXIT_FAILED : 0;
}

int main(int argc, char **argv)
{
	const char *config = NULL, *offload = "all", *xdp = "native", *app = "kv";
	uint64_t index = UINT64_MAX, ready_fd = UINT64_MAX, lease_ms = 200;
	uint64_t log_slots = ELEC_SLOTS_DEFAULT, wake_backlog = 512, busy_us = 0;
	struct process_options options = {.report = &report};
	const struct option_row rows[] = {
		{"config", "FILE", "the replicas, as cluster.conf lists them (needed)",
		 .text = &config},
		{"index", "N", "which of them this one is, from 0 (needed)", .number = &index,
		 .max = ELEC_REPLICAS_MAX - 1},
		{"iface", "NAME", "device that reaches the others (needed with offloads)",
		 .text = &options.iface},
		{"offload", "SET", ELEC_OFFLOAD_NAMES " (all)", .text = &offload},
		{"xdp", "MODE", "native or generic (native)", .text = &xdp},
		{"app", "NAME", "what is replicated: kv or null (kv)", .text = &app},
		{"pin", "DIR", "pin the maps there, on a bpf file system", .text = &options.pin},
		{"journal", "FILE", "what outlives the process (with offloads: --pin too)",
		 .text = &options.journal},
		{"format", NULL, "make the journal: a new replica, not one that lost its file",
		 .flag = &options.format},
		{"echo", NULL, "replicate nothing, answer at once: a floor to compare with",
		 .flag = &options.echo},
		{"status", "FILE", "keep a page there that says what it is: `rack top` reads it",
		 .text = &options.status},
		{"lease-ms", "MS", "the kernel acks for a silent process so long (200)",
		 .number = &lease_ms, .min = 20, .max = 60000},
		{"log-slots", "N", "of the kernel log, 2 KiB each, a power of two (8192)",
		 .number = &log_slots, .min = 1, .max = 1 << 20},
		{"wake-backlog", "N", "wake a sleeping follower when so many ops wait (512)",
		 .number = &wake_backlog, .max = 1 << 20},
		{"busy-poll", "US", "look again for so long before each sleep (0)",
		 .number = &busy_us, .max = 1000000},
		{"ready-fd", "FD", "write 'ready' there once it serves", .number = &ready_fd,
		 .max = 1 << 20},
	};
	struct sigaction action = {.sa_handler = on_signal};
	struct sigaction on_user = {.sa_handler = on_report};
	struct sigaction on_child = {.sa_handler = on_signal, .sa_flags = SA_NOCLDSTOP};
	struct guard *guard = NULL;
	struct cluster cluster;
	char error[4096] = "";
	int ret;

	ret = options_parse(PROGRAM, "one replica of a cluster, with its offloads", rows,
			    sizeof(rows) / sizeof(*rows), argc, argv);
	if (ret >= 0)
		return ret;
	if (!config || index == UINT64_MAX) {
		options_say(PROGRAM,
			    "which one of which cluster? Give --config FILE and --index N");
		return EXIT_USAGE;
	}
	if (!elec_offload_parse(offload, &options.offloads))
		return usage("offload", offload, ELEC_OFFLOAD_NAMES);
	if (strcmp(xdp, "native") && strcmp(xdp, "generic"))
		return usage("xdp", xdp, "native or generic");
	options.mode = *xdp == 'n' ? ELEC_XDP_NATIVE : ELEC_XDP_GENERIC;
	options.app = app_find(app);
	if (!options.app)
		return usage("app", app, "kv or null");
	if (log_slots & (log_slots - 1)) {
		options_say(PROGRAM, "--log-slots %llu: want a power of two",
			    (unsigned long long)log_slots);
		return EXIT_USAGE;
	}
	if (options.echo && (options.journal || options.iface || options.status)) {
		options_say(PROGRAM, "--echo keeps nothing and has no offloads: leave out "
				     "--journal, --iface and --status");
		return EXIT_USAGE;
	}
	if (options.echo)
		options.offloads = 0;
	if (options.offloads && !options.iface) {
		options_say(PROGRAM,
			    "which device gets the programs? Give --iface NAME, or --offload none");
		return EXIT_USAGE;
	}
	if (options.format && !options.journal) {
		options_say(PROGRAM, "--format makes a journal: name it with --journal FILE");
		return EXIT_USAGE;
	}
	if (options.journal && options.offloads && !options.pin) {
		options_say(PROGRAM, "what the kernel acked must outlive the process too: give "
				     "--pin DIR, or --offload none");
		return EXIT_USAGE;
	}
	if (cluster_read(&cluster, config, error, sizeof(error))) {
		options_say(PROGRAM, "%s", error);
		return EXIT_FAILED;
	}
	if (index >= cluster.n) {
		options_say(PROGRAM, "--index %llu: %s lists replicas 0 to %u",
			    (unsigned long long)index, config, cluster.n - 1);
		return EXIT_USAGE;
	}
	if (!options.journal && !options.echo)
		options_say(PROGRAM, "no --journal: when this process has ended, all that it "
				     "knew is forgotten; never start it again in the same cluster");
	options.cluster = &cluster;
	options.index = index;
	options.lease_ms = lease_ms;
	options.log_slots = log_slots;
	options.wake_backlog = wake_backlog;
	options.busy_us = busy_us;

	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGUSR1, &on_user, NULL);
	sigaction(SIGCHLD, &on_child, NULL);
	if (options.offloads || options.journal) {
		ret = guard_open(&guard, options.journal);
		if (ret) {
			options_say(PROGRAM,
				    "cannot start the process that keeps the privileges: %s",
				    strerror(-ret));
			return EXIT_FAILED;
		}
		options.keeper = guard_keeper(guard);
	}
	ret = serve(&options, guard, ready_fd);
	guard_close(guard);
	return ret;
}
