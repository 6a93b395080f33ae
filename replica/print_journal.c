/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * build/journal: the records of a journal, one JSON object a line, in the order in which
 * they were appended. It only reads, and takes no lock: a journal in use shows what it held
 * at that moment.
 *
 *   {"record":"journal","replica":0,"cluster":"...","instance":"...","boot":"..."}   first
 *   {"record":"view","view":1,"last_normal":1,"status":"normal","crash":[0,0,0]}
 *   {"record":"epoch","epoch":3}
 *   {"record":"entry","op":7,"view":1,"client":"...","reqid":9,"data":"534554..."}
 *   {"record":"truncate","op":6}       ops above it are forgotten
 *   {"record":"snapshot","op":6000,"bytes":70412}   with --snapshots "data":"..." too
 *   {"record":"end","base":6000,"last":6120,"bytes":812345,"clean":false}   last
 *
 * With "fault":"..." in the last one, and exit status 1, what follows there is damaged.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "replica/journal_record.h"

enum { EXIT_FAILED = 1, EXIT_USAGE = 2 };

static int fail(const char *path, const char *why)
{
	fprintf(stderr, "journal: %s %s\n", path, why);
	return EXIT_FAILED;
}

static void print_header(const struct journal_header *h)
{
	/* 64 bits are more than JSON's readers take as a number. */
	printf("{\"record\":\"journal\",\"replica\":%u,\"cluster\":\"%016" PRIx64
	       "\",\"instance\":\"%016" PRIx64 "\",\"boot\":\"",
	       h->ids.replica, (uint64_t)h->ids.cluster, (uint64_t)h->ids.instance);
	for (size_t i = 0; i < sizeof(h->ids.boot); i++)
		printf("%02x", h->ids.boot[i]);
	printf("\"}\n");
}

static void print_view(const struct vr_view_state *view)
{
	static const char *const status[] = {"normal", "view-change", "recovering"};

	printf("{\"record\":\"view\",\"view\":%" PRIu64 ",\"last_normal\":%" PRIu64
	       ",\"status\":\"%s\",\"crash\":[",
	       view->view, view->last_normal, status[view->status]);
	for (uint32_t i = 0; i < view->n; i++)
		printf("%s%" PRIu64, i ? "," : "", view->crash[i]);
	printf("]}\n");
}

static bool snapshots;

static void print_hex(const uint8_t *data, size_t len)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < len; i++) {
		putchar_unlocked(digits[data[i] >> 4]);
		putchar_unlocked(digits[data[i] & 15]);
	}
}

static void print_entry(const struct entry *e)
{
	printf("{\"record\":\"entry\",\"op\":%" PRIu64 ",\"view\":%" PRIu64
	       ",\"client\":\"%016" PRIx64 "\",\"reqid\":%" PRIu64 ",\"data\":\"",
	       e->opnum, e->view, e->clientid, e->reqid);
	print_hex(e->op.data, e->op.len);
	printf("\"}\n");
}

static void print_record(const struct record *r)
{
	switch (r->kind) {
	case RECORD_ENTRY:
		return print_entry(&r->entry);
	case RECORD_TRUNCATE:
		printf("{\"record\":\"truncate\",\"op\":%" PRIu64 "}\n", r->op);
		return;
	case RECORD_VIEW:
		return print_view(&r->view);
	case RECORD_EPOCH:
		printf("{\"record\":\"epoch\",\"epoch\":%u}\n", r->epoch);
		return;
	case RECORD_SNAPSHOT:
		printf("{\"record\":\"snapshot\",\"op\":%" PRIu64 ",\"bytes\":%zu", r->op,
		       (size_t)r->snapshot.len);
		if (snapshots) {
			printf(",\"data\":\"");
			print_hex(r->snapshot.data, r->snapshot.len);
			putchar('"');
		}
		printf("}\n");
		return;
	}
}

/* Records went on behind what was mapped. */
static bool has_grown(int fd, size_t size)
{
	struct stat stat;

	return !fstat(fd, &stat) && (size_t)stat.st_size / 8 * 8 > size;
}

static int print(const char *path, int fd, const uint8_t *data, size_t size)
{
	const struct journal_header *header = (const void *)data;
	struct record_state state = {0};
	struct record record;
	const char *fault;
	size_t at = sizeof(*header), end = at;
	bool version;
	int got;

	fault = journal_header_fault(header, size, &version);
	if (fault)
		return fail(path, fault);
	print_header(header);
	while ((got = record_read(data, size, &at, &record, &fault)) > 0) {
		fault = record_apply(&state, &record);
		if (fault)
			break;
		print_record(&record);
		end = at;
	}
	if (got < 0 && has_grown(fd, size))
		got = 0;
	printf("{\"record\":\"end\",\"base\":%" PRIu64 ",\"last\":%" PRIu64
	       ",\"bytes\":%zu,\"clean\":%s",
	       state.base, state.last, end, header->clean == end ? "true" : "false");
	if (got)
		printf(",\"fault\":\"%s\"", fault);
	printf("}\n");
	return got ? EXIT_FAILED : 0;
}

int main(int argc, char **argv)
{
	struct stat stat;
	void *data;
	int fd, ret;

	snapshots = argc > 1 && !strcmp(argv[1], "--snapshots");
	argv += snapshots;
	argc -= snapshots;
	if (argc != 2 || argv[1][0] == '-') {
		fprintf(stderr, "journal: want [--snapshots] FILE: prints its records, a JSON "
				"object each\n");
		return EXIT_USAGE;
	}
	fd = open(argv[1], O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &stat))
		return fail(argv[1], strerror(errno));
	if (!S_ISREG(stat.st_mode) || !stat.st_size)
		return fail(argv[1], "is not a journal");
	/* Never shorter while it is open: it is replaced as a whole, and grows. */
	data = mmap(NULL, stat.st_size, PROT_READ, MAP_SHARED, fd, 0);
	if (data == MAP_FAILED)
		return fail(argv[1], strerror(errno));
	ret = print(argv[1], fd, data, stat.st_size / 8 * 8);
	if (fflush(stdout) || ferror(stdout))
		return fail("standard output", strerror(errno));
	return ret;
}
