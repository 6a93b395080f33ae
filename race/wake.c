/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Rounds in which the reader sleeps, and Prepares arrive at the moment when it says so:
 *
 *   reader     poll until nothing is left -> a while -> elec_sleep() -> epoll_wait()
 *   publisher  all consumed? -> a while -> as many ops as are worth a wake-up, and no more
 *
 * Only the wake-up ends the sleep: nothing follows that would hide that one was lost.
 */
#include <sched.h>
#include <sys/epoll.h>

#include "race/race.h"

/* Rounds of an empty loop. A run takes some thousand from its call to its wake-up. */
#define PUBLISHER_PAUSE 1000
#define READER_PAUSE 20000
#define SPIN 300000	 /* so long the publisher keeps its CPU, for the reader to come at once */
#define NAP_MS 20	 /* then the reader looks whether it should have been woken ... */
#define DELIVERY_MS 2000 /* ... and lets the kernel deliver what has been sent by then */

static uint32_t worth(const struct race *r)
{
	return r->state->wake_backlog ? r->state->wake_backlog : 1;
}

void wake_publish(struct driver *d)
{
	struct race *r = d->race;
	uint32_t epoch = elec_next_epoch(r->elec) - 1, op = OWN_FIRST, spins = 0;

	while (round_goes_on(r)) {
		if (__atomic_load_n(&r->state->consumed, __ATOMIC_ACQUIRE) < op) {
			if (++spins % SPIN == 0)
				sched_yield();
			continue;
		}
		pause_a_while(&d->rng, PUBLISHER_PAUSE);
		__atomic_store_n(&r->publishing, true, __ATOMIC_SEQ_CST);
		for (uint32_t i = 0; i < worth(r); i++) {
			struct spec s = {
				.kind = WIRE_PREPARE,
				.view = epoch,
				.op = ++op,
				.first = op,
				.from = frame_leader(epoch),
			};

			drive_run(d, &s);
		}
		__atomic_store_n(&r->publishing, false, __ATOMIC_SEQ_CST);
	}
}

/* Whoever published what there is to read is done, and its wake-up does not come. */
static bool overslept(struct race *r)
{
	struct epoll_event event;

	if (elec_last(r->elec) - r->own < worth(r))
		return false;
	while (__atomic_load_n(&r->publishing, __ATOMIC_SEQ_CST))
		sched_yield();
	return !epoll_wait(r->epoll, &event, 1, DELIVERY_MS);
}

void wake_read(struct race *r)
{
	struct epoll_event event;

	while (control_goes_on(r)) {
		if (control_poll(r, true))
			continue;
		pause_a_while(&r->rng, READER_PAUSE);
		elec_stamp(r->elec);
		if (!elec_sleep(r->elec))
			continue;
		r->sleeps++;
		if (!epoll_wait(r->epoll, &event, 1, NAP_MS) && overslept(r))
			violation(r, "L1", "the reader sleeps with ops %u..%u to read", r->own + 1,
				  (uint32_t)elec_last(r->elec));
		elec_awake(r->elec);
	}
}
