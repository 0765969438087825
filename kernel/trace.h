/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Tracepoints, in /sys/kernel/tracing/events/memview. Offsets and sizes are
 * bytes; what is called "view" tells views apart by the inode number of
 * theirs, 0 where a view has no size yet.
 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM memview

#if !defined(_MEMORY_VIEW_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define _MEMORY_VIEW_TRACE_H

#include <linux/fs.h>
#include <linux/mm.h>
#include <linux/tracepoint.h>

#include "memview.h"

/* MEMVIEW_MAP_FD has succeeded. */
TRACE_EVENT(memview_map,
	TP_PROTO(u64 view, const struct file *file,
		 const struct memview_map_fd_info *info),
	TP_ARGS(view, file, info),
	TP_STRUCT__entry(
		__field(u64, view)
		__field(u64, mem_offset)
		__field(u64, size)
		__field(u64, fd_offset)
		__field(u64, flags)
		__field(dev_t, dev)
		__field(u64, ino)
	),
	TP_fast_assign(
		__entry->view = view;
		__entry->mem_offset = info->mem_offset;
		__entry->size = info->size;
		__entry->fd_offset = info->fd_offset;
		__entry->flags = info->flags;
		__entry->dev = file_inode(file)->i_sb->s_dev;
		__entry->ino = file_inode(file)->i_ino;
	),
	TP_printk("view=%llu offset=0x%llx size=0x%llx dev=%d:%d ino=%llu file_offset=0x%llx flags=0x%llx",
		  __entry->view, __entry->mem_offset, __entry->size,
		  MAJOR(__entry->dev), MINOR(__entry->dev), __entry->ino,
		  __entry->fd_offset, __entry->flags)
);

/* A range was unmapped by its owner. */
TRACE_EVENT(memview_unmap,
	TP_PROTO(u64 view, u64 mem_offset, u64 size),
	TP_ARGS(view, mem_offset, size),
	TP_STRUCT__entry(
		__field(u64, view)
		__field(u64, mem_offset)
		__field(u64, size)
	),
	TP_fast_assign(
		__entry->view = view;
		__entry->mem_offset = mem_offset;
		__entry->size = size;
	),
	TP_printk("view=%llu offset=0x%llx size=0x%llx", __entry->view,
		  __entry->mem_offset, __entry->size)
);

/*
 * A mapper's fault was served, or refused. "cached": by what was in the page
 * cache, without asking the file.
 */
TRACE_EVENT(memview_fault,
	TP_PROTO(u64 view, const struct vm_fault *vmf,
		 bool cached, vm_fault_t ret),
	TP_ARGS(view, vmf, cached, ret),
	TP_STRUCT__entry(
		__field(u64, view)
		__field(u64, mem_offset)
		__field(unsigned long, address)
		__field(bool, write)
		__field(bool, cached)
		__field(unsigned int, ret)
	),
	TP_fast_assign(
		__entry->view = view;
		__entry->mem_offset = (u64)vmf->pgoff << PAGE_SHIFT;
		__entry->address = vmf->address;
		__entry->write = vmf->flags & FAULT_FLAG_WRITE;
		__entry->cached = cached;
		__entry->ret = (__force unsigned int)ret;
	),
	TP_printk("view=%llu offset=0x%llx address=0x%lx write=%d cached=%d ret=0x%x",
		  __entry->view, __entry->mem_offset, __entry->address,
		  __entry->write, __entry->cached, __entry->ret)
);

/* Entries of a mapper are about to be cleared. */
TRACE_EVENT(memview_zap,
	TP_PROTO(u64 view, unsigned long start,
		 unsigned long end),
	TP_ARGS(view, start, end),
	TP_STRUCT__entry(
		__field(u64, view)
		__field(unsigned long, start)
		__field(unsigned long, end)
	),
	TP_fast_assign(
		__entry->view = view;
		__entry->start = start;
		__entry->end = end;
	),
	TP_printk("view=%llu address=0x%lx-0x%lx", __entry->view,
		  __entry->start, __entry->end)
);

#endif /* _MEMORY_VIEW_TRACE_H */

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE trace
#include <trace/define_trace.h>
