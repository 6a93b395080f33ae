/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The file under a journal: locked, allocated, mapped, replaced by a whole new one.
 *
 * The lock is on the file itself, and a file is renamed only by who holds its lock. So
 * who has locked what stands at a path, and then finds it still standing there, has it for good.
 *
 * Functions return 0 or -errno unless said otherwise.
 */
#ifndef PAXRACK_JOURNAL_FILE_H
#define PAXRACK_JOURNAL_FILE_H

#include "replica/journal_record.h"

#define JOURNAL_FILE_STEP (256u << 10) /* bytes by which it grows: 100 us of page faults */

struct journal_file {
	int fd;		 /* -1: not open */
	uint8_t *data;	 /* mapped; NULL: not */
	uint64_t window; /* bytes mapped, of which only the first `size` may be touched */
	uint64_t size;	 /* bytes allocated */
	uint64_t end;	 /* where the next record begins */
};

#define JOURNAL_FILE_NONE                                                                          \
	{                                                                                          \
		.fd = -1                                                                           \
	}

/*
 * What is done to the names of a journal and of the one that is to replace it. A process that
 * may open no file any more has it done by another: it sets journal_names.
 */
struct journal_names {
	int (*create)(const char *path, int *fd); /* as journal_file_lock(); new, or emptied */
	int (*replace)(const char *from, const char *to);
	int (*remove)(const char *path);
	int (*sync)(const char *path); /* the folder that it is in */
};
extern const struct journal_names journal_names_direct; /* by this process itself */
extern const struct journal_names *journal_names;

/* Open and lock. -EBUSY: another process has it. */
int journal_file_lock(struct journal_file *f, const char *path);
/* Allocate `size` bytes, map them and room to grow. A step at least when size is 0. */
int journal_file_map(struct journal_file *f, uint64_t size);
/* Room for `bytes` more, and the commit word behind them. -ENOSPC: unchanged. */
int journal_file_grow(struct journal_file *f, uint64_t bytes);
/* Data and name are on the disk when it returned 0. */
int journal_file_sync(const struct journal_file *f, const char *path);
void journal_file_close(struct journal_file *f);

/* Empty, locked, mapped, with a header: what a whole new journal begins as. */
int journal_file_create(struct journal_file *f, const char *path, const struct elec_ids *ids);
/* Closed in order at this end. */
void journal_file_set_clean(struct journal_file *f);

/* Write one record, for which there is room or it is made. */
int journal_file_put_head(struct journal_file *f, enum record_kind kind, uint32_t word,
			  uint64_t op);
int journal_file_put_entry(struct journal_file *f, const struct entry *e);
int journal_file_put_view(struct journal_file *f, const struct vr_view_state *state);
/* The record at `at` of another journal, as it stands. */
int journal_file_put_copy(struct journal_file *f, const struct journal_file *from, uint64_t at);
/* Snapshot after `op`; its bytes stand already where journal_file_begin(len) said. */
void journal_file_put_snapshot(struct journal_file *f, uint32_t len, uint64_t op);

static inline int journal_file_room(struct journal_file *f, uint64_t len)
{
	uint64_t bytes = JOURNAL_RECORD_SPAN(len);

	if (f->size - f->end >= bytes + JOURNAL_COMMIT_LEN)
		return 0;
	return journal_file_grow(f, bytes);
}

/* Where the bytes of the next record go, for which there is room. */
static inline void *journal_file_begin(struct journal_file *f, uint32_t len)
{
	uint64_t *next = (uint64_t *)(f->data + f->end + JOURNAL_RECORD_SPAN(len));

	/* Before anything else: what an earlier life left here must not be read as a record. */
	__atomic_store_n(next, 0, __ATOMIC_RELEASE);
	return f->data + f->end + JOURNAL_COMMIT_LEN;
}

/* They are there: now the record is. `word`: of record_commit_word(). */
static inline void journal_file_commit(struct journal_file *f, uint64_t word)
{
	__atomic_store_n((uint64_t *)(f->data + f->end), word, __ATOMIC_RELEASE);
	f->end += JOURNAL_RECORD_SPAN((uint32_t)word);
}

#endif
