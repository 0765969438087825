// SPDX-License-Identifier: GPL-2.0-only
/*
 * What is written through the view reaches the disk: also what is written
 * after an fsync to a page that the fsync before it cleaned. The data is
 * looked at past the page cache, and after an unmount and a mount.
 */
#include <pthread.h>
#include <sys/mount.h>

#include "memview_test.h"

enum { PAGES = 64 };
#define SIZE	(PAGES * PAGE)

static int ctl;
static void *view;

static int mapped_file(void)
{
	int fd = backing_new(1, PAGES);

	CHECK_OK(sys(fsync(fd)));
	ctl = ctl_new(SIZE);
	CHECK_OK(map_fd(ctl, fd, 0, SIZE, 0, RD | WR));
	view = view_mmap(ctl, SIZE, PROT_READ | PROT_WRITE);
	return fd;
}

/*
 * The word as the disk (or the file system's server) has it. O_DIRECT writes
 * back what the kernel knows to be dirty, and only that: a page that was made
 * dirty behind its back would show its old contents here.
 */
static uint64_t on_disk(unsigned int page)
{
	static uint64_t buf[PAGE / 8] __attribute__((aligned(4096)));
	int fd = open(backing_path(), O_RDONLY | O_DIRECT | O_CLOEXEC);

	if (fd < 0)
		FAIL("open %s with O_DIRECT: %s", backing_path(),
		     strerror(errno));
	CHECK_EQ(pread(fd, buf, PAGE, page * PAGE), PAGE);
	close(fd);
	return buf[0];
}

TEST_EACH_FS(redirty_after_fsync)
{
	int fd = mapped_file();
	uint64_t word;

	for (unsigned int round = 1; round <= 4; round++) {
		for (unsigned int i = 0; i < PAGES; i++)
			must_write(AT(view, i * PAGE), stamp(1, i, round));
		CHECK_OK(sys(round & 1 ? fsync(fd) : fdatasync(fd)));
		/* Clean now, and writable a moment ago: write again. */
		for (unsigned int i = 0; i < PAGES; i += 3)
			must_write(AT(view, i * PAGE), stamp(2, i, round));
		CHECK_OK(sys(round & 2 ? fsync(fd) : fdatasync(fd)));
		if (round % 4)
			continue;
		if (!backing_is("memfd"))
			for (unsigned int i = 0; i < PAGES; i++)
				CHECK_EQ(on_disk(i),
					 stamp(i % 3 ? 1 : 2, i, round));
		/* Take the pages off the view, then off the cache. */
		CHECK_OK(unmap_fd(ctl, 0, SIZE));
		drop_caches();
		for (unsigned int i = 0; i < PAGES; i++) {
			CHECK_EQ(pread(fd, &word, 8, i * PAGE), 8);
			CHECK_EQ(word, stamp(i % 3 ? 1 : 2, i, round));
		}
		CHECK_OK(map_fd(ctl, fd, 0, SIZE, 0, RD | WR));
	}
}

/* Dirty page table entries of a range that goes: the pages stay dirty. */
TEST_EACH_FS(unmap_keeps_dirty_pages)
{
	int fd = mapped_file();
	uint64_t word;

	for (unsigned int round = 1; round <= 4; round++) {
		for (unsigned int i = 0; i < PAGES; i++)
			must_write(AT(view, i * PAGE), stamp(1, i, round));
		switch (round) {
		case 1:
			CHECK_OK(unmap_fd(ctl, 0, SIZE));
			break;
		case 2:
			CHECK_OK(map_fd(ctl, fd, 0, SIZE, 0, RD));
			break;
		case 3:
			CHECK_OK(sys(munmap(view, SIZE)));
			break;
		default:
			close(ctl);
			CHECK_OK(sys(munmap(view, SIZE)));
		}
		drop_file(fd);
		for (unsigned int i = 0; i < PAGES; i++) {
			CHECK_EQ(pread(fd, &word, 8, i * PAGE), 8);
			CHECK_EQ(word, stamp(1, i, round));
		}
		if (round == 4)
			break;
		CHECK_OK(map_fd(ctl, fd, 0, SIZE, 0, RD | WR));
		if (round == 3)
			view = view_mmap(ctl, SIZE, PROT_READ | PROT_WRITE);
	}
}

/* Whether the kernel has the page at @addr, which is mapped, down as dirty. */
static bool is_dirty(const void *addr)
{
	uint64_t flags, pfn = pfn_of(addr);
	int fd = open("/proc/kpageflags", O_RDONLY | O_CLOEXEC);

	CHECK(fd >= 0 && pfn);
	CHECK_EQ(pread(fd, &flags, 8, (off_t)pfn * 8), 8);
	close(fd);
	return flags & (1U << 4);
}

