/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A FUSE file system of one file that misbehaves on demand: it can hold back
 * its answers to READ and WRITE, or fail READs. Speaks the protocol of /dev/fuse itself,
 * in a process of its own, so that the test's exit can never wait for a
 * server that is part of it; needs root.
 */
#ifndef MEMVIEW_FUSE_SERVER_H
#define MEMVIEW_FUSE_SERVER_H

#include <linux/fuse.h>
#include <pthread.h>
#include <sys/mount.h>
#include <sys/prctl.h>

#include "memview_test.h"

/* In memory that both processes share. */
struct fuse_server {
	int dev;
	pid_t pid;
	char dir[64];
	char path[80];
	unsigned int pages;
	int ready;
	/* Set by the test. */
	int stall_reads;
	int fail_reads;		/* errno, 0: none */
	int stall_writes;
	/* Set by the server. */
	int reads;
	int stalled;		/* READs that wait for their answer */
	int writes;		/* that have come */
	uint64_t written;	/* the last one's first word */
};

enum { FUSE_FILE_ID = 2, FUSE_BUF = 1 << 20 };

static void fuse_attr(struct fuse_server *s, uint64_t node,
		      struct fuse_attr *attr)
{
	memset(attr, 0, sizeof(*attr));
	attr->ino = node;
	attr->nlink = 1;
	attr->blksize = PAGE;
	if (node == FUSE_ROOT_ID) {
		attr->mode = S_IFDIR | 0755;
	} else {
		attr->mode = S_IFREG | 0644;
		attr->size = s->pages * PAGE;
		attr->blocks = attr->size / 512;
	}
}

static void fuse_reply(struct fuse_server *s, uint64_t unique, int error,
		       const void *data, size_t size)
{
	static __thread char buf[FUSE_BUF + 64];
	struct fuse_out_header head = {
		.len = sizeof(head) + (error ? 0 : size),
		.error = -error,
		.unique = unique,
	};

	memcpy(buf, &head, sizeof(head));
	if (!error && size)
		memcpy(buf + sizeof(head), data, size);
	/* ENOENT: the request was interrupted and is gone. */
	if (write(s->dev, buf, head.len) < 0 && errno != ENOENT &&
	    errno != ENODEV)
		FAIL("fuse reply: %s", strerror(errno));
}

struct fuse_held {
	struct fuse_server *server;
	bool write;
	uint64_t unique, offset;
	uint32_t size;
};

static void fuse_answer_read(struct fuse_server *s, uint64_t unique,
			     uint64_t offset, uint32_t size)
{
	static __thread char data[FUSE_BUF];
	uint64_t end = s->pages * PAGE;
	int error = __atomic_load_n(&s->fail_reads, __ATOMIC_SEQ_CST);

	if (offset >= end)
		size = 0;
	else if (size > end - offset)
		size = end - offset;
	for (uint32_t at = 0; at + PAGE <= size; at += PAGE)
		stamp_page(data + at, stamp(8, (offset + at) / PAGE, 0));
	fuse_reply(s, unique, error, data, size);
}

static void fuse_answer_write(struct fuse_server *s, uint64_t unique,
			      uint32_t size)
{
	struct fuse_write_out out = { .size = size };

	fuse_reply(s, unique, 0, &out, sizeof(out));
}

static void *fuse_hold(void *arg)
{
	struct fuse_held *held = arg;
	struct fuse_server *s = held->server;

	if (held->write) {
		while (__atomic_load_n(&s->stall_writes, __ATOMIC_SEQ_CST))
			sleep_ms(2);
		fuse_answer_write(s, held->unique, held->size);
		free(held);
		return NULL;
	}
	__atomic_add_fetch(&s->stalled, 1, __ATOMIC_SEQ_CST);
	while (__atomic_load_n(&s->stall_reads, __ATOMIC_SEQ_CST))
		sleep_ms(2);
	__atomic_sub_fetch(&s->stalled, 1, __ATOMIC_SEQ_CST);
	fuse_answer_read(s, held->unique, held->offset, held->size);
	free(held);
	return NULL;
}

static void fuse_hold_back(struct fuse_server *s, bool write, uint64_t unique,
			   uint64_t offset, uint32_t size)
{
	struct fuse_held *held = malloc(sizeof(*held));
	pthread_t thread;

	*held = (struct fuse_held){ s, write, unique, offset, size };
	CHECK(!pthread_create(&thread, NULL, fuse_hold, held));
	pthread_detach(thread);
}

static void fuse_read(struct fuse_server *s, uint64_t unique,
		      const struct fuse_read_in *in)
{
	__atomic_add_fetch(&s->reads, 1, __ATOMIC_SEQ_CST);
	if (__atomic_load_n(&s->stall_reads, __ATOMIC_SEQ_CST))
		fuse_hold_back(s, false, unique, in->offset, in->size);
	else
		fuse_answer_read(s, unique, in->offset, in->size);
}

static void fuse_write(struct fuse_server *s, uint64_t unique,
		       const struct fuse_write_in *in)
{
	uint64_t word;

	memcpy(&word, in + 1, sizeof(word));
	__atomic_store_n(&s->written, word, __ATOMIC_SEQ_CST);
	__atomic_add_fetch(&s->writes, 1, __ATOMIC_SEQ_CST);
	if (__atomic_load_n(&s->stall_writes, __ATOMIC_SEQ_CST))
		fuse_hold_back(s, true, unique, in->offset, in->size);
	else
		fuse_answer_write(s, unique, in->size);
}

