// SPDX-License-Identifier: GPL-2.0-only
/*
 * Threads and processes that map, unmap, replace, truncate, extend, punch,
 * write, fault and read at once, and check every word that they read against
 * what may be there. MEMVIEW_STRESS_SECONDS (default 60) of it.
 *
 * The model: each page of a file and each page of the view has a history of
 * numbered states. Whoever changes one announces the next state ("started")
 * before the system call and confirms it ("done") after it. A reader notes
 * "done" before its access and "started" after it; what it saw must be one of
 * the states between. So once an unmap, a replacement, a truncation or a write
 * has returned, seeing the state before it is an error.
 *
 * The state of a file page is GONE (SIGBUS), ZERO, or WRITTEN: each word then
 * holds stamp(file, page, number of the state).
 */
#include <linux/falloc.h>
#include <pthread.h>

#include "memview_test.h"

enum {
	FILES = 7, FILE_PAGES = 64, VIEW_PAGES = 256,
	STRIPE = 32, STRIPES = VIEW_PAGES / STRIPE,
	HISTORY = 32,
	MAPPERS = 2, READERS = 2, OTHER_READERS = 2, MAX_THREADS = 16,
};

#define VIEW_SIZE	(VIEW_PAGES * PAGE)
#define FILE_SIZE	(FILE_PAGES * PAGE)

static const char *const file_fs[FILES] = {
	"memfd", "tmpfs", "ext4", "xfs", "btrfs", "overlay",
	"virtiofs",
};

enum kind { GONE, ZERO, WRITTEN };

struct file_page {
	uint32_t started, done;
	uint8_t kind[HISTORY];
};

struct view_state {
	uint8_t mapped, write, file, page;
	uint32_t segment;
};

struct view_page {
	uint32_t started, done;
	struct view_state state[HISTORY];
};

/* Shared with the other processes that map the view. */
static struct shared {
	struct file_page files[FILES][FILE_PAGES];
	struct view_page view[VIEW_PAGES];
	int stop;
	uint64_t exact, loose, forgotten, sigbus, words;
} *shared;

static int ctl, vfd;
static void *view;
static int fds[FILES];
static char *direct[FILES];
static pthread_mutex_t file_lock[FILES];
static pthread_mutex_t stripe_lock[STRIPES];
static uint32_t next_segment = 1;
static uint64_t maps, unmaps, truncations, holes, view_writes, direct_writes;

#define LOAD(x)		__atomic_load_n(&(x), __ATOMIC_SEQ_CST)
#define STORE(x, v)	__atomic_store_n(&(x), v, __ATOMIC_SEQ_CST)
#define ADD(x, v)	__atomic_add_fetch(&(x), v, __ATOMIC_SEQ_CST)

static bool stopping(void)
{
	return LOAD(shared->stop);
}

/* ---- The model ---------------------------------------------------------- */

/* Caller holds the file's lock. */
static void file_start(unsigned int file, unsigned int page, enum kind kind)
{
	struct file_page *p = &shared->files[file][page];
	uint32_t next = p->started + 1;

	STORE(p->kind[next % HISTORY], kind);
	STORE(p->started, next);
}

static void file_done(unsigned int file, unsigned int page)
{
	struct file_page *p = &shared->files[file][page];

	STORE(p->done, p->started);
}

/* Caller holds the page's stripe lock. */
static void view_start(unsigned int at, struct view_state state)
{
	struct view_page *v = &shared->view[at];
	uint32_t next = v->started + 1;

	v->state[next % HISTORY] = state;
	STORE(v->started, next);
}

static void view_done(unsigned int at)
{
	struct view_page *v = &shared->view[at];

	STORE(v->done, v->started);
}

/* What one access to a page of the view saw. */
struct seen {
	int signal;
	uint64_t value;
};

