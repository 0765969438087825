// SPDX-License-Identifier: GPL-2.0-only
/*
 * Learns at once when a shown file is modified: an fsnotify mark on its inode,
 * set when the first sink page is put where the file is shown. See sink.c.
 *
 * Tells of write(), truncation, fallocate and reflinks, before the call
 * returns. Not of what other hosts do, nor, on newer kernels, of what is done to
 * a memfd; and not of writes to mappings, which can't make a file longer.
 * Overlayfs has a file below, which does not notify when it is written to by way
 * of overlayfs, so there both are marked.
 */
#include <linux/file.h>
#include <linux/fsnotify_backend.h>
#include <linux/slab.h>

#include "memview.h"

/**
 * struct memview_watch - one mark
 * @mark:    in the inode and the group
 * @view:    to tell; outlives the mark, see memview_watches_wait()
 * @mapping: of the file that is shown. Not to be followed, it may be gone
 */
struct memview_watch {
	struct fsnotify_mark mark;
	struct memview *view;
	const struct address_space *mapping;
};

static struct fsnotify_group *memview_watch_group;

static int memview_watch_event(struct fsnotify_mark *mark, u32 mask,
			       struct inode *inode, struct inode *dir,
			       const struct qstr *name, u32 cookie)
{
	struct memview_watch *watch =
		container_of(mark, struct memview_watch, mark);

	memview_sinks_modified(watch->view, watch->mapping);
	return 0;
}

static void memview_watch_free(struct fsnotify_mark *mark)
{
	kfree(container_of(mark, struct memview_watch, mark));
}

static const struct fsnotify_ops memview_watch_ops = {
	.handle_inode_event = memview_watch_event,
	.free_mark = memview_watch_free,
};

/**
 * memview_watches_init() - set up at module load
 *
 * Return: 0 or ENOMEM.
 */
int memview_watches_init(void)
{
	memview_watch_group = fsnotify_alloc_group(&memview_watch_ops,
						   FSNOTIFY_GROUP_DUPS);
	return PTR_ERR_OR_ZERO(memview_watch_group);
}

/**
 * memview_watches_exit() - clean up at module unload
 */
void memview_watches_exit(void)
{
	fsnotify_wait_marks_destroyed();
	fsnotify_put_group(memview_watch_group);
}

/**
 * memview_watches_wait() - make sure that no watch uses a view any more
 *
 * Context: all watches of the view were removed; sleeps until their handlers
 * are done, which wait for no file system.
 */
void memview_watches_wait(void)
{
	fsnotify_wait_marks_destroyed();
}

static struct memview_watch *memview_watch_create(struct memview *view,
						  struct file *file,
						  struct address_space *mapping)
{
	struct memview_watch *watch;
	int ret;

	watch = kzalloc(sizeof(*watch), GFP_KERNEL_ACCOUNT);
	if (!watch)
		return ERR_PTR(-ENOMEM);
	fsnotify_init_mark(&watch->mark, memview_watch_group);
	watch->mark.mask = FS_MODIFY;
	watch->view = view;
	watch->mapping = mapping;
	ret = fsnotify_add_inode_mark(&watch->mark, file_inode(file), 0);
	if (!ret)
		return watch;
	fsnotify_put_mark(&watch->mark);
	return ERR_PTR(ret);
}

/**
 * memview_watch_remove() - the reverse of memview_watch_file()
 * @watches: of an anchor that nobody can find, or that were never given to one
 *
 * Handlers may still be at work; see memview_watches_wait().
 */
void memview_watch_remove(struct memview_watch *watches[2])
{
	unsigned int i;

	for (i = 0; i < 2; i++) {
		if (!watches[i])
			continue;
		fsnotify_destroy_mark(&watches[i]->mark, memview_watch_group);
		fsnotify_put_mark(&watches[i]->mark);
		watches[i] = NULL;
	}
}

/* The anchor behind a page of the view, or NULL. &memview.lock is held. */
static struct memview_anchor *memview_anchor_at(struct memview *view,
						unsigned long page)
{
	struct memview_segment *segment =
		memview_segment_first(&view->tree, page, page);

	return segment ? memview_anchor_of(segment) : NULL;
}

/**
 * memview_watch_file() - make sure that the file at a page is watched
 * @view: the view
 * @page: page of the view
 *
 * Context: called for a fault, so that the view can't go; &memview.lock is not
 * held.
 * Return: 0 if it already was, or nothing is shown there; 1 if it is from now
 * on, and what happened before is unknown; or ENOMEM.
 */
int memview_watch_file(struct memview *view, unsigned long page)
{
	struct memview_watch *watches[2] = {};
	struct memview_anchor *anchor;
	struct file *file, *vm_file;
	int ret = 1;

	down_read(&view->lock);
	anchor = memview_anchor_at(view, page);
	if (!anchor || anchor->watches[0]) {
		up_read(&view->lock);
		return 0;
	}
	file = get_file(anchor->file);
	vm_file = get_file(anchor->vm_file);
	up_read(&view->lock);

	/* Before there are any, for memview_close(). */
	WRITE_ONCE(view->watched, true);
	watches[0] = memview_watch_create(view, vm_file, vm_file->f_mapping);
	if (IS_ERR(watches[0])) {
		ret = PTR_ERR(watches[0]);
		watches[0] = NULL;
	} else if (file_inode(file) != file_inode(vm_file)) {
		watches[1] = memview_watch_create(view, file,
						  vm_file->f_mapping);
		if (IS_ERR(watches[1])) {
			ret = PTR_ERR(watches[1]);
			watches[1] = NULL;
		}
	}
	if (ret > 0) {
		down_write(&view->lock);
		anchor = memview_anchor_at(view, page);
		if (anchor && anchor->vm_file == vm_file &&
		    anchor->file == file && !anchor->watches[0]) {
			swap(anchor->watches[0], watches[0]);
			swap(anchor->watches[1], watches[1]);
		}
		up_write(&view->lock);
	}
	/* Another fault was faster, or the page shows something else by now. */
	if (watches[0]) {
		memview_watch_remove(watches);
		memview_watches_wait();
	}
	fput(file);
	fput(vm_file);
	return ret;
}
