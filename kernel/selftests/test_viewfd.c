// SPDX-License-Identifier: GPL-2.0-only
/* A view fd looks like a regular file and can only be mapped and closed. */
#include <poll.h>
#include <sys/sendfile.h>
#include <sys/statfs.h>
#include <sys/uio.h>

#include "memview_test.h"

#define SIZE	(64 * PAGE)

TEST(looks_like_a_file)
{
	int ctl = ctl_new(SIZE);
	int vfd = get_viewfd(ctl);
	struct stat st;

	CHECK_OK(sys(fstat(vfd, &st)));
	CHECK(S_ISREG(st.st_mode));
	CHECK_EQ(st.st_size, SIZE);
	CHECK_EQ(lseek(vfd, 0, SEEK_END), SIZE);
	CHECK_EQ(lseek(vfd, 0, SEEK_SET), 0);
	CHECK_EQ(lseek(vfd, PAGE, SEEK_CUR), PAGE);
	CHECK_EQ(fcntl(vfd, F_GETFL) & O_ACCMODE, O_RDWR);
	CHECK_EQ(fcntl(vfd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
}

TEST(many_fds_of_one_view)
{
	int ctl = ctl_new(SIZE);
	int fd = backing_new(1, 1);
	int a = get_viewfd(ctl), b = get_viewfd(ctl);
	void *va = mmap(NULL, SIZE, PROT_READ, MAP_SHARED, a, 0);
	void *vb = mmap(NULL, SIZE, PROT_READ, MAP_SHARED, b, 0);

	CHECK(a != b && va != MAP_FAILED && vb != MAP_FAILED);
	CHECK_OK(map_fd(ctl, fd, 0, PAGE, PAGE, RD));
	CHECK_EQ(must_read(AT(va, PAGE)), stamp(1, 0, 0));
	CHECK_EQ(must_read(AT(vb, PAGE)), stamp(1, 0, 0));
	CHECK_OK(unmap_fd(ctl, PAGE, PAGE));
	must_sigbus(AT(va, PAGE));
	must_sigbus(AT(vb, PAGE));
}

TEST(refuses_everything_else)
{
	int ctl = ctl_new(SIZE);
	int fd = backing_new(1, 4);
	int vfd = get_viewfd(ctl);
	char buf[64] = "";
	struct iovec iov = { buf, sizeof(buf) };
	struct stat st;
	__u64 size = SIZE;
	int pipe_fds[2];
	loff_t off = 0;

	CHECK_OK(map_fd(ctl, fd, 0, 4 * PAGE, 0, RD | WR));
	CHECK(read(vfd, buf, 1) < 0);
	CHECK(write(vfd, buf, 1) < 0);
	CHECK(pread(vfd, buf, 1, 0) < 0);
	CHECK(pwrite(vfd, buf, 1, 0) < 0);
	CHECK(readv(vfd, &iov, 1) < 0);
	CHECK(writev(vfd, &iov, 1) < 0);
	CHECK(ftruncate(vfd, 0) < 0);
	CHECK(ftruncate(vfd, SIZE) < 0);
	CHECK(ftruncate(vfd, 2 * SIZE) < 0);
	CHECK(fallocate(vfd, 0, 0, PAGE) < 0);
	CHECK(fallocate(vfd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
			PAGE) < 0);
	CHECK_OK(sys(pipe(pipe_fds)));
	CHECK(splice(vfd, &off, pipe_fds[1], NULL, PAGE, 0) < 0);
	CHECK(sendfile(pipe_fds[1], vfd, &off, PAGE) < 0);
	CHECK(copy_file_range(vfd, NULL, fd, NULL, PAGE, 0) < 0);
	CHECK_ERR(sys(ioctl(vfd, MEMVIEW_GET_INFO, buf)), ENOTTY);
	CHECK_ERR(sys(ioctl(vfd, MEMVIEW_SET_SIZE, &size)), ENOTTY);
	CHECK_ERR(sys(ioctl(vfd, MEMVIEW_GET_VIEWFD)), ENOTTY);
	CHECK_ERR(map_fd(vfd, fd, 0, PAGE, 0, RD), ENOTTY);
	CHECK_ERR(unmap_fd(vfd, 0, PAGE), ENOTTY);
	CHECK(fcntl(vfd, F_ADD_SEALS, F_SEAL_SHRINK) < 0);

	CHECK_OK(sys(fstat(vfd, &st)));
	CHECK_EQ(st.st_size, SIZE);
	CHECK_EQ(get_info(ctl).segments, 1);
}

TEST(cannot_be_reopened)
{
	static const int modes[] = { O_RDONLY, O_WRONLY, O_RDWR,
				     O_RDWR | O_TRUNC, O_RDWR | O_CREAT };
	int ctl = ctl_new(SIZE);
	int vfd = get_viewfd(ctl);
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", vfd);
	for (unsigned int i = 0; i < ARRAY_SIZE(modes); i++)
		CHECK(open(path, modes[i] | O_CLOEXEC, 0600) < 0);
	CHECK(truncate(path, 0) < 0);
	CHECK(linkat(AT_FDCWD, path, AT_FDCWD, "/tmp/memview-link",
		     AT_SYMLINK_FOLLOW) < 0);
	CHECK(execl(path, path, NULL) < 0);
}

TEST(cannot_be_mapped_into_a_view)
{
	int a = ctl_new(SIZE), b = ctl_new(SIZE);
	int vfd = get_viewfd(a);

	CHECK_ERR(map_fd(b, vfd, 0, PAGE, 0, RD), ERR_KIND);
	CHECK_ERR(map_fd(a, vfd, 0, PAGE, 0, RD), ERR_KIND);
	CHECK_ERR(map_fd(b, a, 0, PAGE, 0, RD), ERR_KIND);
	CHECK_ERR(map_fd(b, b, 0, PAGE, 0, RD), ERR_KIND);
	CHECK_EQ(get_info(b).segments, 0);
}

TEST(mappings)
{
	int ctl = ctl_new(SIZE);
	int fd = backing_new(1, 64);
	int vfd = get_viewfd(ctl);
	void *view;

	CHECK_OK(map_fd(ctl, fd, 0, SIZE, 0, RD | WR));
	/* A private copy could not be revoked. */
	CHECK(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, vfd, 0) == MAP_FAILED);
	CHECK(mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, vfd, 0) ==
	      MAP_FAILED);
	/* Part of the view, at an offset. */
	view = mmap(NULL, 4 * PAGE, PROT_READ, MAP_SHARED, vfd, 60 * PAGE);
	CHECK(view != MAP_FAILED);
	for (unsigned int i = 0; i < 4; i++)
		CHECK_EQ(must_read(AT(view, i * PAGE)), stamp(1, 60 + i, 0));
	CHECK_OK(unmap_fd(ctl, 61 * PAGE, PAGE));
	CHECK_EQ(must_read(view), stamp(1, 60, 0));
	must_sigbus(AT(view, PAGE));
	/* MAP_SHARED_VALIDATE is MAP_SHARED. */
	view = mmap(NULL, PAGE, PROT_READ, MAP_SHARED_VALIDATE, vfd, 0);
	CHECK(view != MAP_FAILED);
	CHECK_EQ(must_read(view), stamp(1, 0, 0));
	/* MAP_POPULATE and MAP_LOCKED must neither hang nor pin. */
	view = mmap(NULL, SIZE, PROT_READ, MAP_SHARED | MAP_POPULATE, vfd, 0);
	CHECK(view != MAP_FAILED);
	CHECK_EQ(must_read(view), stamp(1, 0, 0));
	CHECK_OK(unmap_fd(ctl, 0, PAGE));
	must_sigbus(view);
	/* A range partly or wholly beyond the view: refused, or SIGBUS. */
	view = mmap(NULL, 2 * SIZE, PROT_READ, MAP_SHARED, vfd, 0);
	if (view != MAP_FAILED)
		must_sigbus(AT(view, SIZE));
	view = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, vfd, SIZE);
	if (view != MAP_FAILED)
		must_sigbus(view);
}

