// SPDX-License-Identifier: Apache-2.0
/*
 * Whether this machine executes what it has read: code-check DIR writes files of code in DIR, each of whose pages is a function
 * that returns a number of its own. Then file after file is read, executed, and dropped from the page cache, so that the
 * next one gets the same pages of memory.
 *
 * An emulator that does not see pages being filled goes on executing what it has translated of their former contents.
 *
 * Exit status 1 if a function returned a wrong number, 2 if nothing can be said, since no page of memory was used again.
 */
#define _GNU_SOURCE
#include <err.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { FILES = 16, PAGES = 32, PAGE_BYTES = 4096, ROUNDS = 8, FRAMES = 1 << 24 };

static uint32_t number_of(int file, int page)
{
	return 0x10000000u + (uint32_t)(file * PAGES + page);
}

static void write_file(const char *path, int file)
{
	static unsigned char page[PAGE_BYTES];
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0755);

	if (fd < 0)
		err(2, "%s", path);
	for (int i = 0; i < PAGES; i++) {
		uint32_t number = number_of(file, i);

		/* mov $number, %eax; ret */
		page[0] = 0xb8;
		memcpy(page + 1, &number, sizeof(number));
		page[5] = 0xc3;
		if (write(fd, page, sizeof(page)) != sizeof(page))
			err(2, "write %s", path);
	}
	if (fsync(fd) || posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) || close(fd))
		err(2, "fsync %s", path);
}

/* Whether the page's frame has been seen before; tells it from proc(5), pagemap. */
static int seen_before(const void *page)
{
	static unsigned char seen[FRAMES / 8];
	uint64_t entry;
	int fd = open("/proc/self/pagemap", O_RDONLY);
	uint32_t frame;
	int was;

	if (fd < 0 || pread(fd, &entry, sizeof(entry), (uintptr_t)page / PAGE_BYTES * sizeof(entry)) != sizeof(entry))
		err(2, "pagemap");
	close(fd);
	frame = entry % FRAMES;
	was = seen[frame / 8] >> frame % 8 & 1;
	seen[frame / 8] |= 1 << frame % 8;
	return was;
}

/* Calls all functions of a file: how many returned another number than they have, and how many lay in a frame of before. */
static void call_all(const char *path, int file, int *wrong, int *again)
{
	int fd = open(path, O_RDONLY);
	unsigned char *code = mmap(NULL, PAGES * PAGE_BYTES, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0);

	if (fd < 0 || code == MAP_FAILED)
		err(2, "%s", path);
	for (int i = 0; i < PAGES; i++) {
		uint32_t (*function)(void) = (uint32_t (*)(void))(uintptr_t)(code + i * PAGE_BYTES);

		*wrong += function() != number_of(file, i);
		*again += seen_before(code + i * PAGE_BYTES);
	}
	munmap(code, PAGES * PAGE_BYTES);
	if (posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) || close(fd))
		err(2, "fadvise %s", path);
}

int main(int argc, char **argv)
{
	char path[4096];
	int wrong = 0, again = 0;

	if (argc != 2)
		errx(2, "usage: code-check DIR");
	for (int file = 0; file < FILES; file++) {
		snprintf(path, sizeof(path), "%s/code-%d", argv[1], file);
		write_file(path, file);
	}
	for (int round = 0; round < ROUNDS; round++)
		for (int file = 0; file < FILES; file++) {
			snprintf(path, sizeof(path), "%s/code-%d", argv[1], file);
			call_all(path, file, &wrong, &again);
		}
	for (int file = 0; file < FILES; file++) {
		snprintf(path, sizeof(path), "%s/code-%d", argv[1], file);
		unlink(path);
	}
	printf("%d of %d functions were another one, %d lay where one had been\n", wrong, ROUNDS * FILES * PAGES, again);
	return wrong ? 1 : again ? 0 : 2;
}
