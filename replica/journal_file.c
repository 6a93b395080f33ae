// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "replica/journal_file.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "replica/crc32c.h"

#define WINDOW_LEAST (64u << 20)

static uint64_t round_up(uint64_t value, uint64_t step)
{
	return (value + step - 1) / step * step;
}

/* 1: locked, and it stands at path; 0: it was renamed meanwhile, try again. */
static int try_lock(int fd, const char *path)
{
	struct stat here, there;

	if (flock(fd, LOCK_EX | LOCK_NB))
		return errno == EWOULDBLOCK ? -EBUSY : -errno;
	if (fstat(fd, &here))
		return -errno;
	if (!S_ISREG(here.st_mode))
		return -EBADMSG;
	if (stat(path, &there))
		return errno == ENOENT ? 0 : -errno;
	return here.st_ino == there.st_ino && here.st_dev == there.st_dev;
}

static int lock_path(const char *path, int flags, int *locked)
{
	int ret;

	do {
		int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | flags, 0600);

		if (fd < 0)
			return -errno;
		ret = try_lock(fd, path);
		if (ret == 1 && flags & O_CREAT && ftruncate(fd, 0))
			ret = -errno;
		if (ret == 1)
			*locked = fd;
		else
			close(fd);
	} while (ret == 0);
	return ret == 1 ? 0 : ret;
}

int journal_file_lock(struct journal_file *f, const char *path)
{
	return lock_path(path, 0, &f->fd);
}

/* ---- names ---- */

static int create_path(const char *path, int *fd)
{
	return lock_path(path, O_CREAT, fd);
}

static int rename_path(const char *from, const char *to)
{
	return rename(from, to) ? -errno : 0;
}

static int remove_path(const char *path)
{
	return unlink(path) ? -errno : 0;
}

static int sync_folder(const char *path)
{
	char copy[PATH_MAX];
	int fd, ret = 0;

	snprintf(copy, sizeof(copy), "%s", path);
	fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (fsync(fd))
		ret = -errno;
	close(fd);
	return ret;
}

const struct journal_names journal_names_direct = {
	.create = create_path,
	.replace = rename_path,
	.remove = remove_path,
	.sync = sync_folder,
};
const struct journal_names *journal_names = &journal_names_direct;

/* ---- the file ---- */

static int make_window(struct journal_file *f, uint64_t size)
{
	uint64_t window = 2 * round_up(size, JOURNAL_FILE_STEP);
	void *data;

	if (size <= f->window)
		return 0;
	data = mremap(f->data, f->window, window, MREMAP_MAYMOVE);
	if (data == MAP_FAILED)
		return -errno;
	f->data = data;
	f->window = window;
	return 0;
}

/*
 * Present in the page table first, so that an append does not fault: on a rack's own file
 * system in large pages, which fallocate() would not take. Then allocated, so that no later
 * store meets a full disk (that would be SIGBUS).
 */
static int allocate(struct journal_file *f, uint64_t size)
{
	struct stat was;
	int ret;

	if (fstat(f->fd, &was) || ((uint64_t)was.st_size < size && ftruncate(f->fd, size)))
		return -errno;
	ret = make_window(f, size);
	if (!ret) {
		madvise(f->data + f->size / 4096 * 4096, size - f->size / 4096 * 4096,
			MADV_POPULATE_WRITE); /* only faster */
		ret = -posix_fallocate(f->fd, f->size, size - f->size);
	}
	if (!ret)
		f->size = size;
	else if ((uint64_t)was.st_size < size && ftruncate(f->fd, was.st_size))
		return -errno;
	return ret;
}

int journal_file_map(struct journal_file *f, uint64_t size)
{
	void *data = mmap(NULL, WINDOW_LEAST, PROT_READ | PROT_WRITE, MAP_SHARED, f->fd, 0);

	if (data == MAP_FAILED)
		return -errno;
	madvise(data, WINDOW_LEAST, MADV_HUGEPAGE); /* only faster */
	f->data = data;
	f->window = WINDOW_LEAST;
	f->size = 0;
	f->end = sizeof(struct journal_header);
	return allocate(f, size ? size : JOURNAL_FILE_STEP);
}

