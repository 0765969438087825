// SPDX-License-Identifier: Apache-2.0
/*
 * Checks what programs expect of a Linux file system, in the directory given as the argument. One TAP line a
 * check. Built in the host root, run in guests (over virtio-fs) and, to check the checks, on the host's own
 * file systems.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

static int checks, failures;
static char reason[512];

/* Notes why the current check fails; returns -1 for use in `return fail(...)`. */
static int fail(const char *format, ...)
{
	va_list args;
	va_start(args, format);
	vsnprintf(reason, sizeof(reason), format, args);
	va_end(args);
	return -1;
}

#define MUST(expression)                                                                                     \
	do {                                                                                                 \
		errno = 0;                                                                                   \
		if (!(expression))                                                                           \
			return fail("line %d: %s: %s", __LINE__, #expression, strerror(errno));              \
	} while (0)

#define MUST_FAIL(expression, error)                                                                         \
	do {                                                                                                 \
		errno = 0;                                                                                   \
		if ((expression) >= 0 || errno != (error))                                                   \
			return fail("line %d: %s: got %s, wanted " #error, __LINE__, #expression,            \
				    strerror(errno));                                                        \
	} while (0)

static int write_file(const char *name, const char *text)
{
	int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0644);
	if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text))
		return -1;
	return close(fd);
}

static int unlinked_open_file(void)
{
	char text[6] = "";
	int fd;
	MUST((fd = open("unlinked", O_RDWR | O_CREAT | O_EXCL, 0600)) >= 0);
	MUST(write(fd, "hello", 5) == 5);
	MUST(unlink("unlinked") == 0);
	MUST_FAIL(access("unlinked", F_OK), ENOENT);
	struct stat st;
	MUST(fstat(fd, &st) == 0 && st.st_nlink == 0 && st.st_size == 5);
	MUST(pread(fd, text, 5, 0) == 5 && strcmp(text, "hello") == 0);
	MUST(ftruncate(fd, 1 << 20) == 0 && fchmod(fd, 0640) == 0);
	MUST(fstat(fd, &st) == 0 && st.st_size == 1 << 20 && (st.st_mode & 0777) == 0640);
	MUST(close(fd) == 0);
	return 0;
}

static int rename_of_open_files(void)
{
	char text[4] = "";
	int from, over;
	MUST(write_file("from", "new") == 0 && write_file("over", "old") == 0);
	MUST((from = open("from", O_RDONLY)) >= 0 && (over = open("over", O_RDONLY)) >= 0);
	MUST(rename("from", "over") == 0);
	MUST(read(from, text, 3) == 3 && strcmp(text, "new") == 0);
	MUST(read(over, text, 3) == 3 && strcmp(text, "old") == 0);
	close(from);
	close(over);
	MUST((over = open("over", O_RDONLY)) >= 0);
	MUST(read(over, text, 3) == 3 && strcmp(text, "new") == 0);
	close(over);
	MUST(write_file("other", "other") == 0);
	MUST_FAIL(renameat2(AT_FDCWD, "other", AT_FDCWD, "over", RENAME_NOREPLACE), EEXIST);
	MUST(renameat2(AT_FDCWD, "other", AT_FDCWD, "over", RENAME_EXCHANGE) == 0);
	struct stat st;
	MUST(stat("over", &st) == 0 && st.st_size == 5 && stat("other", &st) == 0 && st.st_size == 3);
	MUST(mkdir("full", 0755) == 0 && mkdir("full/sub", 0755) == 0 && mkdir("empty", 0755) == 0);
	MUST_FAIL(rename("empty", "full"), ENOTEMPTY);
	MUST_FAIL(rename("full", "full/sub/in"), EINVAL);
	MUST(rename("full", "empty") == 0 && access("empty/sub", F_OK) == 0);
	return 0;
}

static int links(void)
{
	struct stat first, second;
	char target[64] = "";
	MUST(write_file("first", "x") == 0 && link("first", "second") == 0);
	MUST(stat("first", &first) == 0 && stat("second", &second) == 0);
	MUST(first.st_ino == second.st_ino && first.st_nlink == 2 && second.st_nlink == 2);
	MUST(unlink("first") == 0 && stat("second", &second) == 0 && second.st_nlink == 1);
	MUST_FAIL(link("second", "second"), EEXIST);
	MUST(symlink("second", "symbolic") == 0);
	MUST(readlink("symbolic", target, sizeof(target)) == 6 && strcmp(target, "second") == 0);
	MUST(lstat("symbolic", &first) == 0 && S_ISLNK(first.st_mode) && first.st_size == 6);
	MUST(symlink("nowhere", "dangling") == 0);
	MUST_FAIL(open("dangling", O_RDONLY), ENOENT);
	MUST(symlink("loop", "loop") == 0);
	MUST_FAIL(open("loop", O_RDONLY), ELOOP);
	return 0;
}

