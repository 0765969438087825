// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a mapper may do is the AND of its mmap protection and the range's
 * flags; mprotect(2) can lower it, never raise it.
 */
#include <sys/mount.h>

#include "memview_test.h"

#define SIZE	(16 * PAGE)

/* mov eax, imm32; ret */
static int code_file(int value)
{
	unsigned char code[6] = { 0xb8, 0, 0, 0, 0, 0xc3 };
	int fd = backing_new(1, 4);

	memcpy(code + 1, &value, 4);
	for (unsigned int i = 0; i < 4; i++)
		CHECK_EQ(pwrite(fd, code, sizeof(code), i * PAGE), 6);
	return fd;
}

static bool can_read(void *at)
{
	uint64_t value;

	return !try_read(at, &value);
}

static bool can_write(void *at)
{
	return !try_write(AT(at, 512), 1);
}

static bool can_run(void *at)
{
	int ret = 0;

	if (try_call(at, &ret))
		return false;
	CHECK_EQ(ret, 42);
	return true;
}

static void check_matrix(bool populate)
{
	static const unsigned int flags[] = {
		RD, RD | WR, RD | EX, RD | WR | EX,
	};
	static const int prots[] = {
		PROT_NONE, PROT_READ, PROT_READ | PROT_WRITE,
		PROT_READ | PROT_EXEC, PROT_READ | PROT_WRITE | PROT_EXEC,
	};
	int ctl = ctl_new(SIZE);
	int fd = code_file(42);
	int vfd = get_viewfd(ctl);

	for (unsigned int f = 0; f < ARRAY_SIZE(flags); f++)
		CHECK_OK(map_fd(ctl, fd, 0, PAGE, f * PAGE, flags[f]));
	for (unsigned int p = 0; p < ARRAY_SIZE(prots); p++) {
		void *view = mmap(NULL, SIZE, prots[p],
				  MAP_SHARED | (populate ? MAP_POPULATE : 0),
				  vfd, 0);

		if (view == MAP_FAILED)
			FAIL("mmap with protection %d: %s", prots[p],
			     strerror(errno));
		for (unsigned int f = 0; f < ARRAY_SIZE(flags); f++) {
			void *at = AT(view, f * PAGE);
			bool read = prots[p] & PROT_READ;
			bool write = prots[p] & PROT_WRITE && flags[f] & WR;
			bool exec = prots[p] & PROT_EXEC && flags[f] & EX;

			note("mmap %d, flags %u", prots[p], flags[f]);
			/* Both orders: a page that is there, and one not. */
			if (p & 1)
				CHECK_EQ(can_run(at), exec);
			CHECK_EQ(can_write(at), write);
			CHECK_EQ(can_run(at), exec);
			CHECK_EQ(can_read(at), read);
			CHECK_EQ(can_write(at), write);
			CHECK_EQ(can_run(at), exec);
		}
		CHECK_OK(sys(munmap(view, SIZE)));
	}
}

TEST(and_of_both)
{
	check_matrix(false);
}

TEST(and_of_both_populated)
{
	check_matrix(true);
}

