// SPDX-License-Identifier: GPL-2.0-only
/*
 * The harness and helpers of the memory-view selftests; see memview_test.h.
 *
 * Each test runs in a forked child with a process group of its own, so a
 * crash or a hang costs that test alone. A child that can't even be killed is
 * reported as stuck in the kernel, with its stack.
 */
#include <poll.h>
#include <sched.h>
#include <stdarg.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>

#include "memview_test.h"

#define MAX_TESTS	64
#define MAX_FS		16

struct test {
	const char *name;
	test_fn fn;
	unsigned int limit;
	bool each_fs;
};

static struct test tests[MAX_TESTS];
static unsigned int nr_tests;

static char fs_label[MAX_FS][16];
static char fs_path[MAX_FS][128];
static unsigned int nr_fs;
static const char *current_fs = "memfd";
static char last_path[256];

static const char *const required_fs[] = {
	"memfd", "tmpfs", "huge", "ext4", "xfs", "btrfs", "overlay", "virtiofs",
};

/* ---- TAP ---------------------------------------------------------------- */

void register_test(const char *name, test_fn fn, unsigned int limit_seconds,
		   bool each_fs)
{
	if (nr_tests == MAX_TESTS)
		abort();
	tests[nr_tests++] = (struct test){ name, fn, limit_seconds, each_fs };
}

void note(const char *fmt, ...)
{
	char line[512];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(line, sizeof(line) - 1, fmt, ap);
	va_end(ap);
	if (n > (int)sizeof(line) - 2)
		n = sizeof(line) - 2;
	line[n] = '\n';
	line[n + 1] = '\0';
	dprintf(STDOUT_FILENO, "# %s", line);
}

void fail(const char *file, int line, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	note("%s:%d: %s", file, line, text);
	_exit(1);
}

uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

void sleep_ms(unsigned int ms)
{
	struct timespec ts = { ms / 1000, (long)(ms % 1000) * 1000000 };

	while (nanosleep(&ts, &ts) < 0 && errno == EINTR)
		;
}

/* How many times longer everything may take than on a usual kernel. */
static unsigned int patience(void)
{
	const char *env = getenv("MEMVIEW_PATIENCE");

	return env ? (unsigned int)atoi(env) : 1;
}

uint64_t deadline(unsigned int ms)
{
	return now_ms() + (uint64_t)ms * patience();
}

bool wait_ended(pid_t pid, unsigned int secs, int *status)
{
	uint64_t end = deadline(secs * 1000);

	for (;;) {
		pid_t got = waitpid(pid, status, WNOHANG);

		if (got == pid)
			return true;
		if (got < 0 && errno != EINTR)
			FAIL("waitpid: %s", strerror(errno));
		if (now_ms() >= end)
			return false;
		sleep_ms(5);
	}
}

void wait_exit(pid_t pid, unsigned int secs, int code)
{
	int status;

	if (!wait_ended(pid, secs, &status)) {
		kill(pid, SIGKILL);
		FAIL("child %d still running after %u s", pid, secs);
	}
	if (WIFSIGNALED(status))
		FAIL("child ended by signal %d", WTERMSIG(status));
	if (WEXITSTATUS(status) != code)
		FAIL("child exited with %d, not %d", WEXITSTATUS(status), code);
}

void wait_child(pid_t pid, unsigned int secs)
{
	wait_exit(pid, secs, 0);
}

/* ---- The kernel log ----------------------------------------------------- */

/* Any of these in the kernel log fails the test that was running. */
static const char *const bad_log[] = {
	"BUG", "WARNING", "Bad page", "Oops", "lockdep", "INFO: task",
	"INFO: possible", "blocked for more than", "detected stall",
	"self-detected", "refcount_t", "general protection", "KASAN", "UBSAN",
	"KFENCE", "Bad rss-counter", "Kernel panic", "scheduling while atomic",
	"sleeping function", "unable to handle", "page dumped because",
	"possible recursive", "circular locking", "Busy inodes",
	"Voluntary context switch",
};

