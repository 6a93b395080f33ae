// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * When packets are worth keeping: from shortly before an event until some time after it was
 * done, or until there are enough of them. Under load that is soon; where little is sent,
 * as in a view change, it is late.
 */
#include "topo/trial_internal.h"

#define LEAD_NS 5000000

static int64_t lead_ns(const struct trial *t)
{
	return t->e->around_ns < LEAD_NS ? (int64_t)t->e->around_ns : LEAD_NS;
}

/* The next beginning; *asked: which of the times that the file asks for, if it is one. */
static int64_t next_begin(const struct trial *t, unsigned int *asked)
{
	int64_t next = timeline_next_ns(&t->timeline);

	*asked = EXPERIMENT_ROOM_MAX;
	next = next == INT64_MAX ? next : next - lead_ns(t);
	for (unsigned int i = 0; i < t->e->captures_at; i++) {
		int64_t at = t->timeline.start_ns + (int64_t)t->e->capture_at_ns[i] - lead_ns(t);

		if (!t->captured[i] && at < next) {
			next = at;
			*asked = i;
		}
	}
	return next;
}

int64_t trial_capture_due(const struct trial *t)
{
	unsigned int asked;
	int64_t next;

	if (!t->capture)
		return INT64_MAX;
	next = next_begin(t, &asked);
	/* in force already for an event: that stays the next until it was done */
	if (t->capture_until_ns && asked == EXPERIMENT_ROOM_MAX)
		next = INT64_MAX;
	return t->capture_until_ns && t->capture_until_ns < next ? t->capture_until_ns : next;
}

static int begin(struct trial *t, int64_t until_ns, uint64_t packets)
{
	bool off = !t->capture_until_ns;

	if (t->capture_until_ns < until_ns)
		t->capture_until_ns = until_ns;
	capture_limit(t->capture, packets);
	return off ? capture_begin(t->capture) : 0;
}

int trial_capture(struct trial *t, int64_t now)
{
	int64_t around = (int64_t)t->e->around_ns, at;
	unsigned int asked;

	if (!t->capture)
		return 0;
	while ((at = next_begin(t, &asked)) <= now) {
		if (asked == EXPERIMENT_ROOM_MAX) {
			/* until it was done everything is kept */
			if (begin(t, at + lead_ns(t) + around, UINT64_MAX))
				return -1;
			break;
		}
		t->captured[asked] = true;
		if (begin(t, at + lead_ns(t) + around, t->e->around_packets))
			return -1;
	}
	if (t->capture_until_ns && (t->capture_until_ns <= now || capture_full(t->capture))) {
		t->capture_until_ns = 0;
		return capture_end(t->capture);
	}
	return 0;
}

int trial_capture_more(struct trial *t)
{
	if (!t->capture)
		return 0;
	return begin(t, replicas_now_ns() + (int64_t)t->e->around_ns, t->e->around_packets);
}
