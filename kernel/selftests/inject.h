/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Fault injection (Documentation/fault-injection/): allocations of slabs and
 * pages, and copies from and to user memory, that fail. All that is done in a
 * range of the kernel's code, or below it, counts.
 */
#ifndef MEMVIEW_INJECT_H
#define MEMVIEW_INJECT_H

#include "memview_test.h"

static const char *const inject_kinds[] = {
	"failslab", "fail_page_alloc", "fail_usercopy",
};

/* Sets a knob of one kind, or of all that have it (@kind NULL). */
static inline void inject_set(const char *kind, const char *knob,
			      const char *value)
{
	char path[128];

	for (unsigned int i = 0; i < ARRAY_SIZE(inject_kinds); i++) {
		if (kind && strcmp(kind, inject_kinds[i]))
			continue;
		snprintf(path, sizeof(path), "/sys/kernel/debug/%s/%s",
			 inject_kinds[i], knob);
		if (access(path, F_OK)) {
			if (kind || !strcmp(knob, "probability"))
				FAIL("%s: this kernel has no fault injection",
				     path);
			continue;
		}
		write_file(path, value);
	}
}

/* Has failures from now on where @start to @end is among the callers. */
static inline void inject_into(unsigned long start, unsigned long end)
{
	char value[32];

	inject_set(NULL, "probability", "0");
	inject_set(NULL, "verbose", "0");
	inject_set(NULL, "times", "-1");
	inject_set(NULL, "task-filter", "N");
	inject_set(NULL, "ignore-gfp-wait", "N");
	inject_set(NULL, "ignore-gfp-highmem", "N");
	inject_set(NULL, "min-order", "0");
	inject_set(NULL, "stacktrace-depth", "32");
	snprintf(value, sizeof(value), "0x%lx", start);
	inject_set(NULL, "require-start", value);
	snprintf(value, sizeof(value), "0x%lx", end);
	inject_set(NULL, "require-end", value);
}

/* inject_into() the driver. */
static inline void inject_into_driver(void)
{
	unsigned long start, size;
	char line[512];
	bool found = false;
	FILE *f = fopen("/proc/modules", "r");

	CHECK(f);
	while (!found && fgets(line, sizeof(line), f))
		found = sscanf(line, "memory_view %lu %*s %*s %*s %lx", &size,
			       &start) == 2;
	fclose(f);
	CHECK(found);
	inject_into(start, start + size);
}

/* inject_into() what is called by the function @name of the kernel. */
static inline void inject_into_function(const char *name)
{
	unsigned long start = 0, address;
	char line[512], symbol[256];
	FILE *f = fopen("/proc/kallsyms", "r");

	CHECK(f);
	while (!start && fgets(line, sizeof(line), f))
		if (sscanf(line, "%lx %*c %255s", &address, symbol) == 2 &&
		    !strcmp(symbol, name))
			start = address;
	CHECK(start && fgets(line, sizeof(line), f));
	fclose(f);
	inject_into(start, strtoul(line, NULL, 16));
}

static inline int inject_open(void)
{
	int fd = open("/proc/thread-self/fail-nth", O_RDWR | O_CLOEXEC);

	if (fd < 0)
		FAIL("/proc/thread-self/fail-nth: %s", strerror(errno));
	return fd;
}

/* The calling thread's @nth fails from here on, once. */
static inline void inject_arm(int fail_nth, unsigned int nth)
{
	char text[16];
	int n = snprintf(text, sizeof(text), "%u", nth);

	CHECK_EQ(pwrite(fail_nth, text, (size_t)n, 0), n);
}

/* Nothing fails any more. Returns true if anything has. */
static inline bool inject_disarm(int fail_nth)
{
	char text[16] = "";

	CHECK(pread(fail_nth, text, sizeof(text) - 1, 0) > 0);
	CHECK_EQ(pwrite(fail_nth, "0", 1, 0), 1);
	return atoi(text) == 0;
}

#endif /* MEMVIEW_INJECT_H */
