// SPDX-License-Identifier: GPL-2.0-only
/*
 * A process that maps a view and the file behind it, and creates KVM VMs
 * (which takes all locks of its address space, in an order of its own), while
 * another one punches holes in the file, unmaps and replaces ranges: all of
 * them must get on. The first prototype of the driver wedged both here.
 */
#include <linux/falloc.h>
#include <linux/kvm.h>
#include <pthread.h>

#include "memview_test.h"

enum { PAGES = 256, VMS = 24 };
#define SIZE	(PAGES * PAGE)

static uint64_t *progress;	/* shared between the processes */

/* Maps @low_fd at the lower and @high_fd at the higher of two addresses. */
static void map_two(int low_fd, int high_fd, void **low, void **high)
{
	void *room = mmap(NULL, 2 * SIZE, PROT_NONE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	CHECK(room != MAP_FAILED);
	*low = mmap(room, SIZE, PROT_READ | PROT_WRITE,
		    MAP_SHARED | MAP_FIXED, low_fd, 0);
	*high = mmap(AT(room, SIZE), SIZE, PROT_READ | PROT_WRITE,
		     MAP_SHARED | MAP_FIXED, high_fd, 0);
	CHECK(*low != MAP_FAILED && *high != MAP_FAILED);
}

static void vm_maker(int view_fd, int file_fd, bool view_below, bool touch)
{
	void *low, *high, *view;
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);

	CHECK(kvm >= 0);
	if (view_below)
		map_two(view_fd, file_fd, &low, &high);
	else
		map_two(file_fd, view_fd, &low, &high);
	view = view_below ? low : high;
	for (unsigned int i = 0; i < VMS; i++) {
		uint64_t value;
		int vm;

		if (touch) {
			for (unsigned int p = 0; p < PAGES; p += 16) {
				(void)try_read(AT(low, p * PAGE), &value);
				(void)try_read(AT(high, p * PAGE), &value);
				(void)try_write(AT(view, p * PAGE), 1);
			}
		}
		vm = ioctl(kvm, KVM_CREATE_VM, 0);
		if (vm < 0)
			FAIL("KVM_CREATE_VM: %s", strerror(errno));
		close(vm);
		__atomic_add_fetch(&progress[0], 1, __ATOMIC_SEQ_CST);
	}
	_exit(0);
}

static void *punch(void *arg)
{
	int fd = *(int *)arg;
	uint64_t seed = 4711;

	run_first();
	for (;;) {
		unsigned int at = rnd(&seed) % (PAGES - 8);

		CHECK_OK(sys(fallocate(fd, FALLOC_FL_PUNCH_HOLE |
				       FALLOC_FL_KEEP_SIZE, at * PAGE,
				       8 * PAGE)));
		__atomic_add_fetch(&progress[1], 1, __ATOMIC_SEQ_CST);
	}
	return NULL;
}

static void run(bool view_below, bool touch, bool remap)
{
	int fd = backing_new(1, PAGES);
	int ctl = ctl_new(SIZE);
	int vfd = get_viewfd(ctl);
	uint64_t remaps = 0, last = 0, limit;
	pthread_t thread;
	int status;
	pid_t pid;

	progress = mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
			MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK_OK(map_fd(ctl, fd, 0, SIZE, 0, RD | WR));
	pid = fork();
	CHECK(pid >= 0);
	if (!pid)
		vm_maker(vfd, fd, view_below, touch);
	CHECK(!pthread_create(&thread, NULL, punch, &fd));
	limit = deadline(12000);
	run_first();
	while (!wait_ended(pid, 0, &status)) {
		uint64_t now = __atomic_load_n(&progress[0],
					       __ATOMIC_SEQ_CST);

		if (now != last) {
			last = now;
			limit = deadline(12000);
		}
		if (now_ms() > limit)
			FAIL("no VM for too long after %llu VMs and %llu holes",
			     (unsigned long long)last,
			     (unsigned long long)progress[1]);
		if (remap) {
			CHECK_OK(map_fd(ctl, fd, 0, SIZE / 2, 0, RD | WR));
			CHECK_OK(unmap_fd(ctl, SIZE / 4, SIZE / 4));
			CHECK_OK(map_fd(ctl, fd, 0, SIZE, 0, RD | WR));
			remaps++;
		} else {
			sleep_ms(2);
		}
	}
	CHECK(WIFEXITED(status) && !WEXITSTATUS(status));
	note("%llu VMs beside %llu holes and %llu remaps",
	     (unsigned long long)progress[0],
	     (unsigned long long)progress[1], (unsigned long long)remaps);
	CHECK_EQ(progress[0], VMS);
	CHECK(progress[1] > 10);
}

TEST_LIMIT(view_below_file, 60)
{
	run(true, true, false);
}

TEST_LIMIT(view_above_file, 60)
{
	run(false, true, false);
}

TEST_LIMIT(view_below_file_untouched, 60)
{
	run(true, false, false);
}

TEST_LIMIT(view_below_file_with_remaps, 60)
{
	run(true, true, true);
}

TEST_LIMIT(view_above_file_with_remaps, 60)
{
	run(false, true, true);
}

/* The owner itself maps the view, the file, and makes VMs. */
TEST_LIMIT(owner_makes_vms, 60)
{
	int fd = backing_new(1, PAGES);
	int ctl = ctl_new(SIZE);
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	void *low, *high;
	pthread_t thread;

	CHECK(kvm >= 0);
	progress = mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
			MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK_OK(map_fd(ctl, fd, 0, SIZE, 0, RD | WR));
	map_two(get_viewfd(ctl), fd, &low, &high);
	CHECK(!pthread_create(&thread, NULL, punch, &fd));
	for (unsigned int i = 0; i < VMS / 2; i++) {
		int vm = ioctl(kvm, KVM_CREATE_VM, 0);

		CHECK(vm >= 0);
		(void)must_read(AT(low, i * PAGE));
		CHECK_OK(unmap_fd(ctl, i * PAGE, PAGE));
		must_sigbus(AT(low, i * PAGE));
		close(vm);
	}
}
