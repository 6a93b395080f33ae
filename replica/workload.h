/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The client's key-value workload, and what its replies must be. Every client has keys
 * of its own, named by a random number of this run, and one operation in flight: so each
 * reply is known beforehand, to the byte. A lost write, an operation executed twice
 * after a later one, another client's reply: all of them show.
 *
 *   SET <run>-<key> <value>    value: "<run>-<key>#<version>#" repeated, cut to size
 *   GET <run>-<key>            the last version set, or none
 *
 * With `shared` all clients, also those of other processes, use the same keys. Then no reply
 * is known beforehand: who wants to judge them needs the history (replica/history.h).
 *
 *   SET k<key> <value>         value: "<client>.<version>.<run>#" repeated, cut to size
 *   GET k<key>
 */
#ifndef PAXRACK_WORKLOAD_H
#define PAXRACK_WORKLOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WORKLOAD_VALUE_MAX 8192
#define WORKLOAD_OP_MAX (WORKLOAD_VALUE_MAX + 64) /* bytes of an operation's text */

struct workload;

struct workload_options {
	uint32_t clients;     /* 1.. */
	uint32_t keys;	      /* of all clients together; each has at least one */
	uint32_t mix;	      /* percent of SET, 0..100; the others are GET */
	uint32_t value_bytes; /* 1..WORKLOAD_VALUE_MAX */
	uint64_t seed;	      /* of the choice of keys and operations */
	uint32_t run;	      /* random: the keys of this run are nobody else's */
	bool shared;	      /* each client uses all keys */
};

/* NULL: out of memory. */
struct workload *workload_open(const struct workload_options *options);
void workload_close(struct workload *w); /* NULL is allowed */

/* Write the client's next operation to op (WORKLOAD_OP_MAX bytes); returns its length. */
size_t workload_next(struct workload *w, uint32_t client, char *op);

/*
 * The reply to the client's last operation. False: it is wrong, and *want (in memory of
 * the workload, until the next call) says what was right.
 */
bool workload_check(struct workload *w, uint32_t client, const void *reply, size_t len,
		    const char **want, size_t *want_len);

#endif
