/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Scripts of the fuzzer (fuzz_calls.c): any bytes are one, each STEP of them a
 * call on a few files, views and mappings. What calls return is not looked at;
 * what the kernel says of them is.
 */
#ifndef MEMVIEW_SCRIPT_H
#define MEMVIEW_SCRIPT_H

#include <sys/uio.h>

#include "memview_test.h"

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE	25
#endif

enum { STEP = 8, SCRIPT_MAX = 32 * STEP };

enum { FILES = 5, FILE_PAGES = 1024, VIEWS = 2, MAPS = 3 };

struct script_world {
	int files[FILES];
	int ctl[VIEWS];
	int vfd[VIEWS];
	struct {
		char *at;
		size_t size;
	} maps[MAPS];
	/* Its second half can't be accessed. */
	char *edge;
};

/* Files of many kinds, for all scripts of a process. */
static inline void script_files(int files[FILES])
{
	static const char *const fs[] = { "memfd", "huge", "ext4", "xfs" };

	for (unsigned int i = 0; i < ARRAY_SIZE(fs); i++)
		files[i] = backing_new_on(fs[i], i, 16);
	files[FILES - 1] = open("/dev/zero", O_RDWR | O_CLOEXEC);
	CHECK(files[FILES - 1] >= 0);
}

/* Pages: few, or hundreds, or beyond all. */
static inline uint64_t script_pages(uint8_t byte)
{
	static const uint64_t far[] = {
		512, 1024, 511, 513, 1UL << 18, 1UL << 40, ~0UL, 1UL << 51,
	};

	return byte < 0xe0 ? byte & 31 : far[byte & 7];
}

/* Of @size bytes at @at, a part. */
static inline void *script_part(char *at, size_t size, uint8_t first,
				uint8_t pages, size_t *length)
{
	size_t offset = script_pages(first) * PAGE;

	*length = script_pages(pages) * PAGE;
	if (offset > size)
		offset = size;
	if (*length > size - offset)
		*length = size - offset;
	return at + offset;
}

static inline void script_ioctl(struct script_world *w, const uint8_t *s)
{
	static const unsigned int sizes[] = {
		0, 8, 16, 24, 32, 40, 72, sizeof(struct memview_info), 200, 4096,
	};
	int ctl = w->ctl[s[1] % VIEWS];
	unsigned int size = sizes[s[2] % ARRAY_SIZE(sizes)];
	uint64_t words[4] = { (int8_t)s[4], s[5] * PAGE, s[6] * PAGE, s[7] };
	unsigned long nr = s[1] / VIEWS % 9;
	char *arg = w->edge + PAGE - (s[3] & 0x80 ? size / 2 : size);

	memset(w->edge, s[3] & 0x40 ? 0xff : 0, PAGE);
	memcpy(arg, words, s[3] & 0x80 ? size / 2 > 32 ? 32 : size / 2 :
					 size > 32 ? 32 : size);
	ioctl(ctl, _IOC(s[3] & 3, MEMVIEW_IOC_MAGIC, nr, size), arg);
}

static inline void script_batch(struct script_world *w, const uint8_t *s)
{
	struct memview_range ranges[4];
	struct memview_unmap_batch batch = {
		.ranges = s[2] & 0x80 ? (uintptr_t)w->edge + PAGE - 16 :
					(uintptr_t)ranges,
		.count = s[2] & 7,
		.flags = s[3] & 3,
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(ranges); i++)
		ranges[i] = (struct memview_range){
			script_pages(s[4 + i]) * PAGE,
			script_pages(s[7 - i]) * PAGE,
		};
	ioctl(w->ctl[s[1] % VIEWS], MEMVIEW_UNMAP_FDS, &batch);
}

static inline void script_mmap(struct script_world *w, const uint8_t *s)
{
	unsigned int map = s[1] % MAPS;
	int flags = s[5] & 15 ? MAP_SHARED : MAP_PRIVATE;
	void *at;

	if (s[5] & 0x80)
		flags |= MAP_POPULATE;
	if (w->maps[map].at)
		munmap(w->maps[map].at, w->maps[map].size);
	w->maps[map].at = NULL;
	w->maps[map].size = script_pages(s[3]) * PAGE;
	at = mmap(NULL, w->maps[map].size, s[4] & 7, flags,
		  w->vfd[s[2] % VIEWS],
		  (off_t)(script_pages(s[6]) * PAGE));
	if (at != MAP_FAILED)
		w->maps[map].at = at;
}

