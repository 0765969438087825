// SPDX-License-Identifier: GPL-2.0-only
/*
 * One VMA in each mapper throughout, which can't be grown, merged, moved out
 * of reach of a revocation, copied to a child, dumped or watched by
 * userfaultfd.
 */
#include <linux/userfaultfd.h>
#include <sys/syscall.h>

#include "memview_test.h"

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE	25
#endif

#define SIZE	(64 * PAGE)

TEST(one_vma_throughout)
{
	int ctl = ctl_new(SIZE);
	int a = backing_new(1, 64), b = backing_new_on("ext4", 2, 64);
	void *view = view_mmap(ctl, SIZE, PROT_READ | PROT_WRITE);
	uint64_t seed = 88172645463325252ULL;

	CHECK_EQ(vma_count(view, SIZE), 1);
	for (unsigned int i = 0; i < 300; i++) {
		unsigned int at = rnd(&seed) % 64;
		unsigned int len = 1 + rnd(&seed) % (64 - at);
		uint64_t value;

		if (i % 5 == 4)
			CHECK_OK(unmap_fd(ctl, at * PAGE, len * PAGE));
		else
			CHECK_OK(map_fd(ctl, i & 1 ? a : b, 0, len * PAGE,
					at * PAGE, i & 2 ? RD : RD | WR));
		(void)try_read(AT(view, at * PAGE), &value);
		(void)try_write(AT(view, at * PAGE), value);
		if (i % 30 == 0)
			CHECK_EQ(vma_count(view, SIZE), 1);
	}
	CHECK_EQ(vma_count(view, SIZE), 1);
}

/* Value of the "VmFlags:" line in smaps of the VMA at @addr. */
static void vm_flags(const void *addr, char *flags, size_t size)
{
	char line[512];
	bool here = false;
	FILE *f = fopen("/proc/self/smaps", "r");

	CHECK(f);
	while (fgets(line, sizeof(line), f)) {
		unsigned long from, to;

		if (sscanf(line, "%lx-%lx ", &from, &to) == 2) {
			here = from <= (uintptr_t)addr && (uintptr_t)addr < to;
		} else if (here && !strncmp(line, "VmFlags:", 8)) {
			snprintf(flags, size, " %.200s", line + 8);
			fclose(f);
			return;
		}
	}
	FAIL("no VmFlags");
}

TEST(flags_of_the_vma)
{
	int ctl = ctl_new(SIZE);
	void *view = view_mmap(ctl, SIZE, PROT_READ);
	char flags[256];

	vm_flags(view, flags, sizeof(flags));
	note("VmFlags:%s", flags);
	CHECK(strstr(flags, " de "));	/* VM_DONTEXPAND */
	CHECK(strstr(flags, " dc "));	/* VM_DONTCOPY */
	CHECK(strstr(flags, " dd "));	/* VM_DONTDUMP */
	CHECK(strstr(flags, " sh "));	/* VM_SHARED */
	/*
	 * madvise can't take back the one that all else hangs on. (Some
	 * kernels let MADV_DOFORK take VM_DONTCOPY; then the child's copy must
	 * show nothing, which a test below looks at.)
	 */
	(void)!madvise(view, SIZE, MADV_DODUMP);
	(void)!madvise(view, SIZE, MADV_DOFORK);
	vm_flags(view, flags, sizeof(flags));
	CHECK(strstr(flags, " de "));
}

/* Two neighbouring mappings of one view fd stay two VMAs. */
TEST(no_merging)
{
	int ctl = ctl_new(SIZE);
	int vfd = get_viewfd(ctl);
	void *hole = mmap(NULL, SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS,
			  -1, 0);

	CHECK(mmap(hole, SIZE / 2, PROT_READ, MAP_SHARED | MAP_FIXED, vfd,
		   0) == hole);
	CHECK(mmap(AT(hole, SIZE / 2), SIZE / 2, PROT_READ,
		   MAP_SHARED | MAP_FIXED, vfd, SIZE / 2) != MAP_FAILED);
	CHECK_EQ(vma_count(hole, SIZE), 2);
}

TEST(no_userfaultfd)
{
	int ctl = ctl_new(SIZE);
	void *view = view_mmap(ctl, SIZE, PROT_READ | PROT_WRITE);
	int uffd = (int)syscall(SYS_userfaultfd, O_CLOEXEC);
	struct uffdio_api api = { .api = UFFD_API };
	static const unsigned int modes[] = {
		UFFDIO_REGISTER_MODE_MISSING, UFFDIO_REGISTER_MODE_WP,
		UFFDIO_REGISTER_MODE_MINOR,
	};

	CHECK(uffd >= 0);
	CHECK_OK(sys(ioctl(uffd, UFFDIO_API, &api)));
	for (unsigned int i = 0; i < ARRAY_SIZE(modes); i++) {
		struct uffdio_register reg = {
			.range = { (uintptr_t)view, SIZE },
			.mode = modes[i],
		};

		CHECK(ioctl(uffd, UFFDIO_REGISTER, &reg) < 0);
	}
}