TEST(empty_view_is_all_holes)
{
	int ctl = ctl_new(SIZE);
	void *view = view_mmap(ctl, SIZE, PROT_READ | PROT_WRITE);

	must_sigbus(view);
	must_not_write(view);
	must_sigbus(AT(view, SIZE - PAGE));
	CHECK_EQ(get_info(ctl).segments, 0);
}

TEST(many_mappers)
{
	enum { MAPPERS = 6, PAGES = 64 };
	int ctl = ctl_new(PAGES * PAGE);
	int fd = backing_new(1, PAGES);
	int vfd = get_viewfd(ctl);
	uint64_t *shared = mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
				MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t pids[MAPPERS];

	CHECK_OK(map_fd(ctl, fd, 0, PAGES * PAGE, 0, RD | WR));
	for (unsigned int m = 0; m < MAPPERS; m++) {
		pids[m] = fork();
		CHECK(pids[m] >= 0);
		if (pids[m])
			continue;
		close(ctl);
		void *view = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE,
				  MAP_SHARED, vfd, 0);

		CHECK(view != MAP_FAILED);
		for (unsigned int i = 0; i < PAGES; i++)
			CHECK_EQ(must_read(AT(view, i * PAGE)),
				 stamp(1, i, 0));
		must_write(AT(view, m * PAGE + 8), m + 100);
		__atomic_add_fetch(&shared[0], 1, __ATOMIC_SEQ_CST);
		while (!__atomic_load_n(&shared[1], __ATOMIC_SEQ_CST))
			sleep_ms(1);
		/* Revoked in all of them when the call has returned. */
		for (unsigned int i = 0; i < PAGES; i++)
			must_sigbus(AT(view, i * PAGE));
		_exit(0);
	}
	while (__atomic_load_n(&shared[0], __ATOMIC_SEQ_CST) < MAPPERS) {
		for (unsigned int m = 0; m < MAPPERS; m++)
			CHECK_EQ(waitpid(pids[m], NULL, WNOHANG), 0);
		sleep_ms(1);
	}
	CHECK_OK(unmap_fd(ctl, 0, PAGES * PAGE));
	__atomic_store_n(&shared[1], 1, __ATOMIC_SEQ_CST);
	for (unsigned int m = 0; m < MAPPERS; m++) {
		uint64_t word;

		wait_child(pids[m], 20);
		CHECK_EQ(pread(fd, &word, 8, m * PAGE + 8), 8);
		CHECK_EQ(word, m + 100);
	}
}
