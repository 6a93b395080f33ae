// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* How late packets were, from the counts that the ToR keeps of what the wire sends back. */
#include <sys/mman.h>

#include "bpf/fault.h"
#include "topo/tor.h"
#include "topo/wire.h"

int wire_late(const struct rack *rack, double late_us[3])
{
	const size_t len = TOR_LATE_STEPS * sizeof(uint64_t);
	uint64_t total = 0, seen = 0, *count = tor_shared(rack, "tor_late", len, PROT_READ);

	if (!count)
		return -1;
	for (unsigned int i = 0; i < TOR_LATE_STEPS; i++)
		total += count[i];
	late_us[0] = late_us[1] = late_us[2] = 0;
	for (unsigned int i = 0; i < TOR_LATE_STEPS; i++) {
		double us = i * (TOR_LATE_NS / 1e3);

		if (!count[i])
			continue;
		if (seen < (total + 1) / 2)
			late_us[0] = us;
		if (seen < total - total / 100)
			late_us[1] = us;
		late_us[2] = us;
		seen += count[i];
	}
	munmap(count, len);
	return 0;
}
