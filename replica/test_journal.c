// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The journal, killed at every step. All files are on a tmpfs of a private mount
 * namespace, which goes with the process:
 *
 *   /mnt          64 MiB
 *   /mnt/full      2 MiB, for the full disk
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "replica/crc32c.h"
#include "replica/journal.h"
#include "replica/journal_record.h"

#define PATH "/mnt/journal"
#define NEW PATH ".new"
#define IMAGE "/mnt/image"

static const struct elec_ids ids = {
	.cluster = 11, .instance = 22, .replica = 1, .boot = "boot one"};
static const struct vr_view_state fresh = {.n = 3};
static char error[8192];

/* ---- files ---- */

static void copy(const char *from, const char *to)
{
	static char data[1 << 20];
	int in = open(from, O_RDONLY), out = open(to, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	ssize_t n;

	assert_true(in >= 0);
	assert_true(out >= 0);
	while ((n = read(in, data, sizeof(data))) > 0)
		assert_int_equal(write(out, data, n), n);
	close(in);
	close(out);
}

static void poke(const char *path, off_t at, const void *data, size_t len)
{
	int fd = open(path, O_WRONLY | O_CREAT, 0600);

	assert_int_equal(pwrite(fd, data, len, at), len);
	close(fd);
}

static void peek(const char *path, off_t at, void *data, size_t len)
{
	int fd = open(path, O_RDONLY);

	assert_int_equal(pread(fd, data, len, at), len);
	close(fd);
}

/* ---- what a journal says: all records in order, and what they come to ---- */

#define OPS 2048

struct story {
	char text[1 << 21]; /* of each record */
	size_t used;
	char op[OPS][64];
	uint64_t base, last;
	char snapshot[64], view[128];
};

static struct story story;
static uint64_t refused_op; /* an entry that the reader will not take; 0: none */

static void tell(const char *text)
{
	assert_true(story.used + strlen(text) + 3 < sizeof(story.text));
	story.used += sprintf(story.text + story.used, "%s%s", story.used ? ", " : "", text);
}

static bool on_entry(void *context, const struct entry *e)
{
	char *op = story.op[e->opnum % OPS];

	assert_ptr_equal(context, &story);
	snprintf(op, sizeof(story.op[0]), "%lu:v%lu c%lu r%lu '%.*s'", e->opnum, e->view,
		 e->clientid, e->reqid, e->op.len < 20 ? (int)e->op.len : 20, e->op.data);
	tell(op);
	story.last = e->opnum;
	return e->opnum != refused_op;
}

static bool on_truncate(void *context, uint64_t op)
{
	char text[64];

	assert_ptr_equal(context, &story);
	snprintf(text, sizeof(text), "cut %lu", op);
	tell(text);
	story.last = op < story.last ? op : story.last;
	return true;
}

static bool on_view(void *context, const struct vr_view_state *s)
{
	size_t used;

	assert_ptr_equal(context, &story);
	snprintf(story.view, sizeof(story.view), "view %lu/%lu %u", s->view, s->last_normal,
		 s->status);
	for (uint32_t i = 0; i < s->n; i++) {
		used = strlen(story.view);
		snprintf(story.view + used, sizeof(story.view) - used, " %lu", s->crash[i]);
	}
	tell(story.view);
	return true;
}

static bool on_snapshot(void *context, uint64_t op, const uint8_t *data, size_t len)
{
	assert_ptr_equal(context, &story);
	snprintf(story.snapshot, sizeof(story.snapshot), "snapshot %lu '%.20s' %zu", op,
		 (const char *)data, len);
	tell(story.snapshot);
	story.base = op;
	story.last = op > story.last ? op : story.last;
	return true;
}

static const struct journal_reader reader = {&story, on_entry, on_truncate, on_view, on_snapshot};

static const char *records(struct journal *j)
{
	memset(&story, 0, sizeof(story));
	assert_int_equal(journal_replay(j, &reader), 0);
	assert_int_equal(journal_info(j)->last, story.last);
	assert_int_equal(journal_info(j)->base, story.base);
	return story.text;
}

/* Snapshot, view and entries that are left, in a new string. */
static char *outcome(struct journal *j)
{
	char *text = calloc(1, 1 << 18);

	records(j);
	sprintf(text, "%s %s", story.snapshot, story.view);
	for (uint64_t op = story.base + 1; op <= story.last; op++)
		sprintf(text + strlen(text), " %s", story.op[op % OPS]);
	return text;
}

/* ---- shorthands ---- */

static struct journal *must_open(const char *path, uint64_t limit)
{
	struct journal *j = NULL;

	error[0] = '\0';
	if (journal_open(&j, path, &ids, limit, error, sizeof(error)))
		print_error("%s\n", error);
	assert_non_null(j);
	return j;
}

static struct journal *format_and_open(uint64_t limit)
{
	unlink(PATH);
	assert_int_equal(journal_format(PATH, &ids, &fresh, error, sizeof(error)), 0);
	return must_open(PATH, limit);
}

static int append(struct journal *j, const char *text)
{
	struct entry e = {
		.view = 3,
		.opnum = journal_info(j)->last + 1,
		.clientid = 7,
		.reqid = 100 + journal_info(j)->last,
		.op = {(const uint8_t *)text, strlen(text)},
	};

	return journal_append_entry(j, &e);
}

static void must_append(struct journal *j, const char *text)
{
	if (append(j, text)) {
		print_error("%s\n", journal_error(j));
		fail();
	}
}

static void must_snapshot(struct journal *j, uint64_t op, const char *text, size_t len)
{
	uint8_t *at = NULL;

	assert_int_equal(journal_reserve_snapshot(j, len, &at), 0);
	memset(at, 0, len);
	memcpy(at, text, strlen(text));
	assert_int_equal(journal_append_snapshot(j, op), 0);
}

static void must_view(struct journal *j, uint64_t view)
{
	struct vr_view_state s = {.view = view,
				  .last_normal = view - 1,
				  .status = VR_VIEW_CHANGE,
				  .n = 3,
				  .crash = {1, 2, 3}};

	assert_int_equal(journal_append_view(j, &s), 0);
}

/* It is refused with this, and the sentence names the file and has these words. */
static void refused(int ret, const char *path, const struct elec_ids *as, const char *words)
{
	struct journal *j = NULL;

	error[0] = '\0';
	assert_int_equal(journal_open(&j, path, as, 0, error, sizeof(error)), ret);
	assert_null(j);
	assert_non_null(strstr(error, path));
	if (!strstr(error, words))
		print_error("'%s' lacks '%s'\n", error, words);
	assert_non_null(strstr(error, words));
}

/* ---- checksum and ids ---- */

static void checksum(void **unused)
{
	uint8_t data[100];

	(void)unused;
	assert_int_equal(crc32c(0, "123456789", 9), 0xe3069283); /* the catalogue's check value */
	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = i * 37;
	for (size_t from = 0; from < 9; from++)
		for (size_t len = 0; from + len <= sizeof(data); len++) {
			uint32_t whole = crc32c(0, data + from, len);

			assert_int_equal(whole, crc32c_table(0, data + from, len));
			assert_int_equal(whole, crc32c(crc32c(0, data + from, len / 3),
						       data + from + len / 3, len - len / 3));
		}
}

static void ids_tell_apart(void **unused)
{
	struct cluster c = {.f = 1, .n = 3};
	struct elec_ids a, b;
	char text[64] = "";
	FILE *in = fopen("/proc/sys/kernel/random/boot_id", "r");

	(void)unused;
	for (int i = 0; i < 3; i++)
		c.replica[i].sin_addr.s_addr = htonl(0x0a000001 + i);
	assert_int_equal(ids_make(&a, &c, 1, error, sizeof(error)), 0);
	assert_int_equal(ids_make(&b, &c, 1, error, sizeof(error)), 0);
	assert_int_equal(a.cluster, b.cluster);
	assert_int_equal(a.replica, 1);
	assert_true(a.instance != 0);
	assert_true(a.instance != b.instance);
	assert_false(ids_equal(&a, &b));
	b = a;
	assert_true(ids_equal(&a, &b));
	c.replica[2].sin_port = htons(1);
	assert_int_equal(ids_make(&b, &c, 1, error, sizeof(error)), 0);
	assert_true(a.cluster != b.cluster);
	assert_non_null(fgets(text, sizeof(text), in));
	fclose(in);
	text[2] = '\0';
	assert_int_equal(a.boot[0], strtoul(text, NULL, 16));
}

/* ---- what goes in comes out ---- */

static void round_trip(void **unused)
{
	struct journal *j = format_and_open(0);
	const struct journal_info *info;
	struct vr_view_state many = {.view = 1ULL << 40, .last_normal = 9, .n = ELEC_REPLICAS_MAX};

	(void)unused;
	assert_true(ids_equal(&journal_info(j)->ids, &ids));
	must_append(j, "one");
	must_append(j, "");
	must_append(j, "three");
	assert_int_equal(journal_append_epoch(j, 5), 0);
	assert_int_equal(journal_append_truncate(j, 1), 0);
	must_view(j, 4);
	must_append(j, "two again");
	must_snapshot(j, 1, "state", 100);
	must_append(j, "three again");
	journal_close(j);

	j = must_open(PATH, 0);
	info = journal_info(j);
	assert_string_equal(records(j), "view 0/0 0 0 0 0, 1:v3 c7 r100 'one', 2:v3 c7 r101 '', "
					"3:v3 c7 r102 'three', cut 1, view 4/3 1 1 2 3, "
					"2:v3 c7 r101 'two again', snapshot 1 'state' 100, "
					"3:v3 c7 r102 'three again'");
	assert_int_equal(info->epoch, 5);
	assert_int_equal(info->view.view, 4);
	assert_int_equal(info->view.status, VR_VIEW_CHANGE);
	assert_int_equal(info->view.crash[2], 3);
	assert_true(info->has_view);
	assert_false(info->clean);
	assert_false(info->stale);

	assert_int_equal(journal_append_view(j, &many), 0);
	journal_close(j);
	j = must_open(PATH, 0);
	assert_int_equal(journal_info(j)->view.n, ELEC_REPLICAS_MAX);
	assert_true(journal_info(j)->view.view == 1ULL << 40);
	journal_close(j);
}

static void reader_refuses(void **unused)
{
	struct journal *j = format_and_open(0);

	(void)unused;
	must_append(j, "one");
	must_append(j, "two");
	must_append(j, "three");
	memset(&story, 0, sizeof(story));
	refused_op = 2;
	assert_int_equal(journal_replay(j, &reader), -EBADMSG);
	refused_op = 0;
	assert_int_equal(story.last, 2);
	assert_non_null(strstr(journal_error(j), "does not fit"));
	journal_close(j);
}

static void format_never_overwrites(void **unused)
{
	struct elec_ids other = ids;
	struct journal *j;

	(void)unused;
	unlink(PATH);
	refused(-ENOENT, PATH, &ids, "No such file");
	poke(NEW, 0, "left by a crash", 15);
	j = format_and_open(0);
	must_append(j, "kept");
	assert_int_equal(journal_format(PATH, &ids, &fresh, error, sizeof(error)), -EEXIST);
	assert_non_null(strstr(error, PATH));
	assert_int_equal(access(NEW, F_OK), -1);
	other.instance = 23;
	assert_int_equal(journal_info(j)->last, 1);
	assert_int_equal(journal_reset(j, &other,
				       &(struct vr_view_state){.status = VR_RECOVERING,
							       .n = 3,
							       .crash = {0, 9, 0}}),
			 0);
	assert_string_equal(records(j), "view 0/0 2 0 9 0");
	must_append(j, "first of the new life");
	journal_close(j);
	j = must_open(PATH, 0);
	assert_int_equal(journal_info(j)->ids.instance, 23);
	assert_string_equal(records(j), "view 0/0 2 0 9 0, 1:v3 c7 r100 'first of the new lif'");
	journal_close(j);
}

static void clean_mark(void **unused)
{
	struct elec_ids later = ids;
	struct journal *j = format_and_open(0);

	(void)unused;
	memcpy(later.boot, "boot two", 8);
	must_append(j, "one");
	journal_close(j);
	j = must_open(PATH, 0);
	assert_false(journal_info(j)->clean);
	assert_int_equal(journal_mark_clean(j), 0);
	assert_true(journal_info(j)->clean);
	journal_close(j);
	j = must_open(PATH, 0); /* opened and closed with nothing done: clean still */
	assert_true(journal_info(j)->clean);
	journal_close(j);
	copy(PATH, IMAGE);

	j = must_open(PATH, 0);
	assert_int_equal(journal_append_epoch(j, 1), 0);
	assert_false(journal_info(j)->clean);
	journal_close(j);
	j = must_open(PATH, 0);
	assert_false(journal_info(j)->clean);
	assert_false(journal_info(j)->stale);
	journal_close(j);

	/* The machine restarts: not clean is not to be trusted, clean is taken over. */
	assert_int_equal(journal_open(&j, PATH, &later, 0, error, sizeof(error)), 0);
	assert_true(journal_info(j)->stale);
	assert_memory_equal(journal_info(j)->ids.boot, ids.boot, sizeof(ids.boot));
	journal_close(j);
	assert_int_equal(journal_open(&j, IMAGE, &later, 0, error, sizeof(error)), 0);
	assert_false(journal_info(j)->stale);
	journal_close(j);
	assert_int_equal(journal_open(&j, IMAGE, &later, 0, error, sizeof(error)), 0);
	assert_true(journal_info(j)->clean);
	assert_memory_equal(journal_info(j)->ids.boot, later.boot, sizeof(later.boot));
	assert_string_equal(records(j), "view 0/0 0 0 0 0, 1:v3 c7 r100 'one'");
	must_append(j, "two");
	journal_close(j);
}

/* ---- torn and damaged ---- */

/* A journal with ops one..three; where the last record begins and the journal ends. */
static void three(uint64_t *begin, uint64_t *end)
{
	struct journal *j = format_and_open(0);

	must_append(j, "one");
	must_append(j, "two");
	*begin = journal_info(j)->bytes;
	must_append(j, "three, of 23 characters");
	*end = journal_info(j)->bytes;
	journal_close(j);
}

/* A process dies having copied any number of the last record's bytes: as if it had not begun. */
static void torn_at_every_byte(void **unused)
{
	uint64_t begin, end;
	const uint64_t none = 0;

	(void)unused;
	three(&begin, &end);
	copy(PATH, IMAGE);
	for (uint64_t n = JOURNAL_COMMIT_LEN; n <= end - begin; n++) {
		struct journal *j;

		copy(IMAGE, PATH);
		poke(PATH, begin, &none, sizeof(none));
		for (uint64_t i = n; i < end - begin; i++)
			poke(PATH, begin + i, "\xa5", 1);
		j = must_open(PATH, 0);
		assert_string_equal(records(j), "view 0/0 0 0 0 0, 1:v3 c7 r100 'one', "
						"2:v3 c7 r101 'two'");
		must_append(j, "3");
		journal_close(j);
		j = must_open(PATH, 0);
		assert_string_equal(records(j), "view 0/0 0 0 0 0, 1:v3 c7 r100 'one', "
						"2:v3 c7 r101 'two', 3:v3 c7 r102 '3'");
		journal_close(j);
	}
}

/* No crash leaves a committed record wrong: that is damage, and what was acked may be gone. */
static void damaged_at_every_byte(void **unused)
{
	uint64_t begin, end;
	uint32_t len;

	(void)unused;
	three(&begin, &end);
	copy(PATH, IMAGE);
	peek(PATH, begin, &len, sizeof(len));
	for (uint64_t at = 0; at < begin + JOURNAL_COMMIT_LEN + len; at++) {
		uint8_t byte;

		if (at == offsetof(struct journal_header, clean)) /* a wrong mark is no mark */
			at = begin;
		copy(IMAGE, PATH);
		peek(PATH, at, &byte, 1);
		byte ^= 0x10;
		poke(PATH, at, &byte, 1);
		if (at >= 8 && at < 12)
			refused(-EPROTONOSUPPORT, PATH, &ids, "version");
		else
			refused(-EBADMSG, PATH, &ids, "");
	}
}

static void truncated_anywhere(void **unused)
{
	uint64_t begin, end;

	(void)unused;
	three(&begin, &end);
	copy(PATH, IMAGE);
	for (uint64_t size = 0; size < end + 2 * JOURNAL_COMMIT_LEN; size++) {
		copy(IMAGE, PATH);
		assert_int_equal(truncate(PATH, size), 0);
		if (size < end + JOURNAL_COMMIT_LEN) {
			refused(-EBADMSG, PATH, &ids, "");
		} else {
			struct journal *j = must_open(PATH, 0);

			assert_int_equal(journal_info(j)->last, 3);
			must_append(j, "four"); /* the file grows from an odd size */
			journal_close(j);
			j = must_open(PATH, 0);
			assert_int_equal(journal_info(j)->last, 4);
			journal_close(j);
		}
	}
}

static void foreign(void **unused)
{
	struct journal_header header;
	struct elec_ids other = ids;
	uint64_t begin, end;
	char noise[4096];

	(void)unused;
	three(&begin, &end);
	other.cluster++;
	refused(-EXDEV, PATH, &other, "another cluster");
	other = ids;
	other.replica = 2;
	refused(-EXDEV, PATH, &other, "replica 1, not of replica 2");
	peek(PATH, 0, &header, sizeof(header));
	header.version = JOURNAL_VERSION + 1;
	poke(PATH, 0, &header, sizeof(header));
	refused(-EPROTONOSUPPORT, PATH, &ids, "version 2");

	unlink(PATH);
	memset(noise, 'x', sizeof(noise));
	poke(PATH, 0, noise, sizeof(noise));
	refused(-EBADMSG, PATH, &ids, "is not a journal");
	assert_int_equal(truncate(PATH, 0), 0);
	refused(-EBADMSG, PATH, &ids, "too short");
	assert_int_equal(truncate(PATH, 1ULL << 40), 0); /* sparse: must not be allocated */
	refused(-EBADMSG, PATH, &ids, "is not a journal");
	unlink(PATH);
	assert_int_equal(mkdir(PATH, 0700), 0);
	refused(-EISDIR, PATH, &ids, "directory");
	rmdir(PATH);
	assert_int_equal(mkfifo(PATH, 0600), 0);
	refused(-EBADMSG, PATH, &ids, "not a regular file");
	unlink(PATH);
}

/* Whole records that cannot follow each other. */
static void out_of_order(void **unused)
{
	struct entry e = {.opnum = 5};
	struct record_head cut = {.kind = RECORD_TRUNCATE, .op = 1};
	uint64_t begin, end, word;
	struct record_entry entry;
	struct journal *j;

	(void)unused;
	three(&begin, &end);
	entry = (struct record_entry){.head = {.kind = RECORD_ENTRY, .op = e.opnum}};
	word = record_commit_word(&entry, sizeof(entry));
	poke(PATH, end, &word, sizeof(word));
	poke(PATH, end + sizeof(word), &entry, sizeof(entry));
	refused(-EBADMSG, PATH, &ids, "out of order");

	j = format_and_open(0);
	must_snapshot(j, 9, "x", 1);
	end = journal_info(j)->bytes;
	journal_close(j);
	word = record_commit_word(&cut, sizeof(cut));
	poke(PATH, end, &word, sizeof(word));
	poke(PATH, end + sizeof(word), &cut, sizeof(cut));
	refused(-EBADMSG, PATH, &ids, "cuts into its snapshot");
	cut.kind = 77;
	word = record_commit_word(&cut, sizeof(cut));
	poke(PATH, end, &word, sizeof(word));
	poke(PATH, end + sizeof(word), &cut, sizeof(cut));
	refused(-EBADMSG, PATH, &ids, "unknown record");
}

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
	const char *before = "view 0/0 0 0 0 0, 1:v3 c7 r100 'one', 2:v3 c7 r101 'two'";
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
			records(j);
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
	before = outcome(j);
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
		got = outcome(j);
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
	char *before, *after;
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
	before = outcome(j);
	journal_close(j);
	j = must_open(PATH, limit);
	assert_int_equal(journal_info(j)->base, 49990);
	assert_int_equal(journal_info(j)->last, 50000);
	after = outcome(j);
	assert_string_equal(before, after);
	journal_close(j);
	free(before);
	free(after);
}

