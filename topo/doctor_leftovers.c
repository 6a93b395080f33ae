// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * What racks left that a killed `up` or `down` did not finish with: whatever lies in
 * /run/paxrack without its mark of being complete, and links in /run/netns that lead there
 * to nothing. Both are found by where they are or lead, never by a name.
 */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "topo/doctor.h"
#include "topo/private.h"

static int add_broken(const char *name, void *arg)
{
	return rack_is_name(name) && rack_state(name) == RACK_BROKEN ? state_names_add(arg, name)
								     : 0;
}

/* Links to /run/paxrack/<rack>/ns/<node> of racks that are not there. */
static int add_of_links(struct state_names *names)
{
	DIR *dir = opendir(RACK_NETNS);
	char to[PATH_MAX], name[RACK_NAME_MAX + 2];
	struct dirent *entry;
	ssize_t n;
	int ret = 0;

	while (dir && !ret && (entry = readdir(dir))) {
		n = readlinkat(dirfd(dir), entry->d_name, to, sizeof(to) - 1);
		to[n > 0 ? n : 0] = '\0';
		if (sscanf(to, RACK_RUN "/%33[^/]/ns/", name) == 1 && rack_is_name(name) &&
		    rack_state(name) == RACK_ABSENT)
			ret = state_names_add(names, name);
	}
	if (dir)
		closedir(dir);
	return ret;
}

int doctor_leftovers(struct doctor *d, bool clean)
{
	struct state_names names = {0};
	int lock = rack_lock(clean), ret;

	if (lock < 0)
		return -1;
	ret = state_each(add_broken, &names) || add_of_links(&names) ? -1 : 0;
	doctor_group(d, "leftovers");
	if (!names.count && !ret)
		doctor_add(d, DOCTOR_OK, "leftovers", "of dead racks", "none");
	for (size_t i = 0; i < names.count; i++) {
		const char *name = names.name[i];
		char key[64];

		snprintf(key, sizeof(key), "leftovers.%s", name);
		if (clean && down_locked(name)) {
			ret = -1;
			doctor_add(d, DOCTOR_WARN, key, name, "could not be removed");
		} else if (clean) {
			doctor_add(d, DOCTOR_OK, key, name, "removed");
		} else {
			doctor_add(d, DOCTOR_WARN, key, name,
				   "incomplete: `rack up` or `rack down` was killed");
			doctor_so(d, "what it made is still there");
			doctor_remedy(d, "%s doctor --clean", program_invocation_name);
		}
	}
	rack_unlock(lock);
	free(names.name);
	return ret;
}
