// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* rack check: the verdicts over an experiment's folder, from its files alone. */
#include "topo/experiment_run.h"

int cmd_check(int argc, char **argv)
{
	if (argc != 2 || argv[1][0] == '-')
		return rack_usage("want the folder of one experiment");
	return experiment_check(argv[1]);
}
