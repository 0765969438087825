// SPDX-License-Identifier: GPL-2.0-only
/*
 * The end of either side: a view lives as long as somebody holds its control
 * fd and the opener's address space is there; after that (and after a mapper's
 * death) nothing of it is left.
 */
#include <pthread.h>
#include <sys/mount.h>
#include <sys/socket.h>

#include "memview_test.h"

enum { PAGES = 64 };
#define SIZE	(PAGES * PAGE)

/* Control and view fd of a view that a child made, by socket. */
static void send_fds(int sock, int ctl, int vfd)
{
	char control[CMSG_SPACE(2 * sizeof(int))];
	char byte = 0;
	struct iovec iov = { &byte, 1 };
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = control, .msg_controllen = sizeof(control),
	};
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);
	int fds[2] = { ctl, vfd };

	cmsg->cmsg_level = SOL_SOCKET;
	cmsg->cmsg_type = SCM_RIGHTS;
	cmsg->cmsg_len = CMSG_LEN(sizeof(fds));
	memcpy(CMSG_DATA(cmsg), fds, sizeof(fds));
	CHECK_EQ(sendmsg(sock, &msg, 0), 1);
}

static void receive_fds(int sock, int *ctl, int *vfd)
{
	char control[CMSG_SPACE(2 * sizeof(int))];
	char byte;
	struct iovec iov = { &byte, 1 };
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = control, .msg_controllen = sizeof(control),
	};
	int fds[2];

	CHECK_EQ(recvmsg(sock, &msg, 0), 1);
	CHECK(CMSG_FIRSTHDR(&msg));
	memcpy(fds, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof(fds));
	*ctl = fds[0];
	*vfd = fds[1];
}

/* A process that has opened a view of @SIZE and waits. */
static pid_t open_in_child(int *ctl, int *vfd)
{
	int sock[2];
	pid_t pid;

	CHECK_OK(sys(socketpair(AF_UNIX, SOCK_STREAM, 0, sock)));
	pid = fork();
	CHECK(pid >= 0);
	if (!pid) {
		int mine = ctl_new(SIZE);

		send_fds(sock[1], mine, get_viewfd(mine));
		close(mine);
		for (;;)
			pause();
	}
	receive_fds(sock[0], ctl, vfd);
	close(sock[0]);
	close(sock[1]);
	return pid;
}

/* Another one that fills and uses the view and dies. */
static void use_in_child(int ctl, int vfd)
{
	int status;
	pid_t pid = fork();

	CHECK(pid >= 0);
	if (!pid) {
		int fd = backing_new(1, PAGES);
		void *view = mmap(NULL, SIZE, PROT_READ | PROT_WRITE,
				  MAP_SHARED, vfd, 0);

		CHECK(view != MAP_FAILED);
		CHECK_OK(map_fd(ctl, fd, 0, SIZE, 0, RD | WR));
		must_write(AT(view, 8), 1);
		raise(SIGKILL);
	}
	CHECK(wait_ended(pid, 10, &status));
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

TEST_EACH_FS(view_outlives_its_users_and_ends_with_its_opener)
{
	uint64_t end, value;
	int ctl, vfd, status;
	pid_t opener = open_in_child(&ctl, &vfd);
	void *view = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, vfd,
			  0);
	int fd;

	CHECK(view != MAP_FAILED);
	use_in_child(ctl, vfd);
	/* Pages that were there, pages that were not, and new ranges. */
	for (unsigned int i = 0; i < PAGES; i++) {
		CHECK_EQ(must_read(AT(view, i * PAGE)), stamp(1, i, 0));
		must_write(AT(view, i * PAGE + 16), i);
	}
	fd = backing_new(2, 4);
	CHECK_OK(map_fd(ctl, fd, 0, 4 * PAGE, 0, RD));
	CHECK_EQ(must_read(view), stamp(2, 0, 0));
	CHECK_EQ(must_read(AT(view, 5 * PAGE)), stamp(1, 5, 0));
	CHECK_EQ(get_info(ctl).segments, 2);

	CHECK_OK(sys(kill(opener, SIGKILL)));
	CHECK(wait_ended(opener, 10, &status));
	/* A worker may hold its address space for a moment. */
	end = deadline(10000);
	while (try_read(view, &value) != SIGBUS)
		CHECK(now_ms() < end);
	for (unsigned int i = 0; i < PAGES; i++)
		must_sigbus(AT(view, i * PAGE));
	CHECK_ERR(map_fd(ctl, fd, 0, PAGE, 0, RD), ESRCH);
	CHECK_OK(unmap_fd(ctl, 0, SIZE));
	CHECK_EQ(get_info(ctl).segments, 0);
	CHECK_ERR(map_fd(ctl, fd, 0, PAGE, 0, RD), ESRCH);
	must_sigbus(view);
}

/* When the last control fd goes, nobody could revoke any more: all holes. */
TEST(last_control_fd_closes_the_view)
{
	int ctl = ctl_new(SIZE);
	int fd = backing_new(1, PAGES);
	int vfd = get_viewfd(ctl);
	void *view, *late;
	int second;
	uint64_t value;
	int sig;

	CHECK_OK(map_fd(ctl, fd, 0, SIZE, 0, RD | WR));
	view = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, vfd, 0);
	CHECK(view != MAP_FAILED);
	CHECK_EQ(must_read(view), stamp(1, 0, 0));
	second = dup(ctl);
	close(ctl);
	CHECK_EQ(must_read(AT(view, PAGE)), stamp(1, 1, 0));
	CHECK_OK(map_fd(second, fd, 0, PAGE, PAGE, RD));
	CHECK_EQ(must_read(AT(view, PAGE)), stamp(1, 0, 0));
	close(second);
	sig = try_read(view, &value);
	if (sig != SIGBUS)
		FAIL("after the last control fd: signal %d", sig);
	must_sigbus(AT(view, 20 * PAGE));
	/* A mapping made now sees no more. */
	late = mmap(NULL, SIZE, PROT_READ, MAP_SHARED, vfd, 0);
	if (late != MAP_FAILED)
		must_sigbus(late);
}