static int kmsg = -1;

static void log_begin(void)
{
	if (kmsg < 0)
		kmsg = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (kmsg >= 0)
		lseek(kmsg, 0, SEEK_END);
}

/* Prints what the kernel said since log_begin(); true if any of it is bad. */
static bool log_is_bad(bool show_all)
{
	static char lines[400][200];
	unsigned int count = 0;
	bool bad = false;
	char record[8192];

	if (kmsg < 0) {
		note("/dev/kmsg can't be read");
		return true;
	}
	for (;;) {
		ssize_t n = read(kmsg, record, sizeof(record) - 1);
		char *text;

		if (n < 0 && errno == EPIPE) {
			note("part of the kernel log was lost");
			continue;
		}
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		record[n] = '\0';
		text = strchr(record, ';');
		text = text ? text + 1 : record;
		text[strcspn(text, "\n")] = '\0';
		for (unsigned int i = 0; i < ARRAY_SIZE(bad_log); i++)
			if (strstr(text, bad_log[i]))
				bad = true;
		if (count < ARRAY_SIZE(lines))
			snprintf(lines[count++], sizeof(lines[0]), "%.199s",
				 text);
	}
	if (bad || show_all)
		for (unsigned int i = 0; i < count; i++)
			note("kernel: %s", lines[i]);
	return bad;
}

/* Fields of proc_pid_stat(5): does @pid run, and if so, where? */
static void show_times(pid_t pid)
{
	enum { STATE = 3, USER = 14, SYSTEM = 15, GUEST = 43 };
	const char *fields[64] = { 0 };
	char path[64], line[1024];
	unsigned int n = STATE;
	char *at = NULL, *save;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	f = fopen(path, "r");
	if (f && fgets(line, sizeof(line), f))
		at = strrchr(line, ')');
	if (f)
		fclose(f);
	if (!at)
		return;
	for (at = strtok_r(at + 1, " ", &save); at && n < ARRAY_SIZE(fields);
	     at = strtok_r(NULL, " ", &save))
		fields[n++] = at;
	if (n > GUEST)
		note("state %s, ticks: user %s, system %s, guest %s",
		     fields[STATE], fields[USER], fields[SYSTEM],
		     fields[GUEST]);
}

/* What @pid, which should have ended, is at; the rest is in the kernel log. */
static void show_stacks(pid_t pid)
{
	char path[64], line[256];
	bool sleeps = false;
	FILE *f;

	show_times(pid);
	snprintf(path, sizeof(path), "/proc/%d/stack", pid);
	f = fopen(path, "r");
	while (f && fgets(line, sizeof(line), f)) {
		line[strcspn(line, "\n")] = '\0';
		note("stack: %s", line);
		sleeps = true;
	}
	if (f)
		fclose(f);
	try_write_file("/proc/sysrq-trigger", "w"); /* who is blocked */
	/* Who runs has no stack that can be read: where all CPUs are. */
	for (unsigned int i = 0; i < 3 && !sleeps; i++) {
		sleep_ms(300);
		try_write_file("/proc/sysrq-trigger", "l");
		show_times(pid);
	}
}

/* 0 if the test passed. */
static int run_one(const struct test *test)
{
	uint64_t begin = now_ms();
	int status;
	pid_t pid;

	fflush(NULL);
	log_begin();
	pid = fork();
	if (pid < 0) {
		note("fork: %s", strerror(errno));
		return 1;
	}
	if (!pid) {
		setpgid(0, 0);
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		test->fn();
		fflush(NULL);
		_exit(0);
	}
	setpgid(pid, pid);
	if (!wait_ended(pid, test->limit, &status)) {
		note("time limit of %u s", test->limit * patience());
		show_stacks(pid);
		kill(-pid, SIGKILL);
		if (!wait_ended(pid, 5, &status))
			note("killed, but stuck in the kernel");
		log_is_bad(true);
		return 1;
	}
	kill(-pid, SIGKILL);
	if (log_is_bad(false)) {
		note("the kernel log has a bad line");
		return 1;
	}
	if (WIFSIGNALED(status)) {
		note("ended by signal %d (%s)", WTERMSIG(status),
		     strsignal(WTERMSIG(status)));
		return 1;
	}
	note("%llu ms", (unsigned long long)(now_ms() - begin));
	return WEXITSTATUS(status);
}

