// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * libFuzzer on a journal that somebody else has written. Input: a byte of flags, then the
 * file. No input gets past a checksum by itself, so a flag has them put right, to
 * reach what lies behind. Beyond what the sanitizers see: a journal that is accepted takes
 * an append, opens again, and says the same and the new record.
 *
 * The file is on a tmpfs of a private mount namespace, which goes with the process.
 */
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "replica/crc32c.h"
#include "replica/journal.h"
#include "replica/journal_record.h"

#define PATH "/mnt/journal"
#define FILE_MAX (64 << 10)
#define REPAIR_HEADER 1
#define REPAIR_RECORDS 2
#define SMALL_LIMIT 4 /* the append compacts */
#define AS_FILE 8     /* not only in memory, which is a hundred times faster */

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static const struct elec_ids ids = {.cluster = 1, .instance = 1};

#define must(condition)                                                                            \
	do {                                                                                       \
		if (!(condition))                                                                  \
			abort();                                                                   \
	} while (0)

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	if (unshare(CLONE_NEWNS) || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("none", "/mnt", "tmpfs", 0, "size=64m")) {
		perror("fuzz_journal: cannot mount a tmpfs in a private namespace (root?)");
		exit(1);
	}
	return 0;
}

static void repair_header(uint8_t *file, size_t len)
{
	struct journal_header header = {.magic = JOURNAL_MAGIC,
					.version = JOURNAL_VERSION,
					.crc = crc32c(0, &ids, sizeof(ids)),
					.ids = ids};

	if (len >= sizeof(header))
		memcpy(file, &header, offsetof(struct journal_header, clean));
}

/* Where a commit word stands that is not 0, the right one for as many of its bytes as there are. */
static void repair_records(uint8_t *file, size_t len)
{
	size_t at = sizeof(struct journal_header);

	while (at + JOURNAL_COMMIT_LEN < len) {
		uint64_t word;
		uint32_t body;

		memcpy(&word, file + at, sizeof(word));
		if (!word)
			return;
		body = (uint32_t)word;
		if (body > len - at - JOURNAL_COMMIT_LEN)
			return;
		if (body) {
			word = record_commit_word(file + at + JOURNAL_COMMIT_LEN, body);
			memcpy(file + at, &word, sizeof(word));
		}
		at += JOURNAL_RECORD_SPAN(body);
	}
}

/* ---- in memory: the input ends where its memory ends, so that reading on is seen ---- */

static void touch(const struct bytes *b)
{
	static volatile uint32_t crc;

	crc = crc32c(crc, b->data, b->len);
}

static void read_records(const uint8_t *file, size_t len)
{
	size_t at = sizeof(struct journal_header), before = at;
	struct record_state state = {0};
	struct record record;
	const char *fault = NULL;
	int got;

	while ((got = record_read(file, len, &at, &record, &fault)) > 0) {
		must(at > before);
		must(at % 8 == 0);
		before = at;
		if (record.kind == RECORD_ENTRY)
			touch(&record.entry.op);
		if (record.kind == RECORD_SNAPSHOT)
			touch(&record.snapshot);
		if (record.kind == RECORD_VIEW)
			must(record.view.n <= ELEC_REPLICAS_MAX);
		fault = record_apply(&state, &record);
		if (fault)
			break;
		must(state.last >= state.base);
	}
	must(got == 0 || fault);
}

/* ---- as a file ---- */

/* What the records come to. */
struct sum {
	uint64_t base, last;
	uint64_t crc; /* of the last snapshot */
};

static bool on_entry(void *context, const struct entry *e)
{
	struct sum *sum = context;

	must(e->opnum == sum->last + 1);
	sum->last = e->opnum;
	return true;
}

static bool on_view(void *context, const struct vr_view_state *state)
{
	(void)context;
	must(state->n <= ELEC_REPLICAS_MAX);
	must(state->status <= VR_RECOVERING);
	return true;
}

static bool on_snapshot(void *context, uint64_t op, const uint8_t *data, size_t len)
{
	struct sum *sum = context;

	must(op >= sum->base);
	sum->base = op;
	if (sum->last < op)
		sum->last = op;
	sum->crc = crc32c(0, data, len);
	return true;
}

static struct sum replay(struct journal *j)
{
	struct sum sum = {0};
	const struct journal_reader reader = {&sum, on_snapshot, on_view, on_entry};

	must(journal_replay(j, &reader) == 0);
	must(sum.base == journal_info(j)->base);
	must(sum.last == journal_info(j)->last);
	return sum;
}

static void open_file(const uint8_t *file, size_t len, uint64_t limit)
{
	int fd = open(PATH, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	struct journal *j = NULL;
	struct sum sum, again;
	struct entry e = {.op = {(const uint8_t *)"one more", 8}};
	char error[4096];

	must(fd >= 0);
	must(write(fd, file, len) == (ssize_t)len);
	close(fd);
	error[0] = '\0';
	if (journal_open(&j, PATH, &ids, limit, error, sizeof(error))) {
		must(strstr(error, PATH));
		must(!strchr(error, '\n'));
		return;
	}
	sum = replay(j);
	e.opnum = sum.last + 1;
	if (e.opnum <= JOURNAL_OP_MAX) {
		must(journal_append_entry(j, &e) == 0);
		sum.last++;
	}
	journal_close(j);
	must(journal_open(&j, PATH, &ids, limit, error, sizeof(error)) == 0);
	again = replay(j);
	must(memcmp(&again, &sum, sizeof(sum)) == 0);
	journal_close(j);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	uint8_t *file;
	uint8_t flags;

	if (len < 1 || len > FILE_MAX)
		return 0;
	flags = *data++;
	len--;
	file = malloc(len ? len : 1);
	must(file);
	memcpy(file, data, len);
	if (flags & REPAIR_HEADER)
		repair_header(file, len);
	if (flags & REPAIR_RECORDS)
		repair_records(file, len);
	read_records(file, len);
	if (flags & AS_FILE)
		open_file(file, len, flags & SMALL_LIMIT ? 1 : 0);
	free(file);
	return 0;
}
