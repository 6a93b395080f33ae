// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* The journal: what goes in comes out, and what is not ours or damaged is refused. */
#include "replica/test_journal.h"

#include "replica/crc32c.h"

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
	assert_string_equal(outcome(j), "view 0/0 0 [ 0 0 0 ], 1:v3 c7 r100 'one', "
					"2:v3 c7 r101 '', 3:v3 c7 r102 'three'");
	assert_int_equal(journal_append_epoch(j, 5), 0);
	assert_int_equal(journal_append_truncate(j, 1), 0);
	must_view(j, 4);
	must_append(j, "two again");
	must_snapshot(j, 1, "state", 100);
	must_append(j, "three again");
	journal_close(j);

	j = must_open(PATH, 0);
	info = journal_info(j);
	assert_string_equal(outcome(j), "snapshot 1 'state' 100, view 4/3 1 [ 1 2 3 ], "
					"2:v3 c7 r101 'two again', 3:v3 c7 r102 'three again'");
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
	assert_string_equal(outcome(j), "view 0/0 2 [ 0 9 0 ]");
	must_append(j, "first of the new life");
	journal_close(j);
	j = must_open(PATH, 0);
	assert_int_equal(journal_info(j)->ids.instance, 23);
	assert_string_equal(outcome(j),
			    "view 0/0 2 [ 0 9 0 ], 1:v3 c7 r100 'first of the new lif'");
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
	assert_string_equal(outcome(j), "view 0/0 0 [ 0 0 0 ], 1:v3 c7 r100 'one'");
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
		assert_string_equal(outcome(j), "view 0/0 0 [ 0 0 0 ], 1:v3 c7 r100 'one', "
						"2:v3 c7 r101 'two'");
		must_append(j, "3");
		journal_close(j);
		j = must_open(PATH, 0);
		assert_string_equal(outcome(j), "view 0/0 0 [ 0 0 0 ], 1:v3 c7 r100 'one', "
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
	};

	return cmocka_run_group_tests(tests, mount_private, NULL);
}
