// SPDX-License-Identifier: GPL-2.0-only
/*
 * The device /dev/memory-view: control fds and their ioctls.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "compat.h"
#include "memview.h"

#define CREATE_TRACE_POINTS
#include "trace.h"

/* What the structs held in ABI version 1; callers may not send less. */
#define MEMVIEW_INFO_SIZE_V1		72
#define MEMVIEW_MAP_FD_INFO_SIZE_V1	40
#define MEMVIEW_UNMAP_SIZE_V1		16
#define MEMVIEW_UNMAP_BATCH_SIZE_V1	16
/* And in version 3. */
#define MEMVIEW_USE_SIZE_V3		40

static int memview_open(struct inode *inode, struct file *file)
{
	struct memview *view = memview_create();

	if (IS_ERR(view))
		return PTR_ERR(view);
	file->private_data = view;
	return nonseekable_open(inode, file);
}

static int memview_release(struct inode *inode, struct file *file)
{
	memview_close(file->private_data);
	return 0;
}

/*
 * Reads a struct of ours of which the caller knows @usize bytes, as
 * copy_struct_from_user() does, but with a lower limit.
 */
static int memview_read(void *dst, size_t ksize, size_t minimum,
			const void __user *src, size_t usize)
{
	if (usize < minimum)
		return -EINVAL;
	return copy_struct_from_user(dst, ksize, src, usize);
}

static long memview_ioctl_get_info(struct memview *view, void __user *arg,
				   size_t usize)
{
	struct memview_info info;
	size_t size = min(usize, sizeof(info));

	if (usize < MEMVIEW_INFO_SIZE_V1)
		return -EINVAL;
	memview_get_info(view, &info);
	if (copy_to_user(arg, &info, size) ||
	    clear_user(arg + size, usize - size))
		return -EFAULT;
	return 0;
}

static long memview_ioctl_get_use(struct memview *view, void __user *arg,
				  size_t usize)
{
	struct memview_use use = {};
	size_t size = min(usize, sizeof(use));
	unsigned long first;
	int ret;

	if (usize < MEMVIEW_USE_SIZE_V3)
		return -EINVAL;
	if (copy_from_user(&use.range, arg, sizeof(use.range)))
		return -EFAULT;
	ret = memview_check_range(view, use.range.mem_offset, use.range.size);
	if (ret)
		return ret;
	first = use.range.mem_offset >> PAGE_SHIFT;
	ret = memview_get_use(view, first,
			      first + (use.range.size >> PAGE_SHIFT) - 1, &use);
	if (ret)
		return ret;
	if (copy_to_user(arg, &use, size) ||
	    clear_user(arg + size, usize - size))
		return -EFAULT;
	return 0;
}

static long memview_ioctl_set_size(struct memview *view, void __user *arg)
{
	u64 size;

	if (copy_from_user(&size, arg, sizeof(size)))
		return -EFAULT;
	return memview_set_size(view, size);
}

static long memview_ioctl_set_fault_policy(struct memview *view,
					   void __user *arg)
{
	u64 policy;

	if (copy_from_user(&policy, arg, sizeof(policy)))
		return -EFAULT;
	return memview_set_fault_policy(view, policy);
}

static long memview_ioctl_map_fd(struct memview *view, void __user *arg,
				 size_t usize)
{
	struct memview_map_fd_info info;
	int ret;

	ret = memview_read(&info, sizeof(info), MEMVIEW_MAP_FD_INFO_SIZE_V1,
			   arg, usize);
	return ret ? ret : memview_map(view, &info);
}

static long memview_ioctl_unmap_fd(struct memview *view, void __user *arg,
				   size_t usize)
{
	struct memview_unmap unmap;
	int ret;

	ret = memview_read(&unmap, sizeof(unmap), MEMVIEW_UNMAP_SIZE_V1, arg,
			   usize);
	if (ret)
		return ret;
	if (unmap.flags & ~MEMVIEW_UNMAP_REPORT_PINS)
		return -EINVAL;
	ret = memview_check_range(view, unmap.range.mem_offset,
				  unmap.range.size);
	if (ret)
		return ret;
	return min_t(unsigned long, INT_MAX,
		     memview_unmap(view, &unmap.range, unmap.flags));
}

