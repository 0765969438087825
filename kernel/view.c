// SPDX-License-Identifier: GPL-2.0-only
/*
 * Views: their life, what the owner does to them, and the pseudo file system
 * that view fds live on.
 */
#include <linux/file.h>
#include <linux/fs_context.h>
#include <linux/module.h>
#include <linux/mount.h>
#include <linux/pseudo_fs.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>

#include "compat.h"
#include "memview.h"
#include "trace.h"

/* "MVFS"; what fstatfs of a view fd says. */
#define MEMVIEW_FS_MAGIC	0x4d564653

/* Mounted while there are views with a size. */
static struct vfsmount *memview_mnt;
static int memview_mnt_count;

static void memview_put(struct memview *view)
{
	if (!refcount_dec_and_test(&view->users))
		return;
	WARN_ON(!RB_EMPTY_ROOT(&view->tree) || view->nr_vmas);
	percpu_counter_destroy(&view->faults);
	kvfree(view);
}

static void memview_evict_inode(struct inode *inode)
{
	truncate_inode_pages_final(&inode->i_data);
	clear_inode(inode);
	if (inode->i_private)
		memview_put(inode->i_private);
}

static const struct super_operations memview_super_ops = {
	.statfs = simple_statfs,
	.evict_inode = memview_evict_inode,
};

static int memview_init_fs_context(struct fs_context *fc)
{
	struct pseudo_fs_context *ctx = init_pseudo(fc, MEMVIEW_FS_MAGIC);

	if (!ctx)
		return -ENOMEM;
	ctx->ops = &memview_super_ops;
	return 0;
}

static struct file_system_type memview_fs_type = {
	.owner = THIS_MODULE,
	.name = "memory_view",
	.init_fs_context = memview_init_fs_context,
	.kill_sb = kill_anon_super,
};

/*
 * A view fd can be mapped, where huge pages fit, synced and closed. A size it
 * has, for whoever asks.
 */
static const struct file_operations memview_view_fops = {
	.owner = THIS_MODULE,
	.mmap = memview_mmap,
	.get_unmapped_area = thp_get_unmapped_area,
	.fsync = memview_fsync,
	.llseek = generic_file_llseek,
};

/* Opening it again, through /proc, might be for more than was given. */
static int memview_no_open(struct inode *inode, struct file *file)
{
	return -ENXIO;
}

static const struct file_operations memview_no_open_fops = {
	.owner = THIS_MODULE,
	.open = memview_no_open,
};

/* No truncation, and no change of owner, mode or times either. */
static int memview_setattr(struct mnt_idmap *idmap, struct dentry *dentry,
			   struct iattr *attr)
{
	return -EPERM;
}

static const struct inode_operations memview_inode_ops = {
	.setattr = memview_setattr,
};

/**
 * memview_create() - a new view, without a size
 *
 * Anchors will live in the mm of the caller. When that ends, the view shows
 * nothing any more; see "Lifetimes" in memview.h.
 *
 * Return: the view, or an error pointer.
 */
struct memview *memview_create(void)
{
	struct memview *view;

	if (!current->mm)
		return ERR_PTR(-EINVAL);
	view = kvzalloc(sizeof(*view), GFP_KERNEL_ACCOUNT);
	if (!view)
		return ERR_PTR(-ENOMEM);
	if (percpu_counter_init(&view->faults, 0, GFP_KERNEL_ACCOUNT)) {
		kvfree(view);
		return ERR_PTR(-ENOMEM);
	}
	refcount_set(&view->users, 1);
	init_rwsem(&view->lock);
	view->tree = RB_ROOT;
	xa_init(&view->poisoned);
	view->vmas = RB_ROOT_CACHED;
	init_waitqueue_head(&view->turn);
	hash_init(view->anchors);
	INIT_LIST_HEAD(&view->idle);
	INIT_DELAYED_WORK(&view->reap, memview_anchors_reap);
	view->sinks = RB_ROOT_CACHED;
	INIT_DELAYED_WORK(&view->sink_poll, memview_sinks_poll);
	view->mm = current->mm;
	mmgrab(view->mm);
	return view;
}

