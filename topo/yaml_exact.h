/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What libcyaml lets pass: `3x` and `3.5` for the number 3, `maybe` for true, a second document
 * after the first.
 */
#ifndef PAXRACK_YAML_EXACT_H
#define PAXRACK_YAML_EXACT_H

#include <cyaml/cyaml.h>

/* In the flags of a field: a number from 1, so that 0 in the struct says "left out". */
#define YAML_FROM_1 (1 << 16)

/*
 * Of a file that cyaml_load_file() took by the same schema: is each number and each truth value
 * written out as one, and is it the only document? 0, or -1 having said which is not.
 */
int yaml_exact(const char *path, const cyaml_schema_value_t *schema, const char *hint);

#endif
