// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* The description: what a rack file says, checked, and what follows from it. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bpf/state.h"
#include "bpf/steer.h"
#include "bpf/tor.h"
#include "topo/file.h"
#include "topo/private.h"
#include "topo/rack.h"
#include "topo/tors.h"
#include "topo/yaml.h"

#define MTU_DEFAULT 1500
#define MTU_MIN 576
#define MTU_MAX 65535

/* FNV-1a (Fowler, Noll, Vo), 32 bits: MACs of racks side by side should differ. */
uint32_t rack_hash(const char *text)
{
	uint32_t h = 2166136261u;

	for (; *text; text++)
		h = (h ^ (unsigned char)*text) * 16777619u;
	return h;
}

int rack_wrong(const char *path, const char *key, const char *fmt, ...)
{
	char text[256];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	return rack_say("%s:%u: %s: %s", path, yaml_file_line(path, key, 1) ?: 1, key, text);
}

bool rack_is_name(const char *name)
{
	size_t len = strlen(name);

	return len && len <= RACK_NAME_MAX && name[0] != '-' &&
	       strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-") == len;
}

static int read_subnet(struct rack *rack, const char *path, const char *text)
{
	unsigned int prefix;
	struct in_addr addr;
	uint32_t subnet, hosts;
	char dotted[16];
	int used = 0;

	if (sscanf(text, "%15[0-9.]/%2u%n", dotted, &prefix, &used) != 2 || text[used] ||
	    inet_pton(AF_INET, dotted, &addr) != 1 || prefix < 8 || prefix > 30)
		return rack_wrong(path, "subnet",
				  "'%.40s' is no subnet: an IPv4 address, /, 8 to 30", text);
	subnet = ntohl(addr.s_addr);
	hosts = UINT32_MAX >> prefix;
	if (subnet & hosts)
		return rack_wrong(path, "subnet", "%s has bits set below /%u", dotted, prefix);
	if (subnet >> 24 == 0 || subnet >> 24 == 127 || subnet >> 24 >= 224)
		return rack_wrong(path, "subnet", "%s is not for hosts", text);
	if (rack->count > hosts - 1)
		return rack_wrong(path, "subnet", "%s has room for %u nodes, the rack has %u", text,
				  hosts - 1, rack->count);
	rack->subnet = subnet;
	rack->prefix = prefix;
	return 0;
}

static void add_nodes(struct rack *rack, enum rack_role role, unsigned int n)
{
	uint32_t h = rack_hash(rack->name);

	for (unsigned int i = 0; i < n; i++) {
		struct rack_node *node = &rack->nodes[rack->count];

		snprintf(node->name, sizeof(node->name), "%c%u", "rct"[role], i % 10000);
		node->role = role;
		node->number = i;
		node->index = rack->count++;
		node->ifindex = TOR_IFINDEX + node->index;
		node->mac[0] = 0x02; /* locally administered */
		node->mac[1] = h >> 16;
		node->mac[2] = h >> 8;
		node->mac[3] = h;
		node->mac[4] = node->index >> 8;
		node->mac[5] = node->index;
		CPU_ZERO(&node->cpus);
	}
}

static int read_nodes(struct rack *rack, const char *path)
{
	long cpus = sysconf(_SC_NPROCESSORS_CONF);

	for (unsigned int i = 0; i < rack->file->nodes_count; i++) {
		const struct rack_file_node *from = &rack->file->nodes[i];
		struct rack_node *node = rack_node(rack, from->name);
		char key[64];

		snprintf(key, sizeof(key), "name: %.20s", from->name);
		if (!node)
			return rack_wrong(
				path, key,
				"there is no such node; this rack has r0..., c0..., t0...");
		for (unsigned int j = 0; j < i; j++) {
			if (!strcmp(rack->file->nodes[j].name, from->name))
				return rack_wrong(path, key, "stands in nodes: twice");
		}
		node->spoof = from->spoof;
		node->command = from->command;
		for (unsigned int j = 0; j < from->cpus_count; j++) {
			if (from->cpus[j] >= cpus)
				return rack_wrong(path, key,
						  "there is no CPU %u, this machine has 0 to %ld",
						  from->cpus[j], cpus - 1);
			CPU_SET(from->cpus[j], &node->cpus);
		}
	}
	return 0;
}

static int check_counts(const char *path, const struct rack_file *file)
{
	if (file->replicas < 1 || file->replicas > ELEC_REPLICAS_MAX)
		return rack_wrong(path, "replicas", "%u is not in 1 to %d", file->replicas,
				  ELEC_REPLICAS_MAX);
	if (file->clients > RACK_NODES_MAX)
		return rack_wrong(path, "clients", "%u is more than %d", file->clients,
				  RACK_NODES_MAX);
	if (file->testers > RACK_NODES_MAX ||
	    file->replicas + file->clients + file->testers > RACK_NODES_MAX)
		return rack_wrong(path, "testers", "more than %d nodes in all", RACK_NODES_MAX);
	if (file->link.mtu && (file->link.mtu < MTU_MIN || file->link.mtu > MTU_MAX))
		return rack_wrong(path, "mtu", "%u is not in %d to %d", file->link.mtu, MTU_MIN,
				  MTU_MAX);
	if (file->link.queues > STEER_QUEUES_MAX)
		return rack_wrong(path, "queues", "%u is more than %d", file->link.queues,
				  STEER_QUEUES_MAX);
	return 0;
}

