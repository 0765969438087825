// SPDX-License-Identifier: GPL-2.0-only
/*
 * Sink pages where a file system fails: what can't be read or written to stops
 * nobody, and what the file has comes back as soon as it can.
 */
#include <linux/capability.h>
#include <pthread.h>
#include <stdarg.h>
#include <sys/quota.h>
#include <sys/syscall.h>

#include "fuse_server.h"

enum { PAGES = 64 };
#define SIZE	(PAGES * PAGE)

static void __attribute__((format(printf, 1, 2))) run(const char *fmt, ...)
{
	char command[600];
	va_list args;

	va_start(args, fmt);
	vsnprintf(command, sizeof(command), fmt, args);
	va_end(args);
	if (system(command))
		FAIL("%s", command);
}

/* A file system of the test's own, and where it is mounted. */
struct own_fs {
	char image[96];
	char dir[64];
};

static struct own_fs own_fs(const char *name)
{
	const char *images = getenv("MEMVIEW_IMAGES");
	struct own_fs fs;

	CHECK(images);
	snprintf(fs.image, sizeof(fs.image), "%s/%s-%d.img", images, name,
		 getpid());
	snprintf(fs.dir, sizeof(fs.dir), "/run/memview-%s-%d", name, getpid());
	run("truncate -s 32M %s", fs.image);
	CHECK_OK(sys(mkdir(fs.dir, 0700)));
	return fs;
}

static void own_fs_end(const struct own_fs *fs)
{
	CHECK_OK(sys(umount2(fs->dir, MNT_DETACH)));
	CHECK_OK(sys(rmdir(fs->dir)));
	CHECK_OK(sys(unlink(fs->image)));
}

/* ---- Files that can't be read ------------------------------------------------ */

/* A file that can't be read for a while. */
TEST(read_errors)
{
	struct fuse_server *server = fuse_start(PAGES);
	int fd = open(server->path, O_RDWR | O_CLOEXEC);
	int ctl = sink_view(SIZE);
	uint64_t end;
	void *view;

	CHECK(fd >= 0);
	CHECK_OK(map_fd(ctl, fd, 0, SIZE, 0, RD | WR));
	view = view_mmap(ctl, SIZE, PROT_READ | PROT_WRITE);
	__atomic_store_n(&server->fail_reads, EIO, __ATOMIC_SEQ_CST);
	check_page(AT(view, 7 * PAGE), 0, "an unreadable page");
	must_write(AT(view, 8 * PAGE), 1);
	CHECK(get_info(ctl).read_errors >= 2);
	CHECK(get_info(ctl).lost_writes >= 1);
	CHECK_EQ(get_info(ctl).lost_offset, 8 * PAGE);
	must_write(AT(view, 7 * PAGE), 1);
	CHECK(get_info(ctl).lost_writes >= 2);
	/* It gets better, which nobody is told of. */
	__atomic_store_n(&server->fail_reads, 0, __ATOMIC_SEQ_CST);
	end = deadline(10000);
	while (must_read(AT(view, 7 * PAGE)) != stamp(8, 7, 0) ||
	       must_read(AT(view, 8 * PAGE)) != stamp(8, 8, 0))
		CHECK(now_ms() < end);
	fuse_end(server);
}

/* Until all pages have what they should, which nobody is told of. */
static void wait_stamps(void *view, unsigned int pages, uint32_t id)
{
	uint64_t end = deadline(10000);

	for (unsigned int i = 0; i < pages; i++)
		while (must_read(AT(view, i * PAGE)) != stamp(id, i, 0))
			if (now_ms() > end)
				FAIL("page %u is still 0x%llx", i,
				     (unsigned long long)
				     must_read(AT(view, i * PAGE)));
}

