// SPDX-License-Identifier: Apache-2.0
/*
 * Several processes do random things to the same few names at once. Nothing may fail in a way that no race explains, and
 * at the end the tree must be sound: link counts are right, blocks are whole, everything can be removed.
 *
 *   fs-mix [-s SEED] [-p PROCESSES] [-n OPERATIONS-OF-EACH] DIRECTORY
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <linux/falloc.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

enum { DIRECTORIES = 4, NAMES = 12, BLOCK = 4096, BLOCKS = 32 };

static uint64_t state;

static unsigned below(unsigned limit)
{
	/* SplitMix64 */
	uint64_t value = state += 0x9e3779b97f4a7c15;
	value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9;
	value = (value ^ (value >> 27)) * 0x94d049bb133111eb;
	return (unsigned)((value ^ (value >> 31)) % limit);
}

/* Errors that another process's work explains, whatever the operation. */
static bool explained(int error)
{
	switch (error) {
	case ENOENT:
	case EEXIST:
	case ENOTDIR:
	case EISDIR:
	case ENOTEMPTY:
	case ELOOP:
	case EINVAL: /* a directory into itself */
	case EXDEV:
	case EBUSY:
	case EPERM: /* a link to a directory, attributes of a symbolic link */
	case EMLINK:
	case ENXIO: /* SEEK_DATA; a FIFO without a reader */
	case ENODATA:
	case ENODEV: /* mmap of what is no file */
	case EBADF:  /* fallocate of what is no file */
	case ENOTSUP:
		return true;
	default:
		return false;
	}
}

static int failures;

static long long result(const char *what, long long value)
{
	if (value < 0 && !explained(errno)) {
		printf("%s: %s\n", what, strerror(errno));
		failures++;
	}
	return value;
}

static void block_io(const char *name)
{
	static char block[BLOCK];
	int fd = (int)result("open", open(name, O_RDWR | (below(2) ? O_CREAT : 0) | (below(8) == 0 ? O_APPEND : 0) | O_NONBLOCK, 0644));
	struct stat status;
	if (fd < 0)
		return;
	off_t offset = (off_t)below(BLOCKS) * BLOCK;
	if (fstat(fd, &status) == 0 && S_ISREG(status.st_mode)) {
		switch (below(8)) {
		case 0:
		case 1:
		case 2:
			memset(block, (int)below(255) + 1, BLOCK);
			if (result("write", pwrite(fd, block, BLOCK, offset)) != BLOCK)
				failures++;
			break;
		case 3:
			result("read", pread(fd, block, BLOCK, offset));
			break;
		case 4:
			result("ftruncate", ftruncate(fd, offset));
			break;
		case 5:
			result("punch", fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, BLOCK));
			break;
		case 6:
			result("fsync", fsync(fd));
			break;
		default:
			result("seek", lseek(fd, offset, SEEK_DATA));
			break;
		}
	}
	close(fd);
}

static void list(const char *name)
{
	DIR *directory = opendir(name);
	struct stat status;
	if (directory == NULL) {
		result("opendir", -1);
		return;
	}
	errno = 0;
	for (struct dirent *entry; (entry = readdir(directory)) != NULL; errno = 0)
		result("fstatat", fstatat(dirfd(directory), entry->d_name, &status, AT_SYMLINK_NOFOLLOW));
	if (errno != 0)
		result("readdir", -1);
	closedir(directory);
}

static void temporary(const char *directory, const char *name)
{
	char from[32];
	int fd = (int)result("O_TMPFILE", open(directory, O_TMPFILE | O_RDWR, 0600));
	if (fd < 0)
		return;
	snprintf(from, sizeof(from), "/proc/self/fd/%d", fd);
	result("linkat", linkat(AT_FDCWD, from, AT_FDCWD, name, AT_SYMLINK_FOLLOW));
	close(fd);
}

