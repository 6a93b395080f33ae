// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "replica/privilege.h"

#include <errno.h>
#include <fcntl.h>
#include <seccomp.h>
#include <sys/capability.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

/*
 * The kernel keeps a bitmap of calls that are allowed whatever their arguments, and does not run
 * the filter for them (since 5.11); for others a binary tree is searched.
 */
static const int allowed[] = {
	/* packets */
	SCMP_SYS(sendmmsg),
	SCMP_SYS(recvmmsg),
	SCMP_SYS(sendto),
	SCMP_SYS(sendmsg),
	SCMP_SYS(recvfrom),
	SCMP_SYS(recvmsg),
	/* sleep, and the time where the vDSO cannot tell it */
	SCMP_SYS(epoll_pwait2),
	SCMP_SYS(epoll_wait),
	SCMP_SYS(epoll_pwait),
	SCMP_SYS(poll),
	SCMP_SYS(ppoll),
	SCMP_SYS(sched_yield),
	SCMP_SYS(clock_gettime),
	SCMP_SYS(clock_nanosleep),
	/* files that are open */
	SCMP_SYS(read),
	SCMP_SYS(write),
	SCMP_SYS(writev),
	SCMP_SYS(lseek),
	SCMP_SYS(fstat),
	SCMP_SYS(flock),
	SCMP_SYS(ftruncate),
	SCMP_SYS(fallocate),
	SCMP_SYS(fsync),
	SCMP_SYS(close),
	/* memory; mmap below */
	SCMP_SYS(brk),
	SCMP_SYS(munmap),
	SCMP_SYS(mremap),
	SCMP_SYS(madvise),
	/* signals, abort() among them, and the end */
	SCMP_SYS(rt_sigreturn),
	SCMP_SYS(rt_sigprocmask),
	SCMP_SYS(rt_sigaction),
	SCMP_SYS(restart_syscall),
	SCMP_SYS(getpid),
	SCMP_SYS(gettid),
	SCMP_SYS(wait4),
	SCMP_SYS(exit),
	SCMP_SYS(exit_group),
};

static int add_rules(scmp_filter_ctx filter)
{
	int ret = 0;

	for (size_t i = 0; !ret && i < sizeof(allowed) / sizeof(*allowed); i++)
		ret = seccomp_rule_add(filter, SCMP_ACT_ALLOW, allowed[i], 0);
	/* Memory that is never code. */
	if (!ret)
		ret = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1,
				       SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
	/* glibc's fstat() is this one with an empty path: of a descriptor, or a name to look at. */
	if (!ret)
		ret = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(newfstatat), 1,
				       SCMP_A3(SCMP_CMP_EQ, AT_EMPTY_PATH));
	/* abort(): a signal to itself. */
	if (!ret)
		ret = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 1,
				       SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)getpid()));
	return ret;
}

static int filter_calls(void)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_KILL_PROCESS);
	int ret;

	if (!filter)
		return -ENOMEM;
	ret = seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	if (!ret)
		ret = add_rules(filter);
	if (!ret)
		ret = seccomp_load(filter);
	seccomp_release(filter);
	return ret;
}

/* Who may not lower the bounding set has no privilege that an exec could raise either. */
static int lower_bounds(void)
{
	for (cap_value_t c = 0; c < cap_max_bits(); c++) {
		if (cap_drop_bound(c) && errno != EPERM)
			return -errno;
	}
	return cap_reset_ambient() ? -errno : 0;
}

int privilege_keep(const int *capabilities, size_t count)
{
	cap_t had = cap_get_proc(), kept = cap_init();
	int ret = had && kept ? 0 : -ENOMEM;

	if (!ret)
		ret = lower_bounds();
	for (size_t i = 0; !ret && i < count; i++) {
		cap_value_t c = capabilities[i];
		cap_flag_value_t has = CAP_CLEAR;

		if (cap_get_flag(had, c, CAP_PERMITTED, &has) ||
		    (has && (cap_set_flag(kept, CAP_PERMITTED, 1, &c, CAP_SET) ||
			     cap_set_flag(kept, CAP_EFFECTIVE, 1, &c, CAP_SET))))
			ret = -errno;
	}
	if (!ret && (cap_set_proc(kept) || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)))
		ret = -errno;
	cap_free(had);
	cap_free(kept);
	return ret;
}

int privilege_drop(void)
{
	int ret = privilege_keep(NULL, 0);

	return ret ? ret : filter_calls();
}
