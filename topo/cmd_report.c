// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* rack report: the pictures of an experiment's folder, from its files alone. */
#include <string.h>

#include "topo/experiment_run.h"

int cmd_report(int argc, char **argv)
{
	const char *folder = NULL;
	bool several = false;

	if (argc - 1 > SCRIPT_ARGUMENTS_MAX)
		return rack_usage("that is too much");
	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--around") && i + 1 < argc) {
			i++;
		} else if (argv[i][0] == '-') {
			return rack_usage("'%.40s': want a folder and --around TIME", argv[i]);
		} else {
			several = folder;
			folder = argv[i];
		}
	}
	if (!folder || several)
		return rack_usage("want the folder of one experiment");
	return experiment_report(folder, (const char *const *)argv + 1);
}
