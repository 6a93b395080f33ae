/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <bpf/libbpf.h>

#include "bpf/load.h"

#define LOG_SIZE (1u << 20) /* one per program, touched only when the verifier refuses */
#define LOG_LINES 20

static const char *last_lines(const char *log, int lines)
{
	const char *at = log + strlen(log);

	while (at > log && (at[-1] != '\n' || lines-- > 0))
		at--;
	return at;
}

int bpf_load(struct bpf_object *object, char *error, size_t size)
{
	struct bpf_program *program;
	const char *refused = NULL;
	char **logs;
	int i = 0, n = 0, ret;

	libbpf_set_print(NULL);
	bpf_object__for_each_program(program, object) n++;
	logs = calloc(n, sizeof(*logs));
	if (!logs)
		return -ENOMEM;
	bpf_object__for_each_program(program, object)
	{
		logs[i] = calloc(1, LOG_SIZE);
		if (logs[i])
			bpf_program__set_log_buf(program, logs[i], LOG_SIZE);
		i++;
	}

	ret = bpf_object__load(object);
	if (!ret)
		goto out;
	i = 0;
	bpf_object__for_each_program(program, object)
	{
		if (logs[i] && logs[i][0]) {
			refused = bpf_program__name(program);
			break;
		}
		i++;
	}
	if (refused)
		snprintf(error, size,
			 "the kernel refused program %s (%s); the end of its verifier's log:\n%s",
			 refused, strerror(-ret), last_lines(logs[i], LOG_LINES));
	else if (ret == -EPERM || ret == -EACCES)
		snprintf(error, size,
			 "cannot load kernel programs: %s; run as root, or with CAP_BPF and "
			 "CAP_NET_ADMIN",
			 strerror(-ret));
	else
		snprintf(error, size, "cannot load kernel programs of %s: %s",
			 bpf_object__name(object), strerror(-ret));
out:
	for (i = 0; i < n; i++)
		free(logs[i]);
	free(logs);
	return ret;
}
