// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Does the kernel take our programs, and which kinds of others? */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "bpf/load.h"
#include "bpf/reasons.h"
#include "bpf/state.h"
#include "topo/doctor.h"

#include "kinds.skel.h"
#include "probe.skel.h"
#include "replica.skel.h"
#include "tor.skel.h"

#define KIND_PREFIX "kind_"
#define TARGET "probe_pass" /* whose place kind_freplace takes */

/* ---- ours ---- */

static void add_ours(struct doctor *d, const char *key, const char *what, int ret,
		     const char *error, const char *so)
{
	if (!ret) {
		doctor_add(d, DOCTOR_OK, key, what, "taken by the kernel");
		return;
	}
	doctor_add(d, DOCTOR_MISSING, key, what, "%s", error);
	doctor_so(d, "%s", so);
	doctor_remedy(d, "Linux 6.1 or newer, with CONFIG_BPF_SYSCALL and CONFIG_NET_CLS_BPF");
}

static void look_at_ours(struct doctor *d)
{
	struct replica_bpf *replica = replica_bpf__open();
	struct tor_bpf *tor = tor_bpf__open();
	char error[4096] = "no memory";
	int ret = -ENOMEM;

	if (tor) {
		ret = bpf_load(tor->obj, error, sizeof(error));
		tor_bpf__destroy(tor);
	}
	add_ours(d, "switch_programs", "programs of the switch", ret, error, "there is no rack");
	ret = -ENOMEM;
	if (replica) {
		bpf_map__set_max_entries(replica->maps.elec_log, ELEC_SLOTS_DEFAULT);
		ret = bpf_load(replica->obj, error, sizeof(error));
		replica_bpf__destroy(replica);
	}
	add_ours(d, "replica_programs", "programs of a replica", ret, error,
		 "replicas run with --offload none only");
}

/* ---- kinds ---- */

/* It can be attached for a moment and changes nothing for others. */
static bool listens(enum bpf_prog_type type)
{
	return type == BPF_PROG_TYPE_TRACING || type == BPF_PROG_TYPE_RAW_TRACEPOINT ||
	       type == BPF_PROG_TYPE_KPROBE;
}

/* A kind of program that the kernel may refuse to load or attach; nothing stays. 0 or -errno. */
static int try_kind(const char *name, int target)
{
	struct kinds_bpf *kinds = kinds_bpf__open();
	struct bpf_program *program, *one = NULL;
	struct bpf_link *link;
	int ret;

	if (!kinds)
		return -ENOMEM;
	bpf_object__for_each_program(program, kinds->obj)
	{
		bpf_program__set_autoload(program, !strcmp(bpf_program__name(program), name));
		if (bpf_program__autoload(program))
			one = program;
	}
	if (one == kinds->progs.kind_freplace)
		bpf_program__set_attach_target(one, target, TARGET);
	ret = bpf_object__load(kinds->obj);
	if (!ret && listens(bpf_program__type(one))) {
		link = bpf_program__attach(one);
		ret = link ? 0 : -errno;
		bpf_link__destroy(link);
	}
	kinds_bpf__destroy(kinds);
	return ret;
}

/* Adds ", NAME", or " (ERROR), NAME" when the last ones were refused for another reason. */
static void add_refused(char *text, size_t size, const char *name, int error, int last)
{
	size_t len = strlen(text);

	if (!len || error == last)
		snprintf(text + len, size - len, "%s%s", len ? ", " : "", name);
	else
		snprintf(text + len, size - len, " (%s), %s", strerror(-last), name);
}

static void look_at_kinds(struct doctor *d)
{
	struct kinds_bpf *kinds = kinds_bpf__open();
	struct probe_bpf *probe = probe_bpf__open();
	char taken[512] = "", refused[1024] = "";
	struct bpf_program *program;
	int target = -1, last = 0;

	if (!kinds || !probe) {
		d->out_of_memory = true;
		goto out;
	}
	bpf_map__set_autocreate(probe->maps.probe_xsk, false);
	bpf_object__for_each_program(program, probe->obj)
		bpf_program__set_autoload(program, program == probe->progs.probe_pass);
	if (!bpf_object__load(probe->obj))
		target = bpf_program__fd(probe->progs.probe_pass);
	bpf_object__for_each_program(program, kinds->obj)
	{
		const char *name = bpf_program__name(program);
		int ret = try_kind(name, target);

		name += strlen(KIND_PREFIX);
		if (ret) {
			add_refused(refused, sizeof(refused), name, ret, last);
			last = ret;
		} else {
			add_refused(taken, sizeof(taken), name, 0, 0);
		}
	}
	doctor_add(d, DOCTOR_INFO, "kinds_taken", "kinds of programs taken", "%s",
		   taken[0] ? taken : "none of those tried");
	if (refused[0]) {
		doctor_add(d, DOCTOR_INFO, "kinds_refused", "kinds of programs refused", "%s (%s)",
			   refused, strerror(-last));
		doctor_so(d,
			  "nothing of paxrack depends on them; tools like xdpdump, xdp-loader and "
			  "bpftrace do");
	} else {
		doctor_add(d, DOCTOR_OK, "kinds_refused", "kinds of programs refused",
			   "none of those tried");
	}
out:
	probe_bpf__destroy(probe);
	kinds_bpf__destroy(kinds);
}

void doctor_programs(struct doctor *d)
{
	libbpf_set_print(NULL);
	doctor_group(d, "kernel programs");
	look_at_ours(d);
	look_at_kinds(d);
}
