/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "replica/options.h"

#define ROWS_MAX 32
#define EXIT_USAGE 2

void options_say(const char *program, const char *format, ...)
{
	va_list args;

	fprintf(stderr, "%s: ", program);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
}

static void print_help(const char *program, const char *about, const struct option_row *rows,
		       size_t count)
{
	printf("%s: %s\n\n", program, about);
	for (size_t i = 0; i < count; i++) {
		char option[40];

		snprintf(option, sizeof(option), "--%s %s", rows[i].name,
			 rows[i].value ? rows[i].value : "");
		printf("  %-22s %s\n", option, rows[i].help);
	}
	printf("  %-22s %s\n", "--help", "this");
}

static bool take(const char *program, const struct option_row *row)
{
	uint64_t value;
	char *end;

	if (row->flag)
		*row->flag = true;
	if (row->text)
		*row->text = optarg;
	if (!row->number)
		return true;
	errno = 0;
	value = strtoull(optarg, &end, 10);
	if (*optarg < '0' || *optarg > '9' || *end || errno || value < row->min ||
	    value > row->max) {
		options_say(program, "--%s '%s': want a number from %" PRIu64 " to %" PRIu64,
			    row->name, optarg, row->min, row->max);
		return false;
	}
	*row->number = value;
	return true;
}

int options_parse(const char *program, const char *about, const struct option_row *rows,
		  size_t count, int argc, char **argv)
{
	enum { FIRST = 256, HELP = FIRST + ROWS_MAX };
	struct option options[ROWS_MAX + 2] = {0};
	int id;

	if (count > ROWS_MAX)
		abort();
	for (size_t i = 0; i < count; i++)
		options[i] = (struct option){
			.name = rows[i].name,
			.has_arg = rows[i].value ? required_argument : no_argument,
			.val = FIRST + (int)i,
		};
	options[count] = (struct option){.name = "help", .val = HELP};
	while ((id = getopt_long(argc, argv, ":", options, NULL)) != -1) {
		if (id == HELP) {
			print_help(program, about, rows, count);
			return 0;
		}
		if (id == ':' || id == '?') {
			options_say(program,
				    id == ':' ? "%s wants a value; see %s --help"
					      : "no option '%s'; see %s --help",
				    argv[optind - 1], program);
			return EXIT_USAGE;
		}
		if (!take(program, &rows[id - FIRST]))
			return EXIT_USAGE;
	}
	if (optind < argc) {
		options_say(program, "'%s' is not an option; see %s --help", argv[optind], program);
		return EXIT_USAGE;
	}
	return -1;
}
