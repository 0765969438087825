/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Loading and unloading the driver. MEMVIEW_MODULE is its file (run.sh sets it).
 */
#ifndef MEMVIEW_MODULE_H
#define MEMVIEW_MODULE_H

#include <sys/syscall.h>

#include "memview_test.h"

static inline int module_file(void)
{
	const char *path = getenv("MEMVIEW_MODULE");
	int fd;

	if (!path)
		FAIL("MEMVIEW_MODULE is not set (run.sh sets it)");
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		FAIL("%s: %s", path, strerror(errno));
	return fd;
}

/* Both return a negative errno on failure. */
static inline long module_load(int file)
{
	return sys(syscall(SYS_finit_module, file, "", 0));
}

static inline long module_unload(void)
{
	return sys(syscall(SYS_delete_module, "memory_view", O_NONBLOCK));
}

/* What ends may take a moment to be over: workers, grace periods. */
static inline void module_must_unload(void)
{
	uint64_t end = now_ms() + 20000;
	long ret;

	while ((ret = module_unload())) {
		CHECK_ERR(ret, EAGAIN);
		CHECK(now_ms() < end);
		sleep_ms(20);
	}
}

static inline void module_must_load(int file)
{
	uint64_t end = now_ms() + 10000;

	CHECK_OK(module_load(file));
	/* udev, where there is one, makes the node in its own time. */
	while (access(DEVICE, F_OK)) {
		CHECK(now_ms() < end);
		sleep_ms(20);
	}
}

#endif /* MEMVIEW_MODULE_H */
