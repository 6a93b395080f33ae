// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include <string.h>
#include <unistd.h>

#include "topo/doctor.h"

static int print(const struct doctor *d, const struct rack *rack, bool json)
{
	if (json)
		return doctor_json(d, rack);
	if (rack && !d->count) {
		printf("%s is well: %u nodes, %s XDP\n", rack->name, rack->count,
		       rack_xdp_name(rack->xdp));
		return 0;
	}
	return doctor_print(d);
}

static int look_at_machine(bool json, bool clean)
{
	struct doctor d = {0};
	int ret = 0;

	if (!clean)
		doctor_machine(&d);
	if (!geteuid())
		ret = doctor_leftovers(&d, clean);
	if (!geteuid() && !clean) {
		/* In this order: the last looks from a namespace of its own. */
		doctor_devices(&d);
		doctor_programs(&d);
		doctor_link(&d);
	}
	if (print(&d, NULL, json) || doctor_ill(&d))
		ret = -1;
	doctor_free(&d);
	return ret ? 1 : 0;
}

static int look_at_rack(const char *name, bool json)
{
	struct doctor d = {0};
	struct rack *rack;
	int lock, ret = -1;

	if (rack_privileged())
		return 1;
	lock = rack_lock(false);
	if (lock < 0)
		return 1;
	if (!rack_find(&rack, name)) {
		ret = doctor_rack(&d, rack);
		if (!ret && (print(&d, rack, json) || doctor_ill(&d)))
			ret = -1;
		doctor_free(&d);
		rack_free(rack);
	}
	rack_unlock(lock);
	return ret ? 1 : 0;
}

int cmd_doctor(int argc, char **argv)
{
	const char *name = NULL;
	bool json = false, clean = false;

	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--json"))
			json = true;
		else if (!strcmp(argv[i], "--clean"))
			clean = true;
		else if (argv[i][0] == '-')
			return rack_usage("there is no option %s", argv[i]);
		else if (name)
			return rack_usage("one RACK at most");
		else
			name = argv[i];
	}
	if (clean && name)
		return rack_usage("--clean is for dead racks: `rack down %s` is for one", name);
	if (clean && rack_privileged())
		return 1;
	return name ? look_at_rack(name, json) : look_at_machine(json, clean);
}
