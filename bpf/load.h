/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Load a BPF object and say in words why it was refused. Used by replica/ and topo/. */
#ifndef PAXRACK_LOAD_H
#define PAXRACK_LOAD_H

#include <stddef.h>

struct bpf_object;

/*
 * bpf_object__load() for an opened object. 0, or -errno with `error` filled: one sentence,
 * and when the verifier refused a program, its name and the last 20 lines of the log.
 * libbpf's own messages are silenced.
 */
int bpf_load(struct bpf_object *object, char *error, size_t size);

#endif