static void read_dirs(void)
{
	const char *env = getenv("MEMVIEW_DIRS");
	char *copy, *item, *save;

	snprintf(fs_label[0], sizeof(fs_label[0]), "memfd");
	nr_fs = 1;
	if (!env)
		return;
	copy = strdup(env);
	for (item = strtok_r(copy, " ", &save); item;
	     item = strtok_r(NULL, " ", &save)) {
		char *eq = strchr(item, '=');

		if (!eq || nr_fs == MAX_FS)
			FAIL("MEMVIEW_DIRS: %s", item);
		*eq = '\0';
		snprintf(fs_label[nr_fs], sizeof(fs_label[0]), "%s", item);
		snprintf(fs_path[nr_fs], sizeof(fs_path[0]), "%s", eq + 1);
		nr_fs++;
	}
	free(copy);
}

static bool have_fs(const char *fs)
{
	for (unsigned int i = 0; i < nr_fs; i++)
		if (!strcmp(fs_label[i], fs))
			return true;
	return false;
}

static bool wanted(int argc, char **argv, const char *name)
{
	if (argc < 2)
		return true;
	for (int i = 1; i < argc; i++)
		if (strstr(name, argv[i]))
			return true;
	return false;
}

/*
 * Why the driver that is tested is not meant to pass a test, or NULL: from the
 * lines "PROGRAM TEST REASON" of the file MEMVIEW_DIFFERENCES.
 */
static const char *difference(const char *name)
{
	static char line[512];
	const char *path = getenv("MEMVIEW_DIFFERENCES");
	FILE *f = path ? fopen(path, "r") : NULL;

	if (!path)
		return NULL;
	if (!f)
		FAIL("MEMVIEW_DIFFERENCES: %s: %s", path, strerror(errno));
	while (fgets(line, sizeof(line), f)) {
		char program[64], test[64];
		int reason = 0;

		line[strcspn(line, "\n")] = '\0';
		if (sscanf(line, "%63s %63s %n", program, test, &reason) == 2 &&
		    !strcmp(program, program_invocation_short_name) &&
		    !strcmp(test, name)) {
			fclose(f);
			return line + reason;
		}
	}
	fclose(f);
	return NULL;
}

static unsigned int number, failures, left_out;

static void run_named(const struct test *test, const char *name, bool missing)
{
	int bad;

	if (missing) {
		note("no directory for %s in MEMVIEW_DIRS (run.sh sets it)",
		     current_fs);
		bad = 1;
	} else {
		bad = run_one(test);
	}
	number++;
	failures += !!bad;
	dprintf(STDOUT_FILENO, "%s %u - %s\n", bad ? "not ok" : "ok", number,
		name);
}

/* Arguments: parts of test names to run (none: all). */
int main(int argc, char **argv)
{
	char name[128];

	dprintf(STDOUT_FILENO, "TAP version 13\n");
	signal(SIGPIPE, SIG_IGN);
	read_dirs();
	for (unsigned int i = 0; i < nr_tests; i++) {
		const struct test *test = &tests[i];
		const char *reason = difference(test->name);

		if (reason) {
			note("left out, as declared: %s: %s", test->name,
			     reason);
			left_out++;
			continue;
		}
		if (!test->each_fs) {
			if (wanted(argc, argv, test->name))
				run_named(test, test->name, false);
			continue;
		}
		for (unsigned int f = 0; f < ARRAY_SIZE(required_fs); f++) {
			current_fs = required_fs[f];
			snprintf(name, sizeof(name), "%s.%s", test->name,
				 current_fs);
			if (wanted(argc, argv, name))
				run_named(test, name, !have_fs(current_fs));
		}
		current_fs = "memfd";
	}
	dprintf(STDOUT_FILENO, "1..%u\n", number);
	if (!number && !left_out)
		note("no test of that name");
	return failures || (!number && !left_out);
}