static int special_files(void)
{
	struct stat st;
	MUST(mkfifo("fifo", 0600) == 0 && stat("fifo", &st) == 0 && S_ISFIFO(st.st_mode));
	pid_t child = fork();
	if (child == 0) {
		int fd = open("fifo", O_WRONLY);
		_exit(write(fd, "ping", 4) == 4 ? 0 : 1);
	}
	char text[8] = "";
	int status, fd = open("fifo", O_RDONLY);
	MUST(fd >= 0 && read(fd, text, 4) == 4 && strcmp(text, "ping") == 0);
	MUST(waitpid(child, &status, 0) == child && status == 0);
	close(fd);
	MUST(mknod("zero", S_IFCHR | 0600, makedev(1, 5)) == 0 && stat("zero", &st) == 0);
	MUST(S_ISCHR(st.st_mode) && st.st_rdev == makedev(1, 5));
	MUST(mknod("block", S_IFBLK | 0600, makedev(7, 0)) == 0 && stat("block", &st) == 0);
	MUST(S_ISBLK(st.st_mode) && st.st_rdev == makedev(7, 0));
	struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "socket"};
	int server = socket(AF_UNIX, SOCK_STREAM, 0), client = socket(AF_UNIX, SOCK_STREAM, 0);
	MUST(bind(server, (struct sockaddr *)&address, sizeof(address)) == 0 && listen(server, 1) == 0);
	MUST(connect(client, (struct sockaddr *)&address, sizeof(address)) == 0);
	MUST(stat("socket", &st) == 0 && S_ISSOCK(st.st_mode));
	close(server);
	close(client);
	return 0;
}

static int extended_attributes(void)
{
	char value[65536], names[256];
	MUST(write_file("xattr", "x") == 0);
	MUST_FAIL(getxattr("xattr", "user.none", value, sizeof(value)), ENODATA);
	MUST(setxattr("xattr", "user.one", "1", 1, XATTR_CREATE) == 0);
	MUST_FAIL(setxattr("xattr", "user.one", "2", 1, XATTR_CREATE), EEXIST);
	MUST_FAIL(setxattr("xattr", "user.two", "2", 1, XATTR_REPLACE), ENODATA);
	MUST(setxattr("xattr", "user.two", "", 0, 0) == 0);
	MUST(getxattr("xattr", "user.one", value, sizeof(value)) == 1 && value[0] == '1');
	MUST(setxattr("xattr", "user.long", memset(value, 'v', 2000), 2000, 0) == 0);
	MUST_FAIL(getxattr("xattr", "user.long", value, 10), ERANGE);
	ssize_t length = listxattr("xattr", names, sizeof(names));
	MUST(length > 0 && memmem(names, length, "user.two", 9) != NULL);
	MUST(removexattr("xattr", "user.one") == 0);
	MUST_FAIL(removexattr("xattr", "user.one"), ENODATA);
	MUST(setxattr("xattr", "trusted.t", "t", 1, 0) == 0);
	return 0;
}

static int temporary_file(void)
{
	char path[64], text[5] = "";
	int fd;
	MUST((fd = open(".", O_TMPFILE | O_RDWR, 0600)) >= 0);
	MUST(write(fd, "temp", 4) == 4);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	MUST(linkat(AT_FDCWD, path, AT_FDCWD, "was-temporary", AT_SYMLINK_FOLLOW) == 0);
	close(fd);
	MUST((fd = open("was-temporary", O_RDONLY)) >= 0 && read(fd, text, 4) == 4);
	MUST(strcmp(text, "temp") == 0);
	close(fd);
	return 0;
}

