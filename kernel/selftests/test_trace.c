// SPDX-License-Identifier: GPL-2.0-only
/*
 * The driver's tracepoints tell what it does, where and with which file.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "memview_test.h"

#define TRACING	"/sys/kernel/tracing"

/* Sends what this process traces to a buffer of its own, in @instance. */
static void trace_start(const char *instance)
{
	char path[256], pid[32];

	if (access(TRACING "/instances", F_OK))
		CHECK(!mount("none", TRACING, "tracefs", 0, NULL));
	rmdir(instance);
	CHECK(!mkdir(instance, 0700));
	snprintf(path, sizeof(path), "%s/set_event_pid", instance);
	snprintf(pid, sizeof(pid), "%d", getpid());
	write_file(path, pid);
	snprintf(path, sizeof(path), "%s/events/memview/enable", instance);
	write_file(path, "1");
}

/* What has been traced since; the caller frees it. */
static char *trace_stop(const char *instance)
{
	char path[256], *text = NULL;
	size_t room = 0;
	FILE *file;

	snprintf(path, sizeof(path), "%s/events/memview/enable", instance);
	write_file(path, "0");
	snprintf(path, sizeof(path), "%s/trace", instance);
	file = fopen(path, "r");
	CHECK(file);
	CHECK(getdelim(&text, &room, '\0', file) > 0);
	fclose(file);
	CHECK(!rmdir(instance));
	return text;
}

static void must_say(const char *text, const char *line)
{
	if (!strstr(text, line))
		FAIL("no \"%s\" in:\n%s", line, text);
}

TEST(tracepoints)
{
	static const char instance[] = TRACING "/instances/memview_test";
	int ctl = ctl_new(8 * PAGE), fd = backing_new(1, 4);
	void *view = view_mmap(ctl, 8 * PAGE, PROT_READ | PROT_WRITE);
	char line[256], *text;
	struct stat status;

	CHECK(!fstat(fd, &status));
	trace_start(instance);
	CHECK_OK(map_fd(ctl, fd, PAGE, 2 * PAGE, 4 * PAGE, MEMVIEW_MAP_READ));
	must_read(AT(view, 4 * PAGE));
	must_sigbus(view);
	CHECK_OK(unmap_fd(ctl, 4 * PAGE, 2 * PAGE));
	text = trace_stop(instance);

	snprintf(line, sizeof(line),
		 "offset=0x4000 size=0x2000 dev=%u:%u ino=%llu file_offset=0x1000 flags=0x1",
		 major(status.st_dev), minor(status.st_dev),
		 (unsigned long long)status.st_ino);
	must_say(text, "memview_map: view=");
	must_say(text, line);
	must_say(text, "memview_fault: view=");
	must_say(text, "offset=0x4000 address=");
	/* VM_FAULT_SIGBUS */
	must_say(text, "offset=0x0 address=");
	must_say(text, "write=0 cached=0 ret=0x2\n");
	must_say(text, "memview_zap: view=");
	must_say(text, "memview_unmap: view=");
	must_say(text, "offset=0x4000 size=0x2000\n");
	free(text);
}
