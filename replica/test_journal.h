/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What the tests of the journal share: a tmpfs of a private mount namespace, which goes
 * with the process, and what a journal says, as text.
 *
 *   /mnt          64 MiB
 *   /mnt/full      2 MiB, for the full disk
 */
#ifndef PAXRACK_TEST_JOURNAL_H
#define PAXRACK_TEST_JOURNAL_H

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

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

static inline void copy(const char *from, const char *to)
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

static inline void poke(const char *path, off_t at, const void *data, size_t len)
{
	int fd = open(path, O_WRONLY | O_CREAT, 0600);

	assert_int_equal(pwrite(fd, data, len, at), len);
	close(fd);
}

static inline void peek(const char *path, off_t at, void *data, size_t len)
{
	int fd = open(path, O_RDONLY);

	assert_int_equal(pread(fd, data, len, at), len);
	close(fd);
}

/* ---- what a journal says ---- */

struct story {
	char text[1 << 18];
	size_t used;
	uint64_t base, last;
};

static struct story story;
static uint64_t refused_op; /* an entry that the reader will not take; 0: none */

__attribute__((format(printf, 1, 2))) static inline void tell(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	story.used +=
		vsnprintf(story.text + story.used, sizeof(story.text) - story.used, format, args);
	va_end(args);
	assert_true(story.used < sizeof(story.text));
}

static inline bool on_snapshot(void *context, uint64_t op, const uint8_t *data, size_t len)
{
	assert_ptr_equal(context, &story);
	tell("snapshot %lu '%.20s' %zu, ", op, (const char *)data, len);
	story.base = story.last = op;
	return true;
}

static inline bool on_view(void *context, const struct vr_view_state *s)
{
	assert_ptr_equal(context, &story);
	tell("view %lu/%lu %u [", s->view, s->last_normal, s->status);
	for (uint32_t i = 0; i < s->n; i++)
		tell(" %lu", s->crash[i]);
	tell(" ]");
	return true;
}

static inline bool on_entry(void *context, const struct entry *e)
{
	assert_ptr_equal(context, &story);
	assert_int_equal(e->opnum, story.last + 1);
	tell(", %lu:v%lu c%lu r%lu '%.*s'", e->opnum, e->view, e->clientid, e->reqid,
	     e->op.len < 20 ? (int)e->op.len : 20, e->op.data);
	story.last = e->opnum;
	return e->opnum != refused_op;
}

static const struct journal_reader reader = {&story, on_snapshot, on_view, on_entry};

/* Valid until the next call. */
static inline const char *outcome(struct journal *j)
{
	memset(&story, 0, sizeof(story));
	assert_int_equal(journal_replay(j, &reader), 0);
	assert_int_equal(journal_info(j)->last, story.last);
	assert_int_equal(journal_info(j)->base, story.base);
	return story.text;
}

/* ---- shorthands ---- */

static inline struct journal *must_open(const char *path, uint64_t limit)
{
	struct journal *j = NULL;

	error[0] = '\0';
	if (journal_open(&j, path, &ids, limit, error, sizeof(error)))
		print_error("%s\n", error);
	assert_non_null(j);
	return j;
}

static inline struct journal *format_and_open(uint64_t limit)
{
	unlink(PATH);
	assert_int_equal(journal_format(PATH, &ids, &fresh, error, sizeof(error)), 0);
	return must_open(PATH, limit);
}

static inline int append(struct journal *j, const char *text)
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

static inline void must_append(struct journal *j, const char *text)
{
	if (append(j, text)) {
		print_error("%s\n", journal_error(j));
		fail();
	}
}

static inline void must_snapshot(struct journal *j, uint64_t op, const char *text, size_t len)
{
	uint8_t *at = NULL;

	assert_int_equal(journal_reserve_snapshot(j, len, &at), 0);
	memset(at, 0, len);
	memcpy(at, text, strlen(text));
	assert_int_equal(journal_append_snapshot(j, op), 0);
}

static inline void must_view(struct journal *j, uint64_t view)
{
	struct vr_view_state s = {.view = view,
				  .last_normal = view - 1,
				  .status = VR_VIEW_CHANGE,
				  .n = 3,
				  .crash = {1, 2, 3}};

	assert_int_equal(journal_append_view(j, &s), 0);
}

/* It is refused with this, and the sentence names the file and has these words. */
static inline void refused(int ret, const char *path, const struct elec_ids *as, const char *words)
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

static inline int mount_private(void **unused)
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

#endif
