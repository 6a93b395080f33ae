/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A story as a conformance case, with what the model says as what is expected. */
#ifndef PAXRACK_FUZZ_PRINT_H
#define PAXRACK_FUZZ_PRINT_H

#include <stdio.h>

#include "pytests/fuzz/story.h"

/* A whole group, to be pasted into pytests/conformance/cases/. 0 or -ENOMEM. */
int print_case(FILE *to, const struct story *story, const char *name, enum model_wrong wrong);

#endif