/* A disk that fails below ext4 (device mapper's "error"), and gets well again. */
TEST_LIMIT(failing_disk, 60)
{
	static const char table[] =
		"DM_DISABLE_UDEV=1 dmsetup %s memview-%d --table '0 65536 %s'";
	struct own_fs fs = own_fs("failing");
	int ctl = sink_view(SIZE), fd;
	char loop[32], linear[48], path[128];
	uint64_t page[PAGE / 8];
	FILE *f;
	void *view;

	snprintf(path, sizeof(path), "losetup -f --show %s", fs.image);
	f = popen(path, "r");
	CHECK(f && fscanf(f, "%31s", loop) == 1 && !pclose(f));
	snprintf(linear, sizeof(linear), "linear %s 0", loop);
	run(table, "create", getpid(), linear);
	run("mkfs.ext4 -q -F -E lazy_itable_init=0,lazy_journal_init=0 /dev/mapper/memview-%d",
	    getpid());
	run("mount -o noatime /dev/mapper/memview-%d %s", getpid(), fs.dir);
	snprintf(path, sizeof(path), "%s/file", fs.dir);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	CHECK(fd >= 0);
	for (unsigned int i = 0; i < PAGES; i++) {
		stamp_page(page, stamp(1, i, 0));
		CHECK_EQ(pwrite(fd, page, PAGE, i * PAGE), PAGE);
	}
	CHECK_OK(sys(syncfs(fd)));
	drop_file(fd);

	CHECK_OK(map_fd(ctl, fd, 0, SIZE, 0, RD | WR));
	view = view_mmap(ctl, SIZE, PROT_READ | PROT_WRITE);
	run("dmsetup suspend --nolockfs memview-%d", getpid());
	run(table, "reload", getpid(), "error");
	run("DM_DISABLE_UDEV=1 dmsetup resume memview-%d", getpid());
	for (unsigned int i = 0; i < PAGES; i++)
		check_page(AT(view, i * PAGE), 0, "an unreadable page");
	must_write(AT(view, 8 * PAGE), 5);
	CHECK(get_info(ctl).read_errors >= PAGES);
	CHECK(get_info(ctl).lost_writes >= 1);
	run("dmsetup suspend --nolockfs memview-%d", getpid());
	run(table, "reload", getpid(), linear);
	run("DM_DISABLE_UDEV=1 dmsetup resume memview-%d", getpid());
	wait_stamps(view, PAGES, 1);
	must_write(AT(view, 8 * PAGE + 8), 6);
	CHECK_OK(sys(fsync(fd)));
	CHECK_EQ(get_info(ctl).sink_pages, 0);

	close(ctl);
	close(fd);
	CHECK_OK(sys(munmap(view, SIZE)));
	CHECK_OK(sys(umount(fs.dir)));
	run("DM_DISABLE_UDEV=1 dmsetup remove memview-%d", getpid());
	run("losetup -d %s", loop);
	CHECK_OK(sys(rmdir(fs.dir)));
	CHECK_OK(sys(unlink(fs.image)));
}

/* A server that says something else about its file every time. */
struct liar {
	struct fuse_server *server;
	int fd;
	int stop;
};

static void *lie(void *arg)
{
	struct liar *liar = arg;
	uint64_t seed = 4711;

	while (!__atomic_load_n(&liar->stop, __ATOMIC_SEQ_CST)) {
		struct statx stx;

		__atomic_store_n(&liar->server->pages, rnd(&seed) % PAGES,
				 __ATOMIC_SEQ_CST);
		__atomic_store_n(&liar->server->fail_reads,
				 rnd(&seed) % 3 ? 0 : EIO, __ATOMIC_SEQ_CST);
		/* The kernel believes it, and drops pages. */
		CHECK_OK(sys(statx(liar->fd, "",
				   AT_EMPTY_PATH | AT_STATX_FORCE_SYNC,
				   STATX_SIZE, &stx)));
		sleep_ms(rnd(&seed) % 5);
	}
	return NULL;
}