static bool value_is(const struct seen *seen, enum kind kind,
		     const struct view_state *at, uint32_t number)
{
	switch (kind) {
	case GONE:
		return seen->signal == SIGBUS;
	case ZERO:
		return !seen->signal && !seen->value;
	default:
		return !seen->signal &&
		       seen->value == stamp(at->file, at->page, number);
	}
}

/*
 * Is @seen one of the states [from, to] of the page that @at names?
 *
 * A page that is read while its truncation is at work may be zeros before it is
 * gone, as in any mapping of the file: the size comes first, and writeback
 * clears what lies beyond it (ext4_bio_write_folio(), iomap_writeback_folio())
 * before the page is unmapped. A FUSE server has nothing there any more before
 * the kernel has heard of it.
 */
static bool file_allows(const struct seen *seen, const struct view_state *at,
			uint32_t from, uint32_t to)
{
	struct file_page *p = &shared->files[at->file][at->page];

	for (uint32_t n = from; n <= to; n++) {
		enum kind kind = LOAD(p->kind[n % HISTORY]);

		if (value_is(seen, kind, at, n) ||
		    (kind == GONE && n > from && value_is(seen, ZERO, at, n)))
			return true;
	}
	return false;
}

/* Anything that the page ever was; for a range that came during the access. */
static bool file_allows_any(const struct seen *seen,
			    const struct view_state *at)
{
	uint32_t number = seen->value & 0xffffff;

	if (seen->signal)
		return seen->signal == SIGBUS;
	return !seen->value ||
	       (seen->value == stamp(at->file, at->page, number) &&
		number <= LOAD(shared->files[at->file][at->page].started));
}

/* What the states @n of a file's page were, for a message: "12 gone, 13 zero" */
static const char *history(const struct file_page *p, uint32_t from,
			   uint32_t to, char *text, size_t size)
{
	static const char *const names[] = { "gone", "zero", "written" };
	size_t used = 0;

	for (uint32_t n = from; n <= to && used < size; n++)
		used += snprintf(text + used, size - used, "%s%u %s",
				 n == from ? "" : ", ", n,
				 names[p->kind[n % HISTORY]]);
	return text;
}

/* @file_from: by view state, the state of the file's page before the access. */
static void describe(unsigned int at, const struct seen *seen, uint32_t from,
		     uint32_t to, const uint32_t *file_from, uint32_t known)
{
	struct view_page *v = &shared->view[at];

	note("view page %u: signal %d, value 0x%016llx (file %llu page %llu state %llu)",
	     at, seen->signal, (unsigned long long)seen->value,
	     (unsigned long long)(seen->value >> 48),
	     (unsigned long long)(seen->value >> 24 & 0xffffff),
	     (unsigned long long)(seen->value & 0xffffff));
	for (uint32_t n = from; n <= to; n++) {
		struct view_state s = v->state[n % HISTORY];
		struct file_page *p = &shared->files[s.file][s.page];
		uint32_t begin = n <= known ? file_from[n % HISTORY] : p->done;
		char text[512] = "";

		if (s.mapped)
			note("  view state %u: file %u (%s) page %u, %s; its states: %s",
			     n, s.file, file_fs[s.file], s.page,
			     s.write ? "rw" : "ro",
			     history(p, begin, LOAD(p->started), text,
				     sizeof(text)));
		else
			note("  view state %u: a hole", n);
	}
}

