/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "topo/progress.h"

#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include "topo/rack.h"

void progress_show(const char *format, ...)
{
	va_list args;

	if (!isatty(STDERR_FILENO))
		return;
	fputs("\r\033[K", stderr);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fflush(stderr);
}

void progress_clear(void)
{
	progress_show("%s", "");
}

int progress_fail(const char *format, ...)
{
	char text[512];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	progress_clear();
	return rack_say("%s", text);
}