/* What a mapper does to a part of its mapping. */
static inline void script_mapper(struct script_world *w, const uint8_t *s)
{
	static const int advice[] = {
		MADV_NORMAL, MADV_RANDOM, MADV_SEQUENTIAL, MADV_WILLNEED,
		MADV_DONTNEED, MADV_REMOVE, MADV_DONTFORK, MADV_DOFORK,
		MADV_MERGEABLE, MADV_HUGEPAGE, MADV_NOHUGEPAGE, MADV_COLD,
		MADV_PAGEOUT, MADV_POPULATE_READ, MADV_POPULATE_WRITE,
		MADV_COLLAPSE, MADV_FREE, MADV_WIPEONFORK, MADV_KEEPONFORK,
	};
	unsigned int map = s[1] % MAPS;
	struct iovec from, to;
	size_t length;
	void *part;

	if (!w->maps[map].at)
		return;
	part = script_part(w->maps[map].at, w->maps[map].size, s[3], s[4],
			   &length);
	switch (s[2] % 9) {
	case 0:
		munmap(part, length);
		break;
	case 1:
		mprotect(part, length, s[5] & 7);
		break;
	case 2:
		mremap(part, length, script_pages(s[5]) * PAGE,
		       s[6] & 1 ? MREMAP_MAYMOVE : 0);
		break;
	case 3:
		madvise(part, length, advice[s[5] % ARRAY_SIZE(advice)]);
		break;
	case 4:
		msync(part, length, s[5] & 1 ? MS_SYNC : MS_ASYNC);
		break;
	case 5:
		mlock(part, length);
		break;
	case 6:
		from = (struct iovec){ part, length };
		to = (struct iovec){ w->edge, PAGE };
		if (s[5] & 1)
			process_vm_readv(getpid(), &to, 1, &from, 1, 0);
		else
			process_vm_writev(getpid(), &to, 1, &from, 1, 0);
		break;
	case 7:
		pread(w->files[s[5] % FILES], part, length, 0);
		break;
	case 8:
		pwrite(w->files[s[5] % FILES], part, length, PAGE);
		break;
	}
}

static inline void script_touch(struct script_world *w, const uint8_t *s)
{
	unsigned int map = s[1] % MAPS;
	uint64_t value;
	size_t length;
	char *part;

	if (!w->maps[map].at)
		return;
	part = script_part(w->maps[map].at, w->maps[map].size, s[3], s[4],
			   &length);
	for (size_t i = 0; i < length && i < 64 * PAGE; i += PAGE)
		if (s[2] & 1)
			try_write(part + i + 8, i);
		else
			try_read(part + i, &value);
}

/* What happens to a file on the host. */
static inline void script_file(struct script_world *w, const uint8_t *s)
{
	int fd = w->files[s[1] % (FILES - 1)];
	off_t offset = (off_t)(s[3] % FILE_PAGES * PAGE + s[4]);
	off_t length = (off_t)(s[5] * PAGE + s[6]);
	ssize_t ret = 0;

	switch (s[2] % 7) {
	case 0:
		ret = ftruncate(fd, offset);
		break;
	case 1:
		ret = fallocate(fd, s[7] & 3, offset, length);
		break;
	case 2:
		ret = pwrite(fd, w->edge, PAGE, offset);
		break;
	case 3:
		ret = fsync(fd);
		break;
	case 4:
		drop_file(fd);
		break;
	case 5:
		ret = fallocate(fd, s[7] & 0x40 ? 0x08 : 0x20, offset, length);
		break;
	case 6:
		ret = pread(fd, w->edge, PAGE, offset);
		break;
	}
	(void)ret;
}

/* Descriptors of views, by calls that are not for them. */
static inline void script_fd(struct script_world *w, const uint8_t *s)
{
	int fd = s[1] & 1 ? w->vfd[s[1] / 2 % VIEWS] : w->ctl[s[1] / 2 % VIEWS];
	ssize_t ret = 0;
	int copy;

	switch (s[2] % 7) {
	case 0:
		ret = read(fd, w->edge, PAGE);
		break;
	case 1:
		ret = write(fd, w->edge, PAGE);
		break;
	case 2:
		ret = fsync(fd);
		break;
	case 3:
		ret = ftruncate(fd, s[3] * PAGE);
		break;
	case 4:
		ret = lseek(fd, s[3] * PAGE, s[4] % 6);
		break;
	case 5:
		copy = dup(fd);
		close(copy);
		break;
	case 6:
		ret = fallocate(fd, s[4] & 3, 0, s[3] * PAGE);
		break;
	}
	(void)ret;
}

