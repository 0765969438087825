// SPDX-License-Identifier: Apache-2.0
/* copy_file_range(2). */
#define _GNU_SOURCE
#include "check.h"

#include <stdio.h>
#include <stdlib.h>

/* Copies all of a range, however many calls that takes; gives their number, or -1. */
static int copy_all(int from, off_t in, int to, off_t out, off_t length)
{
	int calls = 0;
	while (length > 0) {
		ssize_t copied = copy_file_range(from, &in, to, &out, (size_t)length, 0);
		if (copied <= 0)
			return -1;
		length -= copied;
		calls++;
	}
	return calls;
}

static int small(void)
{
	char text[32] = "";
	MUST(make_file("from", 0644, "0123456789") == 0);
	int from = open("from", O_RDONLY), to = open("to", O_RDWR | O_CREAT, 0644);
	off_t in = 2, out = 1;
	MUST(copy_file_range(from, &in, to, &out, 5, 0) == 5 && in == 7 && out == 6);
	MUST(pread(to, text, sizeof(text), 0) == 6 && memcmp(text, "\00023456", 6) == 0);
	/* Up to the end, then nothing. */
	MUST(copy_file_range(from, &in, to, &out, 100, 0) == 3 && copy_file_range(from, &in, to, &out, 100, 0) == 0);
	MUST(status_of("to").st_size == 9);
	/* With the descriptors' own positions. */
	MUST(lseek(from, 8, SEEK_SET) == 8 && lseek(to, 0, SEEK_SET) == 0);
	MUST(copy_file_range(from, NULL, to, NULL, 2, 0) == 2 && lseek(from, 0, SEEK_CUR) == 10);
	MUST(pread(to, text, 2, 0) == 2 && memcmp(text, "89", 2) == 0);
	/* Data that nobody has synced. */
	int fresh = open("fresh", O_RDWR | O_CREAT, 0644);
	MUST(write(fresh, "fresh", 5) == 5);
	in = out = 0;
	MUST(copy_file_range(fresh, &in, to, &out, 5, 0) == 5 && pread(to, text, 5, 0) == 5 && memcmp(text, "fresh", 5) == 0);
	/* What the target's readers have seen before does not stay. */
	MUST(pwrite(fresh, "FRESH", 5, 0) == 5);
	in = out = 0;
	MUST(copy_file_range(fresh, &in, to, &out, 5, 0) == 5 && pread(to, text, 5, 0) == 5 && memcmp(text, "FRESH", 5) == 0);
	return 0;
}

static int refusals(void)
{
	MUST(make_file("file", 0644, "0123456789") == 0 && mkdir("dir", 0755) == 0);
	int fd = open("file", O_RDWR), reader = open("file", O_RDONLY), appender = open("other", O_WRONLY | O_CREAT | O_APPEND, 0644);
	off_t in = 0, out = 3;
	MUST_FAIL(copy_file_range(fd, &in, fd, &out, 5, 0), EINVAL);
	in = 0, out = 5;
	MUST(copy_file_range(fd, &in, fd, &out, 5, 0) == 5 && holds("file", "0123401234"));
	in = out = 0;
	MUST_FAIL(copy_file_range(fd, &in, reader, &out, 5, 0), EBADF);
	MUST_FAIL(copy_file_range(fd, &in, appender, &out, 5, 0), EBADF);
	MUST_FAIL(copy_file_range(fd, &in, open("dir", O_RDONLY), &out, 5, 0), EISDIR);
	MUST_FAIL(copy_file_range(fd, &in, open("new", O_WRONLY | O_CREAT, 0644), &out, 5, 1), EINVAL);
	return 0;
}

static int over_4_gib(void)
{
	enum { ISLAND = 100000 };
	static const off_t islands[] = {0, (1LL << 30) + 7, (4LL << 30) - ISLAND / 2, (5LL << 30) + 4096};
	static char buffer[ISLAND], other[ISLAND];
	const off_t size = (6LL << 30) + 5;
	int from = open("from", O_RDWR | O_CREAT, 0644), to = open("to", O_RDWR | O_CREAT, 0644);
	MUST(from >= 0 && to >= 0);
	for (int island = 0; island < 4; island++) {
		for (int index = 0; index < ISLAND; index++)
			buffer[index] = (char)(index * 7 + island + 1);
		MUST(pwrite(from, buffer, ISLAND, islands[island]) == ISLAND);
	}
	MUST(ftruncate(from, size) == 0 && fsync(from) == 0);
	/* What is in the way must become a hole. */
	MUST(pwrite(to, buffer, ISLAND, 3LL << 30) == ISLAND && pwrite(to, buffer, 1, (2LL << 30) + 1) == 1);
	MUST(copy_all(from, 0, to, 0, size) > 0);
	MUST_BE(status_of("to").st_size, size);
	for (int island = 0; island < 4; island++) {
		MUST(pread(from, buffer, ISLAND, islands[island]) == ISLAND);
		MUST(pread(to, other, ISLAND, islands[island]) == ISLAND && memcmp(buffer, other, ISLAND) == 0);
	}
	memset(buffer, 0, ISLAND);
	MUST(pread(to, other, ISLAND, 3LL << 30) == ISLAND && memcmp(buffer, other, ISLAND) == 0);
	MUST(pread(to, other, 1, (2LL << 30) + 1) == 1 && other[0] == 0);
	MUST(pread(to, other, ISLAND, islands[1] + ISLAND) == ISLAND && memcmp(buffer, other, ISLAND) == 0);
	if (trait("sparse-copies"))
		MUST(status_of("to").st_blocks * 512 < 16 << 20);
	MUST(ftruncate(to, 0) == 0 && ftruncate(from, 0) == 0);
	return 0;
}

static int into_the_middle(void)
{
	/* A range within a longer target leaves what is around it, and holes of the source too. */
	enum { MIB = 1 << 20, SIZE = 8 * MIB };
	char *expected = malloc(SIZE), *actual = malloc(SIZE);
	int from = open("from", O_RDWR | O_CREAT, 0644), to = open("to", O_RDWR | O_CREAT, 0644);
	memset(expected, 'o', SIZE);
	MUST(pwrite(to, expected, SIZE, 0) == SIZE);
	MUST(pwrite(from, "first", 5, 3 * MIB + 11) == 5 && ftruncate(from, 6 * MIB) == 0 && fsync(from) == 0);
	MUST(copy_all(from, 5, to, MIB + 3, 5 * MIB) > 0);
	memset(expected + MIB + 3, 0, 5 * MIB);
	memcpy(expected + MIB + 3 + 3 * MIB + 11 - 5, "first", 5);
	MUST(pread(to, actual, SIZE, 0) == SIZE && memcmp(expected, actual, SIZE) == 0);
	MUST_BE(status_of("to").st_size, SIZE);
	free(expected);
	free(actual);
	return 0;
}

CLASS(copy, "copy", {"small ranges", small}, {"refusals", refusals}, {"a sparse file over 4 GiB", over_4_gib},
      {"into the middle of data", into_the_middle});
