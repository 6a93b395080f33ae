// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* YAML to struct rack_file and back, by libcyaml. The schema below is the format. */
#include <ctype.h>
#include <cyaml/cyaml.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "topo/file.h"
#include "topo/rack.h"

static const cyaml_strval_t xdp_values[] = {
	{"native", RACK_NATIVE},
	{"generic", RACK_GENERIC},
};

static const cyaml_schema_value_t cpu_schema = {
	CYAML_VALUE_UINT(CYAML_FLAG_DEFAULT, unsigned int),
};

static const cyaml_schema_field_t node_fields[] = {
	CYAML_FIELD_STRING_PTR("name", CYAML_FLAG_POINTER, struct rack_file_node, name, 1,
			       CYAML_UNLIMITED),
	CYAML_FIELD_BOOL("spoof", CYAML_FLAG_OPTIONAL, struct rack_file_node, spoof),
	CYAML_FIELD_STRING_PTR("command", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL,
			       struct rack_file_node, command, 1, CYAML_UNLIMITED),
	CYAML_FIELD_SEQUENCE("cpus", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL,
			     struct rack_file_node, cpus, &cpu_schema, 0, CPU_SETSIZE),
	CYAML_FIELD_END,
};

static const cyaml_schema_value_t node_schema = {
	CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct rack_file_node, node_fields),
};

static const cyaml_schema_field_t link_fields[] = {
	CYAML_FIELD_UINT("mtu", CYAML_FLAG_OPTIONAL, struct rack_file_link, mtu),
	CYAML_FIELD_END,
};

static const cyaml_schema_field_t file_fields[] = {
	CYAML_FIELD_STRING_PTR("rack", CYAML_FLAG_POINTER, struct rack_file, rack, 1,
			       CYAML_UNLIMITED),
	CYAML_FIELD_STRING_PTR("subnet", CYAML_FLAG_POINTER, struct rack_file, subnet, 1,
			       CYAML_UNLIMITED),
	CYAML_FIELD_UINT("replicas", CYAML_FLAG_DEFAULT, struct rack_file, replicas),
	CYAML_FIELD_UINT("clients", CYAML_FLAG_OPTIONAL, struct rack_file, clients),
	CYAML_FIELD_UINT("testers", CYAML_FLAG_OPTIONAL, struct rack_file, testers),
	CYAML_FIELD_ENUM("xdp", CYAML_FLAG_OPTIONAL | CYAML_FLAG_STRICT, struct rack_file, xdp,
			 xdp_values, CYAML_ARRAY_LEN(xdp_values)),
	CYAML_FIELD_MAPPING("link", CYAML_FLAG_OPTIONAL, struct rack_file, link, link_fields),
	CYAML_FIELD_SEQUENCE("nodes", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, struct rack_file,
			     nodes, &node_schema, 0, RACK_NODES_MAX),
	CYAML_FIELD_END,
};

static const cyaml_schema_value_t file_schema = {
	CYAML_VALUE_MAPPING(CYAML_FLAG_POINTER, struct rack_file, file_fields),
};

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

unsigned int file_line(const char *path, const char *key, unsigned int from)
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

static void complain(const char *path, cyaml_err_t error, struct complaint *c)
{
	char *key = strrchr(c->what, ' '), *dot;

	if (error == CYAML_ERR_INVALID_KEY && key) {
		/* The line given is of what stood before it. */
		c->line = file_line(path, key + 1, c->line) ?: c->line;
	} else if (strstr(c->what, "already seen") && key) {
		c->line = file_line(path, key + 1, c->line + 1) ?: c->line; /* likewise */
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
	rack_say("%s:%u: %s%s%s (topo/rack3.yaml shows every key)", path, c->line ?: 1, c->keys,
		 c->keys[0] ? ": " : "", c->what[0] ? c->what : cyaml_strerror(error));
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

int file_load(struct rack_file **out, const char *path)
{
	struct complaint c = {.line = 0};
	const cyaml_config_t cfg = config(&c);
	struct rack_file *file = NULL;
	FILE *f = fopen(path, "re");
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
	error = cyaml_load_file(path, &cfg, &file_schema, (cyaml_data_t **)&file, NULL);
	if (error != CYAML_OK) {
		complain(path, error, &c);
		return -1;
	}
	if (!file)
		return rack_say("%s: there is no rack in it (topo/rack3.yaml shows every key)",
				path);
	*out = file;
	return 0;
}

void file_free(struct rack_file *file)
{
	const cyaml_config_t cfg = config(NULL);

	if (file)
		cyaml_free(&cfg, &file_schema, file, 0);
}

char *file_text(const struct rack_file *file, size_t *len)
{
	const cyaml_config_t cfg = config(NULL);
	char *text = NULL;

	/* cyaml_mem() is realloc() and free(): free() is the caller's way to return it. */
	if (cyaml_save_data(&text, len, &cfg, &file_schema, (void *)file, 0) != CYAML_OK)
		return NULL;
	return text;
}
