// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* rack stats: everything that is counted, once, for programs to read. */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "topo/seconds.h"
#include "topo/stats.h"

enum links { LINKS_LEFT, LINKS_ON, LINKS_OFF };

/* Look for so long, then at what there is. */
static int look_for(const struct rack *rack, double seconds)
{
	int timed = stats_time_programs();
	int ret = stats_look(rack, seconds_from_now(seconds));

	if (!ret)
		poll(NULL, 0, seconds * 1000);
	if (timed >= 0)
		close(timed);
	return ret;
}

static int print(const struct rack *rack)
{
	struct stats *s;
	int ret;

	if (stats_take(&s, rack))
		return -1;
	ret = stats_json(stdout, rack, s);
	stats_free(s);
	return ret ? rack_say("cannot print: %s", strerror(-ret)) : 0;
}

int cmd_stats(int argc, char **argv)
{
	enum links links = LINKS_LEFT;
	double seconds = 0;
	bool json = false;
	struct rack *rack;
	int ret;

	if (argc < 2 || argv[1][0] == '-')
		return rack_usage("which RACK?");
	for (int i = 2; i < argc; i++) {
		if (!strcmp(argv[i], "--json")) {
			json = true;
		} else if (!strcmp(argv[i], "--for")) {
			if (++i == argc || !seconds_parse(&seconds, argv[i]))
				return rack_usage("--for wants seconds, above 0 and at most 86400");
		} else if (!strcmp(argv[i], "--links")) {
			const char *word = ++i < argc ? argv[i] : "";

			if (strcmp(word, "on") && strcmp(word, "off"))
				return rack_usage("--links wants on or off");
			links = strcmp(word, "on") ? LINKS_OFF : LINKS_ON;
		} else {
			return rack_usage("there is no option %.40s", argv[i]);
		}
	}
	if (!json && links == LINKS_LEFT)
		return rack_usage("say --json (for people there is `rack top`)");
	if (!json && seconds > 0)
		return rack_usage("--for is for --json");
	if (rack_privileged() || rack_find(&rack, argv[1]))
		return 1;
	ret = links == LINKS_LEFT ? 0 : stats_look(rack, links == LINKS_ON ? UINT64_MAX : 0);
	if (!ret && seconds > 0)
		ret = look_for(rack, seconds);
	if (!ret && json)
		ret = print(rack);
	rack_free(rack);
	return ret ? 1 : 0;
}
