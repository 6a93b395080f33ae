// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "topo/json.h"

void json_string(FILE *out, const char *text)
{
	if (!text) {
		fputs("null", out);
		return;
	}
	putc('"', out);
	for (; *text; text++) {
		unsigned char c = *text;

		if (c < ' ' || c == '"' || c == '\\')
			fprintf(out, "\\u%04x", c);
		else
			putc(c, out); /* what is above ASCII is UTF-8 in the file already */
	}
	putc('"', out);
}
