// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* The journal killed at every step, for ever growing, on a full disk, opened by two. */
#include "replica/test_journal.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/wait.h>

/* ---- killed ---- */

/* A child that opened the journal, did `before`, and stopped: next it will do `work`, and exit. */
static pid_t stopped_child(void (*before)(struct journal *), void (*work)(struct journal *))
{
	pid_t child = fork();
	int status;

	if (!child) {
		struct journal *j = must_open(PATH, 1);

		before(j);
		ptrace(PTRACE_TRACEME, 0, NULL, NULL);
		raise(SIGSTOP);
		work(j);
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFSTOPPED(status));
	return child;
}

static void nothing(struct journal *j)
{
	(void)j;
}

static void append_one(struct journal *j)
{
	append(j, "3rd");
}

/* Whatever an earlier life left behind the end, also whole records: looked at after every
 * instruction. */
static void killed_at_every_instruction(void **unused)
{
	const char *before = "view 0/0 0 [ 0 0 0 ], 1:v3 c7 r100 'one', 2:v3 c7 r101 'two'";
	const uint8_t *file;
	uint8_t last[4096];
	uint64_t begin, word = 0;
	unsigned int steps = 0, images = 0, committed = 0;
	struct journal *j = format_and_open(0);
	pid_t child;
	int fd, status;

	(void)unused;
	must_append(j, "one");
	must_append(j, "two");
	begin = journal_info(j)->bytes;
	must_append(j, "old");
	must_append(j, "older");
	journal_close(j);
	poke(PATH, begin, &word, sizeof(word)); /* ends here; 'older' stands right behind */
	fd = open(PATH, O_RDONLY);
	file = mmap(NULL, sizeof(last), PROT_READ, MAP_SHARED, fd, 0);
	memset(last, 0, sizeof(last));
	child = stopped_child(nothing, append_one);
	for (;;) {
		if (memcmp(last, file, sizeof(last))) {
			memcpy(last, file, sizeof(last));
			images++;
			copy(PATH, IMAGE);
			j = must_open(IMAGE, 0);
			outcome(j);
			if (strcmp(story.text, before)) {
				assert_string_equal(story.text + strlen(before),
						    ", 3:v3 c7 r102 '3rd'");
				committed++;
			} else {
				assert_int_equal(committed, 0);
			}
			journal_close(j);
		}
		assert_int_equal(ptrace(PTRACE_SINGLESTEP, child, NULL, NULL), 0);
		assert_int_equal(waitpid(child, &status, 0), child);
		if (!WIFSTOPPED(status))
			break;
		steps++;
	}
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	assert_int_equal(committed, 1);
	assert_true(images > 5);
	print_message("%u instructions, %u images\n", steps, images);
	munmap((void *)file, sizeof(last));
	close(fd);
}

/* The limit is twice what there was when it was opened. */
static void fill_to_limit(struct journal *j)
{
	uint64_t limit = 2 * journal_info(j)->bytes;

	while (journal_info(j)->bytes + JOURNAL_RECORD_SPAN(JOURNAL_VIEW_LEN(3)) <= limit)
		must_view(j, 11);
	assert_int_equal(journal_info(j)->compactions, 0);
}

static void append_view(struct journal *j)
{
	must_view(j, 12);
}

/*
 * The file is at its limit: the append compacts first, and the process is killed before and
 * after each system call of that. What is found: all that was there, with or without the append.
 */
