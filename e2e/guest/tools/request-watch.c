// SPDX-License-Identifier: Apache-2.0
/*
 * How long a request takes: request-watch FILE STOP
 *
 * Asks for the attributes of FILE every 5 ms, until STOP is there. Prints, one a line, the microseconds of each that took
 * more than 50 ms, and no errors: the first one ends it.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define LONG_US 50000

static uint64_t now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000ull + now.tv_nsec / 1000;
}

int main(int argc, char **argv)
{
	if (argc != 3)
		return 2;
	while (access(argv[2], F_OK) != 0) {
		const uint64_t before = now_us();
		struct statx attributes;

		/* A GETATTR each time, whatever the guest has in its caches. */
		if (statx(AT_FDCWD, argv[1], AT_STATX_FORCE_SYNC, STATX_BASIC_STATS, &attributes) != 0)
			return perror(argv[1]), 1;
		if (now_us() - before > LONG_US)
			printf("%llu\n", (unsigned long long)(now_us() - before));
		usleep(5000);
	}
	return 0;
}
