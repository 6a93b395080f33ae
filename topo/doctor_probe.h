/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Finding out by doing. A probe sends frames of an EtherType that no stack answers from `near`, and
 * looks for what must come of them: counts of a program at `far`, frames that come back.
 *
 *   network namespace of this process alone
 *     packet socket on [near]=========[far]   program under test (bpf/probe.bpf.c)
 */
#ifndef PAXRACK_DOCTOR_PROBE_H
#define PAXRACK_DOCTOR_PROBE_H

#include <stdbool.h>
#include <stdint.h>

#include "topo/doctor.h"

#include "probe.skel.h"

#define PROBE_FRAMES 16	   /* of one probe */
#define PROBE_WAIT_MS 2000 /* for what must come */
#define PROBE_LOOK_MS 1
#define PROBE_NEAR 2 /* device indexes */
#define PROBE_FAR 3

struct probe {
	struct doctor *d;
	struct rtnl *r;
	int socket;	       /* bound to near */
	struct probe_bpf *bpf; /* the program under test */
	int program;
};

extern const uint8_t probe_near_mac[6], probe_far_mac[6];

/* One program of bpf/probe.bpf.c, alone. 0 or -errno; probe_unload() takes either. */
int probe_load(struct probe *p, const char *name);
void probe_unload(struct probe *p);
/* XDP, as a replica attaches it. A descriptor that keeps it there, or -errno. */
int probe_attach(int program, int ifindex, bool native);

int probe_send(const struct probe *p); /* PROBE_FRAMES frames; 0 or -errno */
/* How many of them the program saw, once it is all of them or patience ends. */
int probe_wait(const struct probe *p);
/* How many came back to `near` since the last call, waiting so long for each. */
int probe_returned(const struct probe *p, int patience_ms);

void probe_close(int fd); /* -errno is allowed */

/*
 * The line of a probe that was refused (ret: -errno), or of whose frames so many `did`. True when
 * all did; else its status is `lacks`.
 */
bool probe_add(struct probe *p, enum doctor_status lacks, const char *key, const char *what,
	       int ret, int got, const char *did);

/* Lines about AF_XDP and about tracepoints (doctor_far.c). */
void doctor_af_xdp(struct probe *p);
void doctor_tracepoints(struct probe *p);

#endif
