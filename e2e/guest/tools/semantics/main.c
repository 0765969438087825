// SPDX-License-Identifier: Apache-2.0
/*
 * What POSIX and Linux say of a file system, class by class, in the directory given. One TAP line a check.
 *
 *   semantics [-t TRAIT[,TRAIT...]] DIRECTORY [CLASS...]
 *
 * Built in the host root, run in guests; to check the checks, on the host's own file systems, where all must pass.
 */
#define _GNU_SOURCE
#include "check.h"

#include <grp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>

extern const struct class credentials_class, setid_class, sticky_class, open_class, times_class, locks_class, acl_class,
    xattr_class, rename_class, allocation_class, copy_class, tmpfile_class, flags_class, lifetime_class, mapping_class,
    links_class;

static const struct class *const classes[] = {
    &credentials_class, &setid_class,      &sticky_class, &open_class,    &times_class, &locks_class,
    &acl_class,         &xattr_class,      &rename_class, &allocation_class, &copy_class,  &tmpfile_class,
    &flags_class,       &lifetime_class,   &mapping_class, &links_class,
};

static const char *traits = "";
/* Shared with children. */
static char *reason;
enum { REASON_SIZE = 4096 };

bool trait(const char *name)
{
	size_t length = strlen(name);
	for (const char *at = traits; (at = strstr(at, name)) != NULL; at += length)
		if ((at == traits || at[-1] == ',') && (at[length] == '\0' || at[length] == ','))
			return true;
	return false;
}

int fail(const char *format, ...)
{
	va_list args;
	va_start(args, format);
	vsnprintf(reason, REASON_SIZE, format, args);
	va_end(args);
	return -1;
}

pid_t become(uid_t uid, gid_t gid, bool team)
{
	const gid_t groups_of_child[] = {TEAM};
	pid_t child = fork();
	if (child != 0)
		return child;
	if (setgroups(team ? 1 : 0, groups_of_child) != 0 || setresgid(gid, gid, gid) != 0 ||
	    setresuid(uid, uid, uid) != 0)
		_exit(fail("can't become %d:%d: %s", (int)uid, (int)gid, strerror(errno)) != 0);
	return 0;
}

bool passed(pid_t child)
{
	int status;
	if (child < 0 || waitpid(child, &status, 0) != child) {
		fail("no child: %s", strerror(errno));
		return false;
	}
	if (WIFSIGNALED(status))
		fail("a child died of signal %d", WTERMSIG(status));
	return status == 0;
}

void tick(void)
{
	const struct timespec time = {0, 30 * 1000 * 1000};
	nanosleep(&time, NULL);
}

int make_file(const char *name, mode_t mode, const char *text)
{
	int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text) || fchmod(fd, mode) != 0)
		return -1;
	return close(fd);
}

bool holds(const char *name, const char *text)
{
	char read_text[4096];
	int fd = open(name, O_RDONLY);
	ssize_t length = fd < 0 ? -1 : read(fd, read_text, sizeof(read_text));
	if (fd >= 0)
		close(fd);
	return length == (ssize_t)strlen(text) && memcmp(read_text, text, (size_t)length) == 0;
}

struct stat status_of(const char *name)
{
	struct stat status;
	memset(&status, 0xff, sizeof(status));
	lstat(name, &status);
	return status;
}

mode_t mode_of(const char *name)
{
	return status_of(name).st_mode & 07777;
}

static int number, failures;

static void run(const struct class *class, const struct check *check)
{
	char directory[64];
	pid_t self = getpid();
	umask(022);
	snprintf(directory, sizeof(directory), "%s-%d", class->name, ++number);
	if (mkdir(directory, 0755) != 0 || chdir(directory) != 0) {
		perror(directory);
		exit(2);
	}
	reason[0] = '\0';
	int result = check->run();
	if (getpid() != self)
		_exit(result != 0);
	failures += result != 0;
	printf("%s %d - %s: %s\n", result == 0 ? "ok" : "not ok", number, class->name, check->name);
	if (result != 0)
		printf("  # %s\n", reason);
	if (chdir("..") != 0)
		exit(2);
}

int main(int argc, char **argv)
{
	for (int option; (option = getopt(argc, argv, "t:")) != -1;) {
		if (option != 't')
			return 2;
		traits = optarg;
	}
	reason = mmap(NULL, REASON_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (optind == argc || reason == MAP_FAILED || chdir(argv[optind]) != 0) {
		fprintf(stderr, "usage: semantics [-t TRAIT[,TRAIT...]] DIRECTORY [CLASS...]\n");
		return 2;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	for (size_t index = 0; index < sizeof(classes) / sizeof(classes[0]); index++) {
		bool wanted = optind + 1 == argc;
		for (int at = optind + 1; at < argc; at++)
			wanted |= strcmp(argv[at], classes[index]->name) == 0;
		for (size_t check = 0; wanted && check < classes[index]->count; check++)
			run(classes[index], &classes[index]->checks[check]);
	}
	printf("1..%d\n", number);
	return failures != 0 || number == 0;
}