TEST(no_growth_by_mremap)
{
	int ctl = ctl_new(SIZE);
	int fd = backing_new(1, 64);
	void *view;

	CHECK_OK(map_fd(ctl, fd, 0, SIZE, 0, RD | WR));
	view = view_mmap(ctl, SIZE / 2, PROT_READ | PROT_WRITE);
	CHECK(mremap(view, SIZE / 2, SIZE, MREMAP_MAYMOVE) == MAP_FAILED);
	CHECK(mremap(view, SIZE / 2, SIZE, 0) == MAP_FAILED);
	CHECK_EQ(must_read(view), stamp(1, 0, 0));
}

/* Wherever mremap puts the pages, a revocation finds them. */
TEST(mremap_never_escapes)
{
	int ctl = ctl_new(SIZE);
	int fd = backing_new(1, 64);
	void *view, *target, *moved, *twin;

	CHECK_OK(map_fd(ctl, fd, 0, SIZE, 0, RD | WR));
	view = view_mmap(ctl, SIZE, PROT_READ | PROT_WRITE);
	for (unsigned int i = 0; i < 64; i++)
		CHECK_EQ(must_read(AT(view, i * PAGE)), stamp(1, i, 0));
	target = mmap(NULL, SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		      0);
	moved = mremap(view, SIZE, SIZE, MREMAP_MAYMOVE | MREMAP_FIXED,
		       target);
	if (moved == MAP_FAILED) {
		note("move is refused: %s", strerror(errno));
		moved = view;
	}
	/* A duplicate (old length 0). */
	twin = mremap(moved, 0, SIZE, MREMAP_MAYMOVE);
	if (twin == MAP_FAILED)
		note("duplicate is refused: %s", strerror(errno));
	/* Part of it, and without unmapping the source. */
	target = mmap(NULL, SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		      0);
	if (mremap(AT(moved, 4 * PAGE), 4 * PAGE, 4 * PAGE,
		   MREMAP_MAYMOVE | MREMAP_FIXED, target) != MAP_FAILED)
		FAIL("part of a view was moved");
	CHECK(mremap(moved, SIZE, SIZE, MREMAP_MAYMOVE | MREMAP_DONTUNMAP,
		     NULL) == MAP_FAILED);

	CHECK_EQ(must_read(moved), stamp(1, 0, 0));
	if (twin != MAP_FAILED)
		CHECK_EQ(must_read(twin), stamp(1, 0, 0));
	CHECK_OK(unmap_fd(ctl, 0, SIZE));
	for (unsigned int i = 0; i < 64; i++) {
		must_sigbus(AT(moved, i * PAGE));
		if (twin != MAP_FAILED)
			must_sigbus(AT(twin, i * PAGE));
	}
	/* And a file that shrinks, too. */
	CHECK_OK(map_fd(ctl, fd, 0, SIZE, 0, RD | WR));
	CHECK_EQ(must_read(moved), stamp(1, 0, 0));
	CHECK_OK(sys(ftruncate(fd, 0)));
	must_sigbus(moved);
	if (twin != MAP_FAILED)
		must_sigbus(twin);
}