static void compaction_killed_at_every_call(void **unused)
{
	struct journal *j = format_and_open(0);
	char *before, *after = NULL, *got;
	unsigned int calls = 0, with = 0;
	struct stat old, now;
	bool done = false;

	(void)unused;
	for (int i = 0; i < 40; i++)
		must_append(j, "to be forgotten");
	must_snapshot(j, 38, "state", 5000);
	assert_int_equal(journal_append_truncate(j, 39), 0);
	must_append(j, "forty again");
	must_append(j, "forty-one");
	must_view(j, 11);
	assert_int_equal(journal_append_epoch(j, 6), 0);
	before = strdup(outcome(j));
	journal_close(j);
	copy(PATH, IMAGE);
	while (!done) {
		int status;
		pid_t child;

		copy(IMAGE, PATH); /* path.new is what the child before this one left */
		stat(PATH, &old);
		child = stopped_child(fill_to_limit, append_view);
		for (unsigned int i = 0; i <= calls; i++) {
			ptrace(PTRACE_SYSCALL, child, NULL, NULL);
			waitpid(child, &status, 0);
			if (!WIFSTOPPED(status)) {
				done = true;
				break;
			}
		}
		if (!done) {
			kill(child, SIGKILL);
			waitpid(child, &status, 0);
			assert_true(WIFSIGNALED(status));
		}
		calls++;
		stat(PATH, &now);
		j = must_open(PATH, 0);
		got = strdup(outcome(j));
		if (!after && strcmp(got, before))
			after = strdup(got);
		with += strcmp(got, before) != 0;
		assert_true(!strcmp(got, before) || !strcmp(got, after));
		assert_int_equal(journal_info(j)->epoch, 6);
		must_append(j, "and on");
		journal_close(j);
		free(got);
	}
	assert_non_null(after);
	assert_non_null(strstr(after, "view 12/11"));
	assert_true(now.st_ino != old.st_ino); /* compacted indeed */
	assert_true(calls > 10);
	assert_true(with >= 1);
	print_message("%u places\n", calls);
	free(before);
	free(after);
}

/* ---- bounded, full, shared ---- */

static void runs_for_ever(void **unused)
{
	const uint64_t limit = 1 << 20;
	struct journal *j = format_and_open(limit);
	char *before;
	struct stat stat_;

	(void)unused;
	for (int i = 1; i <= 50000; i++) {
		must_append(j, "one of very many operations, all of them the same");
		if (i % 1000 == 0) {
			must_view(j, i);
			must_snapshot(j, i - 10, "state", 20000);
		}
		assert_true(journal_info(j)->bytes <= limit + 40000);
	}
	assert_true(journal_info(j)->compactions > 4);
	assert_int_equal(journal_info(j)->compactions_failed, 0);
	assert_int_equal(stat(PATH, &stat_), 0);
	assert_true(stat_.st_size < 2 << 20);
	assert_int_equal(access(NEW, F_OK), -1);

	/* View changes without end and without an operation. */
	for (int i = 0; i < 50000; i++)
		must_view(j, 50001 + i);
	assert_true(journal_info(j)->bytes <= limit);
	before = strdup(outcome(j));
	journal_close(j);
	j = must_open(PATH, limit);
	assert_int_equal(journal_info(j)->base, 49990);
	assert_int_equal(journal_info(j)->last, 50000);
	assert_string_equal(outcome(j), before);
	journal_close(j);
	free(before);
}

/* More operations above the snapshot than the limit has room for: it grows, and forgets none. */
static void much_that_lives(void **unused)
{
	struct journal *j = format_and_open(1 << 14);
	char *before;

	(void)unused;
	for (int i = 1; i <= 2047; i++) {
		must_append(j, i % 2 ? "odd" : "even");
		if (i % 500 == 0) {
			assert_int_equal(journal_append_truncate(j, i - 5), 0);
			for (int k = 0; k < 5; k++)
				must_append(j, "written again");
		}
	}
	assert_true(journal_info(j)->compactions > 2);
	assert_true(journal_info(j)->compactions < 10);
	before = strdup(outcome(j));
	journal_close(j);
	j = must_open(PATH, 1 << 14);
	assert_string_equal(outcome(j), before);
	assert_int_equal(story.last, 2047);
	/* A snapshot from a peer, far above all that is here. */
	must_snapshot(j, 1 << 20, "their state", 3 << 18);
	must_append(j, "next");
	journal_close(j);
	j = must_open(PATH, 1 << 14);
	assert_int_equal(journal_info(j)->base, 1 << 20);
	assert_int_equal(journal_info(j)->last, (1 << 20) + 1);
	journal_close(j);
	free(before);
}

