// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "topo/rack.h"

/* This process becomes the command: its pid, signals, terminal and exit status are the command's.
 */
int cmd_exec(int argc, char **argv)
{
	struct rack *rack;
	char **command;

	for (int i = 1; i < argc && i < 3; i++) {
		if (argv[i][0] == '-')
			return rack_usage("there is no option %s", argv[i]);
	}
	if (argc < 4)
		return rack_usage("RACK, NODE and COMMAND are wanted");
	command = argv + 3;
	if (!strcmp(command[0], "--"))
		command++;
	if (!command[0])
		return rack_usage("which COMMAND?");
	if (rack_privileged() || rack_find(&rack, argv[1]) || rack_enter(rack, argv[2]))
		return 1;
	execvp(command[0], command);
	rack_say("cannot start %s: %s", command[0], strerror(errno));
	return errno == ENOENT ? 127 : 126; /* as shells have it */
}