/* Shrinking, punching out and mapping over part of a view by its mapper. */
TEST(mapper_unmaps_parts)
{
	int ctl = ctl_new(SIZE);
	int fd = backing_new(1, 64);
	void *view;

	CHECK_OK(map_fd(ctl, fd, 0, SIZE, 0, RD | WR));
	view = view_mmap(ctl, SIZE, PROT_READ | PROT_WRITE);
	for (unsigned int i = 0; i < 64; i++)
		must_write(AT(view, i * PAGE), i);
	(void)!munmap(AT(view, 16 * PAGE), 16 * PAGE);
	(void)!mmap(AT(view, 48 * PAGE), 4 * PAGE, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	CHECK_EQ(must_read(AT(view, 40 * PAGE)), 40);
	CHECK_EQ(must_read(AT(view, 52 * PAGE)), 52);
	CHECK_EQ(must_read(view), 0);
	CHECK_OK(sys(ftruncate(fd, 40 * PAGE)));
	must_sigbus(AT(view, 40 * PAGE));
	must_sigbus(AT(view, 60 * PAGE));
	CHECK_EQ(must_read(AT(view, 39 * PAGE)), 39);
	CHECK_OK(unmap_fd(ctl, 0, SIZE));
	must_sigbus(view);
	must_sigbus(AT(view, 39 * PAGE));
	must_sigbus(AT(view, 63 * PAGE));
	CHECK_OK(sys(munmap(view, SIZE)));
}

static void child_of_fork(void *view, uint64_t *shared)
{
	uint64_t value;
	int sig = try_read(view, &value);

	/* Lacks the view, or has it until it is revoked. */
	if (!sig)
		CHECK_EQ(value, stamp(1, 0, 0));
	else
		CHECK(sig == SIGSEGV || sig == SIGBUS);
	__atomic_store_n(&shared[0], 1, __ATOMIC_SEQ_CST);
	while (!__atomic_load_n(&shared[1], __ATOMIC_SEQ_CST))
		sleep_ms(1);
	for (unsigned int i = 0; i < SIZE / PAGE; i++)
		CHECK(try_read(AT(view, i * PAGE), &value));
	_exit(0);
}

static void fork_and_revoke(bool do_fork)
{
	int ctl = ctl_new(SIZE);
	int fd = backing_new(1, 64);
	uint64_t *shared = mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
				MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	void *view;
	pid_t pid;

	CHECK_OK(map_fd(ctl, fd, 0, SIZE, 0, RD | WR));
	view = view_mmap(ctl, SIZE, PROT_READ | PROT_WRITE);
	for (unsigned int i = 0; i < 64; i++)
		CHECK_EQ(must_read(AT(view, i * PAGE)), stamp(1, i, 0));
	if (do_fork && madvise(view, SIZE, MADV_DOFORK))
		note("MADV_DOFORK is refused: %s", strerror(errno));
	pid = fork();
	CHECK(pid >= 0);
	if (!pid)
		child_of_fork(view, shared);
	while (!__atomic_load_n(&shared[0], __ATOMIC_SEQ_CST)) {
		CHECK_EQ(waitpid(pid, NULL, WNOHANG), 0);
		sleep_ms(1);
	}
	CHECK_OK(unmap_fd(ctl, 0, SIZE));
	__atomic_store_n(&shared[1], 1, __ATOMIC_SEQ_CST);
	wait_child(pid, 10);
	must_sigbus(view);
}

TEST(fork_child_lacks_it_or_is_revoked)
{
	fork_and_revoke(false);
}

TEST(fork_after_madvise_dofork)
{
	fork_and_revoke(true);
}

/* Advice that drops or keeps pages changes nothing that a reader can see. */
TEST(madvise_is_harmless)
{
	static const int advice[] = {
		MADV_NORMAL, MADV_RANDOM, MADV_SEQUENTIAL, MADV_WILLNEED,
		MADV_DONTNEED, MADV_FREE, MADV_REMOVE, MADV_MERGEABLE,
		MADV_UNMERGEABLE, MADV_HUGEPAGE, MADV_NOHUGEPAGE,
		MADV_WIPEONFORK, MADV_KEEPONFORK, MADV_COLD, MADV_PAGEOUT,
		MADV_POPULATE_READ, MADV_POPULATE_WRITE, MADV_COLLAPSE,
	};
	int ctl = ctl_new(4 * MIB);
	int fd = backing_new(1, 1024);
	void *view;

	CHECK_OK(map_fd(ctl, fd, 0, 4 * MIB, 0, RD | WR));
	view = view_mmap(ctl, 4 * MIB, PROT_READ | PROT_WRITE);
	for (unsigned int i = 0; i < ARRAY_SIZE(advice); i++) {
		must_write(AT(view, 7 * PAGE + 8), i);
		(void)!madvise(view, 4 * MIB, advice[i]);
		if (advice[i] == MADV_REMOVE) {
			/* Must not reach through to the file. */
			CHECK_EQ(must_read(AT(view, 5 * PAGE)),
				 stamp(1, 5, 0));
		}
		CHECK_EQ(must_read(AT(view, 7 * PAGE + 8)), i);
		CHECK_EQ(must_read(AT(view, 1023 * PAGE)), stamp(1, 1023, 0));
		CHECK_EQ(vma_count(view, 4 * MIB), 1);
	}
	CHECK_OK(unmap_fd(ctl, 0, 4 * MIB));
	must_sigbus(AT(view, 7 * PAGE));
}

TEST(mlock_does_not_keep_pages)
{
	int ctl = ctl_new(SIZE);
	int fd = backing_new(1, 64);
	void *view;

	CHECK_OK(map_fd(ctl, fd, 0, SIZE, 0, RD | WR));
	view = view_mmap(ctl, SIZE, PROT_READ | PROT_WRITE);
	(void)!mlock(view, SIZE);
	(void)!mlockall(MCL_CURRENT);
	CHECK_EQ(must_read(view), stamp(1, 0, 0));
	CHECK_OK(unmap_fd(ctl, 0, SIZE / 2));
	must_sigbus(view);
	CHECK_OK(sys(ftruncate(fd, 0)));
	must_sigbus(AT(view, SIZE - PAGE));
	(void)!munlockall();
}
