// SPDX-License-Identifier: GPL-2.0-only
/*
 * A MAP_FD over an existing range replaces it atomically: a reader sees the
 * old page or the new one, never a hole and never anything else; and once the
 * call has returned, never the old one.
 */
#include <pthread.h>
#include <sched.h>

#include "memview_test.h"

enum { PAGES = 32, FILES = 2, READERS = 3 };

static void *view;
static int done;
static unsigned long reads[READERS];

static void *reader(void *arg)
{
	unsigned long *count = arg;
	uint64_t seed = (uintptr_t)arg | 1;

	while (!__atomic_load_n(&done, __ATOMIC_RELAXED)) {
		unsigned int page = rnd(&seed) % PAGES;
		unsigned int word = rnd(&seed) % (PAGE / 8);
		uint64_t value;
		int sig = try_read(AT(view, page * PAGE + word * 8), &value);

		if (sig)
			FAIL("a reader saw a hole: signal %d at page %u", sig,
			     page);
		if (value != stamp(0, page, 0) && value != stamp(1, page, 0))
			FAIL("page %u word %u: neither of both files: 0x%llx",
			     page, word, (unsigned long long)value);
		/* Let the others in now and then: a vCPU may be all there is. */
		if (++*count % 256 == 0)
			sched_yield();
	}
	return NULL;
}

static void replace_for(unsigned int ms, bool sub_ranges, bool flip_write)
{
	int ctl = ctl_new(PAGES * PAGE);
	int files[FILES] = { backing_new(0, PAGES), backing_new(1, PAGES) };
	pthread_t threads[READERS];
	unsigned int rounds = 0;
	uint64_t seed = 12345, end, total = 0;

	CHECK_OK(map_fd(ctl, files[0], 0, PAGES * PAGE, 0, RD));
	view = view_mmap(ctl, PAGES * PAGE, PROT_READ);
	for (unsigned int r = 0; r < READERS; r++)
		CHECK(!pthread_create(&threads[r], NULL, reader, &reads[r]));
	run_first();
	end = now_ms() + ms;
	while (now_ms() < end || rounds < 200) {
		unsigned int at = 0, len = PAGES;
		unsigned int f = ++rounds & 1;

		if (sub_ranges) {
			at = rnd(&seed) % PAGES;
			len = 1 + rnd(&seed) % (PAGES - at);
		}
		CHECK_OK(map_fd(ctl, files[f], at * PAGE, len * PAGE,
				at * PAGE,
				flip_write && rounds & 2 ? RD | WR : RD));
		/* The new one, from here on. */
		CHECK_EQ(must_read(AT(view, at * PAGE)), stamp(f, at, 0));
		CHECK_EQ(must_read(AT(view, (at + len - 1) * PAGE)),
			 stamp(f, at + len - 1, 0));
	}
	__atomic_store_n(&done, 1, __ATOMIC_RELAXED);
	for (unsigned int r = 0; r < READERS; r++) {
		CHECK(!pthread_join(threads[r], NULL));
		total += reads[r];
		CHECK(reads[r] > 0);
	}
	note("%u replacements, %llu reads", rounds,
	     (unsigned long long)total);
	CHECK_EQ(get_info(ctl).maps, rounds + 1);
	CHECK_EQ(vma_count(view, PAGES * PAGE), 1);
}

TEST_EACH_FS_LIMIT(whole_range, 60)
{
	replace_for(300, false, false);
}

TEST_LIMIT(parts_of_a_range, 60)
{
	replace_for(1500, true, false);
}

/* A write upgrade, as FUSE's SETUPMAPPING does it, and back. */
TEST_LIMIT(change_of_rights, 60)
{
	replace_for(1500, true, true);
}

/* A failed MAP_FD leaves what was there. */
TEST(failed_replacement)
{
	int ctl = ctl_new(PAGES * PAGE);
	int fd = backing_new(1, PAGES);
	int pipe_fds[2];

	CHECK_OK(sys(pipe(pipe_fds)));
	CHECK_OK(map_fd(ctl, fd, 0, PAGES * PAGE, 0, RD));
	view = view_mmap(ctl, PAGES * PAGE, PROT_READ);
	CHECK_EQ(must_read(view), stamp(1, 0, 0));
	CHECK(map_fd(ctl, pipe_fds[0], 0, PAGE, 0, RD) < 0);
	CHECK(map_fd(ctl, -1, 0, PAGE, 0, RD) < 0);
	CHECK(map_fd(ctl, fd, 0, PAGE, 0, RD | 8) < 0);
	CHECK_EQ(must_read(view), stamp(1, 0, 0));
	CHECK_EQ(get_info(ctl).segments, 1);
	CHECK_EQ(get_info(ctl).maps, 1);
}
