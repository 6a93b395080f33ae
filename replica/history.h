/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What a client did, one operation a line, in the order in which they ended:
 *
 *   {"client":3,"id":"9e0b...","reqid":19,"invoked_ns":12,"completed_ns":30,
 *    "op":"SET k7 v","result":"OK","opnum":17,"view":0,"sends":1}
 *
 * Times are CLOCK_MONOTONIC: invoked before the first send, completed after the reply was
 * received. Without a reply completed_ns, result, opnum and view are null: the operation may
 * have happened or not. Bytes that are no ASCII stand as \u00xx.
 */
#ifndef PAXRACK_HISTORY_H
#define PAXRACK_HISTORY_H

#include <stddef.h>
#include <stdint.h>

struct history;

struct history_op {
	uint32_t client;
	uint64_t id, reqid;		   /* as in the Request */
	uint64_t invoked_ns, completed_ns; /* completed_ns 0: no reply */
	const void *op, *result;
	size_t op_len, result_len;
	uint64_t opnum, view; /* as in the Reply */
	uint32_t sends;
};

/* 0 or -errno. */
int history_open(struct history **h, const char *path);
/* Failures are kept for history_close(). */
void history_add(struct history *h, const struct history_op *op);
/* 0, or -errno: not everything was written. NULL is allowed. */
int history_close(struct history *h);

#endif
