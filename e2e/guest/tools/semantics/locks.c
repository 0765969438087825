// SPDX-License-Identifier: Apache-2.0
/* fcntl(2), open file description and flock(2) locks. */
#define _GNU_SOURCE
#include "check.h"

#include <signal.h>
#include <sys/file.h>
#include <sys/wait.h>

static struct flock range(short type, off_t start, off_t length)
{
	return (struct flock){.l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = length};
}

static int set(int fd, short type, off_t start, off_t length)
{
	struct flock lock = range(type, start, length);
	return fcntl(fd, F_SETLK, &lock);
}

/* Whether a process of its own could get the lock. */
static bool free_for_another(const char *name, short type, off_t start, off_t length)
{
	pid_t child = fork();
	if (child == 0)
		_exit(set(open(name, O_RDWR), type, start, length) == 0 ? 0 : errno == EAGAIN || errno == EACCES ? 1 : 2);
	int status = -1;
	waitpid(child, &status, 0);
	return status == 0;
}

static int record_locks(void)
{
	MUST(make_file("file", 0644, "0123456789") == 0);
	int fd = open("file", O_RDWR);
	MUST(set(fd, F_WRLCK, 10, 20) == 0);
	MUST(!free_for_another("file", F_RDLCK, 15, 1) && !free_for_another("file", F_WRLCK, 0, 0));
	MUST(free_for_another("file", F_WRLCK, 0, 10) && free_for_another("file", F_WRLCK, 30, 0));
	/* Unlocking the middle leaves two. */
	MUST(set(fd, F_UNLCK, 15, 5) == 0 && free_for_another("file", F_WRLCK, 15, 5));
	MUST(!free_for_another("file", F_WRLCK, 14, 1) && !free_for_another("file", F_WRLCK, 20, 1));
	/* Others may read what is locked for reading. */
	MUST(set(fd, F_RDLCK, 10, 20) == 0 && free_for_another("file", F_RDLCK, 10, 20));
	MUST(!free_for_another("file", F_WRLCK, 12, 1));
	/* Beyond 4 GiB, and to the end of all files. */
	MUST(set(fd, F_WRLCK, 5000000000, 0) == 0 && !free_for_another("file", F_WRLCK, 1LL << 60, 1));
	MUST(free_for_another("file", F_WRLCK, 4999999999, 1));
	MUST(set(fd, F_UNLCK, 0, 0) == 0 && free_for_another("file", F_WRLCK, 0, 0));
	MUST_FAIL(set(open("file", O_RDONLY), F_WRLCK, 0, 1), EBADF);
	return 0;
}

static int who_holds(void)
{
	MUST(make_file("file", 0644, "") == 0);
	int fd = open("file", O_RDWR);
	MUST(set(fd, F_WRLCK, 10, 20) == 0);
	pid_t parent = getpid(), child = become(0, 0, false);
	if (child == 0) {
		struct flock lock = range(F_RDLCK, 15, 100);
		MUST(fcntl(open("file", O_RDWR), F_GETLK, &lock) == 0);
		MUST(lock.l_type == F_WRLCK && lock.l_start == 10 && lock.l_len == 20);
		/* The server does not know processes. */
		MUST(lock.l_pid == parent || trait("remote"));
		lock = range(F_WRLCK, 0, 10);
		MUST(fcntl(open("file", O_RDWR), F_GETLK, &lock) == 0 && lock.l_type == F_UNLCK);
		return 0;
	}
	JOIN(child);
	return 0;
}

static int ends_of_record_locks(void)
{
	MUST(make_file("file", 0644, "") == 0);
	int fd = open("file", O_RDWR);
	MUST(set(fd, F_WRLCK, 0, 0) == 0);
	/* Any close of the file by the process ends its locks, and no fork takes them along. */
	pid_t child = become(0, 0, false);
	if (child == 0) {
		MUST_FAIL(set(fd, F_WRLCK, 0, 0), EAGAIN);
		return 0;
	}
	JOIN(child);
	MUST(!free_for_another("file", F_WRLCK, 0, 0));
	MUST(close(open("file", O_RDONLY)) == 0 && free_for_another("file", F_WRLCK, 0, 0));
	/* So does the end of the process, whatever ends it. */
	child = fork();
	if (child == 0) {
		if (set(open("file", O_RDWR), F_WRLCK, 0, 0) == 0)
			raise(SIGKILL);
		_exit(1);
	}
	int status;
	MUST(waitpid(child, &status, 0) == child && WIFSIGNALED(status));
	MUST(free_for_another("file", F_WRLCK, 0, 0));
	return 0;
}

static void nothing(int signal) { (void)signal; }

