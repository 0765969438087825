// SPDX-License-Identifier: GPL-2.0-only
/*
 * With MEMVIEW_FAULT_SINK nothing that happens to a file stops a virtual
 * machine, and the guest sees what the file has, or zeroes.
 */
#include <linux/falloc.h>
#include <sys/mount.h>
#include <sys/prctl.h>

#include "fuse_server.h"
#include "machine.h"

enum { PAGES = 128 };
#define SIZE	(PAGES * PAGE)

/* Takes pages away from a file and gives them back. */
static void change(int fd, unsigned int round)
{
	static uint64_t pages[PAGES][PAGE / 8];
	unsigned int first = round * 37 % PAGES;
	ssize_t size = (PAGES - first) * PAGE;

	if (round % 3 == 2)
		CHECK_OK(sys(fallocate(fd, FALLOC_FL_PUNCH_HOLE |
				       FALLOC_FL_KEEP_SIZE, first * PAGE,
				       size)));
	else
		CHECK_OK(sys(ftruncate(fd, first * PAGE + round % 2 * 100)));
	sleep_ms(round % 4 * 10);
	for (unsigned int i = first; i < PAGES; i++)
		stamp_page(pages[i], stamp(1, i, 0));
	CHECK_EQ(pwrite(fd, pages[first], size, first * PAGE), size);
}

/* A guest at work in a file that the host truncates, punches and writes. */
TEST_EACH_FS_LIMIT(outlives_changes, 60)
{
	enum { ROUNDS = 24 };
	int ctl = sink_view(SIZE), fd = backing_new(1, PAGES), status = 0;
	unsigned long accesses = 0, zeroes = 0;
	uint64_t state = 1, end;
	struct machine *m;
	pid_t changer;

	CHECK_OK(map_fd(ctl, fd, 0, SIZE, 0, RD | WR));
	m = machine_new(view_mmap(ctl, SIZE, PROT_READ | PROT_WRITE), SIZE);
	changer = fork();
	CHECK(changer >= 0);
	if (!changer) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (unsigned int round = 0; round < ROUNDS; round++)
			change(fd, round);
		_exit(0);
	}
	while (!wait_ended(changer, 0, &status)) {
		for (unsigned int i = 0; i < 20; i++) {
			unsigned int page = rnd(&state) % PAGES;
			uint64_t value = guest_read(m, page * PAGE);

			if (value != stamp(1, page, 0))
				CHECK_EQ(value, 0);
			zeroes += !value;
			guest_write(m, page * PAGE + 8, stamp(2, page, 0));
			accesses += 2;
		}
	}
	CHECK_EQ(status, 0);
	note("%lu accesses, %lu zeroes, %llu sink pages", accesses, zeroes,
	     (unsigned long long)get_info(ctl).sinks);
	CHECK(get_info(ctl).sinks);
	end = deadline(20000);
	for (unsigned int i = 0; i < PAGES; i++)
		while (guest_read(m, i * PAGE) != stamp(1, i, 0))
			CHECK(now_ms() < end);
	/*
	 * One for an error that was history when the file was looked at was
	 * not shown, and goes a second later.
	 */
	while (get_info(ctl).sink_pages)
		CHECK(now_ms() < end);
	CHECK_EQ(get_info(ctl).lost_writes, 0);
}

/* Its stores into holes of a file on a full disk are lost, and counted. */
TEST(outlives_full_disk)
{
	int ctl = sink_view(SIZE), fd;
	struct machine *m;
	char dir[64], path[96];

	snprintf(dir, sizeof(dir), "/run/memview-vm-%d", getpid());
	CHECK_OK(sys(mkdir(dir, 0700)));
	CHECK_OK(sys(mount("none", dir, "tmpfs", 0, "size=64k")));
	snprintf(path, sizeof(path), "%s/file", dir);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	CHECK_OK(sys(umount2(dir, MNT_DETACH)));
	CHECK_OK(sys(rmdir(dir)));
	CHECK(fd >= 0);
	CHECK_OK(sys(ftruncate(fd, SIZE)));
	CHECK_OK(map_fd(ctl, fd, 0, SIZE, 0, RD | WR));
	m = machine_new(view_mmap(ctl, SIZE, PROT_READ | PROT_WRITE), SIZE);
	for (unsigned int i = 0; i < PAGES; i++) {
		guest_write(m, i * PAGE, stamp(1, i, 0));
		(void)guest_read(m, i * PAGE + 8);
	}
	CHECK(get_info(ctl).lost_writes >= PAGES - 16);
}

/* What can't be read is empty for a while. */
TEST(outlives_read_errors)
{
	struct fuse_server *server = fuse_start(PAGES);
	int fd = open(server->path, O_RDWR | O_CLOEXEC);
	int ctl = sink_view(SIZE);
	struct machine *m;
	uint64_t end;

	CHECK(fd >= 0);
	CHECK_OK(map_fd(ctl, fd, 0, SIZE, 0, RD | WR));
	m = machine_new(view_mmap(ctl, SIZE, PROT_READ | PROT_WRITE), SIZE);
	__atomic_store_n(&server->fail_reads, EIO, __ATOMIC_SEQ_CST);
	for (unsigned int i = 0; i < 16; i++)
		CHECK_EQ(guest_read(m, i * PAGE), 0);
	CHECK(get_info(ctl).read_errors >= 16);
	__atomic_store_n(&server->fail_reads, 0, __ATOMIC_SEQ_CST);
	end = deadline(20000);
	for (unsigned int i = 0; i < 16; i++)
		while (guest_read(m, i * PAGE) != stamp(8, i, 0))
			CHECK(now_ms() < end);
	fuse_end(server);
}
