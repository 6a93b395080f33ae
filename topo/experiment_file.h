/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* An experiment's file as it stands: keys and values, not yet checked (experiment.c does that). */
#ifndef PAXRACK_EXPERIMENT_FILE_H
#define PAXRACK_EXPERIMENT_FILE_H

#include <stdbool.h>
#include <stdint.h>

#include "topo/experiment.h"
#include "topo/file.h"

struct experiment_file_event {
	char *at, *lasts;
	char *word[EXPERIMENT_KIND_COUNT]; /* by kind; one of them is not NULL */
};

struct experiment_file_load {
	uint64_t *clients, *seconds, *ops, *mix, *value_bytes, *keys;
};

struct experiment_file_capture {
	char *around;
	uint64_t *packets;
	char **at;
	unsigned int at_count;
};

struct experiment_file_check {
	bool *expect;
};

struct experiment_file_checks {
#define X(id, name) struct experiment_file_check name;
	EXPERIMENT_CHECKS(X)
#undef X
};

struct experiment_file {
	char *experiment, *about;
	char *rack_path; /* one of these two */
	struct rack_file *rack_inline;
	char *xdp;
	uint64_t *seed;
	char **offload;
	unsigned int offload_count;
	struct experiment_file_load load;
	struct experiment_file_event *timeline;
	unsigned int timeline_count;
	struct experiment_file_capture capture;
	struct experiment_file_checks checks;
};

/* 0, or -1 having said what is wrong: file, line and key. */
int experiment_file_load(struct experiment_file **file, const char *path);
void experiment_file_free(struct experiment_file *file); /* NULL is allowed */

#endif
