// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "topo/interrupt.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "topo/rack.h"

static int interrupt_write = -1;

static void on_signal(int signal)
{
	int saved = errno;

	(void)signal;
	(void)!write(interrupt_write, "", 1); /* full: it is readable all the same */
	errno = saved;
}

int interrupt_open(void)
{
	struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
	int ends[2];

	if (pipe2(ends, O_CLOEXEC | O_NONBLOCK))
		return rack_say("no pipe: %s", strerror(errno));
	interrupt_write = ends[1];
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGHUP, &action, NULL);
	return ends[0];
}
