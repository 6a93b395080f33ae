// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* YAML to struct experiment_file. The schema below is the format; what is left out is NULL. */
#include "topo/experiment_file.h"

#include "topo/yaml.h"

#define HINT "docs/experiments.md shows every key"
#define OPTIONAL_PTR (CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL)

static const cyaml_schema_value_t word_schema = {
	CYAML_VALUE_STRING(CYAML_FLAG_POINTER, char *, 0, CYAML_UNLIMITED),
};

#define LOAD(key, member)                                                                          \
	CYAML_FIELD_UINT_PTR(key, OPTIONAL_PTR, struct experiment_file_load, member)

static const cyaml_schema_field_t load_fields[] = {
	LOAD("clients", clients), LOAD("seconds", seconds),	    LOAD("ops", ops),
	LOAD("mix", mix),	  LOAD("value-bytes", value_bytes), LOAD("keys", keys),
	CYAML_FIELD_END,
};

static const cyaml_schema_field_t event_fields[] = {
	CYAML_FIELD_STRING_PTR("at", CYAML_FLAG_POINTER, struct experiment_file_event, at, 1,
			       CYAML_UNLIMITED),
	CYAML_FIELD_STRING_PTR("for", OPTIONAL_PTR, struct experiment_file_event, lasts, 1,
			       CYAML_UNLIMITED),
#define X(id, name, node, back)                                                                    \
	CYAML_FIELD_STRING_PTR(name, OPTIONAL_PTR, struct experiment_file_event,                   \
			       word[EXPERIMENT_##id], 1, CYAML_UNLIMITED),
	EXPERIMENT_EVENTS(X)
#undef X
		CYAML_FIELD_END,
};

static const cyaml_schema_value_t event_schema = {
	CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct experiment_file_event, event_fields),
};

static const cyaml_schema_field_t capture_fields[] = {
	CYAML_FIELD_STRING_PTR("around", OPTIONAL_PTR, struct experiment_file_capture, around, 1,
			       CYAML_UNLIMITED),
	CYAML_FIELD_UINT_PTR("packets", OPTIONAL_PTR, struct experiment_file_capture, packets),
	CYAML_FIELD_SEQUENCE("at", OPTIONAL_PTR, struct experiment_file_capture, at, &word_schema,
			     0, EXPERIMENT_ROOM_MAX),
	CYAML_FIELD_END,
};

static const cyaml_schema_field_t check_fields[] = {
	CYAML_FIELD_BOOL_PTR("expect", CYAML_FLAG_POINTER, struct experiment_file_check, expect),
	CYAML_FIELD_END,
};

static const cyaml_schema_field_t checks_fields[] = {
#define X(id, name)                                                                                \
	CYAML_FIELD_MAPPING(#name, CYAML_FLAG_OPTIONAL, struct experiment_file_checks, name,       \
			    check_fields),
	EXPERIMENT_CHECKS(X)
#undef X
		CYAML_FIELD_END,
};

/* `rack` is one of two things, for which libcyaml has no type: its field is chosen by the file. */
static cyaml_schema_field_t fields[] = {
	CYAML_FIELD_IGNORE("rack", CYAML_FLAG_DEFAULT),
	CYAML_FIELD_STRING_PTR("experiment", CYAML_FLAG_POINTER, struct experiment_file, experiment,
			       1, CYAML_UNLIMITED),
	CYAML_FIELD_STRING_PTR("about", OPTIONAL_PTR, struct experiment_file, about, 0,
			       CYAML_UNLIMITED),
	CYAML_FIELD_STRING_PTR("xdp", OPTIONAL_PTR, struct experiment_file, xdp, 1,
			       CYAML_UNLIMITED),
	CYAML_FIELD_UINT_PTR("seed", OPTIONAL_PTR, struct experiment_file, seed),
	CYAML_FIELD_SEQUENCE("offload", OPTIONAL_PTR, struct experiment_file, offload, &word_schema,
			     1, EXPERIMENT_OFFLOADS_MAX),
	CYAML_FIELD_MAPPING("load", CYAML_FLAG_OPTIONAL, struct experiment_file, load, load_fields),
	CYAML_FIELD_SEQUENCE("timeline", OPTIONAL_PTR, struct experiment_file, timeline,
			     &event_schema, 0, EXPERIMENT_EVENTS_MAX),
	CYAML_FIELD_MAPPING("capture", CYAML_FLAG_OPTIONAL, struct experiment_file, capture,
			    capture_fields),
	CYAML_FIELD_MAPPING("checks", CYAML_FLAG_OPTIONAL, struct experiment_file, checks,
			    checks_fields),
	CYAML_FIELD_END,
};

static const cyaml_schema_value_t *schema(bool is_inline)
{
	static const cyaml_schema_value_t whole = {
		CYAML_VALUE_MAPPING(CYAML_FLAG_POINTER, struct experiment_file, fields),
	};
	const cyaml_schema_field_t path = CYAML_FIELD_STRING_PTR(
		"rack", CYAML_FLAG_POINTER, struct experiment_file, rack_path, 1, CYAML_UNLIMITED);
	const cyaml_schema_field_t keys = {
		.key = "rack",
		.value = {.type = CYAML_MAPPING,
			  .flags = CYAML_FLAG_POINTER,
			  .mapping.fields = file_schema_fields,
			  .data_size = sizeof(struct rack_file)},
		.data_offset = offsetof(struct experiment_file, rack_inline),
	};

	fields[0] = is_inline ? keys : path;
	return &whole;
}

int experiment_file_load(struct experiment_file **file, const char *path)
{
	enum yaml_kind rack = yaml_file_key(path, "rack");

	if (rack == YAML_BROKEN)
		return yaml_file_broken(path);
	return yaml_file_load((void **)file, path, schema(rack == YAML_MAPPING), HINT);
}

void experiment_file_free(struct experiment_file *file)
{
	/* with no path the rack was inline, also when somebody took it */
	if (file)
		yaml_file_free(file, schema(!file->rack_path));
}
