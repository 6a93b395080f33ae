// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Flows, rules and paths from words and back. */
#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "topo/steer.h"

#define WORD_MAX 64

static const char *const path_names[] = {
#define X(id, name) [TOR_PATH_##id] = name,
	TOR_PATHS(X)
#undef X
};

struct error {
	char *text;
	size_t size;
};

static int __attribute__((format(printf, 2, 3))) wrong(struct error *e, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(e->text, e->size, fmt, args);
	va_end(args);
	return -1;
}

const char *steer_path_name(unsigned int path)
{
	return path < TOR_PATH_COUNT ? path_names[path] : "?";
}

int steer_path_parse(unsigned int *path, const char *text, char *error, size_t size)
{
	struct error e = {error, size};

	for (unsigned int i = 0; i < TOR_PATH_COUNT; i++) {
		if (!strcmp(text, path_names[i])) {
			*path = i;
			return 0;
		}
	}
	return wrong(&e, "'%.40s' is no path: tc, xdp, bridge or afxdp", text);
}

static int parse_host(__be32 *addr, const struct rack *rack, const char *text, struct error *e)
{
	const struct rack_node *node = rack_node(rack, text);

	if (node)
		*addr = node->addr;
	else if (inet_pton(AF_INET, text, addr) != 1)
		return wrong(e, "'%.40s' is no node of %s and no IPv4 address", text, rack->name);
	return 0;
}

static int parse_port(__be16 *port, const char *text, struct error *e)
{
	unsigned int n;
	int used = 0;

	if (sscanf(text, "%5u%n", &n, &used) != 1 || text[used] || text[0] == '+' || n > 65535)
		return wrong(e, "'%.40s' is no UDP or TCP port", text);
	*port = htons(n);
	return 0;
}

static int parse_flow(struct steer_key *key, const struct rack *rack, const char *text,
		      struct error *e)
{
	char word[5][WORD_MAX];
	int used = 0;

	if (sscanf(text, "%63[^:]:%63[^:]:%63[^:]:%63[^:]:%63[^:]%n", word[0], word[1], word[2],
		   word[3], word[4], &used) != 5 ||
	    text[used])
		return wrong(e, "'%.80s' is no flow, as udp:r0:1000:r1:2000 is", text);
	memset(key, 0, sizeof(*key));
	if (!strcmp(word[0], "tcp"))
		key->protocol = IPPROTO_TCP;
	else if (!strcmp(word[0], "udp"))
		key->protocol = IPPROTO_UDP;
	else
		return wrong(e, "'%.40s' is neither tcp nor udp", word[0]);
	if (parse_host(&key->saddr, rack, word[1], e) || parse_port(&key->sport, word[2], e) ||
	    parse_host(&key->daddr, rack, word[3], e) || parse_port(&key->dport, word[4], e))
		return -1;
	if (steer_source(rack, key) >= rack->count)
		return wrong(e, "%s is no node of %s: nothing it sends comes by here", word[1],
			     rack->name);
	return 0;
}

static int parse_to(struct steer_rule *rule, const struct rack *rack, const char *text,
		    struct error *e)
{
	rule->count = 0;
	if (!strcmp(text, "mac"))
		return 0;
	for (;; text++) {
		size_t len = strcspn(text, ",");
		const struct rack_node *node;
		char word[WORD_MAX];
		unsigned int at;

		snprintf(word, sizeof(word), "%.*s", (int)(len < 63 ? len : 63), text);
		node = rack_node(rack, word);
		if (!node)
			return wrong(e, "'%s' names no port of %s: nodes are, e.g. %s", word,
				     rack->name, rack->nodes[0].name);
		if (node->addr == rule->key.saddr)
			return wrong(e, "%s cannot be sent what it sends", word);
		if (rule->count == STEER_GROUP_PORTS_MAX)
			return wrong(e, "a group has at most %d ports", STEER_GROUP_PORTS_MAX);
		for (at = rule->count; at && rule->port[at - 1] > node->index; at--)
			rule->port[at] = rule->port[at - 1];
		if (at && rule->port[at - 1] == node->index)
			return wrong(e, "%s stands in the group twice", word);
		rule->port[at] = node->index;
		rule->count++;
		text += len;
		if (!*text)
			return 0;
	}
}

