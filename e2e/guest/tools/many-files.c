// SPDX-License-Identifier: Apache-2.0
/*
 * A large directory:
 *   many-files make DIR COUNT    COUNT files in DIR, each of a size that its number tells
 *   many-files check DIR COUNT   reads DIR and asks for every entry's attributes as it comes, as ls -l does: each file
 *                                must be there once, with its size
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static off_t size_of(unsigned long number)
{
	return number % 8191;
}

static int make(int dir, unsigned long count)
{
	for (unsigned long i = 0; i < count; i++) {
		char name[64];
		int fd;

		snprintf(name, sizeof(name), "file-%lu", i);
		fd = openat(dir, name, O_CREAT | O_EXCL | O_WRONLY, 0644);
		if (fd < 0 || ftruncate(fd, size_of(i)) != 0)
			return perror(name), 1;
		close(fd);
	}
	return 0;
}

static int check(int fd, unsigned long count)
{
	char *seen = calloc(count, 1);
	DIR *dir = fdopendir(fd);
	unsigned long entries = 0;
	struct dirent *entry;

	if (seen == NULL || dir == NULL)
		return perror("directory"), 1;
	while ((entry = readdir(dir)) != NULL) {
		unsigned long number;
		struct stat st;
		char *end;

		if (strncmp(entry->d_name, "file-", 5) != 0)
			continue;
		number = strtoul(entry->d_name + 5, &end, 10);
		if (*end != '\0' || number >= count || seen[number]++)
			return printf("%s: unknown, or there twice\n", entry->d_name), 1;
		if (fstatat(fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0)
			return perror(entry->d_name), 1;
		if (!S_ISREG(st.st_mode) || st.st_size != size_of(number))
			return printf("%s: mode %o, size %lld\n", entry->d_name, st.st_mode, (long long)st.st_size), 1;
		entries++;
	}
	printf("%lu\n", entries);
	return entries == count ? 0 : 1;
}

int main(int argc, char **argv)
{
	int dir;

	if (argc != 4)
		return fprintf(stderr, "usage: many-files make|check DIR COUNT\n"), 2;
	dir = open(argv[2], O_RDONLY | O_DIRECTORY);
	if (dir < 0)
		return perror(argv[2]), 1;
	if (strcmp(argv[1], "make") == 0)
		return make(dir, strtoul(argv[3], NULL, 10));
	return check(dir, strtoul(argv[3], NULL, 10));
}
