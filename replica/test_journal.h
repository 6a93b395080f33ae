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

static inline void tell(const char *text)
{
	size_t len = strlen(text);

	assert_true(story.used + len + 3 < sizeof(story.text));
	if (story.used) {
		memcpy(story.text + story.used, ", ", 2);
		story.used += 2;
	}
	memcpy(story.text + story.used, text, len + 1);
	story.used += len;
}

static inline bool on_entry(void *context, const struct entry *e)
{
	char *op = story.op[e->opnum % OPS];

	assert_ptr_equal(context, &story);
	snprintf(op, sizeof(story.op[0]), "%lu:v%lu c%lu r%lu '%.*s'", e->opnum, e->view,
		 e->clientid, e->reqid, e->op.len < 20 ? (int)e->op.len : 20, e->op.data);
	tell(op);
	story.last = e->opnum;
	return e->opnum != refused_op;
}

static inline bool on_truncate(void *context, uint64_t op)
{
	char text[64];

	assert_ptr_equal(context, &story);
	snprintf(text, sizeof(text), "cut %lu", op);
	tell(text);
	story.last = op < story.last ? op : story.last;
	return true;
}

static inline bool on_view(void *context, const struct vr_view_state *s)
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

static inline bool on_snapshot(void *context, uint64_t op, const uint8_t *data, size_t len)
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

static inline const char *records(struct journal *j)
{
	memset(&story, 0, sizeof(story));
	assert_int_equal(journal_replay(j, &reader), 0);
	assert_int_equal(journal_info(j)->last, story.last);
	assert_int_equal(journal_info(j)->base, story.base);
	return story.text;
}

/* Snapshot, view and entries that are left, in a new string. */
static inline char *outcome(struct journal *j)
{
	char *text = calloc(1, 1 << 18);

	records(j);
	sprintf(text, "%s %s", story.snapshot, story.view);
	for (uint64_t op = story.base + 1; op <= story.last; op++)
		sprintf(text + strlen(text), " %s", story.op[op % OPS]);
	return text;
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
