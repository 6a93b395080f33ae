// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "topo/private.h"

static int collect(const char *name, void *arg)
{
	return state_names_add(arg, name);
}

static int down_one(const char *name)
{
	if (rack_state(name) == RACK_ABSENT) {
		printf("%s is not up\n", name);
		return 0;
	}
	if (rack_down(name))
		return 1;
	printf("%s is down\n", name);
	return 0;
}

static int down_all(void)
{
	struct state_names names = {0};
	int ret = state_each(collect, &names) ? 1 : 0;

	for (size_t i = 0; i < names.count; i++)
		ret |= down_one(names.name[i]);
	free(names.name);
	return ret;
}

int cmd_down(int argc, char **argv)
{
	bool all = argc == 2 && !strcmp(argv[1], "--all");
	int ret = 0;

	if (argc < 2)
		return rack_usage("which rack?");
	for (int i = 1; i < argc && !all; i++) {
		if (argv[i][0] == '-')
			return rack_usage("there is no option %s, or not beside names", argv[i]);
		if (!rack_is_name(argv[i]))
			return rack_usage("'%.40s' is no name of a rack", argv[i]);
	}
	if (rack_privileged())
		return 1;
	if (all)
		return down_all();
	for (int i = 1; i < argc; i++)
		ret |= down_one(argv[i]);
	return ret;
}
