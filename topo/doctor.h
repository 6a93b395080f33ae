/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What `rack doctor` says: lines of what was found, what follows from it and what mends it.
 *
 *   doctor_group(d, "machine")
 *   doctor_add(d, DOCTOR_OK, "kernel", "kernel", "Linux %s", release)
 *   doctor_so(d, "...")            what follows, of the line just added
 *   doctor_remedy(d, "...")        what a person can do, or a command that does it
 *   doctor_print(), doctor_json()
 *
 * Memory that runs out is told by doctor_print() and doctor_json().
 */
#ifndef PAXRACK_DOCTOR_H
#define PAXRACK_DOCTOR_H

#include <stdbool.h>
#include <stdio.h>

#include "topo/rack.h"

/* enum bpf_attach_type since Linux 6.6; Debian 12's headers are older */
#define DOCTOR_TCX_INGRESS 46
#define DOCTOR_TCX_EGRESS 47

enum doctor_status {
	DOCTOR_OK,
	DOCTOR_INFO,	/* good to know */
	DOCTOR_WARN,	/* something is lost without it, a rack runs */
	DOCTOR_MISSING, /* no rack without it */
	DOCTOR_WRONG,	/* in a rack that runs */
};

struct doctor_line {
	enum doctor_status status;
	const char *group;
	char *key;		      /* never changes: for programs */
	char *what;		      /* for people */
	char *found, *so, *remedy;    /* so, remedy: may be NULL */
	const struct rack_node *node; /* of a rack's line: whose link; NULL: the ToRs' own */
	char *end;		      /* and "eth0", "port" or that device's name */
};

struct doctor {
	const char *group;
	struct doctor_line *lines;
	size_t count;
	bool out_of_memory;
};

void doctor_group(struct doctor *d, const char *group);
__attribute__((format(printf, 5, 6))) void doctor_add(struct doctor *d, enum doctor_status status,
						      const char *key, const char *what,
						      const char *fmt, ...);
__attribute__((format(printf, 2, 3))) void doctor_so(struct doctor *d, const char *fmt, ...);
__attribute__((format(printf, 2, 3))) void doctor_remedy(struct doctor *d, const char *fmt, ...);
/* Of the line just added: whose link or NULL, which end. */
void doctor_where(struct doctor *d, const struct rack_node *node, const char *end);
void doctor_free(struct doctor *d);

/* Is any line missing, or wrong? */
bool doctor_ill(const struct doctor *d);

/* 0, or -1 having said why. */
int doctor_print(const struct doctor *d);
/* One object: a member for each line of a machine, a list of findings for a rack. */
int doctor_json(const struct doctor *d, const struct rack *rack);

/* ---- what is looked at; each adds its lines ---- */

void doctor_machine(struct doctor *d); /* doctor_machine.c */
void doctor_devices(struct doctor *d); /* doctor_devices.c: of this network namespace */
/* Racks that are half gone; clean: removes them. 0, or -1: one could not be removed. */
int doctor_leftovers(struct doctor *d, bool clean); /* doctor_leftovers.c */
/* Programs of ours, and kinds of programs (doctor_programs.c). */
void doctor_programs(struct doctor *d);
/*
 * What a pair of devices can do (doctor_link.c). The process is in a network namespace of its
 * own afterwards, which ends with it.
 */
void doctor_link(struct doctor *d);
/* A rack that is up: findings only (doctor_rack.c). 0, or -1 having said what could not be seen. */
int doctor_rack(struct doctor *d, const struct rack *rack);

#endif
