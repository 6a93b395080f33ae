// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * A journal is never changed but by appending, and by being replaced as a whole:
 *
 *   path       |header|view|entry|entry|snapshot|entry|view|entry|......|
 *                                 \_________           \____
 *   path.new   |header|snapshot|view|epoch|entry|entry|......|    then renamed to path
 *
 * Until the rename the old file is the journal and path.new, if it is there, means
 * nothing. The new file is locked before it is renamed: the lock is never let go.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "replica/journal_internal.h"

int journal_refuse(char *error, size_t size, int ret, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(error, size, format, args);
	va_end(args);
	return ret;
}

static bool names(char path[PATH_MAX], char path_new[PATH_MAX], const char *given)
{
	snprintf(path, PATH_MAX, "%s", given);
	return snprintf(path_new, PATH_MAX, "%s.new", given) < PATH_MAX;
}

/* ---- a whole new file ---- */

/* From here on `new` is the journal, or, when it fails, does not exist. */
static int replace(struct journal *j, struct journal_file *new)
{
	int ret = journal_names->replace(j->path_new, j->path);

	if (ret) {
		journal_names->remove(j->path_new);
		journal_file_close(new);
		return ret;
	}
	journal_file_close(&j->file);
	j->file = *new;
	j->info.bytes = new->end;
	j->limit = 2 * new->end > j->limit_least ? 2 * new->end : j->limit_least;
	j->reserved = 0;
	return 0;
}

/* *first: where the entries begin. */
static int put_live(struct journal_file *new, const struct journal *j, uint64_t *first)
{
	int ret = 0;

	if (j->snapshot_at)
		ret = journal_file_put_copy(new, &j->file, j->snapshot_at);
	if (!ret && j->info.has_view)
		ret = journal_file_put_view(new, &j->info.view);
	if (!ret && j->info.epoch)
		ret = journal_file_put_head(new, RECORD_EPOCH, j->info.epoch, 0);
	*first = new->end;
	for (uint64_t op = j->info.base + 1; !ret && op <= j->info.last; op++)
		ret = journal_file_put_copy(new, &j->file, j->index[op & j->index_mask]);
	return ret;
}

int journal_compact(struct journal *j, const struct elec_ids *ids, bool clean)
{
	struct journal_file new = JOURNAL_FILE_NONE;
	uint64_t at;
	int ret = journal_file_create(&new, j->path_new, ids);

	if (ret)
		return ret;
	ret = put_live(&new, j, &at);
	if (ret) {
		journal_names->remove(j->path_new);
		journal_file_close(&new);
		return ret;
	}
	if (clean)
		journal_file_set_clean(&new);
	ret = replace(j, &new);
	if (ret)
		return ret;
	j->info.ids = *ids;
	if (j->snapshot_at)
		j->snapshot_at = sizeof(struct journal_header);
	for (uint64_t op = j->info.base + 1; op <= j->info.last; op++) {
		j->index[op & j->index_mask] = at;
		at += JOURNAL_RECORD_SPAN(*(const uint32_t *)(j->file.data + at));
	}
	return 0;
}

/* ---- opening ---- */

/* Test every record and find the end. Returns 0, -ENOMEM or -EBADMSG with *fault. */
static int load(struct journal *j, const char **fault)
{
	struct record_state state = {0};
	struct record record;
	uint64_t begin = sizeof(struct journal_header);
	size_t at = begin;
	int got;

	while ((got = record_read(j->file.data, j->file.size, &at, &record, fault)) > 0) {
		*fault = record_apply(&state, &record);
		if (*fault)
			break;
		if (record.kind == RECORD_SNAPSHOT) {
			j->snapshot_at = begin;
			j->info.base = state.base;
		}
		if (record.kind == RECORD_ENTRY) {
			if (journal_index_room(j, record.op))
				return -ENOMEM;
			j->index[record.op & j->index_mask] = begin;
		}
		begin = at;
	}
	j->file.end = begin;
	if (got)
		return -EBADMSG;
	j->info.has_view = state.has_view;
	j->info.view = state.view;
	j->info.epoch = state.epoch;
	j->info.last = state.last;
	j->info.bytes = begin;
	return 0;
}

/* Whose file is it? Looked at before anything is allocated or mapped: it may be anything. */
static int read_header(struct journal *j, const struct elec_ids *ids, uint64_t *size, char *error,
		       size_t error_size)
{
	struct journal_header header = {0};
	struct stat stat;
	const char *fault;
	bool version;

	if (fstat(j->file.fd, &stat) || pread(j->file.fd, &header, sizeof(header), 0) < 0)
		return journal_refuse(error, error_size, -errno, "cannot read the journal %s: %s",
				      j->path, strerror(errno));
	fault = journal_header_fault(&header, stat.st_size, &version);
	if (fault && version)
		return journal_refuse(
			error, error_size, -EPROTONOSUPPORT,
			"%s is a journal of version %u, this program knows version %d only",
			j->path, header.version, JOURNAL_VERSION);
	if (fault)
		return journal_refuse(error, error_size, -EBADMSG, "%s %s", j->path, fault);
	if (header.ids.cluster != ids->cluster)
		return journal_refuse(
			error, error_size, -EXDEV,
			"%s is the journal of another cluster (the list of replicas differs)",
			j->path);
	if (header.ids.replica != ids->replica)
		return journal_refuse(error, error_size, -EXDEV,
				      "%s is the journal of replica %u, not of replica %u", j->path,
				      header.ids.replica, ids->replica);
	j->info.ids = header.ids;
	*size = stat.st_size / 8 * 8;
	return 0;
}