static int large_sparse_file(void)
{
	const off_t far = 5LL << 30;
	char text[5] = "";
	int fd;
	MUST((fd = open("sparse", O_RDWR | O_CREAT | O_TRUNC, 0600)) >= 0);
	MUST(pwrite(fd, "near", 4, 0) == 4 && pwrite(fd, "far!", 4, far) == 4 && fsync(fd) == 0);
	struct stat st;
	MUST(fstat(fd, &st) == 0 && st.st_size == far + 4 && st.st_blocks * 512LL < 1 << 20);
	MUST(pread(fd, text, 4, far) == 4 && strcmp(text, "far!") == 0);
	MUST(pread(fd, text, 4, 1LL << 32) == 4 && memcmp(text, "\0\0\0\0", 4) == 0);
	off_t hole = lseek(fd, 0, SEEK_HOLE), data = lseek(fd, hole, SEEK_DATA);
	MUST(hole > 0 && hole <= 65536);
	MUST(data <= far && data > far - (1 << 20));
	MUST_FAIL(lseek(fd, far + 4, SEEK_DATA), ENXIO);
	MUST(ftruncate(fd, 1LL << 33) == 0 && fstat(fd, &st) == 0 && st.st_size == 1LL << 33);
	close(fd);
	MUST(unlink("sparse") == 0);
	return 0;
}

static int allocation(void)
{
	char text[8192];
	int fd;
	MUST((fd = open("allocated", O_RDWR | O_CREAT | O_TRUNC, 0600)) >= 0);
	memset(text, 'a', sizeof(text));
	for (int block = 0; block < 8; block++)
		MUST(write(fd, text, sizeof(text)) == sizeof(text));
	MUST(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 8192, 16384) == 0);
	MUST(pread(fd, text, 4096, 12288) == 4096 && text[0] == 0 && text[4095] == 0);
	MUST(pread(fd, text, 4096, 4096) == 4096 && text[0] == 'a');
	struct stat st;
	MUST(fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, 1 << 20) == 0);
	MUST(fstat(fd, &st) == 0 && st.st_size == 65536);
	MUST(posix_fallocate(fd, 0, 1 << 20) == 0 && fstat(fd, &st) == 0 && st.st_size == 1 << 20);
	close(fd);
	return 0;
}

static int file_range_copy(void)
{
	char text[12] = "";
	int from, to;
	MUST(write_file("range-from", "0123456789") == 0);
	MUST((from = open("range-from", O_RDONLY)) >= 0);
	MUST((to = open("range-to", O_RDWR | O_CREAT | O_TRUNC, 0600)) >= 0);
	off_t in = 2, out = 1;
	MUST(copy_file_range(from, &in, to, &out, 5, 0) == 5);
	MUST(pread(to, text, 10, 0) == 6 && memcmp(text, "\00023456", 6) == 0);
	close(from);
	close(to);
	return 0;
}

static int names(void)
{
	char name[300];
	struct stat st;
	/* Any byte but 0 and '/', as a name in no encoding has them. */
	for (int index = 0; index < 255; index++)
		name[index] = (char)(index + 1 == '/' ? 'x' : index + 1);
	name[255] = 0;
	MUST(write_file(name, "odd") == 0 && stat(name, &st) == 0 && st.st_size == 3);
	DIR *directory = opendir(".");
	int found = 0;
	for (struct dirent *entry; (entry = readdir(directory)) != NULL;)
		found += strcmp(entry->d_name, name) == 0;
	closedir(directory);
	MUST(found == 1);
	MUST(unlink(name) == 0);
	memset(name, 'n', 256);
	name[256] = 0;
	MUST_FAIL(open(name, O_RDWR | O_CREAT, 0600), ENAMETOOLONG);
	MUST(mkdir("dir", 0755) == 0);
	MUST_FAIL(unlink("dir"), EISDIR);
	MUST_FAIL(mkdir("dir", 0755), EEXIST);
	MUST_FAIL(open("dir/none/file", O_RDONLY), ENOENT);
	MUST(write_file("plain", "") == 0);
	MUST_FAIL(open("plain/file", O_RDONLY), ENOTDIR);
	MUST_FAIL(rmdir("plain"), ENOTDIR);
	return 0;
}

static int attributes(void)
{
	struct stat st;
	struct timespec times[2] = {{1000000000, 123456789}, {-5, 987654321}};
	MUST(write_file("attributes", "x") == 0);
	MUST(utimensat(AT_FDCWD, "attributes", times, 0) == 0 && stat("attributes", &st) == 0);
	MUST(st.st_atim.tv_sec == 1000000000 && st.st_atim.tv_nsec == 123456789);
	MUST(st.st_mtim.tv_sec == -5 && st.st_mtim.tv_nsec == 987654321);
	MUST(chown("attributes", 1234, 4321) == 0 && chmod("attributes", 06755) == 0);
	MUST(stat("attributes", &st) == 0 && st.st_uid == 1234 && st.st_gid == 4321);
	MUST((st.st_mode & 07777) == 06755);
	/* A write by somebody without privileges takes the set-id bits away. */
	MUST(chmod("attributes", 06777) == 0);
	pid_t child = fork();
	if (child == 0) {
		if (setgid(99) != 0 || setuid(99) != 0)
			_exit(2);
		int fd = open("attributes", O_WRONLY);
		_exit(fd >= 0 && write(fd, "y", 1) == 1 ? 0 : 1);
	}
	int status;
	MUST(waitpid(child, &status, 0) == child && status == 0);
	MUST(stat("attributes", &st) == 0 && (st.st_mode & 06000) == 0);
	struct statx extended;
	MUST(statx(AT_FDCWD, "attributes", 0, STATX_ALL, &extended) == 0);
	MUST((extended.stx_mask & STATX_BASIC_STATS) == STATX_BASIC_STATS && extended.stx_uid == 1234);
	struct statvfs vfs;
	MUST(statvfs(".", &vfs) == 0 && vfs.f_blocks > 0 && vfs.f_namemax == 255);
	return 0;
}

