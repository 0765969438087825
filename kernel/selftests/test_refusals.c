// SPDX-License-Identifier: GPL-2.0-only
/*
 * Only regular files of the file systems that the driver was made for can be
 * mapped into a view; everything else is refused by an allow-list.
 */
#include <linux/kvm.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/mount.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>

#include "memview_test.h"

#ifndef SYS_memfd_secret
#define SYS_memfd_secret	447
#endif
#ifndef SYS_pidfd_open
#define SYS_pidfd_open		434
#endif
#ifndef KVM_CREATE_GUEST_MEMFD
struct kvm_create_guest_memfd {
	__u64 size;
	__u64 flags;
	__u64 reserved[6];
};

#define KVM_CREATE_GUEST_MEMFD	_IOWR(KVMIO, 0xd4, struct kvm_create_guest_memfd)
#endif

#define SIZE	(512 * PAGE)

static void refused(const char *what, int fd, int err)
{
	int ctl = ctl_new(SIZE);
	static const unsigned int flags[] = { RD, RD | WR, RD | EX };

	if (fd < 0)
		FAIL("%s: no fd to try (%s)", what, strerror(errno));
	for (unsigned int i = 0; i < ARRAY_SIZE(flags); i++) {
		long ret = map_fd(ctl, fd, 0, PAGE, 0, flags[i]);

		if (ret >= 0)
			FAIL("%s was mapped (flags %u)", what, flags[i]);
		/* A missing mode may be seen first. */
		if (ret != -err && !(ret == -ERR_MODE && flags[i] & WR))
			FAIL("%s (flags %u): %s, not %s", what, flags[i],
			     strerror((int)-ret), strerror(err));
	}
	CHECK_EQ(get_info(ctl).segments, 0);
	CHECK_EQ(get_info(ctl).maps, 0);
	close(ctl);
	close(fd);
}

static int opened(const char *path, int flags)
{
	return open(path, flags | O_CLOEXEC);
}

TEST(devices)
{
	refused("/dev/zero", opened("/dev/zero", O_RDWR), ERR_KIND);
	refused("/dev/null", opened("/dev/null", O_RDWR), ERR_KIND);
	refused("/dev/mem", opened("/dev/mem", O_RDWR), ERR_KIND);
	refused("/dev/kvm", opened("/dev/kvm", O_RDWR), ERR_KIND);
	refused("/dev/zram0", opened("/dev/zram0", O_RDONLY), ERR_KIND);
	refused("/dev/loop-control", opened("/dev/loop-control", O_RDWR),
		ERR_KIND);
	refused("/dev/kmsg", opened("/dev/kmsg", O_RDWR), ERR_KIND);
	refused("/dev/fuse", opened("/dev/fuse", O_RDWR), ERR_KIND);
	refused("a terminal", opened("/dev/ptmx", O_RDWR), ERR_KIND);
}

TEST(pipes_sockets_and_anonymous_inodes)
{
	sigset_t set;
	int fds[2];

	sigemptyset(&set);
	CHECK_OK(sys(pipe(fds)));
	refused("a pipe's read end", fds[0], ERR_KIND);
	refused("a pipe's write end", fds[1], ERR_KIND);
	CHECK_OK(sys(socketpair(AF_UNIX, SOCK_STREAM, 0, fds)));
	refused("a socket", fds[0], ERR_KIND);
	refused("eventfd", eventfd(0, EFD_CLOEXEC), ERR_KIND);
	refused("epoll", epoll_create1(EPOLL_CLOEXEC), ERR_KIND);
	refused("timerfd", timerfd_create(CLOCK_MONOTONIC, 0), ERR_KIND);
	refused("signalfd", signalfd(-1, &set, 0), ERR_KIND);
	refused("inotify", inotify_init1(IN_CLOEXEC), ERR_KIND);
	refused("pidfd", (int)syscall(SYS_pidfd_open, getpid(), 0), ERR_KIND);
}

TEST(special_memory)
{
	int fd;

	write_file("/proc/sys/vm/nr_hugepages", "4");
	fd = memfd_create("huge", MFD_CLOEXEC | MFD_HUGETLB);
	if (fd < 0)
		FAIL("memfd_create(MFD_HUGETLB): %s", strerror(errno));
	CHECK_OK(sys(ftruncate(fd, 2 * MIB)));
	refused("hugetlb memfd", fd, ERR_KIND);
	write_file("/proc/sys/vm/nr_hugepages", "0");

	fd = (int)syscall(SYS_memfd_secret, O_CLOEXEC);
	if (fd < 0)
		FAIL("memfd_secret: %s (secretmem.enable=1?)",
		     strerror(errno));
	CHECK_OK(sys(ftruncate(fd, PAGE)));
	refused("memfd_secret", fd, ERR_KIND);
}

