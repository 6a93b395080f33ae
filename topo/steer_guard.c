// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "topo/steer_guard.h"
#include "topo/seconds.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "netns/ns.h"

struct counters {
	uint64_t frames, bytes; /* that the node sent, those that its device dropped too */
	uint64_t lost;
};

/* Of one device: as /proc/net/dev has it. */
struct device {
	char name[32];
	uint64_t rx_dropped, tx_bytes, tx_frames, tx_dropped;
};

/* Each device of a node's namespace. */
static int read_devices(const struct rack *rack, const char *node,
			void (*fn)(const struct device *d, void *arg), void *arg)
{
	int here = ns_current(), ns = rack_netns(rack, node), ret = -1;
	struct device d;
	char line[512];
	FILE *file = NULL;

	if (here < 0 || ns < 0 || ns_enter(ns))
		goto out;
	file = fopen("/proc/thread-self/net/dev", "re");
	while (file && fgets(line, sizeof(line), file)) {
		if (sscanf(line,
			   " %31[^:]: %*u %*u %*u %" SCNu64 " %*u %*u %*u %*u %" SCNu64 " %" SCNu64
			   " %*u %" SCNu64,
			   d.name, &d.rx_dropped, &d.tx_bytes, &d.tx_frames, &d.tx_dropped) == 5)
			fn(&d, arg);
	}
	ret = file ? 0 : -1;
	ns_enter(here);
out:
	if (ret)
		rack_say("cannot read the counters of %s: %s", node, strerror(errno));
	if (file)
		fclose(file);
	if (ns >= 0)
		close(ns);
	if (here >= 0)
		close(here);
	return ret;
}

struct reading {
	struct counters *c;
	const char *node;
};

static void add_node(const struct device *d, void *arg)
{
	struct reading *r = arg;

	if (strcmp(d->name, RACK_IFACE))
		return;
	r->c->frames = d->tx_frames + d->tx_dropped;
	r->c->bytes = d->tx_bytes;
	r->c->lost += d->tx_dropped;
}

/* Its own port receives, the others transmit. */
static void add_port(const struct device *d, void *arg)
{
	struct reading *r = arg;

	r->c->lost += strcmp(d->name, r->node) ? d->tx_dropped : d->rx_dropped;
}

static int read_node(struct counters *c, const struct rack *rack, const struct rack_node *node)
{
	struct reading r = {c, node->name};

	*c = (struct counters){};
	return read_devices(rack, node->name, add_node, &r);
}

static int read_all(struct counters *c, const struct rack *rack, const struct rack_node *node,
		    const struct steer_state *state)
{
	struct reading r = {c, node->name};

	if (read_node(c, rack, node) || read_devices(rack, "tor", add_port, &r))
		return -1;
	c->lost += state->afxdp.lost + state->afxdp.no_port;
	/* A device that runs native XDP counts redirects that failed as dropped. */
	if (rack->xdp == RACK_GENERIC)
		c->lost += state->redirect_errs + state->socket_full;
	return 0;
}

int guard_measure(struct guard_sample *sample, const struct rack *rack,
		  const struct rack_node *node, const struct steer_state *state, uint64_t ns,
		  int interrupt)
{
	struct pollfd p = {.fd = interrupt, .events = POLLIN};
	uint64_t begin = now_ns(), passed;
	struct counters first, last;
	double seconds;

	if (read_all(&first, rack, node, state))
		return -1;
	/* A signal ends poll() too, before what it wrote is seen. */
	while ((passed = now_ns() - begin) < ns) {
		if (poll(&p, 1, (ns - passed) / 1000000 + 1) > 0)
			return 1;
	}
	if (read_all(&last, rack, node, state))
		return -1;
	seconds = (now_ns() - begin) / 1e9;
	sample->frames = last.frames - first.frames;
	sample->frames_per_s = sample->frames / seconds;
	sample->bytes_per_s = (last.bytes - first.bytes) / seconds;
	sample->loss = sample->frames ? (last.lost - first.lost) * 100.0 / sample->frames : 0;
	return 0;
}

void guard_print(const char *when, const struct guard_sample *s)
{
	printf("%-18s  %10.0f frames/s  %8.3f Gbit/s  %7.3f %% lost\n", when, s->frames_per_s,
	       s->bytes_per_s * 8 / 1e9, s->loss);
	fflush(stdout);
}

/* What is sent faster because it is dropped early is no throughput. */
static double arrives(const struct guard_sample *s)
{
	return s->loss < 100 ? s->bytes_per_s * (100 - s->loss) / 100 : 0;
}

bool guard_worse(const struct guard_sample *before, const struct guard_sample *after, char *why,
		 size_t size)
{
	double had = arrives(before), fall = had ? 100 - 100 * arrives(after) / had : 0;
	bool fell = fall > GUARD_FALL,
	     lost = after->loss > GUARD_LOSS && after->loss > before->loss;
	int at = 0;

	if (fell)
		at = snprintf(why, size, "throughput fell by %.0f %%, more than %d %%", fall,
			      GUARD_FALL);
	if (lost)
		snprintf(why + at, size - at, "%s%.3f %% were lost, more than %.1f %%",
			 fell ? ", and " : "", after->loss, GUARD_LOSS);
	return fell || lost;
}