/* ---- The driver's calls ------------------------------------------------- */

int ctl_open(void)
{
	int ctl = open(DEVICE, O_RDWR | O_CLOEXEC);

	if (ctl < 0)
		FAIL("open %s: %s", DEVICE, strerror(errno));
	return ctl;
}

long set_size(int ctl, uint64_t size)
{
	return sys(ioctl(ctl, MEMVIEW_SET_SIZE, &size));
}

int ctl_new(uint64_t size)
{
	int ctl = ctl_open();

	CHECK_OK(set_size(ctl, size));
	return ctl;
}

int sink_view(uint64_t size)
{
	uint64_t policy = MEMVIEW_FAULT_SINK;
	int ctl = ctl_open();

	CHECK_OK(sys(ioctl(ctl, MEMVIEW_SET_FAULT_POLICY, &policy)));
	CHECK_OK(set_size(ctl, size));
	return ctl;
}

long map_fd(int ctl, int fd, uint64_t fd_offset, uint64_t size,
	    uint64_t mem_offset, uint64_t flags)
{
	struct memview_map_fd_info info = {
		.fd = fd,
		.fd_offset = fd_offset,
		.size = size,
		.mem_offset = mem_offset,
		.flags = flags,
	};

	return sys(ioctl(ctl, MEMVIEW_MAP_FD, &info));
}

long unmap_fd(int ctl, uint64_t mem_offset, uint64_t size)
{
	struct memview_unmap unmap = { .range = { mem_offset, size } };

	return sys(ioctl(ctl, MEMVIEW_UNMAP_FD, &unmap));
}

long unmap_fds(int ctl, const struct memview_range *ranges, uint32_t count)
{
	struct memview_unmap_batch batch = {
		.ranges = (uintptr_t)ranges,
		.count = count,
	};

	return sys(ioctl(ctl, MEMVIEW_UNMAP_FDS, &batch));
}

struct memview_info get_info(int ctl)
{
	struct memview_info info;

	memset(&info, 0xff, sizeof(info));
	CHECK_OK(sys(ioctl(ctl, MEMVIEW_GET_INFO, &info)));
	return info;
}

struct memview_use get_use(int ctl, uint64_t mem_offset, uint64_t size)
{
	struct memview_use use = { .range = { mem_offset, size } };

	CHECK_OK(sys(ioctl(ctl, MEMVIEW_GET_USE, &use)));
	return use;
}

int get_viewfd(int ctl)
{
	long fd = sys(ioctl(ctl, MEMVIEW_GET_VIEWFD));

	if (fd < 0)
		FAIL("MEMVIEW_GET_VIEWFD: %s", strerror((int)-fd));
	return (int)fd;
}

void *view_mmap(int ctl, size_t size, int prot)
{
	int fd = get_viewfd(ctl);
	void *addr = mmap(NULL, size, prot, MAP_SHARED, fd, 0);

	if (addr == MAP_FAILED)
		FAIL("mmap of a view fd: %s", strerror(errno));
	close(fd);
	return addr;
}

/* ---- Accesses that may fault -------------------------------------------- */

__thread int fault_code;
__thread void *fault_addr;
static __thread sigjmp_buf fault_jump;
static __thread volatile sig_atomic_t fault_armed;

static void on_fault(int sig, siginfo_t *info, void *context)
{
	(void)context;
	if (!fault_armed) {
		dprintf(STDOUT_FILENO,
			"# signal %d (code %d) at %p outside try_*()\n", sig,
			info->si_code, info->si_addr);
		signal(sig, SIG_DFL);
		return;
	}
	fault_code = info->si_code;
	fault_addr = info->si_addr;
	siglongjmp(fault_jump, sig);
}

