/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What journal.c (the file as a whole) and journal_append.c (record by record) share. */
#ifndef PAXRACK_JOURNAL_INTERNAL_H
#define PAXRACK_JOURNAL_INTERNAL_H

#include <limits.h>

#include "replica/journal.h"
#include "replica/journal_file.h"

struct journal {
	struct journal_file file;
	struct journal_info info;
	uint64_t limit_least, limit; /* bytes: compact when the end would pass it */
	uint64_t snapshot_at;	     /* where the last snapshot's record begins; 0: none */
	uint32_t reserved;	     /* bytes of a record whose room was given out; 0: none */
	/* Where the records of ops base + 1..last begin: a ring by op number. */
	uint64_t *index, index_mask;
	char path[PATH_MAX], path_new[PATH_MAX];
	char error[PATH_MAX + 256];
};

/* Only what is still needed, in a new file under these ids. Says nothing when it fails. */
int journal_compact(struct journal *j, const struct elec_ids *ids, bool clean);
/* Room in the index for op, the next one. 0 or -ENOMEM. */
int journal_index_room(struct journal *j, uint64_t op);
/* Writes the sentence and returns ret. */
int journal_refuse(char *error, size_t size, int ret, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

#endif