/* The kernel's bridge and its generic XDP both go by the frame's own MAC. */
static int check_to(const struct steer_rule *rule, const struct rack *rack, struct error *e)
{
	if (rule->count && rule->path == TOR_PATH_BRIDGE + 1)
		return wrong(e, "the bridge sends a frame where its MAC says: give mac, or "
				"another path");
	for (unsigned int i = 0; i < rule->count; i++) {
		const struct rack_node *node = &rack->nodes[rule->port[i]];

		if (rack->xdp == RACK_GENERIC && node->role == RACK_REPLICA)
			return wrong(e,
				     "%s gets its frames from the bridge, as replicas in generic "
				     "mode do: no rule can send others there",
				     node->name);
	}
	return 0;
}

static int parse_rule(struct steer_rule *rule, const struct rack *rack, char **argv,
		      struct error *e)
{
	unsigned int path = 0;

	memset(rule, 0, sizeof(*rule));
	if (!argv[0])
		return wrong(e, "want FLOW [TO [PATH]]");
	if (parse_flow(&rule->key, rack, argv[0], e))
		return -1;
	if (!argv[1])
		return 0;
	if (parse_to(rule, rack, argv[1], e))
		return -1;
	if (argv[2]) {
		if (steer_path_parse(&path, argv[2], e->text, e->size))
			return -1;
		rule->path = path + 1;
		if (argv[3])
			return wrong(e, "'%.40s' is too much", argv[3]);
	}
	return check_to(rule, rack, e);
}

int steer_rule_parse(struct steer_rule *rule, const struct rack *rack, char **argv, char *error,
		     size_t size)
{
	struct error e = {error, size};

	return parse_rule(rule, rack, argv, &e);
}

static int parse_line(struct steer_rule *rule, bool *any, const struct rack *rack, char *line,
		      size_t len, struct error *e)
{
	char *argv[5] = {NULL}, *rest = line, *word;
	int n = 0;

	while (len && (line[len - 1] == '\n' || line[len - 1] == '\r'))
		line[--len] = '\0';
	for (size_t i = 0; i < len; i++) {
		if (line[i] != '\t' && iscntrl((unsigned char)line[i]))
			return wrong(e, "there is a byte of 0x%02x, which is no text", line[i]);
	}
	line[strcspn(line, "#")] = '\0';
	while (n < 4 && (word = strtok_r(n ? NULL : line, " \t", &rest)))
		argv[n++] = word;
	*any = n > 0;
	return n ? parse_rule(rule, rack, argv, e) : 0;
}

int steer_file_parse(struct steer_rule **rules, size_t *count, const struct rack *rack,
		     const char *path, char *error, size_t size)
{
	struct error e = {error, size};
	FILE *file = fopen(path, "re");
	struct steer_rule *list = NULL, *more;
	size_t n = 0, room = 0, line_room = 0;
	unsigned int number = 0;
	char why[256], *line = NULL;
	int ret = -1;
	ssize_t len;

	if (!file)
		return wrong(&e, "cannot read %s: %s", path, strerror(errno));
	while ((len = getline(&line, &line_room, file)) >= 0) {
		struct error in_line = {why, sizeof(why)};
		bool any;

		number++;
		if (n == room) {
			room = room ? room * 2 : 256;
			more = realloc(list, room * sizeof(*list));
			if (!more) {
				wrong(&e, "no memory");
				goto out;
			}
			list = more;
		}
		if (parse_line(&list[n], &any, rack, line, len, &in_line)) {
			ret = 1;
			wrong(&e, "%s:%u: %s; nothing was changed", path, number, why);
			goto out;
		}
		n += any;
	}
	if (ferror(file)) {
		wrong(&e, "cannot read %s: %s", path, strerror(errno));
		goto out;
	}
	*rules = list;
	*count = n;
	list = NULL;
	ret = 0;
out:
	free(list);
	free(line);
	fclose(file);
	return ret;
}

unsigned int steer_source(const struct rack *rack, const struct steer_key *key)
{
	return ntohl(key->saddr) - rack->subnet - 1;
}

static const char *host_text(const struct rack *rack, __be32 addr, char text[16])
{
	uint32_t index = ntohl(addr) - rack->subnet - 1;

	if (index < rack->count)
		return rack->nodes[index].name;
	return inet_ntop(AF_INET, &addr, text, 16);
}

void steer_flow_text(const struct steer_key *key, const struct rack *rack, char *text, size_t size)
{
	char source[16], destination[16];

	snprintf(text, size, "%s:%s:%u:%s:%u", key->protocol == IPPROTO_TCP ? "tcp" : "udp",
		 host_text(rack, key->saddr, source), ntohs(key->sport),
		 host_text(rack, key->daddr, destination), ntohs(key->dport));
}
