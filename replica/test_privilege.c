/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What a process may still do after privilege_drop(), and what ends it. Each in a child. */
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/capability.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "replica/privilege.h"

static int pair[2], file, epoll; /* open beforehand, as a replica's are */
static FILE *out;

/* Calls it in a child without privileges; the wait status. */
static int without(void (*call)(void))
{
	int status;
	pid_t pid = fork();

	if (!pid) {
		if (privilege_drop())
			_exit(99);
		call();
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

/* ---- refused ---- */

static void raw_socket(void)
{
	socket(AF_INET, SOCK_RAW, 0);
}

static void any_socket(void)
{
	socket(AF_INET, SOCK_DGRAM, 0);
}

static void run_program(void)
{
	execl("/bin/true", "true", (char *)NULL);
}

static void use_bpf(void)
{
	syscall(SYS_bpf, BPF_MAP_GET_NEXT_ID, NULL, 0);
}

static void open_file(void)
{
	open("/dev/null", O_RDONLY);
}

static void rename_file(void)
{
	rename("/nowhere", "/nowhere-else");
}

static void mount_something(void)
{
	mount("none", "/nowhere", "tmpfs", 0, NULL);
}

static void enter_namespace(void)
{
	setns(file, CLONE_NEWNET);
}

static void make_process(void)
{
	fork();
}

static void signal_parent(void)
{
	kill(getppid(), 0);
}

static void signal_thread(void)
{
	syscall(SYS_tgkill, 1, 1, 0);
}

static void trace_parent(void)
{
	ptrace(PTRACE_ATTACH, getppid(), NULL, NULL);
}

static void map_code(void)
{
	mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

static void protect_as_code(void)
{
	syscall(SYS_mprotect, (uintptr_t)&pair & ~4095ul, 4096, PROT_READ | PROT_EXEC);
}

static void set_option(void)
{
	int on = 1;

	setsockopt(pair[0], SOL_SOCKET, SO_RCVBUF, &on, sizeof(on));
}

static void test_refused(void **state)
{
	static const struct {
		const char *name;
		void (*call)(void);
	} cases[] = {
		{"raw socket", raw_socket},
		{"socket", any_socket},
		{"exec", run_program},
		{"bpf", use_bpf},
		{"open", open_file},
		{"rename", rename_file},
		{"mount", mount_something},
		{"setns", enter_namespace},
		{"fork", make_process},
		{"kill", signal_parent},
		{"tgkill of another", signal_thread},
		{"ptrace", trace_parent},
		{"mmap of code", map_code},
		{"mprotect", protect_as_code},
		{"setsockopt", set_option},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		int status = without(cases[i].call);

		if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGSYS)
			fail_msg("%s: wait status %d", cases[i].name, status);
	}
}

/* ---- allowed ---- */

#define NEED(condition)                                                                            \
	do {                                                                                       \
		if (!(condition))                                                                  \
			_exit(1);                                                                  \
	} while (0)

static void move_packets(void)
{
	char byte = 'x';
	struct iovec iov = {&byte, 1};
	struct mmsghdr m = {.msg_hdr = {.msg_iov = &iov, .msg_iovlen = 1}};
	struct epoll_event event;
	struct timespec none = {0, 0};

	NEED(sendmmsg(pair[0], &m, 1, 0) == 1);
	NEED(send(pair[0], &byte, 1, 0) == 1);
	NEED(epoll_pwait2(epoll, &event, 1, NULL, NULL) == 1);
	NEED(recvmmsg(pair[1], &m, 1, MSG_DONTWAIT, NULL) == 1);
	NEED(recv(pair[1], &byte, 1, 0) == 1);
	NEED(epoll_pwait2(epoll, &event, 1, &none, NULL) == 0);
	NEED(!syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &none)); /* without a vDSO */
}

static void append_to_files(void)
{
	struct stat stat;
	char *at;

	NEED(!posix_fallocate(file, 0, 8192) && !fstat(file, &stat) && stat.st_size == 8192);
	at = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	NEED(at != MAP_FAILED);
	at = mremap(at, 4096, 8192, MREMAP_MAYMOVE);
	NEED(at != MAP_FAILED);
	at[8191] = 1;
	NEED(!fsync(file) && !munmap(at, 8192) && !ftruncate(file, 0));
	NEED(write(file, "x", 1) == 1);
}

static void allocate(void)
{
	for (size_t size = 16; size < 64 << 20; size *= 4) {
		char *at = malloc(size);

		NEED(at);
		memset(at, 1, size);
		free(at);
	}
}

static void print(void)
{
	NEED(fprintf(out, "%d\n", 1) == 2 && !fflush(out));
}

static void test_allowed(void **state)
{
	(void)state;
	assert_int_equal(without(move_packets), 0);
	assert_int_equal(without(append_to_files), 0);
	assert_int_equal(without(allocate), 0);
	assert_int_equal(without(print), 0);
}

/* A bug is told apart from somebody else's doing. */
static void test_abort_is_an_abort(void **state)
{
	int status = without(abort);

	(void)state;
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGABRT);
}

/* ---- capabilities ---- */

/* Runs a shell after privilege_keep(): what grep finds of its status. */
static void capabilities_after(const int *kept, size_t count, char text[256])
{
	int said[2], status;
	ssize_t n;
	pid_t pid;

	assert_int_equal(pipe(said), 0);
	pid = fork();
	if (!pid) {
		dup2(said[1], 1);
		if (!privilege_keep(kept, count))
			execl("/bin/grep", "grep", "^Cap", "/proc/self/status", (char *)NULL);
		_exit(1);
	}
	close(said[1]);
	n = read(said[0], text, 255);
	text[n < 0 ? 0 : n] = '\0';
	close(said[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void test_no_exec_brings_capabilities_back(void **state)
{
	static const char none[] = "CapInh:\t0000000000000000\nCapPrm:\t0000000000000000\n"
				   "CapEff:\t0000000000000000\nCapBnd:\t0000000000000000\n"
				   "CapAmb:\t0000000000000000\n";
	static const int one[] = {CAP_NET_ADMIN};
	char text[256];

	(void)state;
	capabilities_after(NULL, 0, text);
	assert_string_equal(text, none);
	capabilities_after(one, 1, text);
	assert_string_equal(text, none);
}

static void keep_one(void)
{
	/* A privileged call that was meant to stay, and one that was not. */
	int on = 1 << 16;

	NEED(!setsockopt(pair[0], SOL_SOCKET, SO_SNDBUFFORCE, &on, sizeof(on)));
	NEED(sethostname("x", 1) && errno == EPERM);
}

static void test_what_is_kept_is_kept_alone(void **state)
{
	static const int one[] = {CAP_NET_ADMIN};
	int status;
	pid_t pid = fork();

	(void)state;
	if (!pid) {
		if (privilege_keep(one, 1))
			_exit(99);
		keep_one();
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static int set_up(void **state)
{
	struct epoll_event event = {.events = EPOLLIN};

	(void)state;
	file = memfd_create("test", MFD_CLOEXEC);
	epoll = epoll_create1(EPOLL_CLOEXEC);
	out = fdopen(dup(file), "w");
	return file < 0 || !out || socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair) ||
	       epoll_ctl(epoll, EPOLL_CTL_ADD, pair[1], &event);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_allowed),
		cmocka_unit_test(test_abort_is_an_abort),
		cmocka_unit_test(test_no_exec_brings_capabilities_back),
		cmocka_unit_test(test_what_is_kept_is_kept_alone),
	};

	return cmocka_run_group_tests(tests, set_up, NULL);
}
