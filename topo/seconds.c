// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "topo/seconds.h"

#include <ctype.h>
#include <stdlib.h>
#include <time.h>

#define MAX 86400

bool seconds_parse(double *seconds, const char *text)
{
	char *end;
	double value;

	if (!isdigit((unsigned char)text[0]) && text[0] != '.')
		return false;
	value = strtod(text, &end);
	if (end == text || *end || !(value > 0 && value <= MAX))
		return false;
	*seconds = value;
	return true;
}

uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ull + t.tv_nsec;
}

uint64_t seconds_from_now(double seconds)
{
	return now_ns() + (uint64_t)(seconds * 1e9);
}
