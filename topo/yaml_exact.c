// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "topo/yaml_exact.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <yaml.h>

#include "topo/rack.h"

struct walk {
	const char *path, *hint;
	yaml_document_t document;
};

static int check(struct walk *w, const yaml_node_t *node, const cyaml_schema_value_t *schema,
		 const char *key);

static int refuse(const struct walk *w, const yaml_node_t *node, const char *key, const char *what)
{
	return rack_say("%s:%zu: %s: '%s' is no %s (%s)", w->path, node->start_mark.line + 1, key,
			(const char *)node->data.scalar.value, what, w->hint);
}

static bool is_number(const char *text, bool sign)
{
	if (sign && *text == '-')
		text++;
	/* A 0 in front would make it octal. */
	return *text && strspn(text, "0123456789") == strlen(text) && (*text != '0' || !text[1]);
}

static bool is_decimal(const char *text)
{
	char *end;

	errno = 0;
	strtod(text, &end);
	return *text && !*end && !errno;
}

static bool is_truth(const char *text)
{
	static const char *const words[] = {"true", "false", "yes", "no", "on", "off"};

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (!strcasecmp(text, words[i]))
			return true;
	}
	return false;
}

static int check_scalar(struct walk *w, const yaml_node_t *node, const cyaml_schema_value_t *schema,
			const char *key)
{
	const char *text = (const char *)node->data.scalar.value;

	switch (schema->type) {
	case CYAML_UINT:
		if (!is_number(text, false))
			return refuse(w, node, key, "whole number");
		if (schema->flags & YAML_FROM_1 && *text == '0')
			return refuse(w, node, key, "number from 1");
		return 0;
	case CYAML_INT:
		return is_number(text, true) ? 0 : refuse(w, node, key, "whole number");
	case CYAML_FLOAT:
		return is_decimal(text) ? 0 : refuse(w, node, key, "number");
	case CYAML_BOOL:
		return is_truth(text) ? 0 : refuse(w, node, key, "true and no false");
	default:
		return 0;
	}
}

static int check_mapping(struct walk *w, const yaml_node_t *node,
			 const cyaml_schema_field_t *fields)
{
	const yaml_node_pair_t *pair = node->data.mapping.pairs.start;

	for (; pair < node->data.mapping.pairs.top; pair++) {
		const char *key =
			(char *)yaml_document_get_node(&w->document, pair->key)->data.scalar.value;
		const cyaml_schema_field_t *field = fields;

		while (field->key && strcmp(field->key, key))
			field++;
		if (field->key &&
		    check(w, yaml_document_get_node(&w->document, pair->value), &field->value, key))
			return -1;
	}
	return 0;
}

static int check(struct walk *w, const yaml_node_t *node, const cyaml_schema_value_t *schema,
		 const char *key)
{
	int ret = 0;

	if (node->type == YAML_SCALAR_NODE)
		return check_scalar(w, node, schema, key);
	if (node->type == YAML_MAPPING_NODE && schema->type == CYAML_MAPPING)
		return check_mapping(w, node, schema->mapping.fields);
	if (node->type == YAML_SEQUENCE_NODE && schema->type == CYAML_SEQUENCE) {
		const yaml_node_item_t *item = node->data.sequence.items.start;

		for (; item < node->data.sequence.items.top && !ret; item++)
			ret = check(w, yaml_document_get_node(&w->document, *item),
				    schema->sequence.entry, key);
	}
	return ret;
}

/* The next document's root; NULL: there is none. The document is to be deleted in either case. */
static const yaml_node_t *next(struct walk *w, yaml_parser_t *parser)
{
	if (!yaml_parser_load(parser, &w->document)) {
		memset(&w->document, 0, sizeof(w->document));
		return NULL;
	}
	return yaml_document_get_root_node(&w->document);
}

int yaml_exact(const char *path, const cyaml_schema_value_t *schema, const char *hint)
{
	struct walk w = {path, hint, {}};
	FILE *f = fopen(path, "re");
	const yaml_node_t *root;
	yaml_parser_t parser;
	int ret = 0;

	if (!f || !yaml_parser_initialize(&parser)) {
		ret = rack_say("%s: %s", path, f ? "no memory" : strerror(errno));
		goto out;
	}
	yaml_parser_set_input_file(&parser, f);
	root = next(&w, &parser);
	if (root)
		ret = check(&w, root, schema, "");
	yaml_document_delete(&w.document);
	if (!ret && (root = next(&w, &parser)))
		ret = rack_say("%s:%zu: a second document begins here (%s)", path,
			       root->start_mark.line + 1, hint);
	yaml_document_delete(&w.document);
	yaml_parser_delete(&parser);
out:
	if (f)
		fclose(f);
	return ret;
}
