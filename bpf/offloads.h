/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Names of the offloads, as options and files give them: "none", "all", "broadcast,ack"; their
 * place. */
#ifndef PAXRACK_OFFLOADS_H
#define PAXRACK_OFFLOADS_H

#include <stdbool.h>
#include <string.h>

#include "bpf/state.h"

/* Where the TC program sits on a device's egress: whoever comes next replaces it. */
#define ELEC_TC_PRIORITY 12345
#define ELEC_TC_HANDLE 0x12345

#define ELEC_OFFLOAD_NAMES "none, all, or some of broadcast,ack,quorum"

/* False: not a set of offloads (ELEC_OFFLOAD_NAMES says what is); *set is untouched then. */
static inline bool elec_offload_parse(const char *text, unsigned int *set)
{
	static const struct {
		const char *name;
		unsigned int bit;
	} names[] = {
		{"broadcast", ELEC_OFFLOAD_BROADCAST},
		{"ack", ELEC_OFFLOAD_ACK},
		{"quorum", ELEC_OFFLOAD_QUORUM},
	};
	unsigned int bits = 0;

	if (!strcmp(text, "none") || !strcmp(text, "all")) {
		*set = *text == 'a' ? ELEC_OFFLOAD_ALL : 0;
		return true;
	}
	for (;; text++) {
		size_t len = strcspn(text, ","), i = 0;

		while (i < 3 && (strlen(names[i].name) != len || memcmp(names[i].name, text, len)))
			i++;
		if (i == 3)
			return false;
		bits |= names[i].bit;
		text += len;
		if (!*text)
			break;
	}
	*set = bits;
	return true;
}

#endif
