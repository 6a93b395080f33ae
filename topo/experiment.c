// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* What an experiment's file says, checked against its rack. */
#include "topo/experiment.h"

#include <errno.h>
#include <libgen.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bpf/offloads.h"
#include "topo/experiment_file.h"
#include "topo/yaml.h"

#define WORDS_MAX 32
#define TIME_MAX_S 3600
#define AROUND_NS 1000000000ull /* a view change takes 0.3 to 0.6 s, in which little is sent */
#define AROUND_PACKETS 3000

static const struct {
	const char *name;
	bool takes_node, goes_back;
} kinds[EXPERIMENT_KIND_COUNT] = {
#define X(id, name, node, back) [EXPERIMENT_##id] = {name, node, back},
	EXPERIMENT_EVENTS(X)
#undef X
};

const char *const experiment_check_names[EXPERIMENT_CHECK_COUNT] = {
#define X(id, name) #name,
	EXPERIMENT_CHECKS(X)
#undef X
};

/* What is wrong with one key of the file: says so, returns -1. `word` is looked for from `line` on.
 */
static int __attribute__((format(printf, 4, 5)))
wrong(const struct experiment *e, unsigned int line, const char *word, const char *fmt, ...)
{
	char text[512];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	return rack_say("%s:%u: %s: %s", e->path, yaml_file_line(e->path, word, line) ?: line ?: 1, word,
			text);
}

static bool parse_time(const char *text, uint64_t *ns)
{
	static const struct {
		const char *name;
		double ns;
	} units[] = {{"us", 1e3}, {"ms", 1e6}, {"s", 1e9}};
	char *end;
	double value = strtod(text, &end);

	for (size_t i = 0; i < sizeof(units) / sizeof(*units); i++) {
		if (*text >= '0' && *text <= '9' && !strcmp(end, units[i].name) &&
		    value * units[i].ns <= TIME_MAX_S * 1e9) {
			*ns = value * units[i].ns;
			return true;
		}
	}
	return false;
}

#define TIME_WANTED "want a number and us, ms or s, at most an hour"

/* ---- rack, offloads, load ---- */

/* A path as it is written, or beside the experiment's file. */
static int load_rack(struct experiment *e)
{
	struct rack_file *file = e->file->rack_inline;
	char beside[2 * RACK_PATH_MAX], folder[RACK_PATH_MAX];

	if (file) {
		e->file->rack_inline = NULL; /* the rack's from now on */
		return rack_make(&e->rack, file, e->path);
	}
	if (!access(e->file->rack_path, F_OK) || e->file->rack_path[0] == '/')
		return rack_load(&e->rack, e->file->rack_path);
	snprintf(folder, sizeof(folder), "%s", e->path);
	snprintf(beside, sizeof(beside), "%s/%s", dirname(folder), e->file->rack_path);
	if (access(beside, F_OK))
		return wrong(e, 1, "rack",
			     "there is no file %s, neither here nor in the folder "
			     "of the experiment",
			     e->file->rack_path);
	return rack_load(&e->rack, beside);
}

static int read_rack(struct experiment *e)
{
	enum rack_xdp xdp;

	if (load_rack(e))
		return -1;
	if (e->file->xdp) {
		if (rack_xdp_parse(&xdp, e->file->xdp))
			return wrong(e, 1, "xdp", "'%.40s': want native or generic", e->file->xdp);
		rack_set_xdp(e->rack, xdp);
	}
	if (!e->rack->clients)
		return wrong(e, 1, "rack", "%s has no client node", e->rack->name);
	return 0;
}

static int read_offloads(struct experiment *e, const struct experiment_wish *wish)
{
	static const char *const all[] = {"all"};
	const char *const *names = all;
	unsigned int count = 1;

	if (wish->offloads) {
		names = wish->offload;
		count = wish->offloads;
	} else if (e->file->offload_count) {
		names = (const char *const *)e->file->offload;
		count = e->file->offload_count;
	}
	for (unsigned int i = 0; i < count; i++) {
		e->offload[i].name = names[i];
		if (!elec_offload_parse(names[i], &e->offload[i].set))
			return wrong(e, 1, "offload", "'%.40s': want " ELEC_OFFLOAD_NAMES,
				     names[i]);
	}
	e->offloads = count;
	return 0;
}

