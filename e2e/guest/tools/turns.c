// SPDX-License-Identifier: Apache-2.0
/*
 * Two who share a file take turns with it, through mappings alone: turns FILE 0|1 STOP
 *
 * The first word of FILE is the number of turns. Whose turn it is finds in all other words what the other one has stored last,
 * and then stores something else, until STOP is there. Prints how many turns it has had; fails where a word is wrong, or where
 * the other one has done nothing for ten minutes.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

/* Of two ranges of the window. */
#define STRIDE (2 << 20)
#define SIZE (2 * STRIDE)
#define PAGES 64
#define WORDS 512
#define PATIENCE_SECONDS 600

/* What turn @turn has put into word @word of page @page; a new file has had none. */
static uint64_t stored(uint64_t turn, unsigned int page, unsigned int word)
{
	return turn == 0 ? 0 : turn << 20 | page << 10 | word;
}

/* Half of the pages in each range; the very first one is the number's. */
static uint64_t *page_at(char *map, unsigned int page)
{
	return (uint64_t *)(map + (page % 2) * STRIDE + (1 + page / 2) * 4096);
}

static int take_turn(char *map, uint64_t turn)
{
	for (unsigned int page = 0; page < PAGES; page++) {
		volatile uint64_t *words = page_at(map, page);

		for (unsigned int word = 0; word < WORDS; word++) {
			const uint64_t found = words[word];

			if (found != stored(turn, page, word))
				return printf("turn %llu, page %u, word %u: %llx\n", (unsigned long long)turn, page, word,
					      (unsigned long long)found), 1;
			words[word] = stored(turn + 1, page, word);
		}
	}
	return 0;
}

int main(int argc, char **argv)
{
	uint64_t turns = 0, turn;
	time_t last = time(NULL);
	unsigned int me;
	uint64_t *number;
	char *map;
	int fd;

	if (argc != 4)
		return 2;
	me = atoi(argv[2]);
	fd = open(argv[1], O_RDWR);
	if (fd < 0)
		return perror(argv[1]), 1;
	map = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
		return perror("mmap"), 1;
	number = (uint64_t *)map;
	/* One turn at least: the other one does not stop before it has left it. */
	while (turns == 0 || access(argv[3], F_OK) != 0) {
		turn = __atomic_load_n(number, __ATOMIC_ACQUIRE);
		if (turn % 2 == me) {
			if (take_turn(map, turn) != 0)
				return 1;
			__atomic_store_n(number, turn + 1, __ATOMIC_RELEASE);
			turns++;
			last = time(NULL);
		} else if (time(NULL) - last > PATIENCE_SECONDS) {
			return printf("nobody has taken turn %llu\n", (unsigned long long)turn), 1;
		}
		/* Each sleep is several exits to a host that is emulated. */
		usleep(20000);
	}
	printf("%llu\n", (unsigned long long)turns);
	return 0;
}
