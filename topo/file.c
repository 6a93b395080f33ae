// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* YAML to struct rack_file and back. The schema below is the format. */

#include "bpf/tor.h"
#include "topo/file.h"
#include "topo/rack.h"
#include "topo/yaml.h"
#include "topo/yaml_exact.h"

#define FILE_HINT "topo/rack3.yaml shows every key"

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
			     struct rack_file_node, cpus, &cpu_schema, 1, CPU_SETSIZE),
	CYAML_FIELD_END,
};

static const cyaml_schema_value_t node_schema = {
	CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct rack_file_node, node_fields),
};

static const cyaml_schema_value_t name_schema = {
	CYAML_VALUE_STRING(CYAML_FLAG_POINTER, char, 1, CYAML_UNLIMITED),
};

static const cyaml_schema_field_t tor_fields[] = {
	CYAML_FIELD_SEQUENCE("nodes", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL,
			     struct rack_file_tor, nodes, &name_schema, 0, RACK_NODES_MAX),
	CYAML_FIELD_STRING_PTR("host", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL,
			       struct rack_file_tor, host, 1, CYAML_UNLIMITED),
	CYAML_FIELD_END,
};

static const cyaml_schema_value_t tor_schema = {
	CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct rack_file_tor, tor_fields),
};

static const cyaml_schema_field_t vxlan_fields[] = {
	CYAML_FIELD_UINT("id", CYAML_FLAG_OPTIONAL, struct rack_file_vxlan, id),
	CYAML_FIELD_UINT("port", CYAML_FLAG_OPTIONAL, struct rack_file_vxlan, port),
	CYAML_FIELD_END,
};

static const cyaml_schema_field_t link_fields[] = {
	CYAML_FIELD_UINT("mtu", CYAML_FLAG_OPTIONAL | YAML_FROM_1, struct rack_file_link, mtu),
	CYAML_FIELD_UINT("queues", CYAML_FLAG_OPTIONAL | YAML_FROM_1, struct rack_file_link,
			 queues),
	CYAML_FIELD_END,
};

static const cyaml_schema_field_t afxdp_fields[] = {
	CYAML_FIELD_UINT("umem_bytes", CYAML_FLAG_OPTIONAL | YAML_FROM_1, struct rack_file_afxdp,
			 umem_bytes),
	CYAML_FIELD_UINT("fill_threshold", CYAML_FLAG_OPTIONAL | YAML_FROM_1,
			 struct rack_file_afxdp, fill_threshold),
	CYAML_FIELD_SEQUENCE("cpus", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL,
			     struct rack_file_afxdp, cpus, &cpu_schema, 1, 1),
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
	CYAML_FIELD_MAPPING("afxdp", CYAML_FLAG_OPTIONAL, struct rack_file, afxdp, afxdp_fields),
	CYAML_FIELD_SEQUENCE("tors", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, struct rack_file,
			     tors, &tor_schema, 1, TOR_TORS_MAX),
	CYAML_FIELD_MAPPING("vxlan", CYAML_FLAG_OPTIONAL, struct rack_file, vxlan, vxlan_fields),
	CYAML_FIELD_SEQUENCE("nodes", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, struct rack_file,
			     nodes, &node_schema, 0, RACK_NODES_MAX),
	CYAML_FIELD_END,
};

const cyaml_schema_field_t *const file_schema_fields = file_fields;

static const cyaml_schema_value_t file_schema = {
	CYAML_VALUE_MAPPING(CYAML_FLAG_POINTER, struct rack_file, file_fields),
};

int file_load(struct rack_file **out, const char *path)
{
	return yaml_file_load((void **)out, path, &file_schema, FILE_HINT);
}

void file_free(struct rack_file *file)
{
	yaml_file_free(file, &file_schema);
}

char *file_text(const struct rack_file *file, size_t *len)
{
	return yaml_file_text(file, &file_schema, len);
}