int journal_file_grow(struct journal_file *f, uint64_t bytes)
{
	return allocate(f, round_up(f->end + bytes + JOURNAL_COMMIT_LEN, JOURNAL_FILE_STEP));
}

int journal_file_sync(const struct journal_file *f, const char *path)
{
	return fsync(f->fd) ? -errno : journal_names->sync(path);
}

void journal_file_close(struct journal_file *f)
{
	if (f->data)
		munmap(f->data, f->window);
	if (f->fd >= 0)
		close(f->fd);
	*f = (struct journal_file)JOURNAL_FILE_NONE;
}

int journal_file_create(struct journal_file *f, const char *path, const struct elec_ids *ids)
{
	int ret = journal_names->create(path, &f->fd);

	if (ret)
		return ret;
	ret = journal_file_map(f, 0);
	if (ret) {
		journal_names->remove(path);
		journal_file_close(f);
		return ret;
	}
	*(struct journal_header *)f->data = (struct journal_header){
		.magic = JOURNAL_MAGIC,
		.version = JOURNAL_VERSION,
		.crc = crc32c(0, ids, sizeof(*ids)),
		.ids = *ids,
	};
	return 0;
}

void journal_file_set_clean(struct journal_file *f)
{
	struct journal_header *header = (void *)f->data;

	__atomic_store_n(&header->clean, f->end, __ATOMIC_RELEASE);
}

/* ---- records ---- */

static void commit(struct journal_file *f, const void *record, uint32_t len)
{
	journal_file_commit(f, record_commit_word(record, len));
}

int journal_file_put_head(struct journal_file *f, enum record_kind kind, uint32_t word, uint64_t op)
{
	struct record_head *r;
	int ret = journal_file_room(f, sizeof(*r));

	if (ret)
		return ret;
	r = journal_file_begin(f, sizeof(*r));
	*r = (struct record_head){.kind = kind, .word = word, .op = op};
	commit(f, r, sizeof(*r));
	return 0;
}

int journal_file_put_entry(struct journal_file *f, const struct entry *e)
{
	uint32_t len = sizeof(struct record_entry) + e->op.len;
	struct record_entry *r;
	int ret = journal_file_room(f, len);

	if (ret)
		return ret;
	r = journal_file_begin(f, len);
	r->head = (struct record_head){.kind = RECORD_ENTRY, .op = e->opnum};
	r->view = e->view;
	r->clientid = e->clientid;
	r->reqid = e->reqid;
	memcpy(r->data, e->op.data, e->op.len);
	commit(f, r, len);
	return 0;
}

int journal_file_put_view(struct journal_file *f, const struct vr_view_state *state)
{
	uint32_t len = JOURNAL_VIEW_LEN(state->n);
	struct record_view *r;
	int ret = journal_file_room(f, len);

	if (ret)
		return ret;
	r = journal_file_begin(f, len);
	r->head = (struct record_head){RECORD_VIEW, state->status, state->view};
	r->last_normal = state->last_normal;
	memcpy(r->crash, state->crash, state->n * sizeof(state->crash[0]));
	commit(f, r, len);
	return 0;
}

int journal_file_put_copy(struct journal_file *f, const struct journal_file *from, uint64_t at)
{
	uint64_t word = *(const uint64_t *)(from->data + at);
	uint32_t len = word;
	int ret = journal_file_room(f, len);

	if (ret)
		return ret;
	memcpy(journal_file_begin(f, len), from->data + at + JOURNAL_COMMIT_LEN, len);
	journal_file_commit(f, word);
	return 0;
}

void journal_file_put_snapshot(struct journal_file *f, uint32_t len, uint64_t op)
{
	struct record_snapshot *r = (void *)(f->data + f->end + JOURNAL_COMMIT_LEN);

	r->head = (struct record_head){.kind = RECORD_SNAPSHOT, .op = op};
	commit(f, r, len);
}
