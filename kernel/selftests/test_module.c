// SPDX-License-Identifier: GPL-2.0-only
/*
 * Loading and unloading the driver: whoever uses a view keeps it, and nobody
 * else does.
 */
#include <pthread.h>

#include "module.h"

enum { PAGES = 16 };
#define SIZE	(PAGES * PAGE)

/* Each kind of use alone keeps the driver, the last one a mapping. */
TEST_LIMIT(users_keep_it, 90)
{
	int file = module_file();
	int fd = backing_new(1, PAGES);
	int ctl = ctl_new(SIZE);
	int vfd = get_viewfd(ctl);
	void *view = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, vfd,
			  0);

	CHECK(view != MAP_FAILED);
	CHECK_OK(map_fd(ctl, fd, 0, SIZE, 0, RD | WR));
	must_write(AT(view, 8), 1);
	CHECK_ERR(module_unload(), EAGAIN);
	close(vfd);
	CHECK_ERR(module_unload(), EAGAIN);
	close(ctl);
	CHECK_ERR(module_unload(), EAGAIN);
	must_sigbus(view);
	CHECK_OK(sys(munmap(view, SIZE)));
	module_must_unload();
	CHECK_ERR(sys(open(DEVICE, O_RDWR | O_CLOEXEC)), ENOENT);
	module_must_load(file);

	vfd = get_viewfd(ctl = ctl_new(SIZE));
	close(ctl);
	CHECK_ERR(module_unload(), EAGAIN);
	close(vfd);
	module_must_unload();
	module_must_load(file);
}

/* Sink pages have marks in the file's inode, whose ends take a grace period. */
TEST_LIMIT(marks_end_before_it, 90)
{
	int file = module_file();
	int fd = backing_new_on("tmpfs", 1, 1);

	for (unsigned int i = 0; i < 3; i++) {
		int ctl = sink_view(SIZE);
		void *view = view_mmap(ctl, SIZE, PROT_READ);

		CHECK_OK(map_fd(ctl, fd, 0, SIZE, 0, RD));
		CHECK_EQ(must_read(AT(view, PAGE)), 0);
		CHECK_OK(sys(munmap(view, SIZE)));
		close(ctl);
		module_must_unload();
		/* Must find nobody who has been told of the file before. */
		CHECK_EQ(pwrite(fd, "x", 1, 0), 1);
		module_must_load(file);
	}
}

static volatile bool stop;

/* Uses what it can get. */
static void *user(void *unused)
{
	unsigned long uses = 0;
	int fd = backing_new_on("memfd", 1, PAGES);

	(void)unused;
	while (!stop) {
		int ctl = open(DEVICE, O_RDWR | O_CLOEXEC);
		void *view;

		if (ctl < 0) {
			CHECK(errno == ENOENT || errno == ENODEV ||
			      errno == ENXIO);
			continue;
		}
		CHECK_OK(set_size(ctl, SIZE));
		view = view_mmap(ctl, SIZE, PROT_READ);
		CHECK_OK(map_fd(ctl, fd, 0, SIZE, 0, RD));
		CHECK_EQ(must_read(AT(view, PAGE)), stamp(1, 1, 0));
		CHECK_OK(sys(munmap(view, SIZE)));
		close(ctl);
		uses++;
		usleep(2000);
	}
	return (void *)uses;
}

/* It comes and goes beside users. */
TEST_LIMIT(comes_and_goes, 90)
{
	int file = module_file();
	unsigned long loads = 0, uses = 0;
	uint64_t end = now_ms() + 5000;
	pthread_t threads[2];
	void *result;

	run_first();
	for (unsigned int i = 0; i < ARRAY_SIZE(threads); i++)
		CHECK(!pthread_create(&threads[i], NULL, user, NULL));
	while (now_ms() < end || loads < 3) {
		long ret = module_unload();

		if (ret) {
			CHECK_ERR(ret, EAGAIN);
			continue;
		}
		module_must_load(file);
		loads++;
		sleep_ms(5);
	}
	stop = true;
	for (unsigned int i = 0; i < ARRAY_SIZE(threads); i++) {
		CHECK(!pthread_join(threads[i], &result));
		uses += (unsigned long)result;
	}
	note("%lu loads, %lu uses", loads, uses);
	CHECK(uses);
}
