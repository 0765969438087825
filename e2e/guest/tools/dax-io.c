// SPDX-License-Identifier: Apache-2.0
/*
 * I/O through mappings, for tests of a DAX mount:
 *   dax-io copy FROM TO          both mapped, memcpy, fsync
 *   dax-io hold FROM COMMAND     COMMAND is run while every page of FROM is mapped; the mapping still reads the same
 *   dax-io keep FROM COMMAND     COMMAND is run while FROM is mapped, and open no more; every page is rewritten before and after
 *   dax-io touch FROM TO         one byte of every page of TO rewritten with the same value
 *   dax-io write FROM TO [direct]  write(2) to TO from the mapping of FROM
 *   dax-io talk FILE             for each line of standard input: "r" prints the first 8 bytes of the mapping, "w TEXT" puts
 *                                TEXT there
 *   dax-io survive FILE STOP     uses the mapping of all of FILE, which others truncate and extend, until STOP exists: the first
 *                                word of a page is its number or, where the file has or had nothing, 0. Prints how many words
 *                                were read and how many accesses ended in SIGBUS
 *   dax-io reread FILE STOP      the same with read(2) and write(2), of a file that is replaced besides. Prints how many words were
 *                                read and how often there was none
 *   dax-io poison FILE PAGE      the memory of a page of FILE fails, on the machine that runs this
 *   dax-io is-dax FILE           prints 1 where statx(2) says that the file is in the window, 0 where it is not
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static int copy(const char *from, char *to_name, size_t size)
{
	int out = open(to_name, O_RDWR);
	char *to;

	if (out < 0)
		return perror(to_name), 1;
	to = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, out, 0);
	if (to == MAP_FAILED)
		return perror("mmap"), 1;
	memcpy(to, from, size);
	if (fsync(out) != 0)
		return perror("fsync"), 1;
	return 0;
}

static unsigned long sum(const char *from, size_t size)
{
	unsigned long total = 0;

	for (size_t at = 0; at < size; at += 4096)
		total = total * 31 + from[at];
	return total;
}

static int hold(const char *from, const char *command, size_t size)
{
	unsigned long before = sum(from, size);

	if (system(command) != 0)
		return 1;
	return sum(from, size) == before ? 0 : 3;
}

static void rewrite(volatile char *to, size_t size)
{
	for (size_t at = 0; at < size; at += 4096)
		to[at] = to[at];
}

static volatile char *map_writable(const char *name, size_t size)
{
	int file = open(name, O_RDWR);
	char *map;

	if (file < 0)
		return perror(name), NULL;
	map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	close(file);
	if (map == MAP_FAILED)
		return perror("mmap"), NULL;
	return map;
}

static int touch(const char *name, size_t size)
{
	volatile char *to = map_writable(name, size);

	if (to == NULL)
		return 1;
	rewrite(to, size);
	return 0;
}

static int keep(const char *name, const char *command, size_t size)
{
	volatile char *map = map_writable(name, size);

	if (map == NULL)
		return 1;
	rewrite(map, size);
	if (system(command) != 0)
		return 1;
	rewrite(map, size);
	return 0;
}

static int write_from(const char *from, char *to_name, size_t size, int flags)
{
	int out = open(to_name, O_WRONLY | O_CREAT | O_TRUNC | flags, 0644);
	size_t done = 0;

	if (out < 0)
		return perror(to_name), 1;
	while (done < size) {
		ssize_t n = write(out, from + done, size - done);

		if (n <= 0)
			return perror("write"), 1;
		done += n;
	}
	if (fsync(out) != 0)
		return perror("fsync"), 1;
	return 0;
}

static int talk(char *name)
{
	char line[64];
	int file = open(name, O_RDWR);
	char *map;

	if (file < 0)
		return perror(name), 1;
	map = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	if (map == MAP_FAILED)
		return perror("mmap"), 1;
	while (fgets(line, sizeof(line), stdin) != NULL) {
		line[strcspn(line, "\n")] = '\0';
		if (line[0] == 'w')
			memcpy(map, line + 2, strlen(line + 2));
		printf("%.8s\n", map);
		fflush(stdout);
	}
	return 0;
}

static sigjmp_buf after_fault;

static void on_fault(int signal)
{
	siglongjmp(after_fault, signal);
}

static int survive(const char *from, const char *name, const char *stop, size_t size)
{
	int file = open(name, O_RDWR);
	volatile unsigned long reads = 0, faults = 0, page = 0;
	volatile uint64_t *word, found;
	char *map;

	if (file < 0)
		return perror(name), 1;
	map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	if (map == MAP_FAILED)
		return perror("mmap"), 1;
	signal(SIGBUS, on_fault);
	while (access(stop, F_OK) != 0) {
		for (page = 0; page < size / 4096; page++) {
			if (sigsetjmp(after_fault, 1) != 0) {
				faults++;
				continue;
			}
			word = (volatile uint64_t *)((page % 2 ? map : (char *)from) + page * 4096);
			/* Once: it may change between two reads. */
			found = *word;
			if (found != page && found != 0)
				return printf("page %lu has %lx\n", page, (unsigned long)found), 4;
			if (page % 16 == 1)
				word[511] = page;
			reads++;
		}
	}
	return printf("%lu %lu\n", reads, faults) < 0;
}