static void fuse_one(struct fuse_server *s, char *buf)
{
	struct fuse_in_header *head = (void *)buf;
	void *arg = buf + sizeof(*head);
	uint64_t node = head->nodeid;

	switch (head->opcode) {
	case FUSE_INIT: {
		struct fuse_init_out out = {
			.major = FUSE_KERNEL_VERSION,
			.minor = FUSE_KERNEL_MINOR_VERSION,
			/*
			 * With read-ahead, a reader waits for the page and
			 * can be killed; without it, it waits for the answer
			 * itself, and nothing can be done for it.
			 */
			.max_readahead = 128 * 1024,
			.max_background = 64,
			.congestion_threshold = 48,
			.max_write = 128 * 1024,
			.flags = FUSE_ASYNC_READ | FUSE_BIG_WRITES,
		};

		fuse_reply(s, head->unique, 0, &out, sizeof(out));
		break;
	}
	case FUSE_LOOKUP: {
		struct fuse_entry_out out = {
			.nodeid = FUSE_FILE_ID, .entry_valid = 1000,
			.attr_valid = 1000,
		};

		fuse_attr(s, FUSE_FILE_ID, &out.attr);
		fuse_reply(s, head->unique, strcmp(arg, "file") ? ENOENT : 0,
			   &out, sizeof(out));
		break;
	}
	case FUSE_GETATTR:
	case FUSE_SETATTR: {
		struct fuse_attr_out out = { .attr_valid = 1000 };

		if (head->opcode == FUSE_SETATTR) {
			struct fuse_setattr_in *in = arg;

			if (in->valid & FATTR_SIZE)
				s->pages = in->size / PAGE;
		}
		fuse_attr(s, node, &out.attr);
		fuse_reply(s, head->unique, 0, &out, sizeof(out));
		break;
	}
	case FUSE_OPEN:
	case FUSE_OPENDIR: {
		struct fuse_open_out out = { .fh = 1 };

		fuse_reply(s, head->unique, 0, &out, sizeof(out));
		break;
	}
	case FUSE_READ:
		fuse_read(s, head->unique, arg);
		break;
	case FUSE_WRITE:
		fuse_write(s, head->unique, arg);
		break;
	case FUSE_RELEASE:
	case FUSE_RELEASEDIR:
	case FUSE_FLUSH:
	case FUSE_FSYNC:
	case FUSE_DESTROY:
		fuse_reply(s, head->unique, 0, NULL, 0);
		break;
	case FUSE_FORGET:
	case FUSE_BATCH_FORGET:
	case FUSE_INTERRUPT:
		break;
	default:
		fuse_reply(s, head->unique, ENOSYS, NULL, 0);
	}
}

static void fuse_serve(struct fuse_server *s)
{
	static char buf[FUSE_BUF];
	char options[128];

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	s->dev = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	if (s->dev < 0)
		FAIL("/dev/fuse: %s", strerror(errno));
	snprintf(options, sizeof(options),
		 "fd=%d,rootmode=40000,user_id=0,group_id=0,allow_other",
		 s->dev);
	CHECK_OK(sys(mount("memview-test", s->dir, "fuse", 0, options)));
	__atomic_store_n(&s->ready, 1, __ATOMIC_SEQ_CST);
	for (;;) {
		ssize_t n = read(s->dev, buf, sizeof(buf));

		if (n < 0 && (errno == EINTR || errno == EAGAIN ||
			      errno == ENOENT))
			continue;
		if (n < 0)
			_exit(0);	/* unmounted */
		fuse_one(s, buf);
	}
}

/* Mounts the file system; the file's pages carry stamp(8, page, 0). */
static struct fuse_server *fuse_start(unsigned int pages)
{
	struct fuse_server *s = mmap(NULL, sizeof(*s), PROT_READ | PROT_WRITE,
				     MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	CHECK(s != MAP_FAILED);
	s->pages = pages;
	snprintf(s->dir, sizeof(s->dir), "/run/memview-fuse-%d", getpid());
	snprintf(s->path, sizeof(s->path), "%s/file", s->dir);
	CHECK_OK(sys(mkdir(s->dir, 0700)));
	s->pid = fork();
	CHECK(s->pid >= 0);
	if (!s->pid)
		fuse_serve(s);
	while (!__atomic_load_n(&s->ready, __ATOMIC_SEQ_CST)) {
		CHECK_EQ(waitpid(s->pid, NULL, WNOHANG), 0);
		sleep_ms(1);
	}
	return s;
}

/* Detaches it; the harness kills the server with the rest of the test. */
static void fuse_end(struct fuse_server *s)
{
	__atomic_store_n(&s->stall_reads, 0, __ATOMIC_SEQ_CST);
	__atomic_store_n(&s->stall_writes, 0, __ATOMIC_SEQ_CST);
	(void)umount2(s->dir, MNT_DETACH);
	rmdir(s->dir);
}

#endif /* MEMVIEW_FUSE_SERVER_H */
