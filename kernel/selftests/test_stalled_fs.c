// SPDX-License-Identifier: GPL-2.0-only
/*
 * A backing file system that does not answer: the calls on the view that need
 * nothing from it get on, the process that waits for it can be killed, and
 * errors of it come out as SIGBUS.
 */
#include "fuse_server.h"

enum { PAGES = 64, SOON = 5000 /* ms; the server stalls for ever */ };
#define SIZE	(PAGES * PAGE)

static struct fuse_server *server;
static int ctl, fd, vfd;

static void start(void)
{
	server = fuse_start(PAGES);
	fd = open(server->path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		FAIL("open %s: %s", server->path, strerror(errno));
	ctl = ctl_new(SIZE);
	vfd = get_viewfd(ctl);
}

static void must_be_soon(uint64_t begin, const char *what)
{
	uint64_t ms = now_ms() - begin;

	note("%s took %llu ms", what, (unsigned long long)ms);
	if (ms > SOON)
		FAIL("%s waited for the file system", what);
}

/* A child that reads page @page of the view and exits 0, or 1 on SIGBUS. */
static pid_t reader(unsigned int page)
{
	pid_t pid = fork();

	CHECK(pid >= 0);
	if (!pid) {
		void *view = mmap(NULL, SIZE, PROT_READ, MAP_SHARED, vfd, 0);
		uint64_t value;
		int sig;

		CHECK(view != MAP_FAILED);
		sig = try_read(AT(view, page * PAGE), &value);
		if (sig)
			_exit(sig == SIGBUS ? 3 : 4);
		_exit(value == stamp(8, page, 0) ? 0 : 5);
	}
	return pid;
}

/* Waits until @count is reached by what the server counts at @counter. */
static void wait_counted(const int *counter, int count, const char *what)
{
	uint64_t end = deadline(8000);

	while (__atomic_load_n(counter, __ATOMIC_SEQ_CST) < count) {
		if (now_ms() > end)
			FAIL("no %s reached the server", what);
		sleep_ms(2);
	}
}

static void wait_stalled(int count)
{
	wait_counted(&server->stalled, count, "READ");
}

static void stall(bool on)
{
	__atomic_store_n(&server->stall_reads, on, __ATOMIC_SEQ_CST);
}

TEST(a_server_that_answers)
{
	pid_t pid;

	start();
	CHECK_OK(map_fd(ctl, fd, 0, SIZE, 0, RD));
	for (unsigned int i = 0; i < PAGES; i += 9) {
		pid = reader(i);
		wait_child(pid, 10);
	}
	fuse_end(server);
}

/* A fault waits; UNMAP, MAP, GET_INFO and GET_VIEWFD do not. */
TEST(calls_do_not_wait)
{
	struct memview_range ranges[2] = { { 0, PAGE }, { PAGE, PAGE } };
	int other = backing_new(1, PAGES);
	uint64_t begin;
	int status;
	pid_t pid;

	start();
	CHECK_OK(map_fd(ctl, fd, 0, SIZE, 0, RD));
	stall(true);
	pid = reader(5);
	wait_stalled(1);

	begin = now_ms();
	CHECK_EQ(get_info(ctl).segments, 1);
	close(get_viewfd(ctl));
	must_be_soon(begin, "GET_INFO and GET_VIEWFD");
	begin = now_ms();
	CHECK_OK(unmap_fd(ctl, 32 * PAGE, PAGE));
	must_be_soon(begin, "UNMAP_FD of another page");
	begin = now_ms();
	CHECK_OK(map_fd(ctl, other, 0, PAGE, 40 * PAGE, RD));
	must_be_soon(begin, "MAP_FD of another file");
	begin = now_ms();
	CHECK_OK(unmap_fds(ctl, ranges, 2));
	must_be_soon(begin, "UNMAP_FDS");
	begin = now_ms();
	CHECK_OK(unmap_fd(ctl, 0, 32 * PAGE));
	must_be_soon(begin, "UNMAP_FD of the page that is waited for");
	begin = now_ms();
	CHECK_OK(map_fd(ctl, other, 0, SIZE, 0, RD));
	must_be_soon(begin, "MAP_FD over it");
	CHECK_EQ(waitpid(pid, &status, WNOHANG), 0);

	/* The fault ends with what is there now: never with the old page. */
	stall(false);
	wait_exit(pid, 10, 5);
	fuse_end(server);
}

/* The other mappers' faults on other pages get on, too. */
TEST(other_faults_do_not_wait)
{
	int other = backing_new(1, PAGES);
	uint64_t begin;
	void *view;
	pid_t pid;

	start();
	CHECK_OK(map_fd(ctl, fd, 0, SIZE / 2, 0, RD));
	CHECK_OK(map_fd(ctl, other, 0, SIZE / 2, SIZE / 2, RD | WR));
	stall(true);
	pid = reader(5);
	wait_stalled(1);
	begin = now_ms();
	view = view_mmap(ctl, SIZE, PROT_READ | PROT_WRITE);
	for (unsigned int i = 0; i < PAGES / 2; i++) {
		CHECK_EQ(must_read(AT(view, SIZE / 2 + i * PAGE)),
			 stamp(1, i, 0));
		must_write(AT(view, SIZE / 2 + i * PAGE + 8), i);
	}
	CHECK_OK(sys(ftruncate(other, 0)));
	must_sigbus(AT(view, SIZE / 2));
	CHECK_OK(sys(munmap(view, SIZE)));
	must_be_soon(begin, "another range's faults and truncation");
	stall(false);
	wait_child(pid, 10);
	fuse_end(server);
}

TEST(waiting_fault_can_be_killed)
{
	uint64_t begin;
	int status;
	pid_t pid;

	start();
	CHECK_OK(map_fd(ctl, fd, 0, SIZE, 0, RD | WR));
	stall(true);
	pid = reader(5);
	wait_stalled(1);
	sleep_ms(100);
	begin = now_ms();
	CHECK_OK(sys(kill(pid, SIGKILL)));
	if (!wait_ended(pid, 5, &status))
		FAIL("a fault that waits can't be killed");
	must_be_soon(begin, "killing it");
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	/* And again while a second one waits for the same page. */
	pid = reader(5);
	sleep_ms(200);
	CHECK_OK(sys(kill(pid, SIGKILL)));
	CHECK(wait_ended(pid, 5, &status));
	begin = now_ms();
	CHECK_OK(unmap_fd(ctl, 0, SIZE));
	must_be_soon(begin, "UNMAP_FD");
	stall(false);
	fuse_end(server);
}

/* The control fd's last close is an unmap of all. */
TEST(close_does_not_wait)
{
	uint64_t begin;
	pid_t pid;

	start();
	CHECK_OK(map_fd(ctl, fd, 0, SIZE, 0, RD));
	stall(true);
	pid = fork();
	CHECK(pid >= 0);
	if (!pid) {
		void *view;
		uint64_t value;

		close(ctl);
		view = mmap(NULL, SIZE, PROT_READ, MAP_SHARED, vfd, 0);
		CHECK(view != MAP_FAILED);
		_exit(try_read(AT(view, 5 * PAGE), &value) == SIGBUS ? 3 : 0);
	}
	wait_stalled(1);
	begin = now_ms();
	close(ctl);
	must_be_soon(begin, "close of the control fd");
	stall(false);
	wait_exit(pid, 10, 3);
	fuse_end(server);
}

/*
 * A mapper has written, and the server does not take the writes: the file's
 * mapping in the opener ends, which FUSE wants to be told of, and which is to
 * write. The opener's other threads, and all calls, get on.
 */
static void dirty_range_ends(bool by_close)
{
	int other = backing_new(1, PAGES);
	int second, status;
	uint64_t begin;
	bool wrote;
	pid_t pid;

	start();
	CHECK_OK(map_fd(ctl, fd, 0, SIZE, 0, RD | WR));
	__atomic_store_n(&server->stall_writes, 1, __ATOMIC_SEQ_CST);
	pid = fork();
	CHECK(pid >= 0);
	if (!pid) {
		void *view = mmap(NULL, SIZE, PROT_READ | PROT_WRITE,
				  MAP_SHARED, vfd, 0);

		CHECK(view != MAP_FAILED);
		/* Its end would write back what is dirty. */
		close(fd);
		_exit(try_write(AT(view, 3 * PAGE), 0x1234) ? 3 : 0);
	}
	/*
	 * It may have to wait until the server takes writes again, where the
	 * page was written back between its fault and its store: then the store
	 * finds the range gone.
	 */
	wrote = wait_ended(pid, 2, &status) && WIFEXITED(status) &&
		!WEXITSTATUS(status);
	second = by_close ? ctl_new(SIZE) : ctl;
	begin = now_ms();
	if (by_close)
		close(ctl);
	else
		CHECK_OK(unmap_fd(ctl, 0, SIZE));
	wait_counted(&server->writes, 1, "WRITE");
	for (unsigned int i = 0; i < 5; i++) {
		void *room = mmap(NULL, 64 * PAGE, PROT_READ | PROT_WRITE,
				  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		CHECK(room != MAP_FAILED);
		must_write(room, i);
		CHECK_OK(sys(munmap(room, 64 * PAGE)));
		CHECK_OK(map_fd(second, other, 0, PAGE, PAGE, RD));
		CHECK_OK(unmap_fd(second, PAGE, PAGE));
		sleep_ms(5);
	}
	must_be_soon(begin, "an address space beside a writing back");
	begin = now_ms();
	close(second);
	must_be_soon(begin, "close of the control fd");
	__atomic_store_n(&server->stall_writes, 0, __ATOMIC_SEQ_CST);
	/* Nothing is lost. */
	if (wrote)
		CHECK_EQ(server->written, 0x1234);
	fuse_end(server);
}

TEST(dirty_unmap_does_not_freeze)
{
	dirty_range_ends(false);
}

TEST(dirty_close_does_not_freeze)
{
	dirty_range_ends(true);
}

/* A MAP_FD of a file whose server stalls, beside UNMAPs of the same view. */
TEST(map_beside_unmap)
{
	uint64_t begin, end = now_ms() + 1500;
	int other = backing_new(1, PAGES);
	unsigned int rounds = 0;
	pid_t pid;

	start();
	CHECK_OK(map_fd(ctl, other, 0, SIZE, 0, RD));
	stall(true);
	pid = fork();
	CHECK(pid >= 0);
	if (!pid) {
		CHECK_OK(map_fd(ctl, fd, 0, SIZE / 2, 0, RD));
		_exit(0);
	}
	while (now_ms() < end || rounds < 10) {
		begin = now_ms();
		CHECK_OK(unmap_fd(ctl, SIZE / 2, SIZE / 2));
		if (now_ms() - begin > SOON)
			FAIL("UNMAP_FD waited behind MAP_FD");
		CHECK_OK(map_fd(ctl, other, 0, SIZE / 2, SIZE / 2, RD));
		rounds++;
	}
	stall(false);
	wait_child(pid, 10);
	fuse_end(server);
}

TEST(read_errors_are_sigbus)
{
	pid_t pid;

	start();
	CHECK_OK(map_fd(ctl, fd, 0, SIZE, 0, RD));
	__atomic_store_n(&server->fail_reads, EIO, __ATOMIC_SEQ_CST);
	pid = reader(7);
	wait_exit(pid, 10, 3);
	/* It gets better. */
	__atomic_store_n(&server->fail_reads, 0, __ATOMIC_SEQ_CST);
	pid = reader(7);
	wait_child(pid, 10);
	fuse_end(server);
}

/* The server dies while a fault waits for it. */
TEST(server_dies)
{
	pid_t pid;

	start();
	CHECK_OK(map_fd(ctl, fd, 0, SIZE, 0, RD));
	stall(true);
	pid = reader(5);
	wait_stalled(1);
	(void)umount2(server->dir, MNT_FORCE);
	wait_exit(pid, 10, 3);
	CHECK_OK(unmap_fd(ctl, 0, SIZE));
	fuse_end(server);
}
