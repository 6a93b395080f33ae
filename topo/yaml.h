/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* YAML files to structs and back by libcyaml's schemas, with errors that name file, line and key.
 */
#ifndef PAXRACK_YAML_H
#define PAXRACK_YAML_H

#include <cyaml/cyaml.h>
#include <stddef.h>

/*
 * 0, or -1 having said what is wrong; `hint` is where every key is listed. Strings and
 * sequences are the struct's own: yaml_file_free().
 */
int yaml_file_load(void **out, const char *path, const cyaml_schema_value_t *schema,
		   const char *hint);
void yaml_file_free(void *data, const cyaml_schema_value_t *schema); /* NULL is allowed */
/* As text, to be freed; NULL when there is no memory. */
char *yaml_file_text(const void *data, const cyaml_schema_value_t *schema, size_t *len);
/* First line at or after `from` with this word outside a comment; 0: none. */
unsigned int yaml_file_line(const char *path, const char *key, unsigned int from);

/* Says where the file, which is YAML_BROKEN, stops being YAML; -1. */
int yaml_file_broken(const char *path);

enum yaml_kind { YAML_NOTHING, YAML_BROKEN, YAML_MAPPING, YAML_OTHER };

/* What stands at a key of the whole file; YAML_BROKEN: it cannot be read. Says nothing. */
enum yaml_kind yaml_file_key(const char *path, const char *key);

#endif
