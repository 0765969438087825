// SPDX-License-Identifier: Apache-2.0
/* Files and directories that are open while their names change or go. */
#define _GNU_SOURCE
#include "check.h"

#include <dirent.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/xattr.h>

static int unlinked_files(void)
{
	char text[8];
	struct stat status;
	MUST(make_file("file", 0644, "text") == 0);
	int fd = open("file", O_RDWR), reader = open("file", O_RDONLY);
	char *map = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	MUST(map != MAP_FAILED && unlink("file") == 0);
	MUST_FAIL(stat("file", &status), ENOENT);
	MUST(fstat(fd, &status) == 0 && status.st_nlink == 0 && status.st_size == 4);
	MUST(pwrite(fd, "TE", 2, 0) == 2 && pread(reader, text, 8, 0) == 4 && memcmp(text, "TExt", 4) == 0);
	map[3] = 'T';
	MUST(pread(reader, text, 4, 0) == 4 && text[3] == 'T' && msync(map, 4, MS_SYNC) == 0);
	MUST(fchmod(fd, 0600) == 0 && fchown(fd, USER, TEAM) == 0 && ftruncate(fd, 8192) == 0 && fsync(fd) == 0);
	MUST(fsetxattr(fd, "user.x", "1", 1, 0) == 0 && fgetxattr(reader, "user.x", text, 8) == 1);
	MUST(futimens(fd, (struct timespec[2]){{5, 5}, {6, 6}}) == 0);
	MUST(fstat(reader, &status) == 0 && status.st_uid == USER && status.st_size == 8192 && status.st_mtim.tv_sec == 6);
	/* A new file of the name is another one. */
	MUST(make_file("file", 0644, "new") == 0 && pread(reader, text, 4, 0) == 4 && holds("file", "new"));
	char name[32];
	snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
	MUST(open(name, O_RDWR) >= 0);
	MUST_FAIL(linkat(AT_FDCWD, name, AT_FDCWD, "again", AT_SYMLINK_FOLLOW), ENOENT);
	return 0;
}

static int renamed_files(void)
{
	char text[4];
	MUST(make_file("from", 0644, "from") == 0 && make_file("over", 0644, "over") == 0);
	int from = open("from", O_RDWR), over = open("over", O_RDWR);
	MUST(rename("from", "over") == 0);
	MUST(pread(from, text, 4, 0) == 4 && memcmp(text, "from", 4) == 0);
	MUST(pread(over, text, 4, 0) == 4 && memcmp(text, "over", 4) == 0);
	MUST(pwrite(over, "gone", 4, 0) == 4 && pwrite(from, "here", 4, 0) == 4 && holds("over", "here"));
	struct stat status;
	MUST(fstat(over, &status) == 0 && status.st_nlink == 0 && fstat(from, &status) == 0 && status.st_nlink == 1);
	return 0;
}

static int removed_directories(void)
{
	MUST(mkdir("dir", 0755) == 0);
	int fd = open("dir", O_RDONLY | O_DIRECTORY);
	pid_t child = become(0, 0, false);
	if (child == 0) {
		char name[64];
		MUST(chdir("dir") == 0 && rmdir("../dir") == 0);
		MUST(getcwd(name, sizeof(name)) == NULL && errno == ENOENT);
		MUST_FAIL(open("file", O_CREAT | O_WRONLY, 0644), ENOENT);
		MUST_FAIL(mkdir("dir", 0755), ENOENT);
		return 0;
	}
	JOIN(child);
	struct stat status;
	MUST(fstat(fd, &status) == 0);
	MUST_FAIL(openat(fd, "file", O_CREAT | O_WRONLY, 0644), ENOENT);
	/* Local file systems show no entry, Linux's FUSE client asks no more. */
	DIR *directory = fdopendir(fd);
	int count = 0;
	for (struct dirent *entry; (entry = readdir(directory)) != NULL;)
		count += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
	MUST_BE(count, 0);
	closedir(directory);
	MUST(mkdir("full", 0755) == 0 && make_file("full/file", 0644, "") == 0);
	MUST_FAIL(rmdir("full"), ENOTEMPTY);
	MUST_FAIL(rmdir("full/file"), ENOTDIR);
	MUST_FAIL(unlink("full"), EISDIR);
	MUST_FAIL(rmdir("full/."), EINVAL);
	return 0;
}

static int listing(void)
{
	enum { FILES = 300 };
	static char seen[FILES];
	char name[32];
	MUST(mkdir("dir", 0755) == 0 && chdir("dir") == 0);
	for (int index = 0; index < FILES; index++) {
		snprintf(name, sizeof(name), "entry-%d", index);
		MUST(make_file(name, 0644, "") == 0);
	}
	DIR *directory = opendir(".");
	long middle = 0;
	int index, count = 0, from_middle = 0;
	for (struct dirent *entry; (entry = readdir(directory)) != NULL; count++) {
		if (sscanf(entry->d_name, "entry-%d", &index) == 1)
			seen[index]++;
		MUST(entry->d_type == (entry->d_name[0] == 'e' ? DT_REG : DT_DIR));
		if (count == FILES / 2)
			middle = telldir(directory);
	}
	MUST_BE(count, FILES + 2);
	for (index = 0; index < FILES; index++)
		MUST_BE(seen[index], 1);
	seekdir(directory, middle);
	while (readdir(directory) != NULL)
		from_middle++;
	MUST_BE(from_middle, FILES + 2 - FILES / 2 - 1);
	/* From the start again, what has come and gone since is, or is not, there. */
	MUST(unlink("entry-7") == 0 && make_file("fresh", 0644, "") == 0);
	rewinddir(directory);
	int fresh = 0, gone = 0;
	for (struct dirent *entry; (entry = readdir(directory)) != NULL;) {
		fresh += strcmp(entry->d_name, "fresh") == 0;
		gone += strcmp(entry->d_name, "entry-7") == 0;
	}
	MUST(fresh == 1 && gone == 0);
	/* Entries go while they are read. */
	rewinddir(directory);
	for (struct dirent *entry; (entry = readdir(directory)) != NULL;)
		if (entry->d_name[0] != '.')
			MUST(unlink(entry->d_name) == 0);
	closedir(directory);
	MUST(chdir("..") == 0 && rmdir("dir") == 0);
	return 0;
}

CLASS(lifetime, "lifetime", {"unlinked files", unlinked_files}, {"renamed and replaced files", renamed_files},
      {"removed directories", removed_directories}, {"directories that change while they are listed", listing});
