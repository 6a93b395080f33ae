// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* rack show: a rack as a drawing, in text or for graphviz. */
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "topo/show.h"

#define WIDTH 100 /* of the drawing when it does not go to a terminal */

static int width(void)
{
	struct winsize size;

	if (isatty(STDOUT_FILENO) && !ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) && size.ws_col)
		return size.ws_col;
	return WIDTH;
}

int cmd_show(int argc, char **argv)
{
	bool dot = false;
	struct rack *rack;
	struct show show;
	int ret;

	if (argc < 2 || argv[1][0] == '-')
		return rack_usage("which RACK?");
	for (int i = 2; i < argc; i++) {
		if (strcmp(argv[i], "--dot"))
			return rack_usage("there is no option %.40s", argv[i]);
		dot = true;
	}
	if (rack_privileged() || rack_find(&rack, argv[1]))
		return 1;
	ret = show_take(&show, rack);
	if (!ret) {
		if (dot)
			show_dot(stdout, &show);
		else
			show_text(stdout, &show, width());
		show_free(&show);
		if (fflush(stdout))
			ret = rack_say("cannot print");
	}
	rack_free(rack);
	return ret ? 1 : 0;
}
