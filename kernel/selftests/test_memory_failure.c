// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory failure: a poisoned page is never mapped, and what was in it is
 * never silently read again as something else.
 */
#include <sys/prctl.h>

#include "memview_test.h"

enum { PAGES = 8, BAD = 3 };
#define SIZE	(PAGES * PAGE)

/*
 * Poisons the frame that backs page BAD, through a mapping of the file in a
 * child: the kernel may send SIGBUS to the process that asks for it.
 */
static void poison(int fd)
{
	pid_t pid = fork();
	int status;

	CHECK(pid >= 0);
	if (!pid) {
		void *direct = mmap(NULL, SIZE, PROT_READ | PROT_WRITE,
				    MAP_SHARED, fd, 0);
		volatile char *at = AT(direct, BAD * PAGE);

		CHECK(direct != MAP_FAILED);
		signal(SIGBUS, SIG_DFL);
		(void)*at;
		/* A dirty page of a file may have no user left: EBUSY. */
		if (madvise((void *)at, PAGE, MADV_HWPOISON) &&
		    errno != EBUSY)
			FAIL("MADV_HWPOISON: %s (CONFIG_MEMORY_FAILURE?)",
			     strerror(errno));
		_exit(0);
	}
	CHECK(wait_ended(pid, 10, &status));
	if (WIFEXITED(status))
		CHECK_EQ(WEXITSTATUS(status), 0);
	else
		CHECK_EQ(WTERMSIG(status), SIGBUS);
}

static void poisoned(bool mapped_before, bool dirty)
{
	int ctl = ctl_new(SIZE);
	int fd = backing_new(1, PAGES);
	uint64_t value = 0, frame = 0;
	void *view;
	int sig;

	/* SIGBUS at the access, not as soon as the page fails. */
	CHECK_OK(sys(prctl(PR_MCE_KILL, PR_MCE_KILL_SET, PR_MCE_KILL_LATE, 0,
			   0)));
	CHECK_OK(sys(fsync(fd)));
	CHECK_OK(map_fd(ctl, fd, 0, SIZE, 0, RD | WR));
	view = view_mmap(ctl, SIZE, PROT_READ | PROT_WRITE);
	if (mapped_before) {
		for (unsigned int i = 0; i < PAGES; i++)
			CHECK_EQ(must_read(AT(view, i * PAGE)),
				 stamp(1, i, 0));
		frame = pfn_of(AT(view, BAD * PAGE));
		CHECK(frame);
	}
	if (dirty)
		must_write(AT(view, BAD * PAGE + 8), 1);
	poison(fd);

	sig = try_read(AT(view, BAD * PAGE), &value);
	note("signal %d, code %d, value 0x%llx", sig, fault_code,
	     (unsigned long long)value);
	/* One that was dirty may just have been written back. */
	if (backing_in_memory() || (dirty && sig)) {
		CHECK_EQ(sig, SIGBUS);
		/* Twice: it must not get better by itself. */
		must_sigbus(AT(view, BAD * PAGE));
	} else {
		/*
		 * The page was clean and the file system has its data: it is
		 * read again from there, into another frame. A virtual machine
		 * would lose the place for ever to a machine check.
		 */
		CHECK_EQ(sig, 0);
		CHECK_EQ(value, stamp(1, BAD, 0));
		CHECK(pfn_of(AT(view, BAD * PAGE)) != frame);
		if (dirty)
			CHECK_EQ(must_read(AT(view, BAD * PAGE + 8)), 1);
	}
	for (unsigned int i = 0; i < PAGES; i++)
		if (i != BAD)
			CHECK_EQ(must_read(AT(view, i * PAGE)),
				 stamp(1, i, 0));
	/* A range mapped anew, and a new mapper, get no better answer. */
	if (sig && backing_in_memory()) {
		void *again = view_mmap(ctl, SIZE, PROT_READ);

		must_sigbus(AT(again, BAD * PAGE));
		CHECK_OK(unmap_fd(ctl, 0, SIZE));
		CHECK_OK(map_fd(ctl, fd, 0, SIZE, 0, RD));
		must_sigbus(AT(again, BAD * PAGE));
		CHECK_EQ(must_read(again), stamp(1, 0, 0));
	}
	CHECK_OK(unmap_fd(ctl, 0, SIZE));
	must_sigbus(view);
}

TEST_EACH_FS(page_in_use)
{
	poisoned(true, false);
}

TEST_EACH_FS(page_not_yet_mapped)
{
	poisoned(false, false);
}

TEST_EACH_FS(dirty_page)
{
	poisoned(true, true);
}

/* A system call that reads from the poisoned page through the view. */
TEST(kernel_reads_of_a_bad_page)
{
	int ctl = ctl_new(SIZE);
	int fd = backing_new(1, PAGES);
	int out = memfd_create("out", MFD_CLOEXEC);
	void *view;

	CHECK(out >= 0);
	CHECK_OK(map_fd(ctl, fd, 0, SIZE, 0, RD | WR));
	view = view_mmap(ctl, SIZE, PROT_READ | PROT_WRITE);
	CHECK_EQ(must_read(AT(view, BAD * PAGE)), stamp(1, BAD, 0));
	poison(fd);
	CHECK(pwrite(out, AT(view, BAD * PAGE), 8, 0) < 0);
	CHECK_EQ(pwrite(out, AT(view, 0), 8, 0), 8);
}
