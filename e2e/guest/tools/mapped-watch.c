// SPDX-License-Identifier: Apache-2.0
/*
 * A program that goes on with what it has mapped: mapped-watch FILE STOP
 *
 * Maps FILE (4 MiB, which it makes), and every 5 ms, until STOP is there, looks whether a page still holds what it has
 * put there last, and puts something else. Prints how often, and the longest that one such look has taken.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define SIZE (4 << 20)
#define PAGE 4096
#define PAGES (SIZE / PAGE)

static uint64_t now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000ull + now.tv_nsec / 1000;
}

int main(int argc, char **argv)
{
	static uint64_t last[PAGES];
	uint64_t count = 0, longest = 0;
	volatile uint64_t *map;
	int fd;

	if (argc != 3)
		return 2;
	fd = open(argv[1], O_RDWR | O_CREAT, 0644);
	if (fd < 0 || ftruncate(fd, SIZE) != 0)
		return perror(argv[1]), 1;
	map = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
		return perror("mmap"), 1;
	/* From here on everything is there already. */
	for (int page = 0; page < PAGES; page++)
		map[page * (PAGE / 8)] = 0;
	while (access(argv[2], F_OK) != 0) {
		for (int i = 0; i < 100; i++, count++) {
			const int page = count * 7 % PAGES;
			volatile uint64_t *place = &map[page * (PAGE / 8)];
			const uint64_t before = now_us();
			const uint64_t found = *place;
			uint64_t took;

			if (found != last[page])
				return printf("page %d: %llu, not %llu\n", page, (unsigned long long)found,
					      (unsigned long long)last[page]), 1;
			*place = last[page] = count + 1;
			took = now_us() - before;
			if (took > longest)
				longest = took;
			usleep(5000);
		}
	}
	printf("%llu looks, the longest took %llu us\n", (unsigned long long)count, (unsigned long long)longest);
	return 0;
}
