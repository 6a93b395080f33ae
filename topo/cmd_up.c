// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include <stdio.h>
#include <string.h>

#include "topo/rack.h"

int cmd_up(int argc, char **argv)
{
	const char *file = NULL, *mode = NULL;
	enum rack_xdp xdp = RACK_NATIVE;
	struct rack *rack;
	bool made;
	int ret;

	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--xdp")) {
			mode = argv[++i];
			if (!mode || rack_xdp_parse(&xdp, mode))
				return rack_usage("--xdp takes native or generic");
		} else if (argv[i][0] == '-') {
			return rack_usage("there is no option %s", argv[i]);
		} else if (file) {
			return rack_usage("one FILE, not %s too", argv[i]);
		} else {
			file = argv[i];
		}
	}
	if (!file)
		return rack_usage("which FILE?");
	if (rack_load(&rack, file))
		return 2;
	if (mode)
		rack_set_xdp(rack, xdp);
	ret = rack_up(rack, &made);
	if (!ret)
		printf(made ? "%s is up: %u nodes, %s XDP\n"
			    : "%s is up already: %u nodes, %s XDP\n",
		       rack->name, rack->count, rack_xdp_name(rack->xdp));
	rack_free(rack);
	return ret ? 1 : 0;
}
