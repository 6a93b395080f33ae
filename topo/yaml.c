// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "topo/yaml.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "topo/rack.h"
#include "topo/yaml_exact.h"

/*
 * libcyaml says what is wrong in its first message, then, from the inside out, where:
 *
 *   Load: Invalid INT value: 'a'
 *   Load: Backtrace:
 *     in sequence entry '2' (line: 5, column: 13)
 *     in mapping field 'cpus' (line: 5, column: 9)
 */
struct complaint {
	char what[256];
	char keys[256]; /* outermost first: nodes[1].cpus[2] */
	unsigned int line;
};

static void prepend(struct complaint *c, const char *key, bool entry)
{
	char rest[sizeof(c->keys)];

	snprintf(rest, sizeof(rest), "%s", c->keys);
	snprintf(c->keys, sizeof(c->keys), entry ? "[%.60s]%s%.150s" : "%.60s%s%.150s", key,
		 rest[0] && rest[0] != '[' ? "." : "", rest);
}

static void on_log(cyaml_log_t level, void *arg, const char *format, va_list args)
{
	struct complaint *c = arg;
	char text[256], key[64];
	unsigned int line = 0;
	char *at;

	(void)level;
	vsnprintf(text, sizeof(text), format, args);
	text[strcspn(text, "\n")] = '\0';
	at = strstr(text, "(line: ");
	if (at && sscanf(at, "(line: %u", &line) == 1) {
		if (!c->line)
			c->line = line;
		if (sscanf(text, " in mapping field '%63[^']'", key) == 1)
			prepend(c, key, false);
		else if (sscanf(text, " in sequence entry '%63[^']'", key) == 1)
			prepend(c, key, true);
	} else if (!c->what[0]) {
		snprintf(c->what, sizeof(c->what), "%.200s",
			 strncmp(text, "Load: ", 6) ? text : text + 6);
	}
}

/* Does the word stand in the text, not in a comment and not as a part of a longer word? */
static bool has_word(char *text, const char *word)
{
	size_t len = strlen(word);

	text[strcspn(text, "#")] = '\0';
	for (char *at = text; (at = strstr(at, word)); at++) {
		if ((at == text || !isalnum((unsigned char)at[-1])) &&
		    !isalnum((unsigned char)at[len]))
			return true;
	}
	return false;
}

unsigned int yaml_file_line(const char *path, const char *key, unsigned int from)
{
	FILE *f = fopen(path, "re");
	unsigned int line = 0, found = 0;
	size_t size = 0;
	char *text = NULL;

	while (f && !found && getline(&text, &size, f) >= 0) {
		if (++line >= from && has_word(text, key))
			found = line;
	}
	free(text);
	if (f)
		fclose(f);
	return found;
}

/* libcyaml does not pass on where libyaml stopped: ask libyaml again. */
static void syntax_error(const char *path, struct complaint *c)
{
	yaml_parser_t parser;
	FILE *f = fopen(path, "re");
	yaml_event_type_t type = YAML_NO_EVENT;
	yaml_event_t event;

	if (!f || !yaml_parser_initialize(&parser))
		goto out;
	yaml_parser_set_input_file(&parser, f);
	while (type != YAML_STREAM_END_EVENT) {
		if (!yaml_parser_parse(&parser, &event)) {
			c->line = parser.problem_mark.line + 1;
			break;
		}
		type = event.type;
		yaml_event_delete(&event);
	}
	yaml_parser_delete(&parser);
out:
	if (f)
		fclose(f);
}

static void complain(const char *path, cyaml_err_t error, struct complaint *c, const char *hint)
{
	char *key = strrchr(c->what, ' '), *dot;

	if (error == CYAML_ERR_INVALID_KEY && key) {
		/* The line given is of what stood before it. */
		c->line = yaml_file_line(path, key + 1, c->line) ?: c->line;
	} else if (strstr(c->what, "already seen") && key) {
		c->line = yaml_file_line(path, key + 1, c->line + 1) ?: c->line; /* likewise */
	} else if (error == CYAML_ERR_MAPPING_FIELD_MISSING) {
		/* The innermost field is the last one that was there, not the one that is missing.
		 */
		dot = strrchr(c->keys, '.');
		*(dot ?: c->keys) = '\0';
	} else if (error == CYAML_ERR_LIBYAML_PARSER) {
		syntax_error(path, c);
		c->keys[0] = '\0';
	}
	c->what[0] = tolower((unsigned char)c->what[0]);
	rack_say("%s:%u: %s%s%s (%s)", path, c->line ?: 1, c->keys, c->keys[0] ? ": " : "",
		 c->what[0] ? c->what : cyaml_strerror(error), hint);
}

