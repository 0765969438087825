/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
/*
 * Memory views: /dev/memory-view.
 *
 * A process opens the device, gives the new view a size, maps ranges of files
 * into it and hands out view fds. Whoever mmaps a view fd sees the files'
 * pages through one VMA, with the protections that the owner of the control
 * fd decided, until the owner takes a range away again.
 *
 * Every struct may grow at its end: the kernel takes any size from the first
 * version's up, reads missing fields as zero, and refuses (E2BIG) non-zero
 * bytes that it does not know.
 *
 * A mapper that touches a page gets SIGBUS (or a sink page, see below) where
 * nothing is mapped, or beyond the end of the file, or if the file can't be
 * read; SIGBUS with BUS_MCEERR_AR where memory failed; SIGSEGV where the range
 * does not allow the access. Each access is allowed only if both the mapper's
 * mmap() and the range allow it. In a page of a disk file that was lost to a
 * memory failure while a mapper had it, that stays so until the page of the
 * view is mapped anew.
 *
 * When the last descriptor of the control file is closed all ranges are
 * unmapped, whoever still has view fds. When the address space of the process
 * that opened the device ends, ranges show nothing any more and none can be
 * mapped.
 *
 * Errors: EINVAL for what is misaligned, empty, beyond the view, unknown or
 * not zero where it must be, and, while the view has no size, for all but
 * MEMVIEW_GET_INFO, MEMVIEW_SET_SIZE and MEMVIEW_SET_FAULT_POLICY. ENOTTY for
 * calls that do not exist.
 */
#ifndef _UAPI_LINUX_MEMORY_VIEW_H
#define _UAPI_LINUX_MEMORY_VIEW_H

#include <linux/ioctl.h>
#include <linux/types.h>

/*
 * 2: MEMVIEW_SET_FAULT_POLICY, what comes after memview_info.retries, and
 * memview_unmap.flags. 3: MEMVIEW_GET_USE. Old callers see no difference, so a
 * caller can use any driver whose version is not below the one that it needs.
 */
#define MEMVIEW_ABI_VERSION	3

/*
 * What a mapper gets that touches a hole of the view, a page beyond the end of
 * its file, or one that can't be read or made writable (MEMVIEW_SET_FAULT_POLICY)
 *
 * SIGBUS, or a sink page: a page of its own, charged to its memory cgroup, that
 * is empty, or has what the file that can't be written to has there. What is
 * written to it is lost. It goes when its place is mapped or unmapped, as soon
 * as the file has data there, a second after an error, and when there are too
 * many (see the module's parameter sink_pages_max). Where memory failed, access
 * is not allowed, or the view has ended, nothing changes.
 */
#define MEMVIEW_FAULT_SIGBUS	0
#define MEMVIEW_FAULT_SINK	1

/* memview_map_fd_info.flags: what a mapper may do with the range. */
#define MEMVIEW_MAP_READ	(1ULL << 0)
#define MEMVIEW_MAP_WRITE	(1ULL << 1)
#define MEMVIEW_MAP_EXEC	(1ULL << 2)

/**
 * struct memview_info - what this driver and this view are (MEMVIEW_GET_INFO)
 * @abi_version: out: MEMVIEW_ABI_VERSION of the driver
 * @pad:         out: zero
 * @granularity: out: bytes; every offset and size must be a multiple
 * @size:        out: bytes; the view's size, 0 before MEMVIEW_SET_SIZE
 * @segments:    out: live segments (disjoint mapped ranges)
 * @maps:        out: successful MEMVIEW_MAP_FD calls
 * @unmaps:      out: ranges taken by successful unmap calls, each entry of a
 *                    batch counted
 * @faults:      out: page faults served for mappers
 * @zaps:        out: times that mappers' page tables were cleared because a
 *                    file changed or a range was unmapped or replaced
 * @retries:     out: faults that had to start again because of a zap
 * @fault_policy: out: MEMVIEW_FAULT_*
 * @sink_pages:  out: sink pages that there are now
 * @sinks:       out: sink pages that there have been
 * @read_errors: out: those of them in place of pages that could not be read
 * @lost_writes: out: those of them in place of pages that the file has but
 *                    could not read, or take a write to, and that a mapper
 *                    wrote to: that is lost
 * @lost_offset: out: bytes into the view; the place of the last of these
 */
struct memview_info {
	__u32 abi_version;
	__u32 pad;
	__u64 granularity;
	__u64 size;
	__u64 segments;
	__u64 maps;
	__u64 unmaps;
	__u64 faults;
	__u64 zaps;
	__u64 retries;
	__u64 fault_policy;
	__u64 sink_pages;
	__u64 sinks;
	__u64 read_errors;
	__u64 lost_writes;
	__u64 lost_offset;
};

