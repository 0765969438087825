// SPDX-License-Identifier: GPL-2.0-only
/*
 * The scripts that the fuzzer (fuzz_calls.c) has found, once each: between them
 * they go everywhere that it knows. The kernel must have nothing to say.
 */
#include "script.h"

TEST_LIMIT(scripts, 300)
{
	const char *path = getenv("MEMVIEW_CORPUS");
	FILE *corpus = path ? fopen(path, "r") : NULL;
	unsigned int count = 0;
	uint8_t script[SCRIPT_MAX];
	int files[FILES];
	size_t size;

	if (!corpus)
		FAIL("MEMVIEW_CORPUS: %s (run.sh sets it)", path);
	script_files(files);
	while ((size = script_read(corpus, script))) {
		int status;
		pid_t pid = fork();

		CHECK(pid >= 0);
		if (!pid) {
			script_run(files, script, size);
			_exit(0);
		}
		count++;
		if (!wait_ended(pid, 30, &status))
			FAIL("script %u does not end", count);
		if (!WIFEXITED(status) || WEXITSTATUS(status))
			FAIL("script %u ends with status 0x%x", count, status);
	}
	fclose(corpus);
	note("%u scripts", count);
	CHECK(count);
}