static int open_locked(struct journal *j, const struct elec_ids *ids, char *error,
		       size_t error_size)
{
	const char *fault = NULL;
	uint64_t size = 0;
	bool rebooted;
	int ret = read_header(j, ids, &size, error, error_size);

	if (ret)
		return ret;
	ret = journal_file_map(&j->file, size);
	if (ret)
		return journal_refuse(error, error_size, ret, "cannot map the journal %s: %s",
				      j->path, strerror(-ret));
	ret = load(j, &fault);
	if (ret)
		return journal_refuse(error, error_size, ret, "%s %s at byte %llu of %llu", j->path,
				      fault ? fault : "needs more memory than there is",
				      (unsigned long long)j->file.end, (unsigned long long)size);
	j->limit = 2 * j->file.end > j->limit_least ? 2 * j->file.end : j->limit_least;
	rebooted = memcmp(j->info.ids.boot, ids->boot, sizeof(ids->boot)) != 0;
	j->info.clean = ((const struct journal_header *)j->file.data)->clean == j->file.end;
	j->info.stale = rebooted && !j->info.clean;
	if (rebooted && j->info.clean) {
		struct elec_ids now = j->info.ids;

		memcpy(now.boot, ids->boot, sizeof(now.boot));
		ret = journal_compact(j, &now, true);
		if (ret)
			return journal_refuse(
				error, error_size, ret,
				"cannot take over the journal %s from before the restart: %s",
				j->path, strerror(-ret));
	}
	return 0;
}

static const char *lock_failure(int ret)
{
	switch (ret) {
	case -EBUSY:
		return "another process has it";
	case -EBADMSG:
		return "not a regular file";
	default:
		return strerror(-ret);
	}
}

int journal_open(struct journal **out, const char *path, const struct elec_ids *ids,
		 uint64_t limit_bytes, char *error, size_t error_size)
{
	struct journal *j = calloc(1, sizeof(*j));
	int ret;

	if (!j)
		return journal_refuse(error, error_size, -ENOMEM, "no memory for the journal %s",
				      path);
	j->file = (struct journal_file)JOURNAL_FILE_NONE;
	j->limit_least = limit_bytes ? limit_bytes : JOURNAL_LIMIT_DEFAULT;
	if (!names(j->path, j->path_new, path)) {
		ret = journal_refuse(error, error_size, -ENAMETOOLONG,
				     "the name of the journal is too long");
		goto out;
	}
	ret = journal_file_lock(&j->file, path);
	if (ret) {
		journal_refuse(error, error_size, ret, "cannot open the journal %s: %s", path,
			       lock_failure(ret));
		goto out;
	}
	ret = open_locked(j, ids, error, error_size);
	if (ret)
		goto out;
	*out = j;
	return 0;
out:
	journal_close(j);
	return ret;
}

void journal_close(struct journal *j)
{
	if (!j)
		return;
	journal_file_close(&j->file);
	free(j->index);
	free(j);
}

const struct journal_info *journal_info(const struct journal *j)
{
	return &j->info;
}

const char *journal_error(const struct journal *j)
{
	return j->error;
}

/* ---- beginning and end ---- */

/* A file at path_new whose only record is `first`. */
static int create_with(struct journal_file *new, const char *path_new, const struct elec_ids *ids,
		       const struct vr_view_state *first)
{
	int ret = journal_file_create(new, path_new, ids);

	if (!ret)
		journal_file_put_view(new, first); /* a new file has room for one */
	return ret;
}

int journal_format(const char *path, const struct elec_ids *ids, const struct vr_view_state *first,
		   char *error, size_t error_size)
{
	struct journal_file new = JOURNAL_FILE_NONE;
	char same[PATH_MAX], path_new[PATH_MAX];
	int ret;

	if (!names(same, path_new, path))
		return journal_refuse(error, error_size, -ENAMETOOLONG,
				      "the name of the journal is too long");
	ret = create_with(&new, path_new, ids, first);
	if (ret)
		return journal_refuse(error, error_size, ret, "cannot make the journal %s: %s",
				      path, lock_failure(ret));
	if (renameat2(AT_FDCWD, path_new, AT_FDCWD, path, RENAME_NOREPLACE)) {
		ret = -errno;
		unlink(path_new);
		journal_refuse(error, error_size, ret, "cannot make the journal %s: %s", path,
			       strerror(-ret));
	}
	journal_file_close(&new);
	return ret;
}

int journal_reset(struct journal *j, const struct elec_ids *ids, const struct vr_view_state *first)
{
	struct journal_file new = JOURNAL_FILE_NONE;
	int ret = create_with(&new, j->path_new, ids, first);

	if (!ret)
		ret = replace(j, &new);
	if (ret)
		return journal_refuse(j->error, sizeof(j->error), ret,
				      "cannot begin the journal %s anew: %s", j->path,
				      lock_failure(ret));
	j->snapshot_at = 0;
	j->info = (struct journal_info){
		.ids = *ids,
		.has_view = true,
		.view = *first,
		.bytes = j->file.end,
		.compactions = j->info.compactions,
	};
	return 0;
}

int journal_mark_clean(struct journal *j)
{
	int ret = journal_file_sync(&j->file, j->path);

	if (!ret) {
		journal_file_set_clean(&j->file);
		ret = journal_file_sync(&j->file, j->path);
	}
	if (ret)
		return journal_refuse(j->error, sizeof(j->error), ret,
				      "cannot write the journal %s: %s", j->path, strerror(-ret));
	j->info.clean = true;
	return 0;
}
