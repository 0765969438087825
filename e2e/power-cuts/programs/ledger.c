// SPDX-License-Identifier: Apache-2.0
/*
 * ledger WAY FILE STEP: puts record STEP into FILE in one of the ways that Linux promises to be durable once the call has
 * returned, and ends with 0 after that. A record is "record STEP " again and again: RECORD bytes, at STEP times as many.
 */
#define _GNU_SOURCE
#include <err.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* Neither end lies at a page's. */
#define RECORD 700
/* What O_DIRECT can write. */
#define ALIGNED 4096

static void fill(char *record, size_t size, int step)
{
	char text[32];
	int length = snprintf(text, sizeof(text), "record %d ", step);

	for (size_t i = 0; i < size; i++)
		record[i] = text[i % (size_t)length];
}

static int opened(const char *file, int flags)
{
	int fd = open(file, flags | O_RDWR | O_CREAT, 0644);

	if (fd < 0)
		err(1, "%s", file);
	return fd;
}

static void written(int fd, const char *record, size_t size, off_t at)
{
	if (pwrite(fd, record, size, at) != (ssize_t)size)
		err(1, "pwrite");
}

static void synced(int result)
{
	if (result != 0)
		err(1, "sync");
}

static void by_mapping(const char *file, const char *record, int step, int unmap_first)
{
	size_t end = (size_t)RECORD * ((size_t)step + 1);
	int fd = opened(file, 0);
	char *map;

	if (ftruncate(fd, (off_t)end) != 0)
		err(1, "ftruncate");
	map = mmap(NULL, end, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
		err(1, "mmap");
	memcpy(map + end - RECORD, record, RECORD);
	if (unmap_first) {
		munmap(map, end);
		synced(fsync(fd));
	} else {
		synced(msync(map, end, MS_SYNC));
	}
}

static void by_rename(char *file, const char *record)
{
	char *new;
	int fd;

	if (asprintf(&new, "%s.new", file) < 0)
		err(1, "asprintf");
	fd = opened(new, O_TRUNC);
	written(fd, record, RECORD, 0);
	synced(fsync(fd));
	if (rename(new, file) != 0)
		err(1, "rename");
	fd = open(dirname(file), O_RDONLY | O_DIRECTORY);
	synced(fsync(fd));
}

int main(int argc, char **argv)
{
	static char record[ALIGNED] __attribute__((aligned(ALIGNED)));
	const char *way = argc == 4 ? argv[1] : "";
	char *file = argv[2];
	int step = argc == 4 ? atoi(argv[3]) : 0;
	off_t at = (off_t)RECORD * step;
	int fd;

	fill(record, sizeof(record), step);
	if (strcmp(way, "fsync") == 0) {
		fd = opened(file, 0);
		written(fd, record, RECORD, at);
		synced(fsync(fd));
	} else if (strcmp(way, "fdatasync") == 0) {
		fd = opened(file, 0);
		written(fd, record, RECORD, at);
		synced(fdatasync(fd));
	} else if (strcmp(way, "o-sync") == 0) {
		written(opened(file, O_SYNC), record, RECORD, at);
	} else if (strcmp(way, "o-dsync") == 0) {
		written(opened(file, O_DSYNC), record, RECORD, at);
	} else if (strcmp(way, "o-direct") == 0) {
		fd = opened(file, O_DIRECT);
		written(fd, record, ALIGNED, (off_t)ALIGNED * step);
		synced(fsync(fd));
	} else if (strcmp(way, "msync") == 0) {
		by_mapping(file, record, step, 0);
	} else if (strcmp(way, "munmap-fsync") == 0) {
		by_mapping(file, record, step, 1);
	} else if (strcmp(way, "rename") == 0) {
		by_rename(file, record);
	} else {
		errx(2, "usage: ledger fsync|fdatasync|o-sync|o-dsync|o-direct|msync|munmap-fsync|rename FILE STEP");
	}
	return 0;
}