TEST(kvm_objects)
{
	int kvm = opened("/dev/kvm", O_RDWR);
	int vm = ioctl(kvm, KVM_CREATE_VM, 0);
	struct kvm_create_guest_memfd guest = { .size = SIZE };
	int fd;

	CHECK(vm >= 0);
	fd = ioctl(vm, KVM_CREATE_GUEST_MEMFD, &guest);
	if (fd >= 0)
		refused("guest_memfd", fd, ERR_KIND);
	else	/* Only some kinds of VM can have one. */
		note("guest_memfd: %s", strerror(errno));
	refused("a vCPU", ioctl(vm, KVM_CREATE_VCPU, 0), ERR_KIND);
	refused("a VM", vm, ERR_KIND);
}

TEST(kernel_file_systems)
{
	refused("/proc/self/maps", opened("/proc/self/maps", O_RDONLY),
		ERR_KIND);
	refused("/proc/self/mem", opened("/proc/self/mem", O_RDWR), ERR_KIND);
	refused("/proc/kcore", opened("/proc/kcore", O_RDONLY), ERR_KIND);
	refused("/proc/sys file", opened("/proc/sys/kernel/pid_max", O_RDWR),
		ERR_KIND);
	refused("sysfs file",
		opened("/sys/kernel/mm/transparent_hugepage/enabled", O_RDWR),
		ERR_KIND);
	refused("sysfs binary file", opened("/sys/kernel/notes", O_RDONLY),
		ERR_KIND);
	refused("cgroup file", opened("/sys/fs/cgroup/cgroup.procs", O_RDWR),
		ERR_KIND);
	refused("PCI resource",
		opened("/sys/bus/pci/devices/0000:00:00.0/config", O_RDWR),
		ERR_KIND);
}

TEST(directories)
{
	static const char *const fs[] = {
		"tmpfs", "ext4", "xfs", "btrfs", "overlay", "virtiofs",
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(fs); i++)
		refused(fs[i], opened(fs_dir(fs[i]), O_RDONLY | O_DIRECTORY),
			ERR_KIND);
}

TEST(other_file_systems)
{
	char dir[64], path[80];
	int fd;

	/* A regular file, but on a file system that is not on the list. */
	snprintf(dir, sizeof(dir), "/run/memview-ramfs-%d", getpid());
	CHECK_OK(sys(mkdir(dir, 0700)));
	CHECK_OK(sys(mount("none", dir, "ramfs", 0, NULL)));
	snprintf(path, sizeof(path), "%s/file", dir);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	CHECK_OK(sys(umount2(dir, MNT_DETACH)));
	rmdir(dir);
	CHECK_OK(sys(ftruncate(fd, PAGE)));
	refused("ramfs", fd, ERR_KIND);

	CHECK_OK(sys(mkdir(dir, 0700)));
	CHECK_OK(sys(mount("none", dir, "hugetlbfs", 0, NULL)));
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	CHECK_OK(sys(umount2(dir, MNT_DETACH)));
	rmdir(dir);
	refused("hugetlbfs", fd, ERR_KIND);
}

TEST(symbolic_links_and_fifos)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/fifo-%d", fs_dir("tmpfs"), getpid());
	CHECK_OK(sys(mkfifo(path, 0600)));
	refused("a FIFO", opened(path, O_RDWR), ERR_KIND);
	unlink(path);
	CHECK_OK(sys(symlink("/dev/zero", path)));
	refused("a symlink by O_PATH", opened(path, O_PATH | O_NOFOLLOW),
		EBADF);
	unlink(path);
}

/* What is on the list is taken. */
TEST_EACH_FS(the_allow_list)
{
	int ctl = ctl_new(SIZE);
	int fd = backing_new(1, 4);

	CHECK_OK(map_fd(ctl, fd, 0, 4 * PAGE, 0, RD));
	CHECK_OK(map_fd(ctl, fd, 0, 4 * PAGE, 0, RD | WR));
	CHECK_EQ(must_read(view_mmap(ctl, SIZE, PROT_READ)), stamp(1, 0, 0));
	/* Execution, where mmap(2) itself allows it. */
	if (mmap(NULL, PAGE, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0) !=
	    MAP_FAILED)
		CHECK_OK(map_fd(ctl, fd, 0, 4 * PAGE, 0, RD | EX));
}
