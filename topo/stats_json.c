// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* All that was gathered, as one JSON object of several lines: one for each link, port, ... */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "topo/fault.h"
#include "topo/json.h"
#include "topo/stats.h"

/* Elements of an array or object: a comma before each but the first. */
struct list {
	FILE *out;
	const char *between;
	bool begun;
};

static FILE *next(struct list *l)
{
	fputs(l->begun ? "," : "", l->out);
	fputs(l->between, l->out);
	l->begun = true;
	return l->out;
}

static void number(struct list *l, const char *name, uint64_t value)
{
	fprintf(next(l), "\"%s\":%" PRIu64, name, value);
}

static void string(struct list *l, const char *name, const char *value)
{
	fprintf(next(l), "\"%s\":", name);
	json_string(l->out, value);
}

static void boolean(struct list *l, const char *name, bool value)
{
	fprintf(next(l), "\"%s\":%s", name, value ? "true" : "false");
}

#define OBJECT(out) ((struct list){out, "", false})
#define LINES(out) ((struct list){out, "\n    ", false})

static void links_json(FILE *out, const struct rack *rack, const struct stats *s)
{
	struct list lines = LINES(out);

	fprintf(out,
		",\n  \"links\": {\"counting\":%s,\"counted_since_ns\":%llu,\"uncounted\":%llu,"
		"\"counts\":[",
		s->looking.until_ns > s->time_ns ? "true" : "false", s->looking.since_ns,
		s->looking.uncounted);
	for (size_t i = 0; i < s->links; i++) {
		const struct stats_link *l = &s->link[i];
		struct list o = OBJECT(out);

		fputc('{', next(&lines));
		string(&o, "from", fault_node_name(rack, l->link.from));
		string(&o, "to", fault_node_name(rack, l->link.to));
		string(&o, "kind", fault_kind_name(l->link.kind));
		number(&o, "packets", l->counts.packets);
		number(&o, "bytes", l->counts.bytes);
		fputc('}', out);
	}
	fputs("]}", out);
}

static void queues_json(FILE *out, const struct stats_end *end)
{
	struct list queues = OBJECT(out);

	fputs(",\"queues\":[", out);
	for (unsigned int i = 0; i < end->queues; i++) {
		const struct look_queue *q = &end->queue[i];
		struct list o = OBJECT(out);

		fputc('{', next(&queues));
		number(&o, "packets", q->packets);
		number(&o, "bytes", q->bytes);
		number(&o, "drops", q->drops);
		number(&o, "xdp_drops", q->xdp_drops);
		number(&o, "xdp_redirect", q->xdp_redirect);
		number(&o, "xdp_tx", q->xdp_tx);
		number(&o, "xdp_tx_errors", q->xdp_tx_errors);
		fputc('}', out);
	}
	fputc(']', out);
}

/* Received: what comes in by the port is what the node sent, and the other way round. */
static void end_json(struct list *o, const char *name, const struct stats_end *end)
{
	struct list e = OBJECT(o->out);

	fprintf(next(o), "\"%s\":{", name);
	number(&e, "rx_packets", end->link.rx_packets);
	number(&e, "rx_bytes", end->link.rx_bytes);
	number(&e, "rx_dropped", end->link.rx_dropped);
	number(&e, "tx_packets", end->link.tx_packets);
	number(&e, "tx_bytes", end->link.tx_bytes);
	number(&e, "tx_dropped", end->link.tx_dropped);
	string(&e, "xdp", stats_attached_name(end->link.attached));
	queues_json(o->out, end);
	fputc('}', o->out);
}

static void nodes_json(FILE *out, const struct rack *rack, const struct stats *s)
{
	struct list lines = LINES(out);

	fputs(",\n  \"nodes\": [", out);
	for (unsigned int i = 0; i < rack->count; i++) {
		struct list o = OBJECT(out), r = OBJECT(out);

		fputc('{', next(&lines));
		string(&o, "node", rack->nodes[i].name);
		end_json(&o, "port", &s->node[i].end[STATS_PORT]);
		end_json(&o, RACK_IFACE, &s->node[i].end[STATS_NODE]);
		fputs(",\"reasons\":{", out);
		for (unsigned int reason = 0; reason < TOR_R_COUNT; reason++)
			number(&r, stats_reason_name(reason), s->node[i].reasons[reason]);
		fputs("}}", out);
	}
	fputc(']', out);
}