static int read_load(struct experiment *e)
{
	const struct experiment_file_load *f = &e->file->load;
	const struct {
		const char *key;
		const uint64_t *from;
		uint64_t *to, min, max, value;
	} rows[] = {
		{"clients", f->clients, &e->load.clients, 1, 4096, 4},
		{"seconds", f->seconds, &e->load.seconds, 1, TIME_MAX_S, f->ops ? 0 : 4},
		{"ops", f->ops, &e->load.ops, 1, INT64_MAX, 0},
		{"mix", f->mix, &e->load.mix, 0, 100, 50},
		{"value-bytes", f->value_bytes, &e->load.value_bytes, 1, 8192, 24},
		{"keys", f->keys, &e->load.keys, 1, 100000, 100},
	};
	unsigned int line = yaml_file_line(e->path, "load", 1);

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		*rows[i].to = rows[i].from ? *rows[i].from : rows[i].value;
		if (rows[i].from && (*rows[i].to < rows[i].min || *rows[i].to > rows[i].max))
			return wrong(e, line, rows[i].key, "want %llu to %llu",
				     (unsigned long long)rows[i].min,
				     (unsigned long long)rows[i].max);
	}
	if (f->seconds && f->ops)
		return wrong(e, line, "ops", "seconds says when to end already: give one");
	return 0;
}

/* ---- the timeline ---- */

/* Words, as a shell would see them: blanks part them, quotes go away. */
static int split(char *text, char *words[WORDS_MAX + 1])
{
	char *to = text;
	int count = 0;

	while (*text) {
		while (*text == ' ')
			text++;
		if (!*text)
			break;
		if (count == WORDS_MAX)
			return -1;
		words[count++] = to;
		while (*text && *text != ' ') {
			if (*text != '\'' && *text != '"')
				*to++ = *text;
			text++;
		}
		if (*text)
			text++;
		*to++ = '\0';
	}
	words[count] = NULL;
	return count;
}

static bool has_word(char **words, const char *word)
{
	for (; *words; words++) {
		if (!strcmp(*words, word))
			return true;
	}
	return false;
}

static int read_fault(struct experiment *e, struct experiment_event *event, char **words,
		      unsigned int line)
{
	bool one_way = words[0] && !strcmp(words[0], "--one-way");
	char error[256];
	int ret;

	if (event->kind == EXPERIMENT_PARTITION) {
		ret = fault_matrix_parse(&event->matrix, e->rack, words + one_way, one_way, error,
					 sizeof(error));
	} else {
		ret = fault_parse(&event->rule, e->rack, words, error, sizeof(error));
		if (!has_word(words, "--seed"))
			event->rule.seed = e->seed + (event - e->event);
	}
	return ret ? wrong(e, line, kinds[event->kind].name, "%s", error) : 0;
}

static int read_node(struct experiment *e, struct experiment_event *event, char **words, int count,
		     unsigned int line)
{
	const char *name = kinds[event->kind].name;
	bool programs = event->kind == EXPERIMENT_DETACH || event->kind == EXPERIMENT_ATTACH;
	struct rack_node *node = count > 0 ? rack_node(e->rack, words[0]) : NULL;

	if (!node || node->role != RACK_REPLICA)
		return wrong(e, line, name, "'%.40s' is no replica of %s",
			     count > 0 ? words[0] : "", e->rack->name);
	if (node->command)
		return wrong(e, line, name, "%s runs a foreign program: nothing is known of it",
			     node->name);
	event->replica = node->number;
	event->tc = programs && count > 1 && !strcmp(words[1], "tc");
	if (count > 2 || (count == 2 && (!programs || (!event->tc && strcmp(words[1], "xdp")))))
		return wrong(e, line, name, "want a replica%s, and nothing else",
			     programs ? " and xdp or tc" : "");
	return 0;
}