/* One access, checked. */
static void check_read(void *where, uint64_t *seed)
{
	unsigned int at = rnd(seed) % VIEW_PAGES;
	unsigned int word = rnd(seed) % (PAGE / 8);
	struct view_page *v = &shared->view[at];
	uint32_t from, to, after, file_from[HISTORY];
	struct view_state states[HISTORY];
	struct seen seen = { 0, 0 };
	bool good = false;

	from = LOAD(v->done);
	to = LOAD(v->started);
	if (to - from >= HISTORY / 2)
		return;
	for (uint32_t n = from; n <= to; n++) {
		struct view_state s = v->state[n % HISTORY];

		states[n % HISTORY] = s;
		file_from[n % HISTORY] = LOAD(shared->files[s.file][s.page].done);
	}
	seen.signal = try_read(AT(where, at * PAGE + word * 8), &seen.value);
	after = LOAD(v->started);
	if (after - from >= HISTORY / 2) {
		ADD(shared->forgotten, 1);
		return;
	}
	for (uint32_t n = from; n <= to && !good; n++) {
		struct view_state *s = &states[n % HISTORY];
		uint32_t file_to;

		if (!s->mapped) {
			good = seen.signal == SIGBUS;
			continue;
		}
		file_to = LOAD(shared->files[s->file][s->page].started);
		if (file_to - file_from[n % HISTORY] >= HISTORY / 2) {
			ADD(shared->forgotten, 1);
			return;
		}
		good = file_allows(&seen, s, file_from[n % HISTORY], file_to);
	}
	if (good && from == after)
		ADD(shared->exact, 1);
	else
		ADD(shared->loose, 1);
	for (uint32_t n = to + 1; n <= after && !good; n++) {
		struct view_state s = v->state[n % HISTORY];

		good = s.mapped ? file_allows_any(&seen, &s) :
				  seen.signal == SIGBUS;
	}
	if (seen.signal)
		ADD(shared->sigbus, 1);
	if (!good) {
		describe(at, &seen, from, after, file_from, to);
		FAIL("a reader saw what can't be there");
	}
}

/* ---- The threads -------------------------------------------------------- */

static void *reader(void *arg)
{
	uint64_t seed = 1000003 + (uintptr_t)arg * 7919;

	while (!stopping())
		check_read(view, &seed);
	return NULL;
}

static void lock_stripes(unsigned int at, unsigned int len)
{
	for (unsigned int s = at / STRIPE; s <= (at + len - 1) / STRIPE; s++)
		pthread_mutex_lock(&stripe_lock[s]);
}

static void unlock_stripes(unsigned int at, unsigned int len)
{
	for (unsigned int s = at / STRIPE; s <= (at + len - 1) / STRIPE; s++)
		pthread_mutex_unlock(&stripe_lock[s]);
}

static void unmap_some(unsigned int at, unsigned int len, bool batch)
{
	struct memview_range ranges[3];
	unsigned int cut = len / 2;

	for (unsigned int i = 0; i < len; i++)
		view_start(at + i, (struct view_state){ 0 });
	if (batch && cut) {
		ranges[0] = (struct memview_range){ at * PAGE, cut * PAGE };
		ranges[1] = (struct memview_range){ (at + cut) * PAGE,
						    (len - cut) * PAGE };
		ranges[2] = ranges[0];
		CHECK_OK(unmap_fds(ctl, ranges, 3));
		ADD(unmaps, 3);
	} else {
		CHECK_OK(unmap_fd(ctl, at * PAGE, len * PAGE));
		ADD(unmaps, 1);
	}
	for (unsigned int i = 0; i < len; i++)
		view_done(at + i);
}

static void map_some(unsigned int at, unsigned int len, uint64_t *seed)
{
	unsigned int file = rnd(seed) % FILES;
	unsigned int page = rnd(seed) % (FILE_PAGES - len + 1);
	bool write = rnd(seed) % 3;
	uint32_t segment = ADD(next_segment, 1);

	for (unsigned int i = 0; i < len; i++)
		view_start(at + i, (struct view_state){
			true, write, file, page + i, segment });
	CHECK_OK(map_fd(ctl, fds[file], page * PAGE, len * PAGE, at * PAGE,
			write ? RD | WR : RD));
	ADD(maps, 1);
	for (unsigned int i = 0; i < len; i++)
		view_done(at + i);
}

static void *mapper(void *arg)
{
	uint64_t seed = 31337 + (uintptr_t)arg * 104729;

	run_first();
	while (!stopping()) {
		unsigned int at = rnd(&seed) % VIEW_PAGES;
		unsigned int len = 1 + rnd(&seed) % 40;
		unsigned int what = rnd(&seed) % 8;

		if (len > VIEW_PAGES - at)
			len = VIEW_PAGES - at;
		lock_stripes(at, len);
		if (what < 2)
			unmap_some(at, len, what);
		else
			map_some(at, len, &seed);
		unlock_stripes(at, len);
		/* Time for the others, who want the locks and the pages. */
		sleep_ms(1);
	}
	return NULL;
}