static int permissions(void)
{
	MUST(write_file("secret", "x") == 0 && chmod("secret", 0600) == 0);
	MUST(mkdir("mine", 0700) == 0);
	pid_t child = fork();
	if (child == 0) {
		if (setgid(99) != 0 || setuid(99) != 0)
			_exit(2);
		_exit(open("secret", O_RDONLY) < 0 && errno == EACCES && open("mine/x", O_CREAT, 0600) < 0 &&
			      errno == EACCES
			  ? 0
			  : 1);
	}
	int status;
	MUST(waitpid(child, &status, 0) == child && status == 0);
	return 0;
}

static int created_by_a_user(void)
{
	MUST(mkdir("open-to-all", 0777) == 0 && chmod("open-to-all", 0777) == 0);
	pid_t child = fork();
	if (child == 0) {
		if (setgid(77) != 0 || setuid(88) != 0)
			_exit(2);
		umask(027);
		_exit(open("open-to-all/file", O_CREAT | O_WRONLY, 0666) >= 0 &&
			      mkdir("open-to-all/dir", 0777) == 0
			  ? 0
			  : 1);
	}
	int status;
	MUST(waitpid(child, &status, 0) == child && status == 0);
	struct stat st;
	MUST(stat("open-to-all/file", &st) == 0 && st.st_uid == 88 && st.st_gid == 77);
	MUST((st.st_mode & 0777) == 0640);
	MUST(stat("open-to-all/dir", &st) == 0 && st.st_uid == 88 && (st.st_mode & 0777) == 0750);
	return 0;
}

static int appending(void)
{
	char text[16] = "";
	int first, second;
	MUST((first = open("append", O_RDWR | O_CREAT | O_TRUNC | O_APPEND, 0600)) >= 0);
	MUST((second = open("append", O_WRONLY | O_APPEND)) >= 0);
	MUST(write(first, "ab", 2) == 2 && write(second, "cd", 2) == 2 && write(first, "ef", 2) == 2);
	MUST(pread(first, text, 16, 0) == 6 && strcmp(text, "abcdef") == 0);
	close(first);
	close(second);
	return 0;
}

static int locks(void)
{
	int first, second;
	MUST((first = open("locked", O_RDWR | O_CREAT, 0600)) >= 0 && (second = open("locked", O_RDWR)) >= 0);
	MUST(flock(first, LOCK_EX) == 0);
	MUST_FAIL(flock(second, LOCK_EX | LOCK_NB), EWOULDBLOCK);
	MUST(flock(first, LOCK_UN) == 0 && flock(second, LOCK_EX | LOCK_NB) == 0);
	struct flock range = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 10, .l_len = 10};
	MUST(fcntl(first, F_SETLK, &range) == 0);
	pid_t child = fork();
	if (child == 0) {
		int fd = open("locked", O_RDWR);
		_exit(fcntl(fd, F_SETLK, &range) < 0 && (errno == EAGAIN || errno == EACCES) ? 0 : 1);
	}
	int status;
	MUST(waitpid(child, &status, 0) == child && status == 0);
	close(first);
	close(second);
	return 0;
}

static int shared_mapping(void)
{
	char text[5] = "";
	int fd;
	MUST((fd = open("mapped", O_RDWR | O_CREAT | O_TRUNC, 0600)) >= 0 && ftruncate(fd, 8192) == 0);
	char *map = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	MUST(map != MAP_FAILED);
	memcpy(map + 4094, "span", 4);
	MUST(pread(fd, text, 4, 4094) == 4 && strcmp(text, "span") == 0);
	MUST(pwrite(fd, "file", 4, 0) == 4 && memcmp(map, "file", 4) == 0);
	MUST(msync(map, 8192, MS_SYNC) == 0 && munmap(map, 8192) == 0);
	MUST(pread(fd, text, 4, 4094) == 4 && strcmp(text, "span") == 0);
	close(fd);
	return 0;
}

