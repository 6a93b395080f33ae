/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * elec.h used by something that is not VR: terms and indexes, bodies of its own. Leader
 * and follower are two handles in two namespaces joined by one veth pair:
 *
 *   [a: leader, 10.0.0.1] eth0 ---- eth0 [b: follower, 10.0.0.2]      (10.0.0.3 never answers)
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "replica/elec.h"
#include "replica/wire.h"

#define TERM 7

static struct elec *leader, *follower;
static int spaces[2], sock;

static void enter(int space)
{
	assert_int_equal(setns(space, CLONE_NEWNET), 0);
}

static struct elec *open_in(int space, uint32_t self)
{
	struct elec_member members[3] = {0};
	struct elec_options options = {.iface = "eth0",
				       .offloads = ELEC_OFFLOAD_ALL,
				       .slots = 8,
				       .lease_ms = 60000,
				       .n = 3,
				       .self = self,
				       .members = members};
	char error[4096] = "";
	struct elec *e = NULL;

	for (int i = 0; i < 3; i++) {
		members[i].mac[0] = 2;
		members[i].mac[5] = i + 1;
		members[i].addr = htonl(0x0a000001 + i);
		members[i].port = htons(WIRE_PORT);
	}
	enter(space);
	elec_open(&e, &options, error, sizeof(error));
	assert_string_equal(error, "");
	return e;
}

/* A namespace in which `command` was run. */
static int make_space(const char *command)
{
	assert_int_equal(unshare(CLONE_NEWNET), 0);
	assert_int_equal(system(command), 0);
	return open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
}

static int build(void **state)
{
	struct sockaddr_in own = {.sin_family = AF_INET, .sin_port = htons(WIRE_PORT)};
	char command[512];

	(void)state;
	spaces[1] = make_space("true");
	snprintf(command, sizeof(command),
		 "ip link add eth0 address 02:00:00:00:00:01 type veth"
		 " peer name eth0 address 02:00:00:00:00:02 netns /proc/%d/fd/%d"
		 " && ip addr add 10.0.0.1/24 dev eth0 && ip link set eth0 up"
		 " && ip neigh replace 10.0.0.2 lladdr 02:00:00:00:00:02 dev eth0"
		 " && ethtool -K eth0 tx off >/dev/null",
		 getpid(), spaces[1]);
	spaces[0] = make_space(command);
	sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(sock, (void *)&own, sizeof(own)), 0);
	enter(spaces[1]);
	assert_int_equal(system("ip link set eth0 up"), 0);
	leader = open_in(spaces[0], 0);
	follower = open_in(spaces[1], 1);
	return 0;
}

/* An AppendEntries of one entry, in the wire's frame, with whatever body we like. */
static void append(uint32_t term, uint32_t index, const char *body)
{
	uint32_t fast[3] = {term, index, index};
	size_t head = wire_head_len(WIRE_PREPARE), len = strlen(body);
	uint8_t message[256];

	wire_encode_head(message, WIRE_PREPARE, fast, len);
	memcpy(message + head, body, len);
	assert_int_equal(elec_broadcast(leader, sock, message, head + len, index), 0);
}

static void test_term_and_index(void **state)
{
	struct elec_message m[8];

	(void)state;
	assert_int_equal(elec_thaw(leader, TERM, 0, 0), 0);
	assert_int_equal(elec_thaw(follower, TERM, 0, 0), 0);

	append(TERM, 1, "x=1");
	append(TERM, 2, "y=2");
	assert_int_equal(elec_poll_message(follower, m, 4), 2);
	assert_int_equal(m[1].first, 2);
	assert_memory_equal(m[1].data + m[1].len - 3, "y=2", 3);
	/* Acks are absorbed on the way back of the very send. One of two followers commits. */
	assert_int_equal(elec_acked(leader, 1), 2);
	assert_int_equal(elec_acked(leader, 2), 0);
	assert_int_equal(elec_quorum(leader), 2);

	/* Behind the fence nothing is acked; a stale term neither; the new term goes on. */
	assert_int_equal(elec_freeze(follower), 2);
	append(TERM, 3, "z=3");
	assert_int_equal(elec_thaw(follower, TERM + 1, 0, 2), 0);
	append(TERM, 3, "z=3");
	assert_int_equal(elec_last(follower), 2);
	assert_int_equal(elec_quorum(leader), 2);
	assert_int_equal(elec_thaw(leader, TERM + 1, 0, 3), 0);
	append(TERM + 1, 3, "z=3");
	assert_int_equal(elec_quorum(leader), 3);
	assert_int_equal(elec_poll_message(follower, m, 4), 1);
	assert_true(elec_advance(follower, 4)); /* 4 came another way */

	/* Eight slots: a reader that is behind by a whole log stops the acks until it has read. */
	for (uint32_t index = 5; index <= 13; index++)
		append(TERM + 1, index, "v");
	assert_int_equal(elec_quorum(leader), 12);
	assert_int_equal(elec_poll_message(follower, m, 8), 8);
	elec_consumed(follower, 12);
	append(TERM + 1, 13, "v");
	assert_int_equal(elec_quorum(leader), 13);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_term_and_index)};

	return cmocka_run_group_tests(tests, build, NULL);
}