/* Every prot, on pages already there and not, for each kind of range. */
TEST(mprotect_never_raises)
{
	int ctl = ctl_new(SIZE);
	int fd = code_file(42);
	void *view;

	CHECK_OK(map_fd(ctl, fd, 0, 4 * PAGE, 0, RD));
	CHECK_OK(map_fd(ctl, fd, 0, 4 * PAGE, 4 * PAGE, RD | WR));
	CHECK_OK(map_fd(ctl, fd, 0, 4 * PAGE, 8 * PAGE, RD | EX));
	view = view_mmap(ctl, SIZE, PROT_READ | PROT_WRITE);
	for (unsigned int round = 0; round < 3; round++) {
		int prot = round == 0 ? PROT_READ | PROT_WRITE :
			   round == 1 ? PROT_READ | PROT_WRITE | PROT_EXEC :
					PROT_READ | PROT_WRITE;

		/* Page 0 of each range is in the page tables, page 1 not. */
		for (unsigned int r = 0; r < 3; r++)
			CHECK(can_read(AT(view, r * 4 * PAGE)));
		CHECK_OK(sys(mprotect(view, SIZE, PROT_NONE)));
		CHECK(!can_read(view));
		CHECK(!can_read(AT(view, 4 * PAGE)));
		CHECK_OK(sys(mprotect(view, SIZE, PROT_READ)));
		CHECK(can_read(view) && !can_write(AT(view, 4 * PAGE)));
		/* May be refused; must not give more if it is not. */
		(void)!mprotect(view, SIZE, prot);
		for (unsigned int i = 0; i < 3; i += 2) {
			for (unsigned int page = 0; page < 4; page++) {
				void *at = AT(view, (i * 4 + page) * PAGE);

				CHECK(!can_write(at));
				CHECK(can_read(at));
				CHECK(!can_write(at));
			}
		}
		for (unsigned int page = 0; page < 8; page++)
			CHECK(!can_run(AT(view, page * PAGE)));
		CHECK_OK(sys(mprotect(view, SIZE, PROT_READ)));
		CHECK_OK(sys(mprotect(view, SIZE, PROT_READ | PROT_WRITE)));
		CHECK(can_write(AT(view, 5 * PAGE)));
		CHECK(!can_write(view));
	}
}

/* A mapping made read-only has no right to become writable beyond the range. */
TEST(read_only_mmap_then_mprotect)
{
	int ctl = ctl_new(SIZE);
	int fd = code_file(42);
	void *view;

	CHECK_OK(map_fd(ctl, fd, 0, PAGE, 0, RD));
	CHECK_OK(map_fd(ctl, fd, 0, PAGE, PAGE, RD | WR));
	view = view_mmap(ctl, SIZE, PROT_READ);
	CHECK(can_read(view) && can_read(AT(view, PAGE)));
	CHECK(!can_write(view) && !can_write(AT(view, PAGE)));
	if (!mprotect(view, SIZE, PROT_READ | PROT_WRITE)) {
		CHECK(!can_write(view));
		CHECK(can_write(AT(view, PAGE)));
	}
}

/* The range's rights may be lowered and raised by its owner, at once. */
TEST(owner_changes_rights)
{
	int ctl = ctl_new(SIZE);
	int fd = code_file(42);
	void *view = view_mmap(ctl, SIZE, PROT_READ | PROT_WRITE);

	for (unsigned int i = 0; i < 50; i++) {
		CHECK_OK(map_fd(ctl, fd, 0, 2 * PAGE, 0, RD));
		CHECK(can_read(view));
		CHECK(!can_write(view));
		CHECK_OK(map_fd(ctl, fd, 0, 2 * PAGE, 0, RD | WR));
		CHECK(can_write(view));
		CHECK(can_write(AT(view, PAGE)));
	}
	CHECK_EQ(get_info(ctl).segments, 1);
	CHECK_EQ(vma_count(view, SIZE), 1);
}

/* Ways round the page tables: the kernel writes or reads for the mapper. */
TEST(no_way_round_for_system_calls)
{
	int ctl = ctl_new(SIZE);
	int fd = backing_new(1, 4);
	int zero = open("/dev/zero", O_RDONLY | O_CLOEXEC);
	int mem = open("/proc/self/mem", O_RDWR | O_CLOEXEC);
	void *view;
	char byte = 'x';

	CHECK(zero >= 0 && mem >= 0);
	CHECK_OK(map_fd(ctl, fd, 0, 2 * PAGE, 0, RD));
	view = view_mmap(ctl, SIZE, PROT_READ | PROT_WRITE);
	CHECK_ERR(sys(read(zero, view, 8)), EFAULT);
	CHECK_EQ(must_read(view), stamp(1, 0, 0));
	CHECK_ERR(sys(read(zero, view, 8)), EFAULT);
	CHECK_ERR(sys(read(zero, AT(view, PAGE), 8)), EFAULT);
	CHECK_ERR(sys(read(zero, AT(view, 2 * PAGE), 8)), EFAULT);
	/* Not even by the debugger's door (FOLL_FORCE). */
	CHECK(pwrite(mem, &byte, 1, (off_t)(uintptr_t)view) != 1);
	CHECK(pwrite(mem, &byte, 1, (off_t)(uintptr_t)AT(view, PAGE)) != 1);
	CHECK_EQ(must_read(view), stamp(1, 0, 0));
	CHECK_EQ(must_read(AT(view, PAGE)), stamp(1, 1, 0));
}