static int directory_positions(void)
{
	char name[32];
	long position = 0;
	char at[256] = "";
	int seen = 0;
	MUST(mkdir("many", 0755) == 0);
	for (int index = 0; index < 500; index++) {
		snprintf(name, sizeof(name), "many/entry-%04d", index);
		MUST(write_file(name, "") == 0);
	}
	DIR *directory = opendir("many");
	for (struct dirent *entry; (entry = readdir(directory)) != NULL; seen++) {
		if (seen == 250) {
			position = telldir(directory);
			entry = readdir(directory);
			MUST(entry != NULL);
			snprintf(at, sizeof(at), "%s", entry->d_name);
			seen++;
		}
	}
	MUST(seen == 502);
	seekdir(directory, position);
	struct dirent *again = readdir(directory);
	MUST(again != NULL && strcmp(again->d_name, at) == 0);
	closedir(directory);
	/* Entries go while they are read. */
	directory = opendir("many");
	for (struct dirent *entry; (entry = readdir(directory)) != NULL;)
		if (entry->d_name[0] == 'e')
			MUST(unlinkat(dirfd(directory), entry->d_name, 0) == 0);
	closedir(directory);
	MUST(rmdir("many") == 0);
	return 0;
}

static int directory_sync(void)
{
	int fd;
	MUST((fd = open(".", O_RDONLY | O_DIRECTORY)) >= 0 && fsync(fd) == 0);
	MUST_FAIL(write(fd, "x", 1), EBADF);
	close(fd);
	MUST_FAIL(open(".", O_RDWR), EISDIR);
	return 0;
}

static int direct_io(void)
{
	char *buffer;
	int fd;
	MUST(posix_memalign((void **)&buffer, 4096, 1 << 20) == 0);
	memset(buffer, 'd', 1 << 20);
	MUST((fd = open("direct", O_RDWR | O_CREAT | O_TRUNC | O_DIRECT, 0600)) >= 0);
	MUST(pwrite(fd, buffer, 1 << 20, 4096) == 1 << 20);
	memset(buffer, 0, 1 << 20);
	MUST(pread(fd, buffer, 1 << 20, 4096) == 1 << 20 && buffer[0] == 'd' && buffer[(1 << 20) - 1] == 'd');
	close(fd);
	free(buffer);
	return 0;
}

static const struct {
	const char *name;
	int (*run)(void);
} all[] = {
    {"an unlinked open file lives on", unlinked_open_file},
    {"rename over open files, exchange, refusals", rename_of_open_files},
    {"hard and symbolic links", links},
    {"fifo, sockets, device nodes", special_files},
    {"extended attributes", extended_attributes},
    {"O_TMPFILE and linkat", temporary_file},
    {"a sparse file over 4 GiB, SEEK_DATA and SEEK_HOLE", large_sparse_file},
    {"fallocate: punch, keep size, extend", allocation},
    {"copy_file_range", file_range_copy},
    {"names of 255 arbitrary bytes, and refusals", names},
    {"times, owners, modes, set-id bits, statx, statvfs", attributes},
    {"permissions", permissions},
    {"owner and mode of what a user creates", created_by_a_user},
    {"O_APPEND", appending},
    {"flock and record locks", locks},
    {"a shared mapping is coherent with read and write", shared_mapping},
    {"directory positions, and removal while reading", directory_positions},
    {"fsync of a directory", directory_sync},
    {"O_DIRECT", direct_io},
};

int main(int argc, char **argv)
{
	if (argc != 2 || chdir(argv[1]) != 0) {
		fprintf(stderr, "usage: fs-check DIRECTORY\n");
		return 2;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	umask(022);
	for (size_t index = 0; index < sizeof(all) / sizeof(all[0]); index++) {
		int bad;
		char directory[32];
		snprintf(directory, sizeof(directory), "check-%zu", index);
		if (mkdir(directory, 0755) != 0 || chdir(directory) != 0) {
			perror(directory);
			return 2;
		}
		bad = all[index].run() != 0;
		checks++;
		failures += bad;
		printf("%s %d - %s\n", bad ? "not ok" : "ok", checks, all[index].name);
		if (bad)
			printf("  # %s\n", reason);
		if (chdir("..") != 0)
			return 2;
	}
	printf("1..%d\n", checks);
	return failures != 0;
}