static cyaml_config_t config(struct complaint *c)
{
	return (cyaml_config_t){
		.log_fn = c ? on_log : NULL,
		.log_ctx = c,
		.log_level = CYAML_LOG_WARNING,
		.mem_fn = cyaml_mem,
		.flags = CYAML_CFG_NO_ALIAS,
	};
}

int yaml_file_load(void **out, const char *path, const cyaml_schema_value_t *schema,
		   const char *hint)
{
	struct complaint c = {.line = 0};
	const cyaml_config_t cfg = config(&c);
	FILE *f = fopen(path, "re");
	void *data = NULL;
	cyaml_err_t error;

	if (!f || fgetc(f) == EOF) {
		rack_say("%s: %s", path,
			 !f	     ? strerror(errno)
			 : ferror(f) ? strerror(errno)
				     : "the file is empty");
		if (f)
			fclose(f);
		return -1;
	}
	fclose(f);
	error = cyaml_load_file(path, &cfg, schema, (cyaml_data_t **)&data, NULL);
	if (error != CYAML_OK) {
		complain(path, error, &c, hint);
		return -1;
	}
	if (!data)
		return rack_say("%s: there is no rack in it (%s)", path, hint);
	if (yaml_exact(path, schema, hint)) {
		yaml_file_free(data, schema);
		return -1;
	}
	*out = data;
	return 0;
}

void yaml_file_free(void *data, const cyaml_schema_value_t *schema)
{
	const cyaml_config_t cfg = config(NULL);

	if (data)
		cyaml_free(&cfg, schema, data, 0);
}

char *yaml_file_text(const void *data, const cyaml_schema_value_t *schema, size_t *len)
{
	const cyaml_config_t cfg = config(NULL);
	char *text = NULL;

	/* cyaml_mem() is realloc() and free(): free() is the caller's way to return it. */
	if (cyaml_save_data(&text, len, &cfg, schema, (void *)data, 0) != CYAML_OK)
		return NULL;
	return text;
}

int yaml_file_broken(const char *path)
{
	struct complaint c = {.line = 0};

	syntax_error(path, &c);
	return rack_say(
		"%s:%u: from here on it is no YAML: a bracket, quote or indentation is wrong", path,
		c.line ?: 1);
}

enum yaml_kind yaml_file_key(const char *path, const char *key)
{
	enum yaml_kind kind = YAML_BROKEN;
	yaml_node_t *root, *name, *value;
	FILE *f = fopen(path, "re");
	yaml_document_t document;
	yaml_parser_t parser;

	if (!f)
		return kind;
	if (!yaml_parser_initialize(&parser))
		goto out;
	yaml_parser_set_input_file(&parser, f);
	if (yaml_parser_load(&parser, &document)) {
		root = yaml_document_get_root_node(&document);
		kind = YAML_NOTHING;
		for (int i = 0; root && root->type == YAML_MAPPING_NODE &&
				i < root->data.mapping.pairs.top - root->data.mapping.pairs.start;
		     i++) {
			const yaml_node_pair_t *pair = &root->data.mapping.pairs.start[i];

			name = yaml_document_get_node(&document, pair->key);
			value = yaml_document_get_node(&document, pair->value);
			if (name->type == YAML_SCALAR_NODE &&
			    !strcmp((char *)name->data.scalar.value, key))
				kind = value->type == YAML_MAPPING_NODE ? YAML_MAPPING : YAML_OTHER;
		}
		yaml_document_delete(&document);
	}
	yaml_parser_delete(&parser);
out:
	fclose(f);
	return kind;
}
