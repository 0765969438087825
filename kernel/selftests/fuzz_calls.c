// SPDX-License-Identifier: GPL-2.0-only
/*
 * A fuzzer of the driver's calls that goes by coverage. Needs a kernel with
 * kcov and a driver that was built for it, such as `npm run test:sanitizers --
 * fuzz` has.
 *
 * Starts with the scripts in MEMVIEW_CORPUS, and goes on for
 * MEMVIEW_STRESS_SECONDS. Scripts that get somewhere new are kept, and those that
 * it takes to get everywhere are put into the file MEMVIEW_FOUND in the end.
 */
#include <linux/kcov.h>

#include "script.h"

enum { COVER = 1 << 16, EDGES = 1 << 16, CORPUS_MAX = 4096 };

struct script {
	uint8_t bytes[SCRIPT_MAX];
	size_t size;
};

static struct script corpus[CORPUS_MAX];
static unsigned int nr_corpus;
static uint8_t edges[EDGES];
static unsigned int nr_edges;
static unsigned long runs, ended_early;
static unsigned long *cover;
static int kcov;
static int files[FILES];
static uint64_t seed;

static void open_kcov(void)
{
	kcov = open("/sys/kernel/debug/kcov", O_RDWR | O_CLOEXEC);
	if (kcov < 0)
		FAIL("/sys/kernel/debug/kcov: %s", strerror(errno));
	CHECK_OK(sys(ioctl(kcov, KCOV_INIT_TRACE, COVER)));
	cover = mmap(NULL, COVER * sizeof(*cover), PROT_READ | PROT_WRITE,
		     MAP_SHARED, kcov, 0);
	CHECK(cover != MAP_FAILED);
}

/* Runs a script. Returns how many edges nobody has taken before. */
static unsigned int run(const struct script *script)
{
	unsigned int fresh = 0;
	unsigned long previous = 0;
	int status;
	pid_t pid;

	cover[0] = 0;
	pid = fork();
	CHECK(pid >= 0);
	if (!pid) {
		CHECK_OK(sys(ioctl(kcov, KCOV_ENABLE, KCOV_TRACE_PC)));
		script_run(files, script->bytes, script->size);
		_exit(0);
	}
	if (!wait_ended(pid, 60, &status))
		FAIL("a script does not end");
	runs++;
	ended_early += status != 0;
	for (unsigned long i = 1; i <= cover[0] && i < COVER; i++) {
		unsigned long edge = (cover[i] ^ (previous << 3)) *
				     0x9e3779b97f4a7c15UL >> 48;

		previous = cover[i];
		fresh += !edges[edge];
		edges[edge] = 1;
	}
	nr_edges += fresh;
	return fresh;
}

static void keep(const struct script *script)
{
	if (nr_corpus < CORPUS_MAX)
		corpus[nr_corpus++] = *script;
}

static void read_corpus(const char *path)
{
	FILE *f = path ? fopen(path, "r") : NULL;
	struct script script;

	if (!f)
		FAIL("MEMVIEW_CORPUS: %s (run.sh sets it)", path);
	while ((script.size = script_read(f, script.bytes)))
		if (script.size >= STEP && run(&script))
			keep(&script);
	fclose(f);
}

static void random_step(uint8_t *step)
{
	for (unsigned int i = 0; i < STEP; i++)
		step[i] = (uint8_t)rnd(&seed);
}

static void mutate_once(struct script *s)
{
	size_t steps = s->size / STEP;
	size_t at = steps ? rnd(&seed) % steps * STEP : 0;
	const struct script *other = &corpus[rnd(&seed) % nr_corpus];
	size_t from = rnd(&seed) % (other->size / STEP) * STEP;

	switch (rnd(&seed) % 6) {
	case 0:
	case 1:
		if (steps)
			s->bytes[at + rnd(&seed) % STEP] =
				(uint8_t)rnd(&seed);
		return;
	case 2:
		if (steps < 2)
			return;
		memmove(s->bytes + at, s->bytes + at + STEP,
			s->size - at - STEP);
		s->size -= STEP;
		return;
	default:
		break;
	}
	/* One more step: any, or one that is known from elsewhere. */
	if (s->size + STEP > SCRIPT_MAX)
		return;
	memmove(s->bytes + at + STEP, s->bytes + at, s->size - at);
	s->size += STEP;
	if (rnd(&seed) & 1)
		random_step(s->bytes + at);
	else
		memcpy(s->bytes + at, other->bytes + from, STEP);
}

static int by_size(const void *a, const void *b)
{
	const struct script *one = a, *two = b;

	return (one->size > two->size) - (one->size < two->size);
}

/* The short ones first; who takes no edge that those before don't is left out. */
static void write_corpus(const char *path)
{
	unsigned int kept = 0;
	FILE *f = fopen(path, "w");

	CHECK(f);
	fprintf(f, "# %s-License-Identifier: GPL-2.0-only\n", "SPDX");
	fprintf(f, "# Scripts (script.h) for test_corpus, found by fuzz_calls.\n");
	qsort(corpus, nr_corpus, sizeof(corpus[0]), by_size);
	memset(edges, 0, sizeof(edges));
	for (unsigned int i = 0; i < nr_corpus; i++) {
		if (!run(&corpus[i]))
			continue;
		script_write(f, corpus[i].bytes, corpus[i].size);
		kept++;
	}
	fclose(f);
	note("%u scripts kept", kept);
}

TEST_LIMIT(calls, 100000)
{
	const char *seconds = getenv("MEMVIEW_STRESS_SECONDS");
	const char *found = getenv("MEMVIEW_FOUND");
	uint64_t begin = now_ms(), told = begin;
	uint64_t end = begin + 1000ULL * (seconds ? atoi(seconds) : 60);
	struct script script = { .size = STEP };

	seed = now_ms() * 0x9e3779b97f4a7c15UL | 1;
	note("seed 0x%llx", (unsigned long long)seed);
	open_kcov();
	script_files(files);
	run(&script);
	keep(&script);
	read_corpus(getenv("MEMVIEW_CORPUS"));
	while (now_ms() < end) {
		unsigned int mutations = 1 + rnd(&seed) % 6;

		/* What was found last is worth a closer look. */
		script = corpus[rnd(&seed) & 1 ?
				rnd(&seed) % nr_corpus :
				nr_corpus - 1 - rnd(&seed) %
				(nr_corpus < 16 ? nr_corpus : 16)];
		while (mutations--)
			mutate_once(&script);
		if (script.size && run(&script))
			keep(&script);
		if (now_ms() - told > 60000) {
			told = now_ms();
			note("%llu s: %lu runs, %u edges, %u scripts",
			     (unsigned long long)(told - begin) / 1000, runs,
			     nr_edges, nr_corpus);
		}
	}
	note("%lu runs (%lu ended early), %u edges, %u scripts", runs,
	     ended_early, nr_edges, nr_corpus);
	CHECK(nr_edges > 300);
	CHECK(ended_early < runs / 10);
	if (found)
		write_corpus(found);
}