static int read_afxdp(struct rack *rack, const char *path)
{
	struct rack_file_afxdp *from = &rack->file->afxdp;
	long cpus = sysconf(_SC_NPROCESSORS_CONF);
	unsigned int bytes = from->umem_bytes ?: STEER_UMEM_MIN;

	if (bytes < STEER_UMEM_MIN || bytes > STEER_UMEM_MAX || bytes & (bytes - 1))
		return rack_wrong(path, "umem_bytes", "%u is no power of two in %u to %u", bytes,
				  STEER_UMEM_MIN, STEER_UMEM_MAX);
	if (from->fill_threshold > STEER_FILL_MAX)
		return rack_wrong(path, "fill_threshold", "%u is more than %d",
				  from->fill_threshold, STEER_FILL_MAX);
	if (from->cpus_count && from->cpus[0] >= cpus)
		return rack_wrong(path, "afxdp", "there is no CPU %u, this machine has 0 to %ld",
				  from->cpus[0], cpus - 1);
	from->umem_bytes = rack->umem_bytes = bytes;
	from->fill_threshold = from->fill_threshold ?: STEER_FILL_DEFAULT;
	rack->fill_threshold = from->fill_threshold;
	rack->afxdp_cpu = from->cpus_count ? (int)from->cpus[0] : (int)cpus - 1;
	return 0;
}

int rack_load(struct rack **out, const char *path)
{
	struct rack_file *file;

	return file_load(&file, path) ? -1 : rack_make(out, file, path);
}

int rack_make(struct rack **out, struct rack_file *file, const char *path)
{
	struct rack *rack = calloc(1, sizeof(*rack));
	int ret = -1;

	if (!rack) {
		file_free(file);
		return rack_say("no memory");
	}
	rack->file = file;
	if (!rack_is_name(file->rack)) {
		rack_wrong(path, "rack",
			   "'%.40s' is no name: a-z, 0-9 and - inside, at most %d of them",
			   file->rack, RACK_NAME_MAX);
		goto out;
	}
	if (check_counts(path, file))
		goto out;
	snprintf(rack->name, sizeof(rack->name), "%s", file->rack);
	rack->replicas = file->replicas;
	rack->clients = file->clients;
	rack->testers = file->testers;
	rack->xdp = file->xdp;
	if (!file->link.mtu)
		file->link.mtu = MTU_DEFAULT - (tors_stretched(file) ? VXLAN_BYTES : 0);
	rack->mtu = file->link.mtu;
	file->link.queues = file->link.queues ?: 1;
	rack->queues = file->link.queues;
	rack->tors = file->tors_count ?: 1;
	rack->tor = calloc(rack->tors, sizeof(*rack->tor));
	rack->nodes = calloc(file->replicas + file->clients + file->testers, sizeof(*rack->nodes));
	if (!rack->nodes || !rack->tor) {
		rack_say("no memory");
		goto out;
	}
	add_nodes(rack, RACK_REPLICA, file->replicas);
	add_nodes(rack, RACK_CLIENT, file->clients);
	add_nodes(rack, RACK_TESTER, file->testers);
	if (tors_read(rack, path) || read_nodes(rack, path) || read_afxdp(rack, path) ||
	    read_subnet(rack, path, file->subnet))
		goto out;
	for (unsigned int i = 0; i < rack->count; i++)
		rack->nodes[i].addr = htonl(rack->subnet + 1 + i);
	*out = rack;
	rack = NULL;
	ret = 0;
out:
	rack_free(rack);
	return ret;
}

void rack_free(struct rack *rack)
{
	if (!rack)
		return;
	file_free(rack->file);
	free(rack->nodes);
	free(rack->tor);
	free(rack);
}

void rack_set_xdp(struct rack *rack, enum rack_xdp xdp)
{
	rack->xdp = xdp;
	rack->file->xdp = xdp;
}

char *rack_text(const struct rack *rack, size_t *len)
{
	return file_text(rack->file, len);
}

struct rack_node *rack_node(const struct rack *rack, const char *name)
{
	static const char letters[] = "rct";
	const char *role = name[0] ? strchr(letters, name[0]) : NULL;
	unsigned int number;
	struct rack_node *node;
	int used = 0;

	if (!role || sscanf(name + 1, "%4u%n", &number, &used) != 1 || name[1 + used])
		return NULL;
	node = rack_nth(rack, role - letters, number);
	return node && !strcmp(node->name, name) ? node : NULL; /* not r01 */
}

struct rack_node *rack_nth(const struct rack *rack, enum rack_role role, unsigned int i)
{
	const unsigned int first[] = {0, rack->replicas, rack->replicas + rack->clients};
	const unsigned int count[] = {rack->replicas, rack->clients, rack->testers};

	return i < count[role] ? &rack->nodes[first[role] + i] : NULL;
}

static const char *const xdp_names[] = {[RACK_NATIVE] = "native", [RACK_GENERIC] = "generic"};

const char *rack_xdp_name(enum rack_xdp xdp)
{
	return xdp_names[xdp];
}

int rack_xdp_parse(enum rack_xdp *xdp, const char *name)
{
	for (int i = RACK_NATIVE; i <= RACK_GENERIC; i++) {
		if (!strcmp(name, xdp_names[i])) {
			*xdp = i;
			return 0;
		}
	}
	return -1;
}