/**
 * memview_change() - replace a part of a view by a hole or a segment
 * @view:    the view
 * @first:   first page
 * @last:    last page, inclusive
 * @segment: what to put there, or NULL
 * @spare:   see memview_segment_carve()
 * @gone:    likewise; for the caller to free
 *
 * Mappers see what was there before, or what is there after, and no hole
 * between: faults wait for the lock, and find the new segment.
 *
 * Context: between memview_zap_begin() and memview_zap_end(); &memview.lock is
 * held for write.
 * Return: true if @spare was used.
 */
static bool memview_change(struct memview *view, unsigned long first,
			   unsigned long last, struct memview_segment *segment,
			   struct memview_segment *spare,
			   struct list_head *gone)
{
	struct memview_segment *old;
	unsigned long index;
	bool touched = memview_sinks_remove(view, first, last);
	bool used;
	void *entry;
	long count = 0;

	for (old = memview_segment_first(&view->tree, first, last);
	     old && !touched && old->first <= last;
	     old = rb_entry_safe(rb_next(&old->node), struct memview_segment,
				 node))
		touched = old->touched;

	view->changes++;
	used = memview_segment_carve(&view->tree, first, last, spare, gone);
	count += used;
	list_for_each_entry(old, gone, gone)
		count--;
	if (segment) {
		struct memview_anchor *anchor;

		memview_segment_insert(&view->tree, segment);
		count++;
		anchor = memview_anchor_of(segment);
		if (anchor->group.count == 1)
			memview_anchor_busy(anchor);
	}
	list_for_each_entry(old, gone, gone) {
		struct memview_anchor *anchor = memview_anchor_of(old);

		if (!anchor->group.count && list_empty(&anchor->idle))
			memview_anchor_idle(anchor);
	}
	atomic64_add(count, &view->segments);
	xa_for_each_range(&view->poisoned, index, entry, first, last)
		xa_erase(&view->poisoned, index);
	if (touched)
		memview_zap(view, first, last);
	return used;
}

static void memview_free_segments(struct list_head *gone)
{
	struct memview_segment *segment, *next;

	list_for_each_entry_safe(segment, next, gone, gone)
		kfree(segment);
}

/**
 * memview_close() - the control fd is gone
 * @view: the view; mappers get SIGBUS from now on
 */
void memview_close(struct memview *view)
{
	LIST_HEAD(gone);

	memview_zap_begin(view);
	down_write(&view->lock);
	view->fault_policy = MEMVIEW_FAULT_SIGBUS;
	/* Nothing can stick out on both sides, so no spare is needed. */
	memview_change(view, 0, ULONG_MAX, NULL, NULL, &gone);
	up_write(&view->lock);
	memview_zap_end(view);
	memview_free_segments(&gone);
	cancel_delayed_work_sync(&view->sink_poll);
	memview_anchors_destroy(view);
	if (view->watched)
		memview_watches_wait();
	mmdrop(view->mm);
	view->mm = NULL;
	if (view->inode) {
		iput(view->inode);
		simple_release_fs(&memview_mnt, &memview_mnt_count);
	}
	memview_put(view);
}

/**
 * memview_set_size() - decide how large a view is
 * @view: the view
 * @size: bytes, page aligned
 *
 * Return: 0, EINVAL (unaligned, zero, larger than a file can be), EBUSY (has
 * been done), or ENOMEM.
 */
int memview_set_size(struct memview *view, u64 size)
{
	struct inode *inode;
	int ret;

	if (!size || !PAGE_ALIGNED(size) || size > MAX_LFS_FILESIZE)
		return -EINVAL;

	ret = simple_pin_fs(&memview_fs_type, &memview_mnt, &memview_mnt_count);
	if (ret)
		return ret;
	/* Whether its pages can be executed is for their files to say. */
	memview_mnt->mnt_sb->s_iflags &= ~SB_I_NOEXEC;
	inode = new_inode(memview_mnt->mnt_sb);
	if (!inode) {
		ret = -ENOMEM;
		goto release;
	}
	inode->i_ino = get_next_ino();
	inode->i_mode = S_IFREG | 0600;
	inode->i_uid = current_fsuid();
	inode->i_gid = current_fsgid();
	inode->i_op = &memview_inode_ops;
	inode->i_fop = &memview_no_open_fops;
	i_size_write(inode, size);
	simple_inode_init_ts(inode);

	down_write(&view->lock);
	if (view->pages) {
		ret = -EBUSY;
	} else {
		refcount_inc(&view->users);
		inode->i_private = view;
		view->inode = inode;
		/* Pairs with memview_check_range(). */
		smp_store_release(&view->pages, size >> PAGE_SHIFT);
	}
	up_write(&view->lock);
	if (!ret)
		return 0;
	iput(inode);
release:
	simple_release_fs(&memview_mnt, &memview_mnt_count);
	return ret;
}