static void programs_json(FILE *out, const struct rack *rack, const struct stats *s)
{
	struct list lines = LINES(out);
	char place[32];

	fputs(",\n  \"programs\": [", out);
	for (size_t i = 0; i < s->programs; i++) {
		const struct stats_program *p = &s->program[i];
		struct list o = OBJECT(out), v = OBJECT(out);

		fputc('{', next(&lines));
		number(&o, "id", p->id);
		string(&o, "name", p->name);
		string(&o, "hook", stats_hook_name(p->hook));
		if (p->hook == STATS_XDP)
			string(&o, "mode", stats_attached_name(p->attached));
		string(&o, "at", stats_place(place, rack, p));
		number(&o, "places", p->places);
		boolean(&o, "ours", p->ours);
		number(&o, "runs", p->runs);
		number(&o, "run_ns", p->run_ns);
		fputs(",\"verdicts\":{", out);
		for (unsigned int k = 0; k < STATS_VERDICTS; k++) {
			const char *name = stats_verdict_name(p->hook, k);

			if (!name)
				continue;
			if (p->known >> k & 1)
				number(&v, name, p->verdict[k]);
			else
				fprintf(next(&v), "\"%s\":null", name);
		}
		fputc('}', out);
		if (p->hook == STATS_XDP)
			number(&o, "failed", p->failed);
		fputc('}', out);
	}
	fputc(']', out);
}

static void exceptions_json(FILE *out, const struct rack *rack, const struct stats *s)
{
	struct list lines = LINES(out);

	fputs(",\n  \"exceptions\": ", out);
	if (!s->watched) {
		fputs("null", out);
		return;
	}
	fputc('[', out);
	for (size_t i = 0; i < s->exceptions; i++) {
		const struct stats_exception *e = &s->exception[i];
		const char *action = stats_verdict_name(STATS_XDP, e->action);
		struct list o = OBJECT(out);

		fputc('{', next(&lines));
		number(&o, "program", e->program);
		string(&o, "node", rack->nodes[e->node].name);
		string(&o, "side", e->side == STATS_PORT ? "port" : RACK_IFACE);
		number(&o, "action_number", e->action);
		string(&o, "action", action);
		string(&o, "error", e->error ? strerror(-e->error) : NULL);
		number(&o, "to_ifindex", e->to_ifindex);
		number(&o, "count", e->count);
		fputc('}', out);
	}
	fputc(']', out);
}

static void words_json(struct list *o, const struct stats_replica *r)
{
	struct list w = OBJECT(o->out), c = OBJECT(o->out);

	fputs("\"kernel\":", next(o));
	if (!r->offloaded) {
		fputs("null", o->out);
		return;
	}
	fputc('{', o->out);
	boolean(&w, "frozen", r->gate & ELEC_FROZEN);
	number(&w, "epoch", ELEC_WORD_EPOCH(r->gate));
	number(&w, "last", ELEC_WORD_OP(r->gate));
	number(&w, "view", r->control.view);
	number(&w, "leader", r->control.leader);
	number(&w, "committed", r->committed);
	number(&w, "sent", r->sent);
	number(&w, "consumed", r->consumed);
	fputs(",\"reasons\":{", o->out);
	for (unsigned int i = 0; i < ELEC_R_COUNT; i++)
		number(&c, stats_elec_reason_name(i), r->reasons[i]);
	fputs("}}", o->out);
}

static void replicas_json(FILE *out, const struct rack *rack, const struct stats *s)
{
	struct list lines = LINES(out);

	fputs(",\n  \"replicas\": [", out);
	for (unsigned int i = 0; i < rack->replicas; i++) {
		const struct stats_replica *r = &s->replica[i];
		struct list o = OBJECT(out), dead = OBJECT(out);

		fputc('{', next(&lines));
		string(&o, "node", rack_nth(rack, RACK_REPLICA, i)->name);
		if (r->pid)
			number(&o, "pid", r->pid);
		else
			fputs("\"pid\":null", next(&o));
		string(&o, "status", r->told ? status_name(r->status.status) : NULL);
		if (r->told) {
			number(&o, "silent_us", r->silent_us);
			number(&o, "leader", r->status.leader);
#define X(field, name) number(&o, name, r->status.field);
			STATUS_VALUES(X)
#undef X
			fputs(",\"dead_peers\":[", out);
			for (unsigned int k = 0; k < rack->replicas; k++) {
				if (r->status.dead >> k & 1)
					json_string(next(&dead),
						    rack_nth(rack, RACK_REPLICA, k)->name);
			}
			fputc(']', out);
		}
		words_json(&o, r);
		fputc('}', out);
	}
	fputc(']', out);
}

int stats_json(FILE *out, const struct rack *rack, const struct stats *s)
{
	fprintf(out, "{\n  \"rack\": ");
	json_string(out, rack->name);
	fprintf(out, ",\n  \"time_ns\": %" PRIu64 ",\n  \"xdp\": \"%s\"", s->time_ns,
		rack_xdp_name(rack->xdp));
	links_json(out, rack, s);
	nodes_json(out, rack, s);
	programs_json(out, rack, s);
	exceptions_json(out, rack, s);
	replicas_json(out, rack, s);
	fputs("\n}\n", out);
	return fflush(out) ? -errno : 0;
}
