/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Text as a JSON string. */
#ifndef PAXRACK_JSON_H
#define PAXRACK_JSON_H

#include <stdio.h>

void json_string(FILE *out, const char *text); /* NULL: null */

#endif