static void one(void)
{
	char directory[16], name[32], other[32], value[16];
	struct stat status;
	snprintf(directory, sizeof(directory), "d%u", below(DIRECTORIES));
	snprintf(name, sizeof(name), "%s/n%u", directory, below(NAMES));
	snprintf(other, sizeof(other), "d%u/n%u", below(DIRECTORIES), below(NAMES));
	switch (below(18)) {
	case 0:
	case 1:
	case 2:
	case 3:
		return block_io(name);
	case 4:
		result("rename", rename(name, other));
		break;
	case 5:
		result("renameat2", renameat2(AT_FDCWD, name, AT_FDCWD, other, below(2) ? RENAME_EXCHANGE : RENAME_NOREPLACE));
		break;
	case 6:
		result("link", link(name, other));
		break;
	case 7:
	case 8:
		result("unlink", unlink(name));
		break;
	case 9:
		result("mkdir", mkdir(name, 0755));
		break;
	case 10:
		result("rmdir", rmdir(name));
		break;
	case 11:
		result("symlink", symlink(other + 3, name));
		break;
	case 12:
		result("mkfifo", mkfifo(name, 0600));
		break;
	case 13:
		result("lstat", lstat(name, &status));
		break;
	case 14:
		result("chmod", chmod(name, 0600 + below(0200)));
		break;
	case 15:
		if (below(2))
			result("setxattr", lsetxattr(name, "user.mix", name, 4, 0));
		else
			result("getxattr", lgetxattr(name, "user.mix", value, sizeof(value)));
		break;
	case 16:
		return list(below(3) ? directory : name);
	default:
		return temporary(directory, name);
	}
}

/* Inodes seen at the end, and how many names lead to each. */
static struct {
	ino_t inode;
	nlink_t names, links;
} seen[4096];
static size_t seen_count;

static int look(const char *path, const struct stat *status, int kind, struct FTW *where)
{
	(void)where;
	if (kind != FTW_F && kind != FTW_SL)
		return 0;
	size_t index = 0;
	while (index < seen_count && seen[index].inode != status->st_ino)
		index++;
	seen[index].inode = status->st_ino;
	seen[index].names++;
	seen[index].links = status->st_nlink;
	seen_count += index == seen_count;
	if (!S_ISREG(status->st_mode))
		return 0;
	static char block[BLOCK], first[BLOCK];
	int fd = open(path, O_RDONLY);
	for (ssize_t length; (length = read(fd, block, BLOCK)) > 0;) {
		memset(first, block[0], BLOCK);
		if (memcmp(block, first, (size_t)length) != 0) {
			printf("%s has a block of two writes\n", path);
			failures++;
		}
	}
	if (fd < 0 || close(fd) != 0)
		failures++;
	return 0;
}

static int erase(const char *path, const struct stat *status, int kind, struct FTW *where)
{
	(void)status;
	(void)where;
	if (strcmp(path, ".") != 0 && (kind == FTW_DP ? rmdir(path) : unlink(path)) != 0) {
		printf("removing %s: %s\n", path, strerror(errno));
		failures++;
	}
	return 0;
}

int main(int argc, char **argv)
{
	unsigned processes = 4, operations = 1000;
	state = (uint64_t)time(NULL) * 1000003 + (uint64_t)getpid();
	for (int option; (option = getopt(argc, argv, "s:p:n:")) != -1;) {
		if (option == 's')
			state = strtoull(optarg, NULL, 0);
		else if (option == 'p')
			processes = (unsigned)atoi(optarg);
		else if (option == 'n')
			operations = (unsigned)atoi(optarg);
		else
			return 2;
	}
	if (optind + 1 != argc || chdir(argv[optind]) != 0) {
		fprintf(stderr, "usage: fs-mix [-s SEED] [-p PROCESSES] [-n OPERATIONS] DIRECTORY\n");
		return 2;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	printf("fs-mix -s %llu -p %u -n %u\n", (unsigned long long)state, processes, operations);
	for (unsigned index = 0; index < DIRECTORIES; index++) {
		char name[16];
		snprintf(name, sizeof(name), "d%u", index);
		if (mkdir(name, 0755) != 0)
			return perror(name), 1;
	}
	for (unsigned index = 0; index < processes; index++) {
		if (fork() == 0) {
			state += index * 0x1000003;
			for (unsigned operation = 0; operation < operations; operation++)
				one();
			fflush(stdout);
			_exit(failures != 0);
		}
	}
	for (int status; wait(&status) > 0;)
		failures += status != 0;
	if (nftw(".", look, 16, FTW_PHYS) != 0)
		failures++;
	for (size_t index = 0; index < seen_count; index++)
		if (seen[index].names != seen[index].links) {
			printf("inode %lu has %lu names and says %lu\n", (unsigned long)seen[index].inode,
			       (unsigned long)seen[index].names, (unsigned long)seen[index].links);
			failures++;
		}
	nftw(".", erase, 16, FTW_PHYS | FTW_DEPTH);
	printf(failures == 0 ? "ok\n" : "not ok\n");
	return failures != 0;
}