TEST_LIMIT(lying_server, 60)
{
	struct liar liar = { .server = fuse_start(PAGES) };
	uint64_t seed = 815, end = now_ms() + 2000, accesses = 0;
	int ctl = sink_view(SIZE);
	struct statx stx;
	pthread_t thread;
	void *view;

	liar.fd = open(liar.server->path, O_RDWR | O_CLOEXEC);
	CHECK(liar.fd >= 0);
	CHECK_OK(map_fd(ctl, liar.fd, 0, SIZE, 0, RD | WR));
	view = view_mmap(ctl, SIZE, PROT_READ | PROT_WRITE);
	CHECK(!pthread_create(&thread, NULL, lie, &liar));
	while (now_ms() < end || accesses < 1000) {
		uint64_t at = rnd(&seed) % PAGES;
		uint64_t word = must_read(AT(view, at * PAGE));

		if (word)
			CHECK_EQ(word, stamp(8, at, 0));
		must_write(AT(view, at * PAGE + 8), 1);
		accesses++;
	}
	__atomic_store_n(&liar.stop, 1, __ATOMIC_SEQ_CST);
	CHECK(!pthread_join(thread, NULL));
	note("%llu accesses, %llu sink pages", (unsigned long long)accesses,
	     (unsigned long long)get_info(ctl).sinks);
	CHECK(get_info(ctl).sinks > 0);

	/* An honest one. What it left half of a page with went with that. */
	__atomic_store_n(&liar.server->fail_reads, 0, __ATOMIC_SEQ_CST);
	__atomic_store_n(&liar.server->pages, 0, __ATOMIC_SEQ_CST);
	CHECK_OK(sys(statx(liar.fd, "", AT_EMPTY_PATH | AT_STATX_FORCE_SYNC,
			   STATX_SIZE, &stx)));
	__atomic_store_n(&liar.server->pages, PAGES, __ATOMIC_SEQ_CST);
	CHECK_OK(sys(statx(liar.fd, "", AT_EMPTY_PATH | AT_STATX_FORCE_SYNC,
			   STATX_SIZE, &stx)));
	wait_stamps(view, PAGES, 8);
	fuse_end(liar.server);
}

/* ---- A full disk ----------------------------------------------------------- */

/*
 * No room for @owner's files: a store into a hole of the file is lost, and
 * counted; what the file has is there all the time.
 */
static void full_disk(const char *dir, unsigned int stores, uid_t owner)
{
	int ctl = sink_view(SIZE);
	struct memview_info info;
	static char block[MIB];
	uint64_t end, page[PAGE / 8];
	char path[300];
	int fd, fill;
	void *view;

	snprintf(path, sizeof(path), "%s/full-%d", dir, getpid());
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	CHECK(fd >= 0);
	CHECK_OK(sys(unlink(path)));
	CHECK_OK(sys(fchown(fd, owner, owner)));
	for (unsigned int i = 0; i < 2; i++) {
		stamp_page(page, stamp(1, i, 0));
		CHECK_EQ(pwrite(fd, page, PAGE, i * PAGE), PAGE);
	}
	CHECK_OK(sys(ftruncate(fd, SIZE)));
	CHECK_OK(sys(fsync(fd)));
	fill = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	CHECK(fill >= 0);
	CHECK_OK(sys(unlink(path)));
	CHECK_OK(sys(fchown(fill, owner, owner)));
	for (size_t size = MIB; size >= PAGE; size /= 2)
		while (write(fill, block, size) == (ssize_t)size)
			;
	(void)fsync(fill);
	for (size_t size = MIB; size >= PAGE; size /= 2)
		while (write(fill, block, size) == (ssize_t)size)
			;

	CHECK_OK(map_fd(ctl, fd, 0, SIZE, 0, RD | WR));
	view = view_mmap(ctl, SIZE, PROT_READ | PROT_WRITE);
	for (unsigned int i = 0; i < PAGES; i++)
		CHECK_EQ(must_read(AT(view, i * PAGE)),
			 i < 2 ? stamp(1, i, 0) : 0);
	for (unsigned int i = 0; i < stores; i++) {
		must_write(AT(view, i * PAGE + 8), 5);
		CHECK_EQ(must_read(AT(view, i * PAGE)),
			 i < 2 ? stamp(1, i, 0) : 0);
	}
	info = get_info(ctl);
	note("%llu of %u stores lost", (unsigned long long)info.lost_writes,
	     stores);
	CHECK(info.lost_writes > 0);
	CHECK(info.lost_offset < SIZE);

	close(fill);
	/* There is room again, in the file system's own time. */
	end = deadline(40000);
	for (unsigned int i = 0; i < stores; i++) {
		uint64_t word;

		do {
			CHECK(now_ms() < end);
			must_write(AT(view, i * PAGE + 8), 6);
			CHECK_EQ(pread(fd, &word, 8, i * PAGE + 8), 8);
		} while (word != 6);
	}
}