/* A mapper's own msync() reaches the files behind its range, holes or not. */
TEST_EACH_FS(msync_of_a_mapper)
{
	bool disk = !backing_in_memory();
	int fd = backing_new(1, 4), other = backing_new(2, 4);

	ctl = ctl_new(16 * PAGE);
	CHECK_OK(map_fd(ctl, fd, PAGE, 2 * PAGE, PAGE, RD | WR));
	CHECK_OK(map_fd(ctl, other, 0, 4 * PAGE, 8 * PAGE, RD | WR));
	CHECK_OK(map_fd(ctl, other, 0, PAGE, 15 * PAGE, RD));
	view = view_mmap(ctl, 16 * PAGE, PROT_READ | PROT_WRITE);
	CHECK_OK(sys(msync(view, 16 * PAGE, MS_SYNC)));
	must_write(AT(view, PAGE), 7);
	must_write(AT(view, 8 * PAGE), 8);
	if (disk) {
		CHECK(is_dirty(AT(view, PAGE)));
		CHECK(is_dirty(AT(view, 8 * PAGE)));
	}
	CHECK_OK(sys(msync(view, 9 * PAGE, MS_SYNC)));
	CHECK_EQ(must_read(AT(view, PAGE)), 7);
	CHECK_EQ(must_read(AT(view, 8 * PAGE)), 8);
	if (disk) {
		CHECK(!is_dirty(AT(view, PAGE)));
		CHECK(!is_dirty(AT(view, 8 * PAGE)));
	}
	CHECK_EQ(must_read(AT(view, 15 * PAGE)), 8);
	CHECK_OK(unmap_fd(ctl, 0, 16 * PAGE));
	CHECK_OK(sys(msync(view, 16 * PAGE, MS_SYNC)));
}

static int stop;
static uint32_t written;	/* generation that page 0..PAGES-1 all have */

static void *syncer(void *arg)
{
	int fd = *(int *)arg;

	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED))
		CHECK_OK(sys(fdatasync(fd)));
	return NULL;
}

/*
 * Writes race with fsyncs. Whatever was written before the last fsync began
 * is on the disk after it.
 */
TEST_EACH_FS_LIMIT(writes_against_fsync, 40)
{
	int fd = mapped_file();
	uint64_t end = now_ms() + 600, word;
	pthread_t thread;

	CHECK(!pthread_create(&thread, NULL, syncer, &fd));
	while (now_ms() < end || written < 4) {
		written++;
		for (unsigned int i = 0; i < PAGES; i++)
			must_write(AT(view, i * PAGE), stamp(1, i, written));
	}
	__atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
	CHECK(!pthread_join(thread, NULL));
	CHECK_OK(sys(fsync(fd)));
	for (unsigned int i = 0; i < PAGES && !backing_is("memfd"); i++)
		CHECK_EQ(on_disk(i), stamp(1, i, written));
	CHECK_OK(unmap_fd(ctl, 0, SIZE));
	drop_file(fd);
	for (unsigned int i = 0; i < PAGES; i++) {
		CHECK_EQ(pread(fd, &word, 8, i * PAGE), 8);
		CHECK_EQ(word, stamp(1, i, written));
	}
	note("%u generations", written);
}

/* The file system itself comes and goes: mkfs on a file of its own. */
struct disk {
	char image[128];
	char dir[128];
	const char *kind;
};

static void disk_mount(struct disk *disk)
{
	char command[512];

	snprintf(command, sizeof(command), "mount -o loop %s %s", disk->image,
		 disk->dir);
	if (system(command))
		FAIL("%s", command);
}

static void disk_umount(struct disk *disk)
{
	uint64_t end = deadline(10000);

	/* Whatever the driver keeps warm must go within a bounded time. */
	while (umount(disk->dir)) {
		if (errno != EBUSY || now_ms() > end)
			FAIL("umount %s: %s", disk->dir, strerror(errno));
		sleep_ms(50);
	}
}

static void disk_new(struct disk *disk, const char *kind)
{
	const char *images = getenv("MEMVIEW_IMAGES");
	char command[512];

	CHECK(images);
	disk->kind = kind;
	snprintf(disk->image, sizeof(disk->image), "%s/disk-%s-%d.img", images,
		 kind, getpid());
	snprintf(disk->dir, sizeof(disk->dir), "/run/memview-disk-%s-%d", kind,
		 getpid());
	CHECK_OK(sys(mkdir(disk->dir, 0700)));
	snprintf(command, sizeof(command),
		 "truncate -s 320M %s && mkfs.%s -q %s %s", disk->image, kind,
		 strcmp(kind, "ext4") ? "-f" : "-F", disk->image);
	if (system(command))
		FAIL("%s", command);
	disk_mount(disk);
}

static void disk_end(struct disk *disk)
{
	disk_umount(disk);
	CHECK_OK(sys(rmdir(disk->dir)));
	CHECK_OK(sys(unlink(disk->image)));
}

