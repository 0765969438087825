// SPDX-License-Identifier: GPL-2.0-only
/*
 * Maps, partial overlaps and partial unmaps against a model: a table with an
 * entry for each page of the view. Segments, counters, what each page reads
 * and where it faults must agree at every step.
 */
#include "memview_test.h"

enum { PAGES = 96, FILES = 3, FILE_PAGES = 160, STEPS = 600 };

struct cell {
	bool mapped;
	bool write;
	unsigned int segment;	/* which MAP_FD put it there */
	unsigned int file;
	unsigned int page;
};

static struct cell model[PAGES];

static unsigned int model_segments(void)
{
	unsigned int count = 0;

	for (unsigned int i = 0; i < PAGES; i++) {
		if (!model[i].mapped)
			continue;
		if (!i || !model[i - 1].mapped ||
		    model[i - 1].segment != model[i].segment)
			count++;
	}
	return count;
}

static void check_cell(void *view, unsigned int i)
{
	uint64_t value;
	int sig = try_read(AT(view, i * PAGE), &value);

	if (!model[i].mapped) {
		if (sig != SIGBUS)
			FAIL("page %u is a hole, read gave signal %d", i, sig);
		return;
	}
	if (sig)
		FAIL("page %u: signal %d", i, sig);
	CHECK_EQ(value, stamp(model[i].file, model[i].page, 0));
	sig = try_write(AT(view, i * PAGE + 64), i);
	if (model[i].write ? sig : !sig)
		FAIL("page %u (%s): write gave signal %d", i,
		     model[i].write ? "rw" : "ro", sig);
}

static void check_all(int ctl, void *view, uint64_t maps, uint64_t unmaps)
{
	struct memview_info info = get_info(ctl);

	CHECK_EQ(info.segments, model_segments());
	CHECK_EQ(info.maps, maps);
	CHECK_EQ(info.unmaps, unmaps);
	for (unsigned int i = 0; i < PAGES; i++)
		check_cell(view, i);
}

TEST_LIMIT(model_of_ranges, 60)
{
	int ctl = ctl_new(PAGES * PAGE);
	void *view = view_mmap(ctl, PAGES * PAGE, PROT_READ | PROT_WRITE);
	uint64_t maps = 0, unmaps = 0, seed = 0x9e3779b97f4a7c15ULL;
	int files[FILES];

	for (unsigned int f = 0; f < FILES; f++)
		files[f] = backing_new(f, FILE_PAGES);
	for (unsigned int step = 0; step < STEPS; step++) {
		unsigned int start = rnd(&seed) % PAGES;
		unsigned int len = 1 + rnd(&seed) % 24;

		if (len > PAGES - start)
			len = PAGES - start;
		if (rnd(&seed) % 3) {
			unsigned int f = rnd(&seed) % FILES;
			unsigned int at = rnd(&seed) % (FILE_PAGES - len);
			bool write = rnd(&seed) & 1;

			CHECK_OK(map_fd(ctl, files[f], at * PAGE, len * PAGE,
					start * PAGE, write ? RD | WR : RD));
			maps++;
			for (unsigned int i = 0; i < len; i++)
				model[start + i] = (struct cell){
					true, write, step, f, at + i
				};
		} else {
			CHECK_OK(unmap_fd(ctl, start * PAGE, len * PAGE));
			unmaps++;
			for (unsigned int i = 0; i < len; i++)
				model[start + i].mapped = false;
		}
		check_cell(view, start);
		if (step % 20 == 19)
			check_all(ctl, view, maps, unmaps);
	}
	/* One VMA, whatever happened. */
	CHECK_EQ(vma_count(view, PAGES * PAGE), 1);
	CHECK_OK(unmap_fd(ctl, 0, PAGES * PAGE));
	memset(model, 0, sizeof(model));
	check_all(ctl, view, maps, unmaps + 1);
}

/* A segment keeps its other parts' file offsets when its middle goes. */
TEST(splits_keep_offsets)
{
	int ctl = ctl_new(16 * PAGE);
	void *view = view_mmap(ctl, 16 * PAGE, PROT_READ);
	int a = backing_new(1, 64), b = backing_new(2, 64);

	CHECK_OK(map_fd(ctl, a, 8 * PAGE, 16 * PAGE, 0, RD));
	CHECK_OK(unmap_fd(ctl, 4 * PAGE, 2 * PAGE));
	CHECK_EQ(get_info(ctl).segments, 2);
	CHECK_OK(map_fd(ctl, b, 3 * PAGE, 4 * PAGE, 8 * PAGE, RD));
	CHECK_EQ(get_info(ctl).segments, 4);
	for (unsigned int i = 0; i < 16; i++) {
		void *at = AT(view, i * PAGE);

		if (i == 4 || i == 5)
			must_sigbus(at);
		else if (i >= 8 && i < 12)
			CHECK_EQ(must_read(at), stamp(2, 3 + i - 8, 0));
		else
			CHECK_EQ(must_read(at), stamp(1, 8 + i, 0));
	}
	/* Exactly the same range: replaced, not added. */
	CHECK_OK(map_fd(ctl, a, 0, 4 * PAGE, 8 * PAGE, RD));
	CHECK_EQ(get_info(ctl).segments, 4);
	CHECK_EQ(must_read(AT(view, 8 * PAGE)), stamp(1, 0, 0));
	/* One range over all. */
	CHECK_OK(map_fd(ctl, b, 0, 16 * PAGE, 0, RD));
	CHECK_EQ(get_info(ctl).segments, 1);
	CHECK_EQ(must_read(AT(view, 5 * PAGE)), stamp(2, 5, 0));
}

/* Many live segments: counts stay exact and any may go. */
TEST_LIMIT(thousands_of_segments, 60)
{
	enum { COUNT = 4096 };
	int ctl = ctl_new(COUNT * PAGE);
	void *view = view_mmap(ctl, COUNT * PAGE, PROT_READ);
	int fd = backing_new(1, COUNT);

	for (unsigned int i = 0; i < COUNT; i++)
		CHECK_OK(map_fd(ctl, fd, (COUNT - 1 - i) * PAGE, PAGE,
				i * PAGE, RD));
	CHECK_EQ(get_info(ctl).segments, COUNT);
	for (unsigned int i = 0; i < COUNT; i += 37)
		CHECK_EQ(must_read(AT(view, i * PAGE)),
			 stamp(1, COUNT - 1 - i, 0));
	CHECK_OK(unmap_fd(ctl, 0, COUNT / 2 * PAGE));
	CHECK_EQ(get_info(ctl).segments, COUNT / 2);
	must_sigbus(AT(view, (COUNT / 2 - 1) * PAGE));
	CHECK_EQ(must_read(AT(view, COUNT / 2 * PAGE)),
		 stamp(1, COUNT / 2 - 1, 0));
}