static inline void script_child(struct script_world *w, const uint8_t *s)
{
	int status;
	pid_t pid = fork();

	if (pid < 0)
		return;
	if (!pid) {
		script_touch(w, s);
		if (s[5] & 1)
			raise(SIGKILL);
		_exit(0);
	}
	wait_ended(pid, 20, &status);
}

static inline void script_setting(const uint8_t *s)
{
	static const char *const values[] = { "0", "1", "4", "250", "4096" };

	try_write_file(s[1] & 1 ?
		       "/sys/module/memory_view/parameters/anchor_idle_ms" :
		       "/sys/module/memory_view/parameters/sink_pages_max",
		       values[s[2] % ARRAY_SIZE(values)]);
}

static inline void script_step(struct script_world *w, const uint8_t *s)
{
	unsigned int v = s[1] % VIEWS;
	uint64_t word;

	switch (s[0] % 20) {
	case 0:
		close(w->ctl[v]);
		w->ctl[v] = open(DEVICE, O_RDWR | O_CLOEXEC);
		break;
	case 1:
		close(w->ctl[v]);
		break;
	case 2:
		set_size(w->ctl[v], script_pages(s[2]) * PAGE + s[3] % 2);
		break;
	case 3:
		word = s[2] % 4;
		ioctl(w->ctl[v], MEMVIEW_SET_FAULT_POLICY, &word);
		break;
	case 4:
	case 5:
	case 6:
	case 7:
		map_fd(w->ctl[v], w->files[s[2] % FILES],
		       script_pages(s[3]) * PAGE, script_pages(s[4]) * PAGE,
		       script_pages(s[5]) * PAGE, s[6] & 15);
		break;
	case 8:
		unmap_fd(w->ctl[v], script_pages(s[2]) * PAGE,
			 script_pages(s[3]) * PAGE);
		break;
	case 9:
		script_batch(w, s);
		break;
	case 10:
		script_ioctl(w, s);
		break;
	case 11:
		if (w->vfd[v] >= 0)
			close(w->vfd[v]);
		w->vfd[v] = ioctl(w->ctl[v], MEMVIEW_GET_VIEWFD);
		break;
	case 12:
		script_mmap(w, s);
		break;
	case 13:
		script_mapper(w, s);
		break;
	case 14:
	case 15:
		script_touch(w, s);
		break;
	case 16:
		script_file(w, s);
		break;
	case 17:
		script_fd(w, s);
		break;
	case 18:
		script_child(w, s);
		break;
	case 19:
		script_setting(s);
		if (s[3] & 1)
			sleep_ms(s[3] % 16);
		break;
	}
}

/*
 * The next script of a corpus, a text file with one in hexadecimal digits a line.
 * Returns its size, or 0 if there is none left.
 */
static inline size_t script_read(FILE *corpus, uint8_t script[SCRIPT_MAX])
{
	char line[2 * SCRIPT_MAX + 2];
	size_t size = 0;

	while (!size && fgets(line, sizeof(line), corpus)) {
		unsigned int byte;

		if (line[0] == '#')
			continue;
		while (sscanf(line + 2 * size, "%2x", &byte) == 1)
			script[size++] = (uint8_t)byte;
	}
	return size;
}

static inline void script_write(FILE *corpus, const uint8_t *script,
				size_t size)
{
	for (size_t i = 0; i < size; i++)
		fprintf(corpus, "%02x", script[i]);
	fprintf(corpus, "\n");
}

/* Runs one in this process, which is good for no other after it. */
static inline void script_run(const int files[FILES], const uint8_t *script,
			      size_t size)
{
	struct script_world w;

	memset(&w, 0, sizeof(w));
	memcpy(w.files, files, sizeof(w.files));
	for (unsigned int i = 0; i < FILES - 1; i++)
		CHECK_OK(sys(ftruncate(files[i], 16 * PAGE)));
	w.edge = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(w.edge != MAP_FAILED);
	CHECK_OK(sys(mprotect(w.edge + PAGE, PAGE, PROT_NONE)));
	for (unsigned int v = 0; v < VIEWS; v++) {
		w.ctl[v] = ctl_open();
		w.vfd[v] = -1;
	}
	/* One view is there, so that not each script has to find out how. */
	CHECK_OK(set_size(w.ctl[0], FILE_PAGES * PAGE));
	w.vfd[0] = get_viewfd(w.ctl[0]);
	w.maps[0].size = FILE_PAGES * PAGE;
	w.maps[0].at = view_mmap(w.ctl[0], FILE_PAGES * PAGE,
				 PROT_READ | PROT_WRITE);
	for (; size >= STEP; size -= STEP, script += STEP)
		script_step(&w, script);
}

#endif /* MEMVIEW_SCRIPT_H */
