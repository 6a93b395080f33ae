// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Each frame is sent by a call of its own: only so is it known which one failed. */
#include "topo/steer_send.h"

#include <errno.h>
#include <linux/if_packet.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bpf/tor.h"
#include "topo/seconds.h"
#include "topo/tors.h"

int steer_sender_open(struct steer_sender *s, const struct rack *rack, struct steer_afxdp *counts)
{
	*s = (struct steer_sender){rack, counts, socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0)};
	if (s->stack >= 0)
		return 0;
	return rack_say("the path afxdp: cannot open its packet socket: %s", strerror(errno));
}

void steer_sender_close(struct steer_sender *s)
{
	if (s->stack >= 0)
		close(s->stack);
}

/* The bridge takes it like a frame of its own: where its MAC, whose end is an index, says. */
static void to_stack(const struct steer_sender *s, const uint8_t *data, uint32_t len)
{
	unsigned int node = data[4] << 8 | data[5];
	struct sockaddr_ll to = {.sll_family = AF_PACKET, .sll_ifindex = TOR_BRIDGE_IFINDEX};

	if (node < s->rack->count)
		to.sll_ifindex = tors_bridge(s->rack->nodes[node].tor);

	if (sendto(s->stack, data, len, 0, (struct sockaddr *)&to, sizeof(to)) == (ssize_t)len)
		s->counts->to_stack++;
	else
		s->counts->lost++;
}

/*
 * What the device dropped comes back as a free one and cannot be sent again: a copy of it can,
 * while its bytes are there.
 */
static bool copy_frame(struct xsk_umem *memory, struct xsk *out, struct xsk_frame *f)
{
	uint64_t addr;

	xsk_reap(out);
	if (!xsk_take(memory, &addr))
		return false;
	memmove(xsk_data(memory, addr), xsk_data(memory, f->addr), f->len);
	f->addr = addr;
	return true;
}

/* Entries that xsk_unsend() left take a call each (Linux 6.6 and newer). */
static int kick(struct xsk *out)
{
	uint32_t calls = xsk_unsent(out) + 1;
	int ret;

	do
		ret = xsk_kick(out);
	while (!ret && xsk_unsent(out) && --calls);
	return !ret && xsk_unsent(out) ? -EAGAIN : ret;
}

void steer_send(const struct steer_sender *s, struct xsk_umem *memory, struct xsk *out,
		struct xsk_frame f)
{
	bool queued = false, dropped = false;
	uint64_t begin = 0;
	int ret;

	for (int tries = 0;; tries++) {
		queued = queued || xsk_send(out, &f);
		ret = kick(out);
		if (queued && !ret) {
			s->counts->sent++;
			s->counts->zero_copied += xsk_zero_copy(out);
			xsk_reap(out);
			return;
		}
		dropped = queued && ret == -EBUSY;
		queued = queued && !dropped;
		if (!begin)
			begin = now_ns();
		if (tries == STEER_TRIES || now_ns() - begin >= STEER_TRY_NS)
			break;
		if (dropped && !copy_frame(memory, out, &f))
			break;
		s->counts->retries++;
	}
	to_stack(s, xsk_data(memory, f.addr), f.len);
	if (queued)
		xsk_unsend(out);
	if (!dropped)
		xsk_free(memory, f.addr);
	xsk_reap(out);
}
