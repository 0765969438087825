/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Memory views, private declarations.
 *
 * Theory of operation
 * ===================
 *
 * A view is a range of pages that its owner fills with parts of files, and
 * that any number of processes ("mappers") see through one VMA each. The VMA
 * belongs to an inode of our own that holds no pages. Page tables of mappers
 * are filled by our ->fault with the files' own page cache pages, as normal
 * entries that are reference and rmap counted. Nothing is pinned.
 *
 * A page cache page must not be mapped where its file cannot find it: truncate,
 * writeback, reclaim, migration and memory failure all look for mappings
 * through the file's i_mmap tree. A mapper's VMA is not in there. So for each
 * file (and each 1 GiB aligned chunk that is in use) there is an *anchor*: a
 * shared, inaccessible, never populated VMA of the file in the mm of the
 * process that opened the device, with an interval notifier over it. Whatever
 * the kernel wants to do to mappings of the file it does to the anchor, too,
 * and announces it through the notifier before it looks at page tables; the
 * notifier's callback clears the mappers' entries, which moves their dirty
 * bits to the pages. See anchor.c, anchor_vma.c and change.c.
 *
 *    control fd                          view fd, mapped by B, C, ...
 *        |                                      |
 *    struct memview ---- segments (rb) --- our VMA in B   <- struct memview_vma
 *        |                  |                   |             and _mapper
 *    anchors (hash) --------+                   | entries inserted by entry.c,
 *        |                                      | cleared by memview_zap()
 *    VMA of the file in A, PROT_NONE      page cache pages of the file
 *        |                                      |
 *        +-------- the file's i_mmap -----------+ "who maps this page?"
 *
 * A fault in B (fault.c, page.c, entry.c) looks the segment up and, with the view
 * locked for read, lets the core's fault-around map what is cached, as it would
 * in a mapping of the file: up to a huge page with one entry. It does so in a
 * stand-in VMA of the file in B's mm that spans no more than the segment and
 * one page table. If that was not enough, or the file wants to know of the
 * write, then the file's own ->fault gets the page and its ->page_mkwrite
 * allows the write, without the view's lock; and then, with the page locked and
 * the view locked again, the fault looks whether the view still shows that
 * page, inserts what of the page's folio belongs there, and lets it be written
 * to. Because every one who removes a page from its file or cleans it holds the
 * page's lock while it looks for mappings, all this is as safe as the core's
 * own faults.
 *
 * A page table, once there, stays until B unmaps the view; where there is one,
 * no huge page can be mapped. So one is made only for small folios.
 *
 * Clearing entries in a mapper needs page tables that stay. The core keeps
 * them by i_mmap and mmap locks; we may take neither in a notifier callback
 * (mm_take_all_locks() takes the i_mmap locks of all of a process' files in
 * address order, so that a callback, which already holds one, must not wait
 * for another). Instead every mmap of a view registers an interval notifier in
 * the mapper's mm: before the core frees page tables it says so (UNMAP,
 * RELEASE), and our callback clears the entries and retires the VMA under the
 * view's lock; whoever clears entries holds that lock and skips retired VMAs.
 * What remains is that nobody may register a notifier in the mapper's mm while
 * entries are being cleared there. See mapper.c.
 *
 * Sink pages
 * ==========
 *
 * Where a fault would end with SIGBUS, and the owner has chosen so, the mapper
 * gets a page of its own, which is no file's and is found by a table of the
 * view: sink.c. Whoever changes what the table is about (what is mapped there,
 * or how long the file is) drops pages from it and clears their entries, as for
 * those of files. Unlike these, nobody else looks for them.
 *
 * Locks
 * =====
 *
 * In the order in which they are taken; what is indented is the core's:
 *
 *        mmap_lock or VMA lock (of a mapper, or of the anchors' mm)
 *        the file system's locks, invalidate_lock, folio lock, i_mmap_rwsem of
 *          a file that is shown
 *        mmu notifier invalidation section and SRCU of the anchors' mm
 *    i_mmap_rwsem of the view inode, for read (memview_zap_begin())
 *    memview.lock
 *        mmu notifier invalidation section and SRCU of a mapper's mm, and all
 *          that its notifiers take (kvm->mmu_lock)
 *        page table locks, i_pages lock
 *
 * The view inode's i_mmap_rwsem is also the core's, who takes it together with
 * other files', in any order, and announces things with it held. So within an
 * announcement to anchors it is only tried for; see
 * memview_zap_begin_nested() for why that is enough. Mappers that change their
 * VMAs, for which the core takes it for write, let those who try go first.
 *
 * Hence, with memview.lock held:
 *  - no memory is allocated in a way that can reclaim, and user memory is not
 *    accessed;
 *  - no folio's lock and nothing of a file system or VMA is waited for, no
 *    i_mmap_rwsem is taken, so UNMAP never waits for a backing file system;
 *  - no notifier is registered or removed, and SRCU is not synchronized.
 *
 * What other notifiers of a mapper do when its entries are cleared (KVM's drop
 * theirs) is done under memview.lock, and so delays whoever waits for that, an
 * UNMAP too, for as long as they take. They must not wait for file systems.
 *
 * A thread that clears entries is inside two invalidation sections at once, of
 * two mms or of one. The inner one cannot lead back to us: our callback for
 * mappers ignores all events but UNMAP and RELEASE, and anchors are never
 * populated or part of a view. lockdep has one class for all of them;
 * announcement.h gives ours classes of their own.
 *
 * Lifetimes
 * =========
 *
 * struct memview is referenced by the control fd and by the view inode, so by
 * each view fd and each VMA. When the control fd goes the view is *closed*: all
 * segments are removed, mappers get SIGBUS from then on, anchors are dropped.
 * Anchors hold references on their files. Faults work on references of their
 * own, so that they can drop all locks.
 *
 * The opener's mm is not kept alive, since it may keep the control fd: by a
 * VMA of an io_uring instance that has it registered, for example. When the mm
 * ends so do its VMAs, anchors among them, and the view shows nothing any more.
 *
 * Nothing that anchors do in that mm waits for a file system with its mmap lock
 * held, but for a file's ->mmap: FUSE's ->close of a VMA, which writes the file
 * back, is called by a worker when the VMA is gone. An owner that wants to keep
 * going where even ->mmap waits, or wants its view to outlive it, has the
 * device opened by a small process that then only waits for the view's end.
 * Then anchors have an mm to themselves, and MAP_FD alone waits for it. (The
 * kernel lets a module neither make an mm nor fork.)
 */
#ifndef _MEMVIEW_H
#define _MEMVIEW_H

#include <linux/fs.h>
#include <linux/hashtable.h>
#include <linux/mm.h>
#include <linux/mmu_notifier.h>
#include <linux/percpu_counter.h>
#include <linux/rwsem.h>
#include <linux/workqueue.h>
#include <linux/xarray.h>
#include <uapi/linux/memory_view.h>

#include "segment.h"

#define MEMVIEW_ANCHOR_HASH_BITS	9

/* VMAs that a view can have: clearing a page's entries looks at all of them. */
#define MEMVIEW_VMAS_MAX		1024

/* Every permission bit there is. */
#define MEMVIEW_MAP_ALL \
	((unsigned int)(MEMVIEW_MAP_READ | MEMVIEW_MAP_WRITE | MEMVIEW_MAP_EXEC))

struct memview_watch;

/**
 * struct memview - a memory view
 * @users:    control fd and view inode
 * @mm:       where anchors live: the mm of the opener. Not kept alive; without
 *            users it has no VMAs any more
 * @lock:     guards everything below but counters and work items. Held for read
 *            to insert entries or to clear them on behalf of a file; for write
 *            to change segments, anchors or VMAs
 * @pages:    size in pages, 0 until set; constant from then on
 * @inode:    the view inode; set together with @pages
 * @changes:  incremented when segments, their anchors or VMAs' bounds change
 * @tree:     tree of &memview_segment.node
 * @poisoned: pages of the view whose file page was lost to a memory failure
 *            since it was mapped here
 * @vmas:     all VMAs of the view, by the pages they show
 * @nr_vmas:  how many, with those that are to come of a split
 * @anchors:  hash of &memview_anchor.node
 * @idle:     anchors without segments, those that go first ahead
 * @reap:     destroys those whose time has come
 * @fault_policy: MEMVIEW_FAULT_*; MEMVIEW_FAULT_SIGBUS once it is closed
 * @watched:  there may have been a watch of a file
 * @sinks:    sink pages by their place, &memview_sink.node
 * @nr_sinks: how many
 * @sink_poll: looks for those that must go
 * @lost_offset: see struct memview_info
 * @zappers:  threads that want the view's i_mmap lock within a file's
 * @zapped:   those that had their turn, ever
 * @turn:     where others wait for that
 * @faults:   see struct memview_info, as for the following counters; of each
 *            CPU, so that those who fault do not meet here
 * @maps:     "
 * @unmaps:   "
 * @zaps:     "
 * @retries:  "
 * @segments: "
 * @sinks_given: see &memview_info.sinks
 * @read_errors: see struct memview_info, as for the following counter
 * @lost_writes: "
 */
struct memview {
	refcount_t users;
	struct mm_struct *mm;

	struct rw_semaphore lock;
	unsigned long pages;
	struct inode *inode;
	unsigned long changes;
	struct rb_root tree;
	struct xarray poisoned;
	struct rb_root_cached vmas;
	unsigned int nr_vmas;
	DECLARE_HASHTABLE(anchors, MEMVIEW_ANCHOR_HASH_BITS);
	struct list_head idle;

	struct delayed_work reap;

	unsigned int fault_policy;
	bool watched;
	struct rb_root_cached sinks;
	unsigned int nr_sinks;
	struct delayed_work sink_poll;
	u64 lost_offset;

	atomic_t zappers;
	atomic_t zapped;
	wait_queue_head_t turn;

	struct percpu_counter faults;
	atomic64_t maps;
	atomic64_t unmaps;
	atomic64_t zaps;
	atomic64_t retries;
	atomic64_t segments;
	atomic64_t sinks_given;
	atomic64_t read_errors;
	atomic64_t lost_writes;
};

/**
 * memview_number() - what tells a view apart in traces
 * @view: the view
 *
 * Context: &memview.lock is held.
 * Return: the inode number of the view inode, 0 before it has one.
 */
static inline u64 memview_number(const struct memview *view)
{
	return view->inode ? view->inode->i_ino : 0;
}

/**
 * struct memview_anchor - lets a file find the view's mappings of its pages
 * @notifier: covers the anchor VMA
 * @view:     whose it is; outlives it
 * @node:     in &memview.anchors, unhashed if dead
 * @idle:     in &memview.idle while it has no segments
 * @group:    the segments that show parts of this file through this anchor
 * @file:     the file that MAP_FD was given
 * @vm_file:  the file that the VMA got from it (overlayfs hands out the file
 *            below)
 * @mapping:  of @vm_file
 * @vm_ops:   what the file gave the VMA; it has ours instead
 * @addr:     address in &memview.mm
 * @pgoff:    first file page
 * @pages:    length in pages
 * @perm:     MEMVIEW_MAP_* bits that its mmap was checked for
 * @expires:  jiffies when it may go, while it is idle
 * @cleaned:  file page behind the last one that was cleaned
 * @cleaned_run: how often that was the one behind the one before
 * @dead:     the VMA was unmapped or moved behind our back, or its mm is gone
 * @watches:  of the file, and of what is behind @vm_file if that is another;
 *            NULL until there are sink pages
 * @release:  the end, where that may wait for a file system and must not
 *
 * @node, @idle, @group, @expires, @dead and @watches are guarded by
 * &memview.lock, @cleaned and @cleaned_run by nothing; the rest is constant once
 * published.
 */
struct memview_anchor {
	struct mmu_interval_notifier notifier;
	struct memview *view;
	struct hlist_node node;
	struct list_head idle;
	struct memview_segment_group group;
	struct file *file;
	struct file *vm_file;
	struct address_space *mapping;
	const struct vm_operations_struct *vm_ops;
	unsigned long addr;
	unsigned long pgoff;
	unsigned long pages;
	unsigned int perm;
	unsigned long expires;
	unsigned long cleaned;
	unsigned int cleaned_run;
	bool dead;
	struct memview_watch *watches[2];
	struct work_struct release;
};

/**
 * struct memview_mapper - one mmap() of a view fd
 * @notifier: covers what was mapped; tells of unmapping and exit
 * @view:     kept by the VMAs' file
 * @vmas:     what is left of it, &memview_vma.sibling; guarded by &memview.lock
 */
struct memview_mapper {
	struct mmu_interval_notifier notifier;
	struct memview *view;
	struct list_head vmas;
};

/**
 * struct memview_vma - one VMA of a view, our part of it
 * @node:    in &memview.vmas; start and last are pages of the view
 * @sibling: in &memview_mapper.vmas
 * @mapper:  what it is a part of
 * @start:   first address
 * @end:     end address
 * @live:    entries may exist, and page tables stay: not retired
 * @spare:   for the other half of the next split; guarded by the mmap lock
 *
 * All but @spare guarded by &memview.lock. A VMA's vm_private_data points here;
 * NULL there means that the VMA shows nothing (in a forked child).
 */
struct memview_vma {
	struct interval_tree_node node;
	struct list_head sibling;
	struct memview_mapper *mapper;
	unsigned long start;
	unsigned long end;
	bool live;
	struct memview_vma *spare;
};

/* view.c */
struct memview *memview_create(void);
void memview_close(struct memview *view);
int memview_set_size(struct memview *view, u64 size);
int memview_get_viewfd(struct memview *view);
int memview_map(struct memview *view, const struct memview_map_fd_info *info);
unsigned long memview_unmap(struct memview *view,
			    const struct memview_range *range, u64 flags);
void memview_get_info(struct memview *view, struct memview_info *info);
int memview_check_range(struct memview *view, u64 mem_offset, u64 size);

/* file.c */
bool memview_fs_allowed(const struct file *file);
int memview_file_check(const struct file *file, unsigned int perm);

/* change.c */
extern const struct mmu_interval_notifier_ops memview_anchor_ops;

/* anchor_vma.c */
int memview_anchor_mmap(void *data);

/* anchor.c */
int memview_anchors_init(void);
void memview_anchors_exit(void);
struct memview_anchor *memview_anchor_find(struct memview *view,
					   struct file *file,
					   unsigned long pgoff,
					   unsigned long pages,
					   unsigned int perm);
struct memview_anchor *memview_anchor_create(struct memview *view,
					     struct file *file,
					     unsigned long pgoff,
					     unsigned long pages,
					     unsigned int perm);
void memview_anchor_publish(struct memview_anchor *anchor);
void memview_anchor_destroy(struct memview_anchor *anchor);
void memview_anchor_idle(struct memview_anchor *anchor);
void memview_anchor_busy(struct memview_anchor *anchor);
void memview_anchors_reap(struct work_struct *work);
void memview_anchors_destroy(struct memview *view);

/* mapper.c */
int memview_mmap(struct file *file, struct vm_area_struct *vma);
int memview_vma_may_split(struct vm_area_struct *vma, unsigned long addr);
void memview_vma_open(struct vm_area_struct *vma);
void memview_vma_close(struct vm_area_struct *vma);
int memview_vma_mprotect(struct vm_area_struct *vma, unsigned long start,
			 unsigned long end, unsigned long newflags);
int memview_vma_mremap(struct vm_area_struct *vma);
bool memview_vma_revive(struct memview_vma *mv);
void memview_zap_begin(struct memview *view);
void memview_zap_end(struct memview *view);
bool memview_zap_begin_nested(struct memview *view,
			      struct address_space *mapping);
void memview_zap(struct memview *view, unsigned long first, unsigned long last);
void memview_zap_fault(struct vm_fault *vmf);

/* sink.c */
bool memview_sinks_remove(struct memview *view, unsigned long first,
			  unsigned long last);
void memview_sinks_forget(struct memview_mapper *mapper);
void memview_sinks_modified(struct memview *view,
			    const struct address_space *mapping);
void memview_sinks_poll(struct work_struct *work);
int memview_set_fault_policy(struct memview *view, u64 policy);
bool memview_is_sink(struct vm_fault *vmf);
vm_fault_t memview_sink_fault(struct vm_fault *vmf, bool unwritable);

/* watch.c */
int memview_watches_init(void);
void memview_watches_exit(void);
void memview_watches_wait(void);
int memview_watch_file(struct memview *view, unsigned long page);
void memview_watch_remove(struct memview_watch *watches[2]);

/* pins.c */
unsigned long memview_pins(struct memview *view, unsigned long first,
			   unsigned long last);

/* use.c */
int memview_get_use(struct memview *view, unsigned long first,
		    unsigned long last, struct memview_use *use);

/* sync.c */
int memview_fsync(struct file *file, loff_t start, loff_t end, int datasync);

/* fault.c */
extern const struct vm_operations_struct memview_vm_ops;

/**
 * memview_anchor_of() - the anchor through which a segment sees its file
 * @segment: segment of a view
 *
 * Return: the anchor; valid for as long as &memview.lock is held.
 */
static inline struct memview_anchor *
memview_anchor_of(const struct memview_segment *segment)
{
	return container_of(segment->group, struct memview_anchor, group);
}

#endif /* _MEMVIEW_H */