static int waiting(void)
{
	MUST(make_file("file", 0644, "") == 0);
	int fd = open("file", O_RDWR), pipes[2];
	char byte;
	MUST(pipe(pipes) == 0 && set(fd, F_WRLCK, 0, 10) == 0);
	pid_t child = become(0, 0, false);
	if (child == 0) {
		struct flock lock = range(F_WRLCK, 5, 1);
		struct sigaction action = {.sa_handler = nothing};
		int own = open("file", O_RDWR);
		/* A signal ends the wait. The timer repeats, in case the first comes before the wait. */
		const struct timespec soon = {0, 100 * 1000 * 1000};
		const struct itimerspec often = {soon, soon}, never = {{0, 0}, {0, 0}};
		timer_t timer;
		sigaction(SIGALRM, &action, NULL);
		MUST(timer_create(CLOCK_MONOTONIC, NULL, &timer) == 0);
		/* Linux's virtio-fs driver tells the server of no interrupt, and waits on. */
		if (!trait("remote")) {
			MUST(timer_settime(timer, 0, &often, NULL) == 0);
			MUST_FAIL(fcntl(own, F_SETLKW, &lock), EINTR);
			MUST(timer_settime(timer, 0, &never, NULL) == 0);
		}
		MUST(write(pipes[1], "x", 1) == 1);
		MUST(fcntl(own, F_SETLKW, &lock) == 0);
		return 0;
	}
	MUST(read(pipes[0], &byte, 1) == 1);
	tick();
	MUST(set(fd, F_UNLCK, 0, 0) == 0);
	JOIN(child);
	return 0;
}

static int deadlock(void)
{
	/* The server keeps no graph of who waits for whom. */
	if (trait("remote"))
		return 0;
	MUST(make_file("file", 0644, "") == 0);
	int fd = open("file", O_RDWR), pipes[2];
	char byte;
	MUST(pipe(pipes) == 0 && set(fd, F_WRLCK, 0, 1) == 0);
	pid_t child = become(0, 0, false);
	if (child == 0) {
		struct flock lock = range(F_WRLCK, 0, 1);
		int own = open("file", O_RDWR);
		MUST(set(own, F_WRLCK, 1, 1) == 0 && write(pipes[1], "x", 1) == 1);
		MUST(fcntl(own, F_SETLKW, &lock) == 0);
		return 0;
	}
	MUST(read(pipes[0], &byte, 1) == 1);
	/* Waits for the child, or finds that it waits already: in both cases the circle is found by one of the two. */
	struct flock lock = range(F_WRLCK, 1, 1);
	for (int tries = 0; tries < 10; tries++)
		tick();
	MUST_FAIL(fcntl(fd, F_SETLKW, &lock), EDEADLK);
	MUST(set(fd, F_UNLCK, 0, 0) == 0);
	JOIN(child);
	return 0;
}

static int description_locks(void)
{
	MUST(make_file("file", 0644, "") == 0);
	int first = open("file", O_RDWR), second = open("file", O_RDWR);
	struct flock lock = range(F_WRLCK, 0, 10);
	MUST(fcntl(first, F_OFD_SETLK, &lock) == 0);
	lock = range(F_WRLCK, 5, 1);
	MUST_FAIL(fcntl(second, F_OFD_SETLK, &lock), EAGAIN);
	MUST(close(open("file", O_RDWR)) == 0);
	MUST_FAIL(fcntl(second, F_OFD_SETLK, &lock), EAGAIN);
	MUST(close(first) == 0);
	/* The server may hear of a close late. */
	for (int tries = 0; fcntl(second, F_OFD_SETLK, &lock) != 0 && tries < 100; tries++)
		tick();
	MUST(fcntl(second, F_OFD_SETLK, &lock) == 0);
	return 0;
}

static int whole_files(void)
{
	MUST(make_file("file", 0644, "") == 0);
	int first = open("file", O_RDONLY), second = open("file", O_RDWR), third = open("file", O_RDWR);
	MUST(flock(first, LOCK_EX) == 0);
	MUST_FAIL(flock(second, LOCK_SH | LOCK_NB), EWOULDBLOCK);
	MUST(flock(first, LOCK_SH) == 0 && flock(second, LOCK_SH | LOCK_NB) == 0);
	MUST_FAIL(flock(third, LOCK_EX | LOCK_NB), EWOULDBLOCK);
	MUST_FAIL(flock(second, LOCK_EX | LOCK_NB), EWOULDBLOCK);
	MUST(flock(first, LOCK_UN) == 0 && flock(second, LOCK_UN) == 0);
	/* It belongs to the description: a copy keeps it, a child has it too, and the last close ends it. */
	MUST(flock(first, LOCK_EX) == 0);
	int copy = dup(first);
	MUST(close(first) == 0);
	pid_t child = become(0, 0, false);
	if (child == 0) {
		MUST(flock(copy, LOCK_EX | LOCK_NB) == 0);
		return 0;
	}
	JOIN(child);
	MUST_FAIL(flock(second, LOCK_EX | LOCK_NB), EWOULDBLOCK);
	MUST(close(copy) == 0);
	/* The server may hear of a close late. */
	MUST(flock(second, LOCK_EX) == 0);
	/* And has nothing to do with record locks. */
	MUST(set(third, F_WRLCK, 0, 0) == 0);
	return 0;
}

CLASS(locks, "locks", {"ranges of fcntl", record_locks}, {"F_GETLK", who_holds}, {"close and exit end locks", ends_of_record_locks},
      {"waiting, and signals meanwhile", waiting}, {"EDEADLK", deadlock}, {"locks of open file descriptions", description_locks},
      {"flock", whole_files});