/**
 * struct memview_map_fd_info - one range of a file (MEMVIEW_MAP_FD)
 * @fd:         in: the file; may be closed after the call
 * @pad:        in: zero
 * @fd_offset:  in: bytes into the file, page aligned; may lie beyond its end
 * @size:       in: bytes, page aligned, not zero
 * @mem_offset: in: bytes into the view, page aligned
 * @flags:      in: MEMVIEW_MAP_*; at least MEMVIEW_MAP_READ
 *
 * Takes the place of whatever the range held, without a hole between. Needs no
 * unmap before it. Regular files of ext4, xfs, btrfs, tmpfs (and memfd),
 * overlayfs and FUSE (and virtiofs), without DAX, can be mapped.
 *
 * Errors besides those above: EBADF; EOPNOTSUPP for other kinds of files;
 * EACCES if @fd is not open for reading, or not for writing with
 * MEMVIEW_MAP_WRITE, or is append-only; EPERM if a seal forbids to write, or
 * the mount to execute; ETXTBSY to write to a swap file; EOVERFLOW if the file
 * can't be that long; what mmap() of the file says; ESRCH if the process that
 * opened the device is gone; EAGAIN if another thread of it replaced the
 * mapping that is made there.
 *
 * The file may stay open for a quarter of a second after it was unmapped (see
 * the module's parameter anchor_idle_ms), unless it has been deleted, @fd was
 * open for writing, or the control file is closed: then it is closed at once,
 * possibly by a worker that the call does not wait for.
 */
struct memview_map_fd_info {
	__s32 fd;
	__u32 pad;
	__u64 fd_offset;
	__u64 size;
	__u64 mem_offset;
	__u64 flags;
};

/**
 * struct memview_range - a part of a view
 * @mem_offset: bytes, page aligned
 * @size:       bytes, page aligned, not zero
 */
struct memview_range {
	__u64 mem_offset;
	__u64 size;
};

/*
 * memview_unmap.flags: the call returns how many of the pages that it unmapped
 * may be pinned (0: none; INT_MAX: so many or more): by a mapper that goes on
 * reading or writing them, with O_DIRECT transfers that are under way or
 * buffers that are registered with io_uring, or by somebody else who uses the
 * file so. Pins are a folio's, so pages that share one count together. References
 * without a pin, as of vmsplice, are not seen.
 */
#define MEMVIEW_UNMAP_REPORT_PINS	(1U << 0)

/**
 * struct memview_unmap - a range that is to become a hole (MEMVIEW_UNMAP_FD)
 * @range: in
 * @flags: in: MEMVIEW_UNMAP_*
 */
struct memview_unmap {
	struct memview_range range;
	__u64 flags;
};

/* The most entries that one MEMVIEW_UNMAP_FDS takes. */
#define MEMVIEW_UNMAP_MAX	1024

/**
 * struct memview_unmap_batch - many ranges (MEMVIEW_UNMAP_FDS)
 * @ranges: in: address of an array of struct memview_range
 * @count:  in: entries, 1 to MEMVIEW_UNMAP_MAX
 * @flags:  in: MEMVIEW_UNMAP_*, for the sum of all
 *
 * All entries are checked before the first takes effect.
 */
struct memview_unmap_batch {
	__u64 ranges;
	__u32 count;
	__u32 flags;
};

/**
 * struct memview_use - how much of a part of a view is in use (MEMVIEW_GET_USE)
 * @range:  in
 * @faults: out: page faults served in the segments that lie there, wholly or in
 *               part, since they were mapped
 * @mapped: out: bytes of these that mappers have page table entries for now,
 *               each mapper counted
 * @huge:   out: bytes of @mapped in entries of huge pages
 */
struct memview_use {
	struct memview_range range;
	__u64 faults;
	__u64 mapped;
	__u64 huge;
};

#define MEMVIEW_IOC_MAGIC	0xBF

/* Out: struct memview_info. */
#define MEMVIEW_GET_INFO	_IOR(MEMVIEW_IOC_MAGIC, 0x00, struct memview_info)
/* In: bytes. Once, before the first map or view fd; EBUSY later. */
#define MEMVIEW_SET_SIZE	_IOW(MEMVIEW_IOC_MAGIC, 0x01, __u64)
#define MEMVIEW_MAP_FD		_IOW(MEMVIEW_IOC_MAGIC, 0x02, struct memview_map_fd_info)
/* Holes in the range are no error. Never waits for the file's file system. */
#define MEMVIEW_UNMAP_FD	_IOW(MEMVIEW_IOC_MAGIC, 0x03, struct memview_unmap)
#define MEMVIEW_UNMAP_FDS	_IOW(MEMVIEW_IOC_MAGIC, 0x04, struct memview_unmap_batch)
/*
 * Returns a new view fd: O_RDWR | O_CLOEXEC. It can only be mapped, synced
 * (fsync or msync: writes back the files that it shows) and closed.
 */
#define MEMVIEW_GET_VIEWFD	_IO(MEMVIEW_IOC_MAGIC, 0x05)
/* In: MEMVIEW_FAULT_*. Before the first map; EBUSY later. */
#define MEMVIEW_SET_FAULT_POLICY _IOW(MEMVIEW_IOC_MAGIC, 0x06, __u64)

/* In: memview_use.range, out: the rest. EINTR if the caller is being killed. */
#define MEMVIEW_GET_USE		_IOWR(MEMVIEW_IOC_MAGIC, 0x07, struct memview_use)

#endif /* _UAPI_LINUX_MEMORY_VIEW_H */