static void write_words(void *at, uint64_t value, const char *how)
{
	for (unsigned int i = 0; i < PAGE / 8; i++) {
		int sig = try_write(AT(at, i * 8), value);

		if (sig)
			FAIL("write through %s raised signal %d (code %d)", how,
			     sig, fault_code);
	}
}

/* Writes through the view; the range and the file are held still meanwhile. */
static void *view_writer(void *arg)
{
	uint64_t seed = 777777;

	(void)arg;
	run_first();
	while (!stopping()) {
		unsigned int at = rnd(&seed) % VIEW_PAGES;
		struct view_page *v = &shared->view[at];
		struct view_state s;
		struct file_page *p;

		lock_stripes(at, 1);
		s = v->state[v->done % HISTORY];
		p = &shared->files[s.file][s.page];
		if (!s.mapped) {
			unlock_stripes(at, 1);
			continue;
		}
		pthread_mutex_lock(&file_lock[s.file]);
		if (p->kind[p->done % HISTORY] == GONE) {
			if (try_write(AT(view, at * PAGE), 1) != SIGBUS)
				FAIL("write beyond the end of the file");
		} else if (!s.write) {
			if (!try_write(AT(view, at * PAGE), 1))
				FAIL("write to a read-only range");
		} else {
			file_start(s.file, s.page, WRITTEN);
			write_words(AT(view, at * PAGE),
				    stamp(s.file, s.page, p->started),
				    "the view");
			file_done(s.file, s.page);
			ADD(view_writes, 1);
		}
		pthread_mutex_unlock(&file_lock[s.file]);
		unlock_stripes(at, 1);
		sleep_ms(1);
	}
	return NULL;
}

/* Writes, truncates, extends and punches the files themselves. */
static void *file_changer(void *arg)
{
	uint64_t seed = 99991;

	(void)arg;
	run_first();
	while (!stopping()) {
		unsigned int f = rnd(&seed) % FILES;
		unsigned int page = rnd(&seed) % FILE_PAGES;
		unsigned int what = rnd(&seed) % 16, len = 1;
		struct file_page *p = shared->files[f];

		pthread_mutex_lock(&file_lock[f]);
		if (what < 11) {
			if (p[page].kind[p[page].done % HISTORY] != GONE) {
				file_start(f, page, WRITTEN);
				write_words(direct[f] + page * PAGE,
					    stamp(f, page, p[page].started),
					    "the file's own mapping");
				file_done(f, page);
				ADD(direct_writes, 1);
			}
		} else if (what < 13) {
			for (unsigned int i = page; i < FILE_PAGES; i++)
				file_start(f, i, GONE);
			CHECK_OK(sys(ftruncate(fds[f], page * PAGE)));
			for (unsigned int i = page; i < FILE_PAGES; i++)
				file_done(f, i);
			/* For a moment, then all of it is there again. */
			if (rnd(&seed) & 1)
				sleep_ms(1);
			for (unsigned int i = page; i < FILE_PAGES; i++)
				file_start(f, i, ZERO);
			CHECK_OK(sys(ftruncate(fds[f], FILE_SIZE)));
			for (unsigned int i = page; i < FILE_PAGES; i++)
				file_done(f, i);
			ADD(truncations, 1);
		} else {
			len = 1 + rnd(&seed) % 8;
			if (len > FILE_PAGES - page)
				len = FILE_PAGES - page;
			for (unsigned int i = 0; i < len; i++)
				file_start(f, page + i, ZERO);
			CHECK_OK(sys(fallocate(fds[f], FALLOC_FL_PUNCH_HOLE |
					       FALLOC_FL_KEEP_SIZE,
					       page * PAGE, len * PAGE)));
			for (unsigned int i = 0; i < len; i++)
				file_done(f, page + i);
			ADD(holes, 1);
		}
		pthread_mutex_unlock(&file_lock[f]);
		sleep_ms(1);
	}
	return NULL;
}