/**
 * memview_get_viewfd() - a new descriptor for mapping a view
 * @view: the view
 *
 * Return: O_RDWR, O_CLOEXEC descriptor, or EINVAL (has no size), ENOMEM,
 * EMFILE, ENFILE.
 */
int memview_get_viewfd(struct memview *view)
{
	struct inode *inode;
	struct file *file;
	int fd;

	down_read(&view->lock);
	inode = view->inode;
	up_read(&view->lock);
	if (!inode)
		return -EINVAL;
	fd = get_unused_fd_flags(O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return fd;
	ihold(inode);
	/* Of the file's operations; dropped with the file. */
	__module_get(THIS_MODULE);
	file = alloc_file_pseudo(inode, memview_mnt, "memory-view",
				 O_RDWR, &memview_view_fops);
	if (IS_ERR(file)) {
		module_put(THIS_MODULE);
		iput(inode);
		put_unused_fd(fd);
		return PTR_ERR(file);
	}
	file->f_mode |= FMODE_LSEEK;
	fd_install(fd, file);
	return fd;
}

/**
 * memview_check_range() - is this a part of a view?
 * @view:       the view
 * @mem_offset: bytes
 * @size:       bytes
 *
 * Return: 0, or EINVAL (unaligned, empty, beyond the view's end, or the view
 * has no size).
 */
int memview_check_range(struct memview *view, u64 mem_offset, u64 size)
{
	/* Who sees this sees @inode, too. */
	u64 end = (u64)smp_load_acquire(&view->pages) << PAGE_SHIFT;

	if (!size || !PAGE_ALIGNED(mem_offset) || !PAGE_ALIGNED(size) ||
	    mem_offset >= end || size > end - mem_offset)
		return -EINVAL;
	return 0;
}

/**
 * memview_map_file() - show a part of a file, in place of what was there
 * @view: the view
 * @file: the file
 * @info: what MAP_FD was given, checked but for @file
 *
 * Return: as memview_map().
 */
static int memview_map_file(struct memview *view, struct file *file,
			    const struct memview_map_fd_info *info)
{
	unsigned long first = info->mem_offset >> PAGE_SHIFT;
	unsigned long pages = info->size >> PAGE_SHIFT;
	unsigned long pgoff = info->fd_offset >> PAGE_SHIFT;
	unsigned int perm = info->flags;
	struct memview_anchor *anchor, *fresh = NULL;
	struct memview_segment *segment, *spare;
	LIST_HEAD(gone);
	int ret;

	ret = memview_file_check(file, perm);
	if (ret)
		return ret;
	segment = kzalloc(sizeof(*segment), GFP_KERNEL_ACCOUNT);
	spare = kzalloc(sizeof(*spare), GFP_KERNEL_ACCOUNT);
	if (!segment || !spare) {
		ret = -ENOMEM;
		goto free;
	}

	memview_zap_begin(view);
	down_write(&view->lock);
	anchor = memview_anchor_find(view, file, pgoff, pages, perm);
	if (!anchor) {
		up_write(&view->lock);
		memview_zap_end(view);
		fresh = memview_anchor_create(view, file, pgoff, pages, perm);
		if (IS_ERR(fresh)) {
			ret = PTR_ERR(fresh);
			fresh = NULL;
			goto free;
		}
		memview_zap_begin(view);
		down_write(&view->lock);
		anchor = memview_anchor_find(view, file, pgoff, pages, perm);
	}
	if (!anchor && fresh->dead) {
		/* Somebody unmaps what they do not know. */
		up_write(&view->lock);
		memview_zap_end(view);
		ret = -EAGAIN;
		goto free;
	}
	if (!anchor) {
		anchor = fresh;
		fresh = NULL;
		memview_anchor_publish(anchor);
	}

	segment->group = &anchor->group;
	segment->first = first;
	segment->last = first + pages - 1;
	segment->file.start = pgoff;
	segment->file.last = pgoff + pages - 1;
	segment->perm = perm;
	if (memview_change(view, first, segment->last, segment, spare, &gone))
		spare = NULL;
	segment = NULL;
	atomic64_inc(&view->maps);
	trace_memview_map(memview_number(view), file, info);
	up_write(&view->lock);
	memview_zap_end(view);
	ret = 0;
free:
	memview_free_segments(&gone);
	kfree(spare);
	kfree(segment);
	if (fresh)
		memview_anchor_destroy(fresh);
	return ret;
}

/**
 * memview_map() - MEMVIEW_MAP_FD
 * @view: the view
 * @info: from user space
 *
 * Return: 0, or EINVAL, EOVERFLOW (offset in the file), EBADF, what
 * memview_file_check() says, what mmap of the file says, ENOMEM, ESRCH (the
 * opener's address space is gone) or EAGAIN (the mapping that the driver makes
 * there was replaced by another thread).
 */
int memview_map(struct memview *view, const struct memview_map_fd_info *info)
{
	struct file *file;
	int ret;

	/* Hardware has no mapping that can be written but not read. */
	if (info->pad || (info->flags & ~(u64)MEMVIEW_MAP_ALL) ||
	    !(info->flags & MEMVIEW_MAP_READ) || !PAGE_ALIGNED(info->fd_offset))
		return -EINVAL;
	ret = memview_check_range(view, info->mem_offset, info->size);
	if (ret)
		return ret;
	if (info->fd_offset > MAX_LFS_FILESIZE ||
	    info->size > MAX_LFS_FILESIZE - info->fd_offset)
		return -EOVERFLOW;

	file = fget(info->fd);
	if (!file)
		return -EBADF;
	ret = memview_map_file(view, file, info);
	fput(file);
	/* The first notifier of an mm can't be registered with a signal. */
	return ret == -EINTR ? -ERESTARTNOINTR : ret;
}

/**
 * memview_unmap() - MEMVIEW_UNMAP_FD
 * @view:  the view
 * @range: checked by memview_check_range()
 * @flags: MEMVIEW_UNMAP_*
 *
 * Never waits for a file system (see "Locks" in memview.h; allocations may not
 * either) and never fails: what is to be taken away is taken away.
 *
 * Return: with MEMVIEW_UNMAP_REPORT_PINS, pages that may still be pinned;
 * else 0.
 */
unsigned long memview_unmap(struct memview *view,
			    const struct memview_range *range, u64 flags)
{
	unsigned long first = range->mem_offset >> PAGE_SHIFT;
	unsigned long last = first + (range->size >> PAGE_SHIFT) - 1;
	struct memview_segment *spare;
	unsigned long pins = 0;
	LIST_HEAD(gone);

	spare = kzalloc(sizeof(*spare), GFP_NOIO | __GFP_ACCOUNT |
					__GFP_NOFAIL);
	memview_zap_begin(view);
	down_write(&view->lock);
	if (flags & MEMVIEW_UNMAP_REPORT_PINS) {
		memview_zap(view, first, last);
		pins = memview_pins(view, first, last);
	}
	if (memview_change(view, first, last, NULL, spare, &gone))
		spare = NULL;
	atomic64_inc(&view->unmaps);
	trace_memview_unmap(memview_number(view), range->mem_offset,
			    range->size);
	up_write(&view->lock);
	memview_zap_end(view);
	kfree(spare);
	memview_free_segments(&gone);
	return pins;
}

/**
 * memview_get_info() - MEMVIEW_GET_INFO
 * @view: the view
 * @info: to fill
 */
void memview_get_info(struct memview *view, struct memview_info *info)
{
	*info = (struct memview_info) {
		.abi_version = MEMVIEW_ABI_VERSION,
		.granularity = PAGE_SIZE,
		.size = (u64)READ_ONCE(view->pages) << PAGE_SHIFT,
		.segments = atomic64_read(&view->segments),
		.maps = atomic64_read(&view->maps),
		.unmaps = atomic64_read(&view->unmaps),
		.faults = percpu_counter_sum_positive(&view->faults),
		.zaps = atomic64_read(&view->zaps),
		.retries = atomic64_read(&view->retries),
		.fault_policy = READ_ONCE(view->fault_policy),
		.sink_pages = READ_ONCE(view->nr_sinks),
		.sinks = atomic64_read(&view->sinks_given),
		.read_errors = atomic64_read(&view->read_errors),
		.lost_writes = atomic64_read(&view->lost_writes),
		.lost_offset = READ_ONCE(view->lost_offset),
	};
}