static void __attribute__((constructor)) catch_faults(void)
{
	struct sigaction sa = {
		.sa_sigaction = on_fault,
		.sa_flags = SA_SIGINFO | SA_NODEFER,
	};

	sigaction(SIGBUS, &sa, NULL);
	sigaction(SIGSEGV, &sa, NULL);
}

int try_read(const volatile void *addr, uint64_t *value)
{
	int sig = sigsetjmp(fault_jump, 0);

	if (!sig) {
		fault_armed = 1;
		*value = *(const volatile uint64_t *)addr;
	}
	fault_armed = 0;
	return sig;
}

int try_write(volatile void *addr, uint64_t value)
{
	int sig = sigsetjmp(fault_jump, 0);

	if (!sig) {
		fault_armed = 1;
		*(volatile uint64_t *)addr = value;
	}
	fault_armed = 0;
	return sig;
}

int try_call(void *addr, int *ret)
{
	int (*fn)(void);
	int sig = sigsetjmp(fault_jump, 0);

	memcpy(&fn, &addr, sizeof(fn));
	if (!sig) {
		fault_armed = 1;
		*ret = fn();
	}
	fault_armed = 0;
	return sig;
}

uint64_t must_read(const volatile void *addr)
{
	uint64_t value;
	int sig = try_read(addr, &value);

	if (sig)
		FAIL("read raised signal %d (code %d)", sig, fault_code);
	return value;
}

void must_write(volatile void *addr, uint64_t value)
{
	int sig = try_write(addr, value);

	if (sig)
		FAIL("write raised signal %d (code %d)", sig, fault_code);
}

void must_sigbus(const volatile void *addr)
{
	uint64_t value = 0;
	int sig = try_read(addr, &value);

	if (sig != SIGBUS)
		FAIL("read gave signal %d, value 0x%llx, not SIGBUS", sig,
		     (unsigned long long)value);
}

void must_not_write(volatile void *addr)
{
	int sig = try_write(addr, 0x6261646261646261ULL);

	if (sig != SIGBUS && sig != SIGSEGV)
		FAIL("write was allowed");
}

/* ---- Backing files ------------------------------------------------------ */

const char *backing_fs(void)
{
	return current_fs;
}

bool backing_is(const char *fs)
{
	return !strcmp(current_fs, fs);
}

bool backing_in_memory(void)
{
	return backing_is("memfd") || backing_is("tmpfs") ||
	       backing_is("huge");
}

const char *fs_dir(const char *fs)
{
	for (unsigned int i = 1; i < nr_fs; i++)
		if (!strcmp(fs_label[i], fs))
			return fs_path[i];
	FAIL("no directory for %s in MEMVIEW_DIRS (run.sh sets it)", fs);
}

void stamp_page(void *page, uint64_t value)
{
	uint64_t *words = page;

	for (unsigned int i = 0; i < PAGE / sizeof(*words); i++)
		words[i] = value;
}

void check_page(const void *page, uint64_t value, const char *what)
{
	const volatile uint64_t *words = page;

	for (unsigned int i = 0; i < PAGE / sizeof(*words); i++) {
		uint64_t got = must_read(&words[i]);

		if (got != value)
			FAIL("%s: word %u is 0x%016llx, not 0x%016llx", what,
			     i, (unsigned long long)got,
			     (unsigned long long)value);
	}
}

int backing_new_on(const char *fs, uint32_t id, unsigned int pages)
{
	static unsigned int serial;
	uint64_t page[PAGE / sizeof(uint64_t)];
	int fd;

	if (!strcmp(fs, "memfd")) {
		last_path[0] = '\0';
		fd = memfd_create("memview-test", MFD_CLOEXEC);
	} else {
		snprintf(last_path, sizeof(last_path), "%s/t%d-%u", fs_dir(fs),
			 getpid(), serial++);
		fd = open(last_path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC,
			  0600);
	}
	if (fd < 0)
		FAIL("create %s on %s: %s", last_path, fs, strerror(errno));
	for (unsigned int i = 0; i < pages; i++) {
		stamp_page(page, stamp(id, i, 0));
		if (pwrite(fd, page, PAGE, (off_t)i * PAGE) != (ssize_t)PAGE)
			FAIL("write %s: %s", last_path, strerror(errno));
	}
	return fd;
}

