/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "replica/neighbour.h"

#define RESOLVE_MS 1000
#define DISCARD_PORT 9 /* RFC 863 */

static int device_ioctl(const char *iface, unsigned long request, struct ifreq *ifr)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), ret;

	if (fd < 0)
		return -errno;
	memset(ifr, 0, sizeof(*ifr));
	snprintf(ifr->ifr_name, sizeof(ifr->ifr_name), "%s", iface);
	ret = ioctl(fd, request, ifr) ? -errno : 0;
	close(fd);
	return ret;
}

int neighbour_own_mac(const char *iface, uint8_t mac[6])
{
	struct ifreq ifr;
	int ret = device_ioctl(iface, SIOCGIFHWADDR, &ifr);

	if (!ret)
		memcpy(mac, ifr.ifr_hwaddr.sa_data, 6);
	return ret;
}

int neighbour_mtu(const char *iface)
{
	struct ifreq ifr;
	int ret = device_ioctl(iface, SIOCGIFMTU, &ifr);

	return ret ? ret : ifr.ifr_mtu;
}

static int lookup(const char *iface, uint32_t addr, uint8_t mac[6])
{
	char line[256], name[64], hardware[64], device[64];
	FILE *table = fopen("/proc/net/arp", "re");
	unsigned int flags, b[6];
	int ret = -ENOENT;

	if (!table)
		return -errno;
	while (ret && fgets(line, sizeof(line), table)) {
		if (sscanf(line, "%63s 0x%*x 0x%x %63s %*s %63s", name, &flags, hardware, device) !=
			    4 ||
		    strcmp(device, iface) || inet_addr(name) != addr ||
		    !(flags & 2) /* ATF_COM */ ||
		    sscanf(hardware, "%x:%x:%x:%x:%x:%x", b, b + 1, b + 2, b + 3, b + 4, b + 5) !=
			    6)
			continue;
		for (int i = 0; i < 6; i++)
			mac[i] = b[i];
		ret = 0;
	}
	fclose(table);
	return ret;
}

int neighbour_mac(const char *iface, uint32_t addr, uint8_t mac[6])
{
	struct sockaddr_in to = {
		.sin_family = AF_INET,
		.sin_addr.s_addr = addr,
		.sin_port = htons(DISCARD_PORT),
	};
	const struct timespec pause = {.tv_nsec = 10000000};
	int ret = lookup(iface, addr, mac), fd;

	if (ret != -ENOENT)
		return ret;
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	sendto(fd, "", 1, 0, (void *)&to, sizeof(to));
	close(fd);
	for (int waited = 0; ret == -ENOENT && waited < RESOLVE_MS; waited += 10) {
		nanosleep(&pause, NULL);
		ret = lookup(iface, addr, mac);
	}
	return ret;
}