TEST_EACH_FS(mappers_die)
{
	int ctl = ctl_new(SIZE);
	int fd = backing_new(1, PAGES);
	int vfd = get_viewfd(ctl);

	CHECK_OK(map_fd(ctl, fd, 0, SIZE, 0, RD | WR));
	for (unsigned int round = 0; round < 12; round++) {
		int ready[2], status;
		char byte;
		pid_t pid;

		CHECK_OK(sys(pipe(ready)));
		pid = fork();
		CHECK(pid >= 0);
		if (!pid) {
			void *view = mmap(NULL, SIZE, PROT_READ | PROT_WRITE,
					  MAP_SHARED, vfd, 0);

			CHECK(view != MAP_FAILED);
			must_write(AT(view, 8), round);
			CHECK_EQ(write(ready[1], "x", 1), 1);
			for (uint64_t i = 0;; i++)
				must_write(AT(view, i % PAGES * PAGE + 16), i);
		}
		close(ready[1]);
		CHECK_EQ(read(ready[0], &byte, 1), 1);
		close(ready[0]);
		if (round % 3 == 1)
			CHECK_OK(map_fd(ctl, fd, 0, SIZE, 0, RD | WR));
		if (round % 3 == 2)
			sleep_ms(5);
		kill(pid, SIGKILL);
		/* While it dies. */
		CHECK_OK(sys(ftruncate(fd, SIZE / 2)));
		CHECK_OK(unmap_fd(ctl, 0, SIZE));
		CHECK_OK(sys(ftruncate(fd, SIZE)));
		CHECK_OK(map_fd(ctl, fd, 0, SIZE, 0, RD | WR));
		CHECK(wait_ended(pid, 10, &status));
		CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	}
	CHECK_EQ(get_info(ctl).segments, 1);
	must_write(view_mmap(ctl, SIZE, PROT_READ | PROT_WRITE), 1);
}

/* Everything closed in each order: fd, control fd, view fd, mapping. */
TEST(any_order_of_closing)
{
	for (unsigned int order = 0; order < 24; order++) {
		unsigned int left = 0xf, code = order;
		int fd = backing_new(1, PAGES);
		int ctl = ctl_new(SIZE);
		int vfd = get_viewfd(ctl);
		void *view;

		CHECK_OK(map_fd(ctl, fd, 0, SIZE, 0, RD | WR));
		view = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED,
			    vfd, 0);
		CHECK(view != MAP_FAILED);
		must_write(view, 1);
		for (unsigned int n = 4; n; n--) {
			unsigned int pick = code % n, bit = 0;

			code /= n;
			for (;; bit++)
				if (left & 1U << bit && !pick--)
					break;
			left &= ~(1U << bit);
			if (bit == 0)
				close(fd);
			else if (bit == 1)
				close(ctl);
			else if (bit == 2)
				close(vfd);
			else
				CHECK_OK(sys(munmap(view, SIZE)));
		}
	}
}

/* exec drops the mapper's address space; the view fd is close-on-exec. */
TEST(exec_lacks_the_view)
{
	int ctl = ctl_new(SIZE);
	int fd = backing_new(1, PAGES);
	void *view;
	pid_t pid;

	CHECK_OK(map_fd(ctl, fd, 0, SIZE, 0, RD | WR));
	view = view_mmap(ctl, SIZE, PROT_READ);
	CHECK_EQ(must_read(view), stamp(1, 0, 0));
	(void)get_viewfd(ctl);
	pid = fork();
	CHECK(pid >= 0);
	if (!pid) {
		execl("/bin/sh", "sh", "-c",
		      "! grep -q memory-view /proc/self/maps && ! ls -l /proc/self/fd | grep -q memory-view",
		      NULL);
		_exit(9);
	}
	wait_child(pid, 10);
}

/* What the driver keeps warm must not keep a mount busy for ever. */
TEST_LIMIT(mount_is_free_again, 60)
{
	int ctl = ctl_new(SIZE);
	uint64_t begin, end = deadline(20000);
	char dir[48], path[64];
	int fd;

	snprintf(dir, sizeof(dir), "/run/memview-busy-%d", getpid());
	CHECK_OK(sys(mkdir(dir, 0700)));
	CHECK_OK(sys(mount("none", dir, "tmpfs", 0, NULL)));
	snprintf(path, sizeof(path), "%s/file", dir);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	CHECK(fd >= 0);
	CHECK_OK(sys(ftruncate(fd, SIZE)));
	CHECK_OK(map_fd(ctl, fd, 0, SIZE, 0, RD | WR));
	close(fd);
	must_write(view_mmap(ctl, SIZE, PROT_READ | PROT_WRITE), 1);
	/* A live range holds its file, as a mapping does. */
	CHECK_ERR(sys(umount(dir)), EBUSY);
	CHECK_OK(unmap_fd(ctl, 0, SIZE));
	/* The view itself lives on. */
	begin = now_ms();
	while (umount(dir)) {
		CHECK_EQ(errno, EBUSY);
		if (now_ms() > end)
			FAIL("mount still busy after 20 s");
		sleep_ms(20);
	}
	note("free after %llu ms", (unsigned long long)(now_ms() - begin));
	CHECK_OK(sys(rmdir(dir)));
}
