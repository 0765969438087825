// SPDX-License-Identifier: GPL-2.0-only
/*
 * The process that opened the device: the driver's mappings of files are in its
 * address space, beside its own, and are gone when it is.
 */
#include <linux/io_uring.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "memview_test.h"

enum { PAGES = 64 };
#define SIZE	(PAGES * PAGE)

/* How often the module is in use: open control and view fds, mostly. */
static unsigned int module_references(void)
{
	char text[16] = "";
	int fd = open("/sys/module/memory_view/refcnt", O_RDONLY | O_CLOEXEC);

	CHECK(fd >= 0);
	CHECK(read(fd, text, sizeof(text) - 1) > 0);
	close(fd);
	return (unsigned int)strtoul(text, NULL, 10);
}

/* Has a ring keep @fd, and an address space that maps the ring. */
static void keep_in_mapped_ring(int fd)
{
	struct io_uring_params params = { 0 };
	int ring = (int)syscall(SYS_io_uring_setup, 4, &params);

	CHECK(ring >= 0);
	CHECK(mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
		   MAP_SHARED | MAP_POPULATE, ring, IORING_OFF_SQ_RING) !=
	      MAP_FAILED);
	CHECK_OK(sys(syscall(SYS_io_uring_register, ring,
			     IORING_REGISTER_FILES, &fd, 1)));
	close(ring);
}

/*
 * The address space keeps the ring, and the ring the control fd. The view must
 * not keep the address space.
 */
TEST(fixed_file_of_a_ring)
{
	unsigned int before = module_references();
	uint64_t end = deadline(10000);
	pid_t pid = fork();

	CHECK(pid >= 0);
	if (!pid) {
		int fd = backing_new(1, PAGES);
		int ctl = ctl_new(SIZE);

		CHECK_OK(map_fd(ctl, fd, 0, SIZE, 0, RD | WR));
		keep_in_mapped_ring(ctl);
		close(ctl);
		_exit(0);
	}
	wait_child(pid, 10);
	while (module_references() > before) {
		if (now_ms() > end)
			FAIL("the view is still there after 10 s");
		sleep_ms(20);
	}
}

/*
 * The highest gap of the address space that holds a chunk lies right below a
 * mapping of the file's next page. Two VMAs would become one.
 */
TEST_EACH_FS(beside_a_mapping_of_the_file)
{
	int fd = backing_new(1, PAGES);
	int ctl = ctl_new(SIZE);
	void *room, *view;

	CHECK_OK(sys(ftruncate(fd, GIB + PAGE)));
	room = mmap(NULL, GIB + PAGE, PROT_NONE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	CHECK(room != MAP_FAILED);
	CHECK(mmap(AT(room, GIB), PAGE, PROT_READ | PROT_WRITE,
		   MAP_SHARED | MAP_FIXED, fd, GIB) != MAP_FAILED);
	CHECK_OK(sys(munmap(room, GIB)));
	CHECK_OK(map_fd(ctl, fd, 0, SIZE, 0, RD | WR));
	view = view_mmap(ctl, SIZE, PROT_READ | PROT_WRITE);
	CHECK_EQ(must_read(view), stamp(1, 0, 0));
	must_write(AT(room, GIB + 8), 5);
}

struct mapping_thread {
	pthread_t thread;
	int ctl, fd;
	unsigned int nr;
};

enum { MAP_THREADS = 2, MAP_ROUNDS = 400 };

static void *map_chunks(void *arg)
{
	const struct mapping_thread *t = arg;

	for (unsigned int i = 0; i < MAP_ROUNDS; i++) {
		CHECK_OK(map_fd(t->ctl, t->fd, t->nr * GIB, PAGE,
				t->nr * PAGE, RD | WR));
		CHECK_OK(unmap_fd(t->ctl, t->nr * PAGE, PAGE));
	}
	return NULL;
}

/* Two threads map neighbouring chunks of one file. */
TEST(neighbouring_chunks)
{
	struct mapping_thread threads[MAP_THREADS];
	int fd = backing_new(1, 1);
	int ctl = ctl_new(SIZE);

	CHECK_OK(sys(ftruncate(fd, MAP_THREADS * GIB)));
	keep_unused_files("0");
	for (unsigned int i = 0; i < MAP_THREADS; i++) {
		threads[i] = (struct mapping_thread){
			.ctl = ctl, .fd = fd, .nr = i,
		};
		CHECK(!pthread_create(&threads[i].thread, NULL, map_chunks,
				      &threads[i]));
	}
	for (unsigned int i = 0; i < MAP_THREADS; i++)
		CHECK(!pthread_join(threads[i].thread, NULL));
	keep_unused_files("250");
}

/* The driver's own mapping of the file behind @fd, in this process. */
static void *find_anchor(int fd)
{
	struct stat st;
	char line[512];
	FILE *f = fopen("/proc/self/maps", "r");

	CHECK(f);
	CHECK_OK(sys(fstat(fd, &st)));
	while (fgets(line, sizeof(line), f)) {
		unsigned long from, to, inode;
		char perms[5];

		if (sscanf(line, "%lx-%lx %4s %*x %*x:%*x %lu", &from, &to,
			   perms, &inode) == 4 &&
		    inode == st.st_ino && !strncmp(perms, "---", 3)) {
			fclose(f);
			return (void *)from;
		}
	}
	FAIL("no inaccessible mapping of the file");
}

/* It is for looking up; nobody may put pages there, or part of it elsewhere. */
TEST(anchors_stay_empty)
{
	int fd = backing_new(1, PAGES);
	int ctl = ctl_new(SIZE);
	void *anchor, *view;

	CHECK_OK(map_fd(ctl, fd, 0, SIZE, 0, RD | WR | EX));
	anchor = find_anchor(fd);
	CHECK_ERR(sys(mprotect(anchor, GIB, PROT_READ | PROT_WRITE)), EACCES);
	CHECK_ERR(sys(mprotect(anchor, GIB, PROT_WRITE)), EACCES);
	CHECK_ERR(sys(mprotect(anchor, GIB, PROT_NONE)), EACCES);
	CHECK(madvise(anchor, SIZE, MADV_POPULATE_WRITE) < 0);
	must_not_write(anchor);
	CHECK(munmap(AT(anchor, PAGE), PAGE) < 0);
	view = view_mmap(ctl, SIZE, PROT_READ | PROT_WRITE);
	CHECK_EQ(must_read(AT(view, PAGE)), stamp(1, 1, 0));
	must_write(view, 7);
	CHECK_EQ(must_read(view), 7);
	/* All of it can go, and the view's range with it. */
	CHECK_OK(sys(munmap(anchor, GIB)));
	must_sigbus(view);
	CHECK_OK(map_fd(ctl, fd, 0, SIZE, 0, RD | WR));
	CHECK_EQ(must_read(view), 7);
	/* It stays where it is, though the attempt may cost the range. */
	anchor = find_anchor(fd);
	CHECK(mremap(anchor, GIB, GIB, MREMAP_MAYMOVE | MREMAP_FIXED,
		     AT(anchor, -4 * GIB)) == MAP_FAILED);
	CHECK_OK(map_fd(ctl, fd, 0, SIZE, 0, RD | WR));
	CHECK_EQ(must_read(view), 7);
}
