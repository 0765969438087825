// SPDX-License-Identifier: GPL-2.0-only
/*
 * msync() by a mapper, and fsync() of a view fd: writes back the files that the
 * view shows.
 */
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/sched/signal.h>

#include "memview.h"

/*
 * The first segment in pages @first to @last that can have been written to, as
 * a reference on its file and the bytes from @start to @end of it. NULL if
 * there is none. @first becomes the page after it.
 */
static struct file *memview_next_file(struct memview *view,
				      unsigned long *first, unsigned long last,
				      loff_t *start, loff_t *end)
{
	struct memview_segment *segment;
	struct file *file = NULL;

	down_read(&view->lock);
	while (!file && *first <= last &&
	       (segment = memview_segment_first(&view->tree, *first, last))) {
		unsigned long low = max(*first, segment->first);
		unsigned long high = min(last, segment->last);

		*first = high + 1;
		if (!(segment->perm & MEMVIEW_MAP_WRITE))
			continue;
		file = get_file(memview_anchor_of(segment)->vm_file);
		*start = memview_segment_file_page(segment, low);
		*start <<= PAGE_SHIFT;
		*end = *start + ((loff_t)(high - low + 1) << PAGE_SHIFT) - 1;
	}
	up_read(&view->lock);
	return file;
}

/**
 * memview_fsync() - ->fsync of a view fd
 * @file:     view fd
 * @start:    first byte of the view
 * @end:      last byte
 * @datasync: as for any file
 *
 * Waits for the files' file systems. An error is reported once to all who use
 * the same open file, as among descriptors that were duplicated.
 *
 * Return: 0, EINTR (killed), or the first error of a file; the others are
 * written back, too.
 */
int memview_fsync(struct file *file, loff_t start, loff_t end, int datasync)
{
	struct memview *view = file_inode(file)->i_private;
	unsigned long first = start >> PAGE_SHIFT;
	unsigned long last = min_t(unsigned long, end >> PAGE_SHIFT,
				   view->pages - 1);
	struct file *shown;
	int ret = 0;

	while ((shown = memview_next_file(view, &first, last, &start, &end))) {
		int err = vfs_fsync_range(shown, start, end, datasync);

		fput(shown);
		if (err && !ret)
			ret = err;
		if (fatal_signal_pending(current))
			return -EINTR;
	}
	return ret;
}
