// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * A line costs a fraction of a microsecond, for it must not distort what it records: no
 * printf, and a write() for thousands of lines together.
 */
#include "replica/history.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BUFFER (256 << 10)
#define FIXED_MAX 512 /* bytes of a line beside operation and result */

struct history {
	int fd, error;
	size_t len;
	char buffer[BUFFER];
};

int history_open(struct history **out, const char *path)
{
	struct history *h = malloc(sizeof(*h));

	if (!h)
		return -ENOMEM;
	h->len = h->error = 0;
	h->fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (h->fd < 0) {
		free(h);
		return -errno;
	}
	*out = h;
	return 0;
}

static void flush(struct history *h)
{
	size_t at = 0;

	while (at < h->len && !h->error) {
		ssize_t n = write(h->fd, h->buffer + at, h->len - at);

		if (n >= 0)
			at += n;
		else if (errno != EINTR)
			h->error = -errno;
	}
	h->len = 0;
}

static char *put_text(char *to, const char *text)
{
	return stpcpy(to, text);
}

static char *put_number(char *to, uint64_t n)
{
	char digits[20];
	int len = 0;

	do
		digits[len++] = '0' + n % 10;
	while (n /= 10);
	while (len)
		*to++ = digits[--len];
	return to;
}

static char *put_hex(char *to, uint64_t n, int digits)
{
	while (digits--)
		*to++ = "0123456789abcdef"[n >> digits * 4 & 15];
	return to;
}

static char *put_string(char *to, const uint8_t *bytes, size_t len)
{
	*to++ = '"';
	for (size_t i = 0; i < len; i++) {
		uint8_t byte = bytes[i];

		if (byte >= ' ' && byte < 0x7f && byte != '"' && byte != '\\')
			*to++ = byte;
		else
			to = put_hex(put_text(to, "\\u"), byte, 4);
	}
	*to++ = '"';
	return to;
}

void history_add(struct history *h, const struct history_op *op)
{
	size_t max = FIXED_MAX + 6 * (op->op_len + op->result_len);
	char *to;

	if (max > BUFFER) {
		h->error = -EMSGSIZE;
		return;
	}
	if (h->len + max > BUFFER)
		flush(h);
	to = h->buffer + h->len;
	to = put_number(put_text(to, "{\"client\":"), op->client);
	to = put_hex(put_text(to, ",\"id\":\""), op->id, 16);
	to = put_number(put_text(to, "\",\"reqid\":"), op->reqid);
	to = put_number(put_text(to, ",\"invoked_ns\":"), op->invoked_ns);
	to = put_text(to, ",\"completed_ns\":");
	to = op->completed_ns ? put_number(to, op->completed_ns) : put_text(to, "null");
	to = put_string(put_text(to, ",\"op\":"), op->op, op->op_len);
	if (op->completed_ns) {
		to = put_string(put_text(to, ",\"result\":"), op->result, op->result_len);
		to = put_number(put_text(to, ",\"opnum\":"), op->opnum);
		to = put_number(put_text(to, ",\"view\":"), op->view);
	} else {
		to = put_text(to, ",\"result\":null,\"opnum\":null,\"view\":null");
	}
	to = put_number(put_text(to, ",\"sends\":"), op->sends);
	to = put_text(to, "}\n");
	h->len = to - h->buffer;
}

int history_close(struct history *h)
{
	int error;

	if (!h)
		return 0;
	flush(h);
	if (close(h->fd) && !h->error)
		h->error = -errno;
	error = h->error;
	free(h);
	return error;
}
