// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "topo/rack.h"

#define BASH "/bin/bash"

/* After the user's own ~/.bashrc, which would set another prompt. */
static int write_rc(const struct rack *rack, char path[RACK_PATH_MAX])
{
	FILE *f = fopen(rack_path(path, rack->name, "shellrc"), "we");

	if (!f || fprintf(f, "[ -f ~/.bashrc ] && . ~/.bashrc\nPS1='[$PAXRACK] \\w \\$ '\n") < 0 ||
	    fclose(f))
		return rack_say("cannot write %s: %s", path, strerror(errno));
	return 0;
}

/* The terminal's Ctrl-C is the shell's; a hangup or SIGTERM ends the shell, and us in good order.
 */
static void wait_for(const struct rack *rack, pid_t shell, const sigset_t *signals)
{
	siginfo_t info;

	for (;;) {
		int signal = sigwaitinfo(signals, &info);

		if (signal == SIGTERM || signal == SIGHUP) {
			kill(shell, SIGHUP);
			rack_stop(rack, shell, 1000);
			return;
		}
		if (signal == SIGCHLD && waitpid(shell, NULL, WNOHANG) == shell)
			return;
	}
}

static int run_shell(const struct rack *rack, const char *node)
{
	char rc[RACK_PATH_MAX];
	const char *bash[] = {BASH, "--rcfile", rc, "-i", NULL}, *sh[] = {"/bin/sh", "-i", NULL};
	struct rack_spawn spawn = {.argv = bash, .out = -1, .err = -1};
	sigset_t signals, before;
	pid_t shell;

	if (access(BASH, X_OK)) {
		setenv("PS1", "[$PAXRACK] $ ", 1);
		spawn.argv = sh;
	} else if (write_rc(rack, rc)) {
		return -1;
	}
	sigemptyset(&signals);
	sigaddset(&signals, SIGCHLD);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGQUIT);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGHUP);
	sigprocmask(SIG_BLOCK, &signals, &before);
	shell = rack_spawn(rack, node, &spawn);
	if (shell > 0)
		wait_for(rack, shell, &signals);
	sigprocmask(SIG_SETMASK, &before, NULL);
	return shell > 0 ? 0 : -1;
}

int cmd_shell(int argc, char **argv)
{
	const struct rack_node *client;
	struct rack *rack;
	bool made = false;
	const char *node;
	int ret;

	if (argc < 2 || argc > 3)
		return rack_usage("RACK or FILE, and at most one NODE");
	for (int i = 1; i < argc; i++) {
		if (argv[i][0] == '-')
			return rack_usage("there is no option %s", argv[i]);
	}
	if (rack_privileged())
		return 1;
	if (rack_is_name(argv[1]) && rack_state(argv[1]) == RACK_UP)
		ret = rack_find(&rack, argv[1]);
	else
		ret = rack_load(&rack, argv[1]) ? 2 : 0;
	if (ret)
		return ret == 2 ? 2 : 1;
	client = rack_nth(rack, RACK_CLIENT, 0);
	node = argc > 2 ? argv[2] : client ? client->name : rack->nodes[0].name;
	if (strcmp(node, "tor") && !rack_node(rack, node))
		ret = rack_cannot_be("%s has no node %.20s", rack->name, node);
	else if (rack_up(rack, &made) || run_shell(rack, node))
		ret = -1;
	if (made && rack_down(rack->name))
		ret = -1;
	rack_free(rack);
	return ret ? 1 : 0;
}