/* Seals and flags of the backing file hold for the view as for mmap(2). */
TEST(seals_of_the_file)
{
	int ctl = ctl_new(SIZE);
	int sealed = memfd_create("sealed", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	int future = memfd_create("future", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	int busy = memfd_create("busy", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	void *view = view_mmap(ctl, SIZE, PROT_READ | PROT_WRITE);
	long ret;

	CHECK(sealed >= 0 && future >= 0 && busy >= 0);
	CHECK_OK(sys(ftruncate(sealed, PAGE)));
	CHECK_OK(sys(ftruncate(future, PAGE)));
	CHECK_OK(sys(ftruncate(busy, PAGE)));
	CHECK_OK(sys(fcntl(sealed, F_ADD_SEALS, F_SEAL_WRITE)));
	CHECK_OK(sys(fcntl(future, F_ADD_SEALS, F_SEAL_FUTURE_WRITE)));
	ret = map_fd(ctl, sealed, 0, PAGE, 0, RD | WR);
	CHECK(ret == -EPERM || ret == -EACCES);
	ret = map_fd(ctl, future, 0, PAGE, 0, RD | WR);
	CHECK(ret == -EPERM || ret == -EACCES);
	CHECK_OK(map_fd(ctl, sealed, 0, PAGE, 0, RD));
	CHECK_OK(map_fd(ctl, future, 0, PAGE, PAGE, RD));
	CHECK(can_read(view) && can_read(AT(view, PAGE)));
	CHECK(!can_write(view) && !can_write(AT(view, PAGE)));

	/* A writable range keeps a file from being sealed, as mmap(2) does. */
	CHECK_OK(map_fd(ctl, busy, 0, PAGE, 2 * PAGE, RD | WR));
	must_write(AT(view, 2 * PAGE), 7);
	CHECK_ERR(sys(fcntl(busy, F_ADD_SEALS, F_SEAL_WRITE)), EBUSY);
}

/* A range of a noexec mount is never executable. */
TEST(noexec_mount)
{
	int ctl = ctl_new(SIZE);
	char dir[64], path[80];
	void *view;
	int fd;

	snprintf(dir, sizeof(dir), "/run/memview-noexec-%d", getpid());
	CHECK_OK(sys(mkdir(dir, 0700)));
	CHECK_OK(sys(mount("none", dir, "tmpfs", MS_NOEXEC, NULL)));
	snprintf(path, sizeof(path), "%s/code", dir);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	/* Gone once nobody uses it, whatever becomes of this test. */
	CHECK_OK(sys(umount2(dir, MNT_DETACH)));
	rmdir(dir);
	CHECK(fd >= 0);
	CHECK_EQ(pwrite(fd, "\xb8\x2a\0\0\0\xc3", 6, 0), 6);
	CHECK_ERR(map_fd(ctl, fd, 0, PAGE, 0, RD | EX), EPERM);
	CHECK_OK(map_fd(ctl, fd, 0, PAGE, 0, RD));
	view = view_mmap(ctl, SIZE, PROT_READ | PROT_EXEC);
	CHECK(can_read(view));
	CHECK(!can_run(view));
	CHECK_OK(unmap_fd(ctl, 0, SIZE));
	close(fd);
}
