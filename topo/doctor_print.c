// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* The lines for people, in columns, and for programs, as JSON. */
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "topo/doctor.h"
#include "topo/json.h"

#define WIDTH 100      /* columns where nothing is known of a terminal */
#define WIDTH_MIN 60   /* of text that is broken into lines */
#define STATUS_WIDTH 9 /* "  missing" */

static const char *const statuses[] = {
	[DOCTOR_OK] = "ok",	      [DOCTOR_INFO] = "info",	[DOCTOR_WARN] = "warn",
	[DOCTOR_MISSING] = "missing", [DOCTOR_WRONG] = "wrong",
};

static int screen_width(void)
{
	struct winsize size;

	return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) || !size.ws_col ? WIDTH : size.ws_col;
}

/* Text from column `at` on, broken between words. */
static void print_text(const char *text, int at, int width)
{
	int column = at;

	while (*text) {
		int len = strcspn(text, " \n");

		if (column > at && column + 1 + len > width) {
			printf("\n%*s", at, "");
			column = at;
		} else if (column > at) {
			putchar(' ');
			column++;
		}
		printf("%.*s", len, text);
		column += len;
		text += len;
		text += strspn(text, " \n");
	}
	putchar('\n');
}

static void print_line(const struct doctor_line *line, int what_width, int width)
{
	int at = STATUS_WIDTH + 2 + what_width + 2;

	printf("  %-*s  %-*s  ", STATUS_WIDTH - 2, statuses[line->status], what_width, line->what);
	print_text(line->found, at, width);
	if (line->so) {
		printf("%*s", at, "");
		print_text(line->so, at, width);
	}
	/* Never broken: it may be a command to be copied. */
	if (line->remedy)
		printf("%*s-> %s\n", at, "", line->remedy);
}

static int finish(const struct doctor *d)
{
	if (d->out_of_memory)
		return rack_say("no memory");
	if (fflush(stdout))
		return rack_say("cannot print: %s", strerror(errno));
	return 0;
}

int doctor_print(const struct doctor *d)
{
	int what_width = 0, width = screen_width();
	const char *group = NULL;

	if (d->out_of_memory)
		return finish(d);
	for (size_t i = 0; i < d->count; i++) {
		int len = strlen(d->lines[i].what);

		what_width = len > what_width ? len : what_width;
	}
	if (width < STATUS_WIDTH + what_width + WIDTH_MIN)
		width = STATUS_WIDTH + what_width + WIDTH_MIN;
	for (size_t i = 0; i < d->count; i++) {
		const struct doctor_line *line = &d->lines[i];

		if (!group || strcmp(group, line->group))
			printf("%s%s\n", group ? "\n" : "", line->group);
		group = line->group;
		print_line(line, what_width, width);
	}
	return finish(d);
}

static void member(const char *name, const char *text, const char *after)
{
	printf("\"%s\": ", name);
	json_string(stdout, text);
	fputs(after, stdout);
}

int doctor_json(const struct doctor *d, const struct rack *rack)
{
	if (d->out_of_memory)
		return finish(d);
	printf("{\"ok\": %s, ", doctor_ill(d) ? "false" : "true");
	if (rack)
		member("rack", rack->name, ", ");
	printf("\"%s\": %c", rack ? "findings" : "checks", rack ? '[' : '{');
	for (size_t i = 0; i < d->count; i++) {
		const struct doctor_line *line = &d->lines[i];

		printf("%s\n  %s", i ? "," : "", rack ? "{" : "");
		if (rack) {
			member("key", line->key, ", ");
			member("node", line->node ? line->node->name : "tor", ", ");
			member("end", line->end, ", ");
		} else {
			json_string(stdout, line->key);
			printf(": {");
		}
		member("group", line->group, ", ");
		member("status", statuses[line->status], ", ");
		member("found", line->found, ", ");
		member("follows", line->so, ", ");
		member("remedy", line->remedy, "}");
	}
	printf("\n%c}\n", rack ? ']' : '}');
	return finish(d);
}
