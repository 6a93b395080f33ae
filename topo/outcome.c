/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* JSON is YAML, so the reader of the rack files reads it too. Unknown keys are skipped. */
#include "topo/outcome.h"

#include <string.h>

#include <cyaml/cyaml.h>

static const cyaml_schema_field_t latency_fields[] = {
	CYAML_FIELD_FLOAT("p50", CYAML_FLAG_DEFAULT, struct outcome_latency, p50),
	CYAML_FIELD_FLOAT("p99", CYAML_FLAG_DEFAULT, struct outcome_latency, p99),
	CYAML_FIELD_FLOAT("p999", CYAML_FLAG_DEFAULT, struct outcome_latency, p999),
	CYAML_FIELD_FLOAT("max", CYAML_FLAG_DEFAULT, struct outcome_latency, max),
	CYAML_FIELD_END,
};

static const cyaml_schema_field_t client_fields[] = {
	CYAML_FIELD_UINT("ops", CYAML_FLAG_DEFAULT, struct outcome_client, ops),
	CYAML_FIELD_UINT("retransmits", CYAML_FLAG_DEFAULT, struct outcome_client, retransmits),
	CYAML_FIELD_FLOAT("ops_per_s", CYAML_FLAG_DEFAULT, struct outcome_client, ops_per_s),
	CYAML_FIELD_MAPPING("latency_us", CYAML_FLAG_DEFAULT, struct outcome_client, latency_us,
			    latency_fields),
	CYAML_FIELD_END,
};
static const cyaml_schema_value_t client_schema = {
	CYAML_VALUE_MAPPING(CYAML_FLAG_POINTER, struct outcome_client, client_fields)};

static const cyaml_schema_field_t replica_fields[] = {
	CYAML_FIELD_UINT("prepares", CYAML_FLAG_DEFAULT, struct outcome_replica, prepares),
	CYAML_FIELD_UINT("view", CYAML_FLAG_DEFAULT, struct outcome_replica, view),
	CYAML_FIELD_UINT("op", CYAML_FLAG_DEFAULT, struct outcome_replica, op),
	CYAML_FIELD_UINT("executed", CYAML_FLAG_DEFAULT, struct outcome_replica, executed),
	CYAML_FIELD_STRING("status", CYAML_FLAG_DEFAULT, struct outcome_replica, status, 1),
	CYAML_FIELD_END,
};
static const cyaml_schema_value_t replica_schema = {
	CYAML_VALUE_MAPPING(CYAML_FLAG_POINTER, struct outcome_replica, replica_fields)};

static const cyaml_config_t config = {.mem_fn = cyaml_mem, .flags = CYAML_CFG_IGNORE_UNKNOWN_KEYS};

static int read_object(const cyaml_schema_value_t *schema, void *to, size_t size, const char *text,
		       size_t len)
{
	cyaml_data_t *data = NULL;

	/* without a document there is no error and no data */
	if (cyaml_load_data((const uint8_t *)text, len, &config, schema, &data, NULL) != CYAML_OK ||
	    !data)
		return -1;
	memcpy(to, data, size);
	cyaml_free(&config, schema, data, 0);
	return 0;
}

int outcome_read_client(struct outcome_client *o, const char *text, size_t len)
{
	return read_object(&client_schema, o, sizeof(*o), text, len);
}

int outcome_read_replica(struct outcome_replica *o, const char *text, size_t len)
{
	return read_object(&replica_schema, o, sizeof(*o), text, len);
}