TEST_LIMIT(full_tmpfs, 60)
{
	char dir[64];

	snprintf(dir, sizeof(dir), "/run/memview-full-%d", getpid());
	CHECK_OK(sys(mkdir(dir, 0700)));
	CHECK_OK(sys(mount("none", dir, "tmpfs", 0, "size=1m")));
	full_disk(dir, PAGES, 0);
	CHECK_OK(sys(umount2(dir, MNT_DETACH)));
	CHECK_OK(sys(rmdir(dir)));
}

TEST_LIMIT(full_ext4, 60)
{
	struct own_fs fs = own_fs("full");

	run("mkfs.ext4 -q -F %s", fs.image);
	run("mount -o loop %s %s", fs.image, fs.dir);
	full_disk(fs.dir, PAGES, 0);
	own_fs_end(&fs);
}

TEST_LIMIT(full_xfs, 60)
{
	full_disk(fs_dir("xfs"), PAGES, 0);
}

/* It looks for room for seconds before it says that there is none. */
TEST_LIMIT(full_btrfs, 120)
{
	full_disk(fs_dir("btrfs"), 6, 0);
}

/* A file system with room, for others. */
TEST_LIMIT(full_quota, 60)
{
	enum { USER = 1234 };
	struct dqblk limit = {
		.dqb_bhardlimit = 1024, .dqb_valid = QIF_BLIMITS,
	};
	struct __user_cap_header_struct head = {
		.version = _LINUX_CAPABILITY_VERSION_3,
	};
	struct __user_cap_data_struct caps[2];
	struct own_fs fs = own_fs("quota");
	int dir;

	run("mkfs.ext4 -q -F -O quota -E quotatype=usrquota %s", fs.image);
	run("mount -o loop,usrquota %s %s", fs.image, fs.dir);
	dir = open(fs.dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	CHECK(dir >= 0);
	CHECK_OK(sys(syscall(SYS_quotactl_fd, dir, QCMD(Q_SETQUOTA, USRQUOTA),
			     USER, &limit)));
	close(dir);
	/* No limit is for who has this. */
	CHECK_OK(sys(syscall(SYS_capget, &head, caps)));
	caps[0].effective &= ~(1U << CAP_SYS_RESOURCE);
	CHECK_OK(sys(syscall(SYS_capset, &head, caps)));
	full_disk(fs.dir, PAGES, USER);
	caps[0].effective |= 1U << CAP_SYS_RESOURCE;
	CHECK_OK(sys(syscall(SYS_capset, &head, caps)));
	own_fs_end(&fs);
}

/* ---- Other ends of a file ------------------------------------------------------ */

/* A file that takes another's name takes its place in no view. */
TEST(replaced_by_rename)
{
	static const char *const kinds[] = {
		"tmpfs", "ext4", "xfs", "btrfs", "overlay", "virtiofs",
	};

	for (unsigned int k = 0; k < ARRAY_SIZE(kinds); k++) {
		int old = backing_new_on(kinds[k], 1, 2), new;
		int ctl = sink_view(SIZE);
		uint64_t page[PAGE / 8];
		char path[300];
		void *view;

		snprintf(path, sizeof(path), "%s", backing_path());
		new = backing_new_on(kinds[k], 2, PAGES);
		CHECK_OK(map_fd(ctl, old, 0, SIZE, 0, RD | WR));
		view = view_mmap(ctl, SIZE, PROT_READ | PROT_WRITE);
		must_write(AT(view, 2 * PAGE), 5);
		must_write(AT(view, 3 * PAGE), 5);
		CHECK_OK(sys(rename(backing_path(), path)));
		CHECK_EQ(must_read(view), stamp(1, 0, 0));
		CHECK_EQ(must_read(AT(view, 3 * PAGE)), 5);
		/* What has no name any more can still grow. */
		stamp_page(page, stamp(1, 2, 0));
		CHECK_EQ(pwrite(old, page, PAGE, 2 * PAGE), PAGE);
		CHECK_EQ(must_read(AT(view, 2 * PAGE)), stamp(1, 2, 0));
		CHECK_OK(map_fd(ctl, new, 0, SIZE, 0, RD | WR));
		CHECK_EQ(get_info(ctl).sink_pages, 0);
		for (unsigned int i = 0; i < PAGES; i++)
			CHECK_EQ(must_read(AT(view, i * PAGE)),
				 stamp(2, i, 0));
		CHECK_OK(sys(munmap(view, SIZE)));
		close(ctl);
		close(old);
		close(new);
		CHECK_OK(sys(unlink(path)));
	}
}

/* Lost memory is lost: it is no case for a sink page. */
TEST(poisoned_file_page)
{
	int fd = backing_new_on("tmpfs", 1, PAGES);
	int ctl = sink_view(SIZE), status;
	uint64_t value;
	void *view;
	pid_t pid;

	CHECK_OK(sys(prctl(PR_MCE_KILL, PR_MCE_KILL_SET, PR_MCE_KILL_LATE, 0,
			   0)));
	CHECK_OK(map_fd(ctl, fd, 0, SIZE, 0, RD | WR));
	view = view_mmap(ctl, SIZE, PROT_READ | PROT_WRITE);
	CHECK_EQ(must_read(AT(view, 3 * PAGE)), stamp(1, 3, 0));
	pid = fork();
	CHECK(pid >= 0);
	if (!pid) {
		volatile char *map = mmap(NULL, SIZE, PROT_READ | PROT_WRITE,
					  MAP_SHARED, fd, 0);

		signal(SIGBUS, SIG_DFL);
		CHECK(map != MAP_FAILED);
		(void)map[3 * PAGE];
		(void)madvise((void *)(map + 3 * PAGE), PAGE, MADV_HWPOISON);
		_exit(0);
	}
	CHECK(wait_ended(pid, 10, &status));
	CHECK_EQ(try_read(AT(view, 3 * PAGE), &value), SIGBUS);
	CHECK_EQ(fault_code, BUS_MCEERR_AR);
	CHECK_EQ(try_read(AT(view, 3 * PAGE), &value), SIGBUS);
	CHECK_EQ(must_read(AT(view, 4 * PAGE)), stamp(1, 4, 0));
	CHECK_EQ(get_info(ctl).sinks, 0);
	/* Where the file has no such page any more, it is one. */
	CHECK_OK(sys(ftruncate(fd, 3 * PAGE)));
	CHECK_EQ(must_read(AT(view, 3 * PAGE)), 0);
	CHECK_EQ(get_info(ctl).sinks, 1);
}

/* A sink page whose memory fails is the mapper's trouble, and goes as others do. */
TEST(poisoned_sink_page)
{
	int fd = backing_new(1, PAGES);
	int ctl = sink_view(SIZE);
	void *view = view_mmap(ctl, SIZE, PROT_READ | PROT_WRITE);
	uint64_t value;
	int sig;

	CHECK_OK(sys(prctl(PR_MCE_KILL, PR_MCE_KILL_SET, PR_MCE_KILL_LATE, 0,
			   0)));
	must_write(AT(view, PAGE), 5);
	must_write(AT(view, 2 * PAGE), 6);
	if (madvise(AT(view, PAGE), PAGE, MADV_HWPOISON))
		note("MADV_HWPOISON: %s", strerror(errno));
	sig = try_read(AT(view, PAGE), &value);
	note("signal %d, value %llu", sig, sig ? 0 : (unsigned long long)value);
	CHECK_EQ(must_read(AT(view, 2 * PAGE)), 6);
	CHECK_OK(map_fd(ctl, fd, 0, SIZE, 0, RD | WR));
	for (unsigned int i = 0; i < PAGES; i++)
		CHECK_EQ(must_read(AT(view, i * PAGE)), stamp(1, i, 0));
	CHECK_EQ(get_info(ctl).sink_pages, 0);
}
