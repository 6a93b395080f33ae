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
	const char *name = NULL;
	bool dot = false;
	struct rack *rack;
	struct show show;
	int ret;

	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--dot"))
			dot = true;
		else if (argv[i][0] == '-')
			return rack_usage("there is no option %.40s", argv[i]);
		else if (name)
			return rack_usage("one RACK, not %.40s too", argv[i]);
		else
			name = argv[i];
	}
	if (!name)
		return rack_usage("which RACK?");
	if (rack_privileged() || rack_find(&rack, name))
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
