// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "topo/private.h"
#include "topo/process.h"

static void print_since(const char *name)
{
	char path[RACK_PATH_MAX], when[32] = "-";
	struct stat st;
	struct tm tm;

	if (!stat(rack_path(path, name, "up"), &st) && localtime_r(&st.st_mtime, &tm))
		strftime(when, sizeof(when), "%Y-%m-%d %H:%M:%S", &tm);
	printf("%s\n", when);
}

static int print_rack(const char *name, void *arg)
{
	bool *head = arg;
	char subnet[32], path[RACK_PATH_MAX];
	struct in_addr addr;
	struct rack *rack;

	if (!*head)
		printf("%-*s  %-10s  %5s  %-7s  %-18s  %s\n", 16, "rack", "state", "nodes", "xdp",
		       "subnet", "since");
	*head = true;
	if (rack_state(name) != RACK_UP) {
		printf("%-16s  %-10s  %5s  %-7s  %-18s  -\n", name, "incomplete", "-", "-", "-");
		return 0;
	}
	if (rack_load(&rack, rack_path(path, name, "rack.yaml")))
		return -1;
	addr.s_addr = htonl(rack->subnet);
	inet_ntop(AF_INET, &addr, subnet, 16);
	sprintf(subnet + strlen(subnet), "/%u", rack->prefix);
	printf("%-16s  %-10s  %5u  %-7s  %-18s  ", name, "up", rack->count,
	       rack_xdp_name(rack->xdp), subnet);
	print_since(name);
	rack_free(rack);
	return 0;
}

/* Processes of each node, as they are listed: " 123 (comm)" */
struct processes {
	const struct rack *rack;
	char **text; /* by index, the ToR's last */
};

static void add_process(pid_t pid, const char *node, const char *comm, void *arg)
{
	struct processes *p = arg;
	const struct rack_node *n = rack_node(p->rack, node);
	char **text = &p->text[n ? n->index : p->rack->count];
	char *longer;

	if (asprintf(&longer, "%s  %d (%s)", *text ?: "", pid, comm) < 0)
		return;
	free(*text);
	*text = longer;
}

/* Behind which ToR, when there are several: by the name of its bridge, or of the host it is on. */
static void print_place(const struct rack *rack, const struct rack_node *node)
{
	char host[16];

	if (rack->tors == 1)
		return;
	if (!node)
		printf("%-15s  ", "-");
	else if (node->here)
		printf("br%-13u  ", node->tor);
	else
		printf("%-15s  ",
		       inet_ntop(AF_INET, &rack->tor[node->tor].host, host, sizeof(host)));
}

static int print_nodes(const char *name)
{
	struct processes p = {0};
	struct rack *rack;
	char addr[16];

	if (rack_find(&rack, name))
		return -1;
	p.rack = rack;
	p.text = calloc(rack->count + 1, sizeof(*p.text));
	if (!p.text) {
		rack_free(rack);
		return rack_say("no memory");
	}
	process_each(name, add_process, &p);
	printf("%-5s  %-15s  %-17s  %s%s\n", "node", "address", "mac",
	       rack->tors > 1 ? "behind           " : "", "processes");
	for (unsigned int i = 0; i < rack->count; i++) {
		const struct rack_node *node = &rack->nodes[i];
		const uint8_t *m = node->mac;

		inet_ntop(AF_INET, &node->addr, addr, sizeof(addr));
		printf("%-5s  %-15s  %02x:%02x:%02x:%02x:%02x:%02x  ", node->name, addr, m[0], m[1],
		       m[2], m[3], m[4], m[5]);
		print_place(rack, node);
		printf("%s\n", p.text[i] ? p.text[i] + 2 : "-");
		free(p.text[i]);
	}
	printf("%-5s  %-15s  %-17s  ", "tor", "-", "-");
	print_place(rack, NULL);
	printf("%s\n", p.text[rack->count] ? p.text[rack->count] + 2 : "-");
	free(p.text[rack->count]);
	free(p.text);
	rack_free(rack);
	return 0;
}

int cmd_ls(int argc, char **argv)
{
	bool head = false;
	int lock, ret;

	if (argc > 2)
		return rack_usage("one RACK at most");
	if (argc == 2 && argv[1][0] == '-')
		return rack_usage("there is no option %s", argv[1]);
	if (rack_privileged())
		return 1;
	lock = rack_lock(false);
	if (lock < 0)
		return 1;
	ret = argc == 2 ? print_nodes(argv[1]) : state_each(print_rack, &head);
	if (argc == 1 && !ret && !head)
		printf("no rack is up\n");
	rack_unlock(lock);
	return ret ? 1 : 0;
}
