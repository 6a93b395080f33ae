// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* What is wrong with what joins nodes: bridges, uplinks, spine, vxlan (as tors.c built them). */
#include <string.h>

#include "topo/doctor_rack.h"

/* " ToR 1", or of a rack that has but one "". */
static const char *tor_text(char buf[16], const struct rack *rack, unsigned int tor)
{
	buf[0] = '\0';
	if (rack->file->tors_count)
		snprintf(buf, 16, " ToR %u", tor);
	return buf;
}

static void check_vxlan(const struct doctor_end *e, const struct rack_facts *facts)
{
	const struct rack *rack = e->rack;
	char host[DOCTOR_ADDR_MAX], mac[DOCTOR_MAC_MAX];

	for (unsigned int t = 0; t < rack->tors; t++) {
		if (rack->tor[t].here || facts->flooded[t] || !tors_first(rack, t))
			continue;
		doctor_addr(host, rack->tor[t].host);
		doctor_wrong(e, "vxlan_host", "frames for all are not sent to %s", host);
		doctor_so(e->d, "ARP and multicast do not reach that host");
		doctor_mend(e, "bridge fdb append 00:00:00:00:00:00 dev %s dst %s self permanent",
			    e->device, host);
	}
	for (unsigned int i = 0; i < rack->count; i++) {
		const struct rack_node *node = &rack->nodes[i];

		if (node->here || facts->node[i].told)
			continue;
		doctor_addr(host, rack->tor[node->tor].host);
		doctor_wrong(e, "vxlan_node", "%s is not known to be on %s", node->name, host);
		doctor_so(e->d, "what is for it never leaves this host");
		doctor_mend(e, "bridge fdb replace %s dev %s dst %s self permanent",
			    doctor_mac(mac, node->mac), e->device, host);
	}
}

static void check_joint(const struct doctor_end *e, const struct tors_facts *device,
			const struct rack_facts *facts)
{
	const struct look_link *link = &device->is.link;
	char bridge[IFNAMSIZ] = "spine";

	if (device->want.kind == TORS_UP)
		snprintf(bridge, sizeof(bridge), "br%u", device->want.tor);
	doctor_check_link(e, &device->is);
	doctor_check_port(e, &device->is, bridge);
	doctor_check_tc(e, &device->is, "tor_uplink", facts->uplink);
	if (link->xdp) {
		doctor_wrong(e, "xdp_program", "an XDP program that is not the switch's");
		doctor_so(e->d, "it may drop or change what goes between ToRs");
		doctor_mend_xdp(e, link, NULL, false);
	}
}

void doctor_tors(struct doctor *d, const struct rack *rack, const struct rack_facts *facts)
{
	for (unsigned int i = 0; i < facts->tors_count; i++) {
		const struct tors_facts *device = &facts->tors[i];
		const struct tors_device *want = &device->want;
		char tor[16], cut[128];
		struct doctor_end e = {.d = d,
				       .rack = rack,
				       .name = want->name,
				       .place = "tor",
				       .device = want->name,
				       .cut = cut,
				       .mac_so = "the bridge may keep frames for itself"};

		memcpy(e.mac, want->mac, 6);
		tor_text(tor, rack, want->tor);
		if (want->kind == TORS_BRIDGE)
			snprintf(cut, sizeof(cut),
				 "group frames, ARP and all that takes the stack's path are lost "
				 "behind%s%s",
				 tor, tor[0] ? "" : " it");
		else if (want->kind == TORS_SPINE)
			snprintf(cut, sizeof(cut), "group frames and ARP do not leave their ToR");
		else if (want->kind == TORS_VXLAN)
			snprintf(cut, sizeof(cut), "the other hosts are cut off");
		else
			snprintf(cut, sizeof(cut), "all nodes behind%s are cut off from the others",
				 tor);
		if (!doctor_check_device(&e, &device->is) || !want->bridge)
			continue;
		check_joint(&e, device, facts);
		if (want->kind == TORS_VXLAN)
			check_vxlan(&e, facts);
	}
}