/*
 * Writes through the view; then only umount and mount are between them and
 * the check. Dirty bits of page tables must not get lost when the range goes
 * (round 1) or the mapping (2), nor a write to a page that an fsync had just
 * cleaned (3).
 */
static void umount_rounds(const char *kind)
{
	struct disk disk;
	char path[160];
	uint64_t word;
	int fd;

	disk_new(&disk, kind);
	snprintf(path, sizeof(path), "%s/file", disk.dir);
	for (unsigned int round = 1; round <= 3; round++) {
		fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
		CHECK(fd >= 0);
		CHECK_OK(sys(ftruncate(fd, SIZE)));
		ctl = ctl_new(SIZE);
		CHECK_OK(map_fd(ctl, fd, 0, SIZE, 0, RD | WR));
		view = view_mmap(ctl, SIZE, PROT_READ | PROT_WRITE);
		for (unsigned int i = 0; i < PAGES; i++)
			must_write(AT(view, i * PAGE), stamp(1, i, round));
		if (round == 3) {
			CHECK_OK(sys(fsync(fd)));
			for (unsigned int i = 0; i < PAGES; i += 2)
				must_write(AT(view, i * PAGE),
					   stamp(3, i, round));
			CHECK_OK(sys(fsync(fd)));
		}
		if (round == 1)
			CHECK_OK(unmap_fd(ctl, 0, SIZE));
		CHECK_OK(sys(munmap(view, SIZE)));
		close(ctl);
		close(fd);
		disk_umount(&disk);
		disk_mount(&disk);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		CHECK(fd >= 0);
		for (unsigned int i = 0; i < PAGES; i++) {
			CHECK_EQ(pread(fd, &word, 8, i * PAGE), 8);
			CHECK_EQ(word, stamp(round == 3 && !(i & 1) ? 3 : 1,
					     i, round));
		}
		close(fd);
	}
	disk_end(&disk);
}

TEST_LIMIT(umount_keeps_writes_ext4, 60)
{
	umount_rounds("ext4");
}

TEST_LIMIT(umount_keeps_writes_xfs, 60)
{
	umount_rounds("xfs");
}

TEST_LIMIT(umount_keeps_writes_btrfs, 60)
{
	umount_rounds("btrfs");
}

static int stop;

static void *cleaner(void *arg)
{
	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED))
		CHECK_OK(sys(fsync((int)(intptr_t)arg)));
	return NULL;
}

/*
 * Pages that are cleaned one after the other lose their entries together, and
 * get new ones at the same time.
 */
TEST_EACH_FS_LIMIT(write_against_fsync, 60)
{
	int fd = mapped_file();
	pthread_t thread;

	CHECK(!pthread_create(&thread, NULL, cleaner, (void *)(intptr_t)fd));
	for (unsigned int round = 1; round <= 24; round++) {
		for (unsigned int i = 0; i < PAGES; i++)
			must_write(AT(view, i * PAGE), stamp(3, i, round));
		CHECK_OK(sys(fsync(fd)));
		for (unsigned int i = round % 8; i < PAGES; i += 8)
			if (!backing_is("memfd"))
				CHECK_EQ(on_disk(i), stamp(3, i, round));
	}
	__atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
	CHECK(!pthread_join(thread, NULL));
}

static bool soft_dirty(const void *at)
{
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	uint64_t entry;

	CHECK(fd >= 0);
	CHECK_EQ(pread(fd, &entry, 8, (off_t)((uintptr_t)at / PAGE * 8)), 8);
	close(fd);
	return entry & (1ULL << 55);
}

/* Who watches soft-dirty bits (CRIU does) learns of each write, and no more. */
TEST_EACH_FS(soft_dirty_bits_tell_of_writes)
{
	int ctl = ctl_new(SIZE);
	int fd = backing_new(1, PAGES);
	void *view;

	CHECK_OK(map_fd(ctl, fd, 0, SIZE, 0, RD | WR));
	view = view_mmap(ctl, SIZE, PROT_READ | PROT_WRITE);
	for (unsigned int i = 0; i < PAGES / 2; i++) {
		(void)must_read(AT(view, i * PAGE));
		if (i % 4 == 0)
			must_write(AT(view, i * PAGE + 8), 1);
	}
	write_file("/proc/self/clear_refs", "4");
	/* Some have an entry that was written by, that was read by, or none. */
	for (unsigned int i = 0; i < PAGES; i++) {
		(void)must_read(AT(view, i * PAGE));
		if (i % 2)
			continue;
		CHECK(!soft_dirty(AT(view, i * PAGE)));
		must_write(AT(view, i * PAGE + 8), 2);
	}
	for (unsigned int i = 0; i < PAGES; i++)
		CHECK_EQ(soft_dirty(AT(view, i * PAGE)), i % 2 == 0);
}