/* More operations above the snapshot than the limit has room for: it grows, and forgets none. */
static void much_that_lives(void **unused)
{
	struct journal *j = format_and_open(1 << 14);
	char *before, *after;

	(void)unused;
	for (int i = 1; i < OPS; i++) {
		must_append(j, i % 2 ? "odd" : "even");
		if (i % 500 == 0) {
			assert_int_equal(journal_append_truncate(j, i - 5), 0);
			for (int k = 0; k < 5; k++)
				must_append(j, "written again");
		}
	}
	assert_true(journal_info(j)->compactions > 2);
	assert_true(journal_info(j)->compactions < 10);
	before = outcome(j);
	journal_close(j);
	j = must_open(PATH, 1 << 14);
	after = outcome(j);
	assert_string_equal(before, after);
	assert_int_equal(story.last, OPS - 1);
	/* A snapshot from a peer, far above all that is here. */
	must_snapshot(j, 1 << 20, "their state", 3 << 18);
	must_append(j, "next");
	journal_close(j);
	j = must_open(PATH, 1 << 14);
	assert_int_equal(journal_info(j)->base, 1 << 20);
	assert_int_equal(journal_info(j)->last, (1 << 20) + 1);
	journal_close(j);
	free(before);
	free(after);
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

static int mount_private(void **unused)
{
	(void)unused;
	if (unshare(CLONE_NEWNS) || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("none", "/mnt", "tmpfs", 0, "size=64m") || mkdir("/mnt/full", 0700) ||
	    mount("none", "/mnt/full", "tmpfs", 0, "size=2m")) {
		print_error("cannot mount a tmpfs in a private namespace: %s\n", strerror(errno));
		return -1;
	}
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(checksum),
		cmocka_unit_test(ids_tell_apart),
		cmocka_unit_test(round_trip),
		cmocka_unit_test(reader_refuses),
		cmocka_unit_test(format_never_overwrites),
		cmocka_unit_test(clean_mark),
		cmocka_unit_test(torn_at_every_byte),
		cmocka_unit_test(damaged_at_every_byte),
		cmocka_unit_test(truncated_anywhere),
		cmocka_unit_test(foreign),
		cmocka_unit_test(out_of_order),
		cmocka_unit_test(killed_at_every_instruction),
		cmocka_unit_test(compaction_killed_at_every_call),
		cmocka_unit_test(runs_for_ever),
		cmocka_unit_test(much_that_lives),
		cmocka_unit_test(full_disk),
		cmocka_unit_test(two_openers),
	};

	return cmocka_run_group_tests(tests, mount_private, NULL);
}
