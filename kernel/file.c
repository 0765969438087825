// SPDX-License-Identifier: GPL-2.0-only
/*
 * Which files may be mapped into a view.
 */
#include <linux/fs.h>
#include <linux/magic.h>
#include <linux/mount.h>
#include <linux/shmem_fs.h>

#include "memview.h"

/**
 * memview_fs_allowed() - may files of this kind be mapped into views?
 * @file: any
 *
 * File systems whose ->fault and ->page_mkwrite are known to look at nothing
 * of a VMA but what memview_inner() (entry.c) gives them, and whose pages
 * are page cache pages that are found through i_mmap. Hugetlbfs, devices,
 * secretmem, guest_memfd, anonymous inodes and views are not among them.
 *
 * Return: whether it is one of them.
 */
bool memview_fs_allowed(const struct file *file)
{
	const struct inode *inode = file_inode(file);

	if (!S_ISREG(inode->i_mode) || IS_DAX(inode) ||
	    IS_DAX(file->f_mapping->host))
		return false;
	switch (inode->i_sb->s_magic) {
	case BTRFS_SUPER_MAGIC:
	case EXT4_SUPER_MAGIC:
	case FUSE_SUPER_MAGIC:
	case OVERLAYFS_SUPER_MAGIC:
	case TMPFS_MAGIC:
	case XFS_SUPER_MAGIC:
		return true;
	default:
		return false;
	}
}

/**
 * memview_file_check() - may this file be mapped into a view like that?
 * @file: what MAP_FD was given
 * @perm: MEMVIEW_MAP_* bits
 *
 * What mmap would check, as far as it may differ between two descriptors for
 * one file or change with time. The rest (security modules among it) is checked
 * by mmap itself when the anchor is made; anchors are shared only by equals,
 * see memview_anchor_find().
 *
 * Return: 0, EOPNOTSUPP (kind of file), EACCES (descriptor's mode, append
 * only), EPERM (seals, noexec) or ETXTBSY (swap file).
 */
int memview_file_check(const struct file *file, unsigned int perm)
{
	struct inode *inode = file_inode(file);
	struct address_space *mapping = file->f_mapping;

	if (!memview_fs_allowed(file))
		return -EOPNOTSUPP;
	if (!(file->f_mode & FMODE_READ))
		return -EACCES;
	if (perm & MEMVIEW_MAP_WRITE) {
		if (!(file->f_mode & FMODE_WRITE) || IS_APPEND(inode))
			return -EACCES;
		if (IS_SWAPFILE(mapping->host))
			return -ETXTBSY;
		if (shmem_mapping(mapping) &&
		    SHMEM_I(mapping->host)->seals &
		    (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE))
			return -EPERM;
	}
	if ((perm & MEMVIEW_MAP_EXEC) &&
	    ((file->f_path.mnt->mnt_flags & MNT_NOEXEC) ||
	     (inode->i_sb->s_iflags & SB_I_NOEXEC)))
		return -EPERM;
	return 0;
}