/* What the rest of a host does to memory and files all the time. */
static void *chaos(void *arg)
{
	uint64_t seed = 5551212;

	(void)arg;
	while (!stopping()) {
		unsigned int f = rnd(&seed) % FILES;

		switch (rnd(&seed) % 6) {
		case 0:
			drop_caches();
			break;
		case 1:
			(void)cgroup_reclaim(8 * MIB);
			break;
		case 2:
			write_file("/proc/sys/vm/compact_memory", "1");
			break;
		case 3:
			(void)!madvise(view, VIEW_SIZE, MADV_DONTNEED);
			break;
		case 4:
			(void)get_info(ctl);
			close(get_viewfd(ctl));
			break;
		default:
			if (fdatasync(fds[f]))
				FAIL("fdatasync on %s: %s", file_fs[f],
				     strerror(errno));
		}
		sleep_ms(100);
	}
	return NULL;
}

/* A process of its own that maps the view, reads, and is killed at last. */
static pid_t other_process(void)
{
	pid_t pid = fork();
	pthread_t threads[OTHER_READERS];

	CHECK(pid >= 0);
	if (pid)
		return pid;
	close(ctl);
	view = mmap(NULL, VIEW_SIZE, PROT_READ, MAP_SHARED, vfd, 0);
	CHECK(view != MAP_FAILED);
	for (uintptr_t i = 0; i < OTHER_READERS; i++)
		CHECK(!pthread_create(&threads[i], NULL, reader,
				      (void *)(i + 100 + getpid())));
	for (;;)
		pause();
}

static void setup(void)
{
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(shared != MAP_FAILED);
	cgroup_enter();
	ctl = ctl_new(VIEW_SIZE);
	vfd = get_viewfd(ctl);
	view = view_mmap(ctl, VIEW_SIZE, PROT_READ | PROT_WRITE);
	for (unsigned int s = 0; s < STRIPES; s++)
		pthread_mutex_init(&stripe_lock[s], NULL);
	for (unsigned int f = 0; f < FILES; f++) {
		pthread_mutex_init(&file_lock[f], NULL);
		fds[f] = backing_new_on(file_fs[f], f, FILE_PAGES);
		direct[f] = mmap(NULL, FILE_SIZE, PROT_READ | PROT_WRITE,
				 MAP_SHARED, fds[f], 0);
		CHECK(direct[f] != MAP_FAILED);
		/* backing_new_on() wrote state 0. */
		for (unsigned int i = 0; i < FILE_PAGES; i++)
			shared->files[f][i].kind[0] = WRITTEN;
	}
}

/* At rest: segments as in the model, and all files as last written. */
static void check_end(void)
{
	struct memview_info info = get_info(ctl);
	uint64_t segments = 0;

	for (unsigned int i = 0; i < VIEW_PAGES; i++) {
		struct view_page *v = &shared->view[i];
		struct view_state s = v->state[v->done % HISTORY];
		struct view_state before = { 0 };

		if (i)
			before = v[-1].state[v[-1].done % HISTORY];
		if (s.mapped && (!before.mapped ||
				 before.segment != s.segment))
			segments++;
	}
	CHECK_EQ(info.segments, segments);
	CHECK_EQ(info.maps, maps);
	CHECK_EQ(info.unmaps, unmaps);
	CHECK_EQ(vma_count(view, VIEW_SIZE), 1);
	note("counters: %llu faults, %llu zaps, %llu retries",
	     (unsigned long long)info.faults, (unsigned long long)info.zaps,
	     (unsigned long long)info.retries);

	CHECK_OK(unmap_fd(ctl, 0, VIEW_SIZE));
	for (unsigned int f = 0; f < FILES; f++) {
		CHECK_OK(sys(munmap(direct[f], FILE_SIZE)));
		if (fsync(fds[f]))
			FAIL("fsync on %s: %s", file_fs[f], strerror(errno));
	}
	drop_caches();
	for (unsigned int f = 0; f < FILES; f++) {
		for (unsigned int i = 0; i < FILE_PAGES; i++) {
			struct file_page *p = &shared->files[f][i];
			uint64_t page[PAGE / 8];
			uint64_t want = 0;

			if (p->kind[p->done % HISTORY] == WRITTEN)
				want = stamp(f, i, p->done);
			CHECK_EQ(pread(fds[f], page, PAGE, i * PAGE), PAGE);
			for (unsigned int w = 0; w < PAGE / 8; w++)
				if (page[w] != want)
					FAIL("%s page %u word %u: 0x%llx on disk, not 0x%llx",
					     file_fs[f], i, w,
					     (unsigned long long)page[w],
					     (unsigned long long)want);
		}
	}
}

