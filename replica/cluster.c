/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "replica/cluster.h"

#include <errno.h>
#include <netdb.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct reader {
	struct cluster cluster;
	bool has_f;
	const char *path;
	unsigned int line;
	char *error;
	size_t error_size;
};

__attribute__((format(printf, 2, 3))) static int refuse(struct reader *r, const char *format, ...)
{
	va_list args;
	size_t used;

	snprintf(r->error, r->error_size, "%s:%u: ", r->path, r->line);
	used = strlen(r->error);
	va_start(args, format);
	vsnprintf(r->error + used, r->error_size - used, format, args);
	va_end(args);
	return -EINVAL;
}

/* A decimal number from min to max and nothing else. */
static bool number(const char *text, unsigned long min, unsigned long max, unsigned long *value)
{
	unsigned long v;
	char *end;

	if (*text < '0' || *text > '9')
		return false;
	errno = 0;
	v = strtoul(text, &end, 10);
	if (*end || errno || v < min || v > max)
		return false;
	*value = v;
	return true;
}

static int read_f(struct reader *r, const char *value)
{
	unsigned long f;

	if (r->has_f)
		return refuse(r, "f stands here a second time");
	if (!number(value, 0, (ELEC_REPLICAS_MAX - 1) / 2, &f))
		return refuse(r, "f is '%s', want a number from 0 to %d", value,
			      (ELEC_REPLICAS_MAX - 1) / 2);
	r->cluster.f = f;
	r->has_f = true;
	return 0;
}

static int read_replica(struct reader *r, char *value)
{
	struct addrinfo hints = {.ai_family = AF_INET, .ai_socktype = SOCK_DGRAM}, *info;
	struct sockaddr_in *self = &r->cluster.replica[r->cluster.n];
	char *colon = strrchr(value, ':');
	unsigned long port;
	int ret, twin;

	if (!colon || colon == value || !number(colon + 1, 1, 65535, &port))
		return refuse(r, "'%s' is not HOST:PORT, as in replica 10.0.0.1:12345", value);
	if (r->cluster.n == ELEC_REPLICAS_MAX)
		return refuse(r, "more than %d replicas", ELEC_REPLICAS_MAX);
	*colon = 0;
	ret = getaddrinfo(value, NULL, &hints, &info);
	if (ret)
		return refuse(r, "no IPv4 address for '%s': %s", value, gai_strerror(ret));
	memcpy(self, info->ai_addr, sizeof(*self));
	freeaddrinfo(info);
	self->sin_port = htons(port);
	twin = cluster_find(&r->cluster, self);
	if (twin >= 0)
		return refuse(r, "%s:%lu is replica %d already", value, port, twin);
	r->cluster.n++;
	return 0;
}

static int read_line(struct reader *r, char *line)
{
	static const char blank[] = " \t\r\n";
	char *save, *word, *value;

	line[strcspn(line, "#")] = 0;
	word = strtok_r(line, blank, &save);
	if (!word)
		return 0;
	value = strtok_r(NULL, blank, &save);
	if (strcmp(word, "f") && strcmp(word, "replica"))
		return refuse(r, "unknown word '%s', want f or replica", word);
	if (!value || strtok_r(NULL, blank, &save))
		return refuse(r, "want one value after %s", word);
	return *word == 'f' ? read_f(r, value) : read_replica(r, value);
}

int cluster_read(struct cluster *c, const char *path, char *error, size_t error_size)
{
	struct reader r = {.path = path, .error = error, .error_size = error_size};
	size_t size = 0;
	char *line = NULL;
	FILE *file;
	int ret = 0;

	file = fopen(path, "re");
	if (!file) {
		ret = -errno;
		snprintf(error, error_size, "cannot open %s: %s", path, strerror(-ret));
		return ret;
	}
	errno = 0;
	while (!ret && getline(&line, &size, file) >= 0) {
		r.line++;
		ret = read_line(&r, line);
		errno = 0;
	}
	if (!ret && ferror(file)) {
		ret = errno ? -errno : -EIO;
		snprintf(error, error_size, "cannot read %s: %s", path, strerror(-ret));
	}
	if (!ret && !r.has_f)
		ret = refuse(&r, "no line 'f NUMBER' in this file");
	/*
	 * Quorums have f + 1 members. With more than 2f + 1 replicas two of them need not
	 * meet: what one committed the next view would not know.
	 */
	if (!ret && r.cluster.n != 2 * r.cluster.f + 1)
		ret = refuse(&r, "f %u wants %u replicas (2f + 1), this file has %u", r.cluster.f,
			     2 * r.cluster.f + 1, r.cluster.n);
	if (!ret)
		*c = r.cluster;
	free(line);
	fclose(file);
	return ret;
}

int cluster_find(const struct cluster *c, const struct sockaddr_in *from)
{
	for (uint32_t i = 0; i < c->n; i++) {
		if (c->replica[i].sin_addr.s_addr == from->sin_addr.s_addr &&
		    c->replica[i].sin_port == from->sin_port)
			return i;
	}
	return -1;
}