static int read_event(struct experiment *e, const struct experiment_file_event *from,
		      unsigned int line)
{
	struct experiment_event *event = &e->event[e->events++];
	char *words[WORDS_MAX + 1], *copy;
	int count, found = 0, ret;

	for (int kind = 0; kind < EXPERIMENT_KIND_COUNT; kind++) {
		if (!from->word[kind])
			continue;
		event->kind = kind;
		found++;
	}
	if (found != 1)
		return wrong(e, line, "at",
			     found ? "two things to do: make it two entries"
				   : "nothing to do: want one of kill, stop, cont, "
				     "restart, format, detach, attach, partition, "
				     "fault");
	if (!parse_time(from->at, &event->at_ns))
		return wrong(e, line, "at", "'%.40s': " TIME_WANTED, from->at);
	if (from->lasts && (!parse_time(from->lasts, &event->for_ns) || !event->for_ns))
		return wrong(e, line, "for", "'%.40s': " TIME_WANTED, from->lasts);
	if (from->lasts && !kinds[event->kind].goes_back)
		return wrong(e, line, "for", "nothing takes a %s back", kinds[event->kind].name);
	copy = strdup(from->word[event->kind]);
	if (!copy || asprintf(&event->what, "%s %s", kinds[event->kind].name, copy) < 0) {
		event->what = NULL;
		free(copy);
		return rack_say("no memory");
	}
	count = split(copy, words);
	if (count < 0)
		ret = wrong(e, line, kinds[event->kind].name, "more than %d words", WORDS_MAX);
	else if (kinds[event->kind].takes_node)
		ret = read_node(e, event, words, count, line);
	else
		ret = read_fault(e, event, words, line);
	free(copy);
	return ret;
}

static int read_timeline(struct experiment *e)
{
	unsigned int line = yaml_file_line(e->path, "timeline", 1);

	e->event = calloc(e->file->timeline_count ?: 1, sizeof(*e->event));
	if (!e->event)
		return rack_say("no memory");
	for (unsigned int i = 0; i < e->file->timeline_count; i++) {
		/* every entry has an `at`, and `capture` may have one before or behind them */
		line = yaml_file_line(e->path, "at", line + (i > 0)) ?: line;
		if (read_event(e, &e->file->timeline[i], line))
			return -1;
	}
	return 0;
}

/* ---- captures and checks ---- */

static int read_capture(struct experiment *e)
{
	const struct experiment_file_capture *f = &e->file->capture;
	unsigned int line = yaml_file_line(e->path, "capture", 1);

	e->around_ns = AROUND_NS;
	e->around_packets = AROUND_PACKETS;
	if (f->packets)
		e->around_packets = *f->packets ?: UINT64_MAX;
	if (f->around && strcmp(f->around, "0") && !parse_time(f->around, &e->around_ns))
		return wrong(e, line, "around", "'%.40s': " TIME_WANTED ", or 0", f->around);
	if (f->around && !strcmp(f->around, "0"))
		e->around_ns = 0;
	e->captures_at = f->at_count;
	for (unsigned int i = 0; i < f->at_count; i++) {
		if (!parse_time(f->at[i], &e->capture_at_ns[i]))
			return wrong(e, line, "at", "'%.40s': " TIME_WANTED, f->at[i]);
	}
	return 0;
}

static void read_checks(struct experiment *e)
{
	const bool *expect[] = {
#define X(id, name) e->file->checks.name.expect,
		EXPERIMENT_CHECKS(X)
#undef X
	};

	for (int i = 0; i < EXPERIMENT_CHECK_COUNT; i++)
		e->expect[i] = expect[i] ? *expect[i] : true;
}

int experiment_load(struct experiment **out, const char *path, const struct experiment_wish *wish)
{
	struct experiment *e = calloc(1, sizeof(*e));

	if (!e)
		return rack_say("no memory");
	e->path = path;
	if (experiment_file_load(&e->file, path))
		goto fail;
	e->name = e->file->experiment;
	e->about = e->file->about;
	e->seed = wish->seed ? *wish->seed : e->file->seed ? *e->file->seed : 1;
	if (!rack_is_name(e->name)) {
		wrong(e, 1, "experiment", "'%.40s' is no name: a-z, 0-9 and - inside, at most %d",
		      e->name, RACK_NAME_MAX);
		goto fail;
	}
	if (read_rack(e) || read_offloads(e, wish) || read_load(e) || read_timeline(e) ||
	    read_capture(e))
		goto fail;
	read_checks(e);
	*out = e;
	return 0;
fail:
	experiment_free(e);
	return -1;
}

void experiment_free(struct experiment *e)
{
	if (!e)
		return;
	for (unsigned int i = 0; i < e->events; i++) {
		free(e->event[i].what);
		free(e->event[i].matrix.row);
	}
	free(e->event);
	rack_free(e->rack);
	experiment_file_free(e->file);
	free(e);
}
