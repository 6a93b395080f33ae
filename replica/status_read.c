/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What a reader of status pages needs, without the core. */
#include <fcntl.h>
#include <unistd.h>

#include "replica/status.h"

#define TRIES 1000 /* a writer that was stopped or killed in the middle never ends */

const char *status_name(enum vr_status status)
{
	static const char *const names[] = {"normal", "view-change", "recovering"};

	return status < sizeof(names) / sizeof(*names) ? names[status] : "?";
}

/* Not by a mapping: the file may be cut short by whoever owns it. */
bool status_read(struct status *copy, const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct status page;
	bool there = false;
	uint64_t after;

	for (int i = 0; fd >= 0 && !there && i < TRIES; i++) {
		if (pread(fd, &page, sizeof(page), 0) != sizeof(page) ||
		    pread(fd, &after, sizeof(after), 0) != sizeof(after) || !after)
			break;
		there = !(after & 1) && page.sequence == after;
	}
	if (fd >= 0)
		close(fd);
	if (there)
		*copy = page;
	return there;
}