TEST_LIMIT(everything_at_once, 3600)
{
	const char *env = getenv("MEMVIEW_STRESS_SECONDS");
	unsigned int seconds = env ? (unsigned int)atoi(env) : 60;
	uint64_t end, next_kill = 0;
	pthread_t threads[MAX_THREADS];
	unsigned int count = 0, killed = 0;
	pid_t other = 0;
	int status;

	setup();
	end = now_ms() + seconds * 1000ULL;
	/* Before the threads: a fork copies no lock that one of them holds. */
	other = other_process();
	for (uintptr_t i = 0; i < MAPPERS; i++)
		CHECK(!pthread_create(&threads[count++], NULL, mapper,
				      (void *)i));
	for (uintptr_t i = 0; i < READERS; i++)
		CHECK(!pthread_create(&threads[count++], NULL, reader,
				      (void *)i));
	CHECK(!pthread_create(&threads[count++], NULL, view_writer, NULL));
	CHECK(!pthread_create(&threads[count++], NULL, file_changer, NULL));
	CHECK(!pthread_create(&threads[count++], NULL, chaos, NULL));
	next_kill = now_ms() + 1500;
	while (now_ms() < end) {
		if (wait_ended(other, 0, &status))
			FAIL("a reader in another process ended (status 0x%x)",
			     status);
		if (now_ms() >= next_kill) {
			kill(other, SIGKILL);
			CHECK(wait_ended(other, 20, &status));
			CHECK(WIFSIGNALED(status));
			killed++;
			other = other_process();
			next_kill = now_ms() + 1500;
		}
		sleep_ms(50);
	}
	STORE(shared->stop, 1);
	for (unsigned int i = 0; i < count; i++)
		CHECK(!pthread_join(threads[i], NULL));
	kill(other, SIGKILL);
	CHECK(wait_ended(other, 20, &status));

	note("%llu maps, %llu unmaps, %llu truncations, %llu holes, %llu + %llu pages written, %u readers killed",
	     (unsigned long long)maps, (unsigned long long)unmaps,
	     (unsigned long long)truncations, (unsigned long long)holes,
	     (unsigned long long)view_writes,
	     (unsigned long long)direct_writes, killed);
	note("%llu reads with nothing changing, %llu beside changes, %llu too late to tell, %llu SIGBUS",
	     (unsigned long long)shared->exact,
	     (unsigned long long)shared->loose,
	     (unsigned long long)shared->forgotten,
	     (unsigned long long)shared->sigbus);
	check_end();
	CHECK(shared->forgotten < shared->exact);
	/* Far less than even a busy, slow machine does, but not nothing. */
	CHECK(shared->exact > 10 * seconds);
	CHECK(shared->loose > seconds);
	CHECK(maps > 2 * seconds && unmaps > seconds);
	CHECK(truncations > seconds / 4 && holes > seconds / 4);
	CHECK(view_writes > seconds && direct_writes > seconds);
}
