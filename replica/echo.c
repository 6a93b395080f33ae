// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "replica/echo.h"

#include <stdlib.h>
#include <string.h>

struct echo {
	const struct app *app;
	void *state;
	uint64_t count;
	struct message m;
	struct vr_action action;
	uint8_t result[VR_OP_MAX_DEFAULT];
	uint8_t reply[WIRE_FRAGMENT_MAX];
};

struct echo *echo_open(const struct app *app)
{
	struct echo *echo = calloc(1, sizeof(*echo));

	if (!echo)
		return NULL;
	echo->app = app;
	echo->state = app->open();
	if (!echo->state) {
		free(echo);
		return NULL;
	}
	return echo;
}

void echo_close(struct echo *echo)
{
	if (!echo)
		return;
	echo->app->close(echo->state);
	free(echo);
}

/* Its result as a Reply of view 0, whose leader is the replica that is asked. */
static void answer(struct echo *echo, const struct entry *e, const struct vr_event *event)
{
	struct message *m = &echo->m;

	memset(m, 0, offsetof(struct message, crash));
	m->kind = WIRE_REPLY;
	m->opnum = ++echo->count;
	m->reqid = e->reqid;
	m->reply.data = echo->result;
	m->reply.len = echo->app->apply(echo->state, e->op.data, e->op.len, echo->result,
					sizeof(echo->result));
	echo->action = (struct vr_action){
		.kind = VR_REPLY,
		.address = event->address,
		.data = echo->reply,
		.len = message_encode(m, echo->reply, sizeof(echo->reply)),
	};
}

enum vr_result echo_step(struct echo *echo, const struct vr_event *event, struct vr_out *out)
{
	struct entry e;

	*out = (struct vr_out){&echo->action, 0};
	if (event->kind != VR_EVENT_MESSAGE ||
	    message_decode(&echo->m, event->data, event->len, &e, 1) != WIRE_OK ||
	    echo->m.kind != WIRE_REQUEST)
		return VR_OK;
	answer(echo, &e, event);
	out->count = echo->action.len > 0; /* not when it takes more than one datagram */
	return VR_OK;
}

uint64_t echo_count(const struct echo *echo)
{
	return echo->count;
}