#define FULL "/mnt/full/journal"

static void full_disk(void **unused)
{
	struct journal *j = NULL;
	uint64_t last, bytes;
	uint8_t *at;
	int ret = 0, fd;

	(void)unused;
	fd = open("/mnt/full/ballast", O_RDWR | O_CREAT, 0600);
	assert_int_equal(posix_fallocate(fd, 0, 3 << 18), 0);
	assert_int_equal(journal_format(FULL, &ids, &fresh, error, sizeof(error)), 0);
	j = must_open(FULL, 3 << 18);
	while (!ret)
		ret = append(j, "until the disk is full, and then some");
	assert_int_equal(ret, -ENOSPC);
	assert_non_null(strstr(journal_error(j), FULL));
	/* There was no room for a second file: the limit was passed, what there was is used. */
	assert_true(journal_info(j)->compactions_failed > 0);
	assert_true(journal_info(j)->bytes > 1 << 20);
	assert_int_equal(access(FULL ".new", F_OK), -1);
	assert_int_equal(append(j, "and again"), -ENOSPC);
	assert_int_equal(journal_reserve_snapshot(j, 1 << 20, &at), -ENOSPC);
	last = journal_info(j)->last;
	bytes = journal_info(j)->bytes;
	journal_close(j);

	j = must_open(FULL, 3 << 18); /* everything that was acknowledged is there */
	assert_int_equal(journal_info(j)->last, last);
	assert_int_equal(journal_info(j)->bytes, bytes);
	assert_int_equal(append(j, "still full, for one as long as this: "
				   "0123456789012345678901234567890123456789"),
			 -ENOSPC);
	assert_int_equal(ftruncate(fd, 0), 0);
	must_append(j, "room again");
	must_snapshot(j, last, "state", 1000);
	journal_close(j);
	j = must_open(FULL, 1 << 14);
	assert_int_equal(journal_info(j)->last, last + 1);
	journal_close(j);

	/* A disk without room for a journal. */
	assert_int_equal(unlink(FULL), 0);
	assert_int_equal(posix_fallocate(fd, 0, (2 << 20) - 65536), 0);
	assert_int_equal(journal_format(FULL, &ids, &fresh, error, sizeof(error)), -ENOSPC);
	assert_int_equal(access(FULL, F_OK), -1);
	assert_int_equal(access(FULL ".new", F_OK), -1);
	close(fd);
	unlink("/mnt/full/ballast");
}

static void two_openers(void **unused)
{
	struct journal *j = format_and_open(1 << 14);
	struct journal *second = NULL;
	int ready[2], stop[2], status;
	pid_t child;
	char c;

	(void)unused;
	refused(-EBUSY, PATH, &ids, "another process");
	assert_int_equal(pipe(ready), 0);
	assert_int_equal(pipe2(stop, O_NONBLOCK), 0);
	child = fork();
	if (!child) {
		/* Tries without a pause while the holder puts file after file at that name. */
		unsigned int tries = 0;
		int ret;

		do {
			ret = journal_open(&second, PATH, &ids, 0, error, sizeof(error));
			if (++tries == 100 && write(ready[1], "", 1) != 1)
				_exit(3);
		} while (ret == -EBUSY && read(stop[0], &c, 1) < 0);
		_exit(ret == -EBUSY ? 0 : 1);
	}
	assert_int_equal(read(ready[0], &c, 1), 1);
	while (journal_info(j)->compactions < 300)
		must_view(j, 5);
	assert_int_equal(write(stop[1], "", 1), 1);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	journal_close(j);
	j = must_open(PATH, 0);
	journal_close(j);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(killed_at_every_instruction),
		cmocka_unit_test(compaction_killed_at_every_call),
		cmocka_unit_test(runs_for_ever),
		cmocka_unit_test(much_that_lives),
		cmocka_unit_test(full_disk),
		cmocka_unit_test(two_openers),
	};

	return cmocka_run_group_tests(tests, mount_private, NULL);
}