static long memview_ioctl_unmap_fds(struct memview *view, void __user *arg,
				    size_t usize)
{
	struct memview_unmap_batch batch;
	struct memview_range *ranges;
	unsigned long pins = 0;
	u32 i;
	int ret;

	ret = memview_read(&batch, sizeof(batch), MEMVIEW_UNMAP_BATCH_SIZE_V1,
			   arg, usize);
	if (ret)
		return ret;
	if ((batch.flags & ~MEMVIEW_UNMAP_REPORT_PINS) || !batch.count ||
	    batch.count > MEMVIEW_UNMAP_MAX)
		return -EINVAL;
	ranges = vmemdup_user(u64_to_user_ptr(batch.ranges),
			      batch.count * sizeof(*ranges));
	if (IS_ERR(ranges))
		return PTR_ERR(ranges);
	for (i = 0; i < batch.count && !ret; i++)
		ret = memview_check_range(view, ranges[i].mem_offset,
					  ranges[i].size);
	for (i = 0; i < batch.count && !ret; i++)
		pins += memview_unmap(view, &ranges[i], batch.flags);
	kvfree(ranges);
	return ret ? ret : min_t(unsigned long, INT_MAX, pins);
}

static long memview_ioctl(struct file *file, unsigned int cmd,
			  unsigned long arg)
{
	struct memview *view = file->private_data;
	void __user *uarg = (void __user *)arg;
	size_t size = _IOC_SIZE(cmd);

	/* The size in a command is the caller's; all else must be ours. */
	switch (cmd & ~IOCSIZE_MASK) {
	case MEMVIEW_GET_INFO & ~IOCSIZE_MASK:
		return memview_ioctl_get_info(view, uarg, size);
	case MEMVIEW_SET_SIZE & ~IOCSIZE_MASK:
		if (cmd != MEMVIEW_SET_SIZE)
			break;
		return memview_ioctl_set_size(view, uarg);
	case MEMVIEW_MAP_FD & ~IOCSIZE_MASK:
		return memview_ioctl_map_fd(view, uarg, size);
	case MEMVIEW_UNMAP_FD & ~IOCSIZE_MASK:
		return memview_ioctl_unmap_fd(view, uarg, size);
	case MEMVIEW_UNMAP_FDS & ~IOCSIZE_MASK:
		return memview_ioctl_unmap_fds(view, uarg, size);
	case MEMVIEW_GET_VIEWFD & ~IOCSIZE_MASK:
		if (cmd != MEMVIEW_GET_VIEWFD)
			break;
		return memview_get_viewfd(view);
	case MEMVIEW_GET_USE & ~IOCSIZE_MASK:
		return memview_ioctl_get_use(view, uarg, size);
	case MEMVIEW_SET_FAULT_POLICY & ~IOCSIZE_MASK:
		if (cmd != MEMVIEW_SET_FAULT_POLICY)
			break;
		return memview_ioctl_set_fault_policy(view, uarg);
	}
	return -ENOTTY;
}

static const struct file_operations memview_fops = {
	.owner = THIS_MODULE,
	.open = memview_open,
	.release = memview_release,
	.unlocked_ioctl = memview_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
};

static struct miscdevice memview_device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "memory-view",
	.fops = &memview_fops,
	.mode = 0600,
};

static int __init memview_init(void)
{
	int ret;

	BUILD_BUG_ON(sizeof(struct memview_info) < MEMVIEW_INFO_SIZE_V1);
	BUILD_BUG_ON(sizeof(struct memview_map_fd_info) <
		     MEMVIEW_MAP_FD_INFO_SIZE_V1);
	BUILD_BUG_ON(sizeof(struct memview_unmap) < MEMVIEW_UNMAP_SIZE_V1);
	BUILD_BUG_ON(sizeof(struct memview_unmap_batch) <
		     MEMVIEW_UNMAP_BATCH_SIZE_V1);
	BUILD_BUG_ON(sizeof(struct memview_use) < MEMVIEW_USE_SIZE_V3);

	ret = memview_anchors_init();
	if (ret)
		return ret;
	ret = memview_watches_init();
	if (ret)
		goto anchors;
	ret = misc_register(&memview_device);
	if (ret)
		goto watches;
	return 0;
watches:
	memview_watches_exit();
anchors:
	memview_anchors_exit();
	return ret;
}

static void __exit memview_exit(void)
{
	misc_deregister(&memview_device);
	memview_watches_exit();
	memview_anchors_exit();
}

module_init(memview_init);
module_exit(memview_exit);
MODULE_DESCRIPTION("Memory views: revocable mappings of file ranges");
MODULE_LICENSE("GPL");
MODULE_VERSION("0.1.0");