int backing_new(uint32_t id, unsigned int pages)
{
	return backing_new_on(current_fs, id, pages);
}

const char *backing_path(void)
{
	return last_path;
}

/* ---- Odds and ends ------------------------------------------------------ */

unsigned int vma_count(const void *addr, size_t size)
{
	uintptr_t begin = (uintptr_t)addr, end = begin + size;
	unsigned int count = 0;
	char line[512];
	FILE *f = fopen("/proc/self/maps", "r");

	CHECK(f);
	while (fgets(line, sizeof(line), f)) {
		unsigned long from, to;

		if (sscanf(line, "%lx-%lx", &from, &to) == 2 && from < end &&
		    to > begin)
			count++;
	}
	fclose(f);
	return count;
}

void vma_perms(const void *addr, char perms[5])
{
	char line[512];
	FILE *f = fopen("/proc/self/maps", "r");

	CHECK(f);
	while (fgets(line, sizeof(line), f)) {
		unsigned long from, to;

		if (sscanf(line, "%lx-%lx %4s", &from, &to, perms) == 3 &&
		    from <= (uintptr_t)addr && (uintptr_t)addr < to) {
			fclose(f);
			return;
		}
	}
	FAIL("no VMA at %p", addr);
}

int try_write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	int ret = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, text, strlen(text)) < 0)
		ret = -errno;
	close(fd);
	return ret;
}

void write_file(const char *path, const char *text)
{
	int ret = try_write_file(path, text);

	if (ret)
		FAIL("write '%s' to %s: %s", text, path, strerror(-ret));
}

void keep_unused_files(const char *ms)
{
	static const char path[] =
		"/sys/module/memory_view/parameters/anchor_idle_ms";
	int ret = try_write_file(path, ms);

	if (ret && ret != -ENOENT)
		FAIL("write '%s' to %s: %s", ms, path, strerror(-ret));
}

void drop_caches(void)
{
	write_file("/proc/sys/vm/drop_caches", "3");
}

void drop_file(int fd)
{
	CHECK_OK(-posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED));
}

void run_first(void)
{
	CHECK_OK(sys(setpriority(PRIO_PROCESS,
				 (id_t)syscall(SYS_gettid), -5)));
}

uint64_t pfn_of(const void *addr)
{
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	uint64_t entry;

	CHECK(fd >= 0);
	CHECK_EQ(pread(fd, &entry, 8, (off_t)((uintptr_t)addr / PAGE * 8)), 8);
	close(fd);
	if (!(entry & (1ULL << 63)))
		return 0;
	return entry & ((1ULL << 55) - 1);
}

static char cgroup[64];

const char *cgroup_enter(void)
{
	char path[128], text[16];

	/* Children of the root get the controller only once it is enabled. */
	write_file("/sys/fs/cgroup/cgroup.subtree_control", "+memory");
	snprintf(cgroup, sizeof(cgroup), "/sys/fs/cgroup/memview-%d",
		 getpid());
	if (mkdir(cgroup, 0755) && errno != EEXIST)
		FAIL("mkdir %s: %s", cgroup, strerror(errno));
	snprintf(path, sizeof(path), "%s/cgroup.procs", cgroup);
	snprintf(text, sizeof(text), "%d", getpid());
	write_file(path, text);
	return cgroup;
}

int cgroup_reclaim(uint64_t bytes)
{
	char path[128], text[32];

	snprintf(path, sizeof(path), "%s/memory.reclaim", cgroup);
	snprintf(text, sizeof(text), "%llu", (unsigned long long)bytes);
	return try_write_file(path, text);
}
