/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A rack file as it stands: keys and values, not yet checked against each other (rack.c
 * does that). Keys left out are 0 or NULL.
 */
#ifndef PAXRACK_FILE_H
#define PAXRACK_FILE_H

#include <stdbool.h>
#include <stddef.h>

struct rack_file_node {
	char *name;
	bool spoof;
	char *command;
	unsigned int *cpus, cpus_count;
};

struct rack_file_link {
	unsigned int mtu, queues;
};

struct rack_file_afxdp {
	unsigned int umem_bytes, fill_threshold;
	unsigned int *cpus, cpus_count;
};

struct rack_file_tor {
	char **nodes; /* names, or ranges of them: c0-c9 */
	unsigned int nodes_count;
	char *host;
};

struct rack_file_vxlan {
	unsigned int id, port;
};

struct rack_file {
	char *rack;
	char *subnet;
	unsigned int replicas, clients, testers;
	int xdp; /* enum rack_xdp */
	struct rack_file_link link;
	struct rack_file_afxdp afxdp;
	struct rack_file_tor *tors;
	unsigned int tors_count;
	struct rack_file_vxlan vxlan;
	struct rack_file_node *nodes;
	unsigned int nodes_count;
};

/* 0, or -1 having said what is wrong: file, line and key. Free with file_free(). */
int file_load(struct rack_file **file, const char *path);
void file_free(struct rack_file *file); /* NULL is allowed */
/* As text, to be freed; NULL when there is no memory. */
char *file_text(const struct rack_file *file, size_t *len);
/* The schema, for files that have a rack in them. */
extern const struct cyaml_schema_field *const file_schema_fields;

#endif