/* One pass over a file that may be gone or short at any moment; false where a page has what it must not have. */
static int reread_once(const char *name, unsigned long *reads, unsigned long *none)
{
	int file = open(name, O_RDWR);
	uint64_t word, page;
	struct stat st;

	if (file < 0 || fstat(file, &st) != 0)
		return (*none)++, close(file), 1;
	for (page = 0; page < (uint64_t)st.st_size / 4096; page++) {
		if (pread(file, &word, sizeof(word), page * 4096) != sizeof(word)) {
			(*none)++;
			continue;
		}
		if (word != page && word != 0)
			return printf("page %lu has %lx\n", (unsigned long)page, (unsigned long)word), 0;
		/* Within what was the end a moment ago: may fail, or get lost with the page. */
		if (page % 16 == 1 && pwrite(file, &page, sizeof(page), page * 4096 + 4088) < 0)
			(*none)++;
		(*reads)++;
	}
	close(file);
	return 1;
}

static int reread(const char *name, const char *stop)
{
	unsigned long reads = 0, none = 0;

	while (access(stop, F_OK) != 0)
		if (!reread_once(name, &reads, &none))
			return 4;
	return printf("%lu %lu\n", reads, none) < 0;
}

static int poison(const char *name, unsigned long page)
{
	int file = open(name, O_RDONLY);
	volatile char *map;

	if (file < 0)
		return perror(name), 1;
	map = mmap(NULL, 4096, PROT_READ, MAP_SHARED, file, page * 4096);
	if (map == MAP_FAILED)
		return perror("mmap"), 1;
	(void)*map;
	if (madvise((void *)map, 4096, MADV_HWPOISON) != 0)
		return perror("MADV_HWPOISON"), 1;
	return 0;
}

static int is_dax(const char *name)
{
	struct statx status;

	if (statx(AT_FDCWD, name, 0, STATX_BASIC_STATS, &status) != 0)
		return perror(name), 1;
	return printf("%d\n", (status.stx_attributes & STATX_ATTR_DAX) != 0) < 0;
}

int main(int argc, char **argv)
{
	struct stat st;
	char *from;
	int in;

	if (argc == 3)
		return strcmp(argv[1], "talk") == 0 ? talk(argv[2]) : is_dax(argv[2]);
	if (argc < 4)
		return 2;
	if (strcmp(argv[1], "reread") == 0)
		return reread(argv[2], argv[3]);
	if (strcmp(argv[1], "poison") == 0)
		return poison(argv[2], strtoul(argv[3], NULL, 0));
	in = open(argv[2], O_RDONLY);
	if (in < 0 || fstat(in, &st) != 0)
		return perror(argv[2]), 1;
	from = mmap(NULL, st.st_size, PROT_READ, MAP_SHARED, in, 0);
	if (from == MAP_FAILED)
		return perror("mmap"), 1;
	if (strcmp(argv[1], "survive") == 0)
		return survive(from, argv[2], argv[3], st.st_size);
	if (strcmp(argv[1], "copy") == 0)
		return copy(from, argv[3], st.st_size);
	if (strcmp(argv[1], "hold") == 0)
		return hold(from, argv[3], st.st_size);
	if (strcmp(argv[1], "keep") == 0)
		return close(in), munmap(from, st.st_size), keep(argv[2], argv[3], st.st_size);
	if (strcmp(argv[1], "touch") == 0)
		return touch(argv[3], st.st_size);
	return write_from(from, argv[3], st.st_size, argc > 4 ? O_DIRECT : 0);
}
