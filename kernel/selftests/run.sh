#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# Runs the memory-view selftests on the running kernel, as root:
#
#   run.sh [-m MODULE.ko] [-b BIN_DIR] [-s STRESS_SECONDS] [-p PATIENCE] [-k]
#          [TEST...]
#
# Loads the module, makes a small file system of each kind that the driver
# must work on, runs every test program (or those named) under a time limit,
# and unloads the module again, which proves that nothing holds it. Each
# program reads the kernel log after each of its tests; this script reads all
# of it once more at the end. One TAP stream; exit status 0 only if all passed.
# PATIENCE multiplies time limits, for slow kernels.
# MEMVIEW_DIFFERENCES, if set, names a file with tests that this driver is not
# meant to pass: lines "PROGRAM TEST REASON". They are left out, and said so.
# -k keeps module and mounts (to run a program by hand afterwards).

# The steps of the set-up are called through must().
# shellcheck disable=SC2317
set -u
here=$(cd "$(dirname "$0")" && pwd)
module=$here/../memory_view.ko
bin=$here
keep=
stress=60
patience=1
while getopts m:b:s:p:k opt; do
	case $opt in
	m) module=$OPTARG ;;
	b) bin=$OPTARG ;;
	s) stress=$OPTARG ;;
	p) patience=$OPTARG ;;
	k) keep=yes ;;
	*) exit 2 ;;
	esac
done
shift $((OPTIND - 1))

base=/run/memview-test
# A directory on virtiofs (in the rig: the one that it shares with the run).
shared=${MEMVIEW_SHARED_DIR:-/out/memview-test}
number=0
failed=0

point() { # ok|"not ok" NAME
	number=$((number + 1))
	[ "$1" = ok ] || failed=$((failed + 1))
	echo "$1 $number - $2"
}

must() { # NAME COMMAND...: a step of the set-up; without it no test can run
	name=$1
	shift
	if ! out=$("$@" 2>&1); then
		echo "$out" | sed 's/^/# /'
		point 'not ok' "set-up: $name"
		cleanup
		finish
	fi
}

finish() {
	echo "1..$number"
	echo "# $failed of $number failed"
	[ "$failed" = 0 ]
	exit
}

loop_fs() { # KIND MIB MKFS-OPTIONS...
	kind=$1
	size=$2
	shift 2
	truncate -s "${size}M" "$base/images/$kind.img" &&
		"mkfs.$kind" "$@" "$base/images/$kind.img" &&
		mkdir -p "$base/$kind" &&
		mount -o loop "$base/images/$kind.img" "$base/$kind"
}

overlay_fs() {
	layers=$base/ext4/layers
	mkdir -p "$layers/lower" "$layers/upper" "$layers/work" \
		"$base/overlay" &&
		mount -t overlay overlay -o "lowerdir=$layers/lower,upperdir=$layers/upper,workdir=$layers/work" "$base/overlay"
}

virtiofs_dir() {
	mkdir -p "$shared" &&
		case $(stat -f -c %T "$shared") in
		fuse | fuseblk | virtiofs) true ;;
		*) [ "$(stat -f -c %t "$shared")" = 65735546 ] ;;
		esac &&
		# The rig mounts what it shares noexec; tests execute scripts.
		mount --bind "$shared" "$shared" &&
		mount -o remount,bind,exec "$shared"
}

swap_on() {
	modprobe zram num_devices=1 2>/dev/null
	[ -b /dev/zram0 ] || return 1
	grep -q zram0 /proc/swaps && return 0
	echo 512M >/sys/block/zram0/disksize && mkswap /dev/zram0 &&
		swapon /dev/zram0
}

cgroup2() {
	[ -e /sys/fs/cgroup/cgroup.controllers ] ||
		mount -t cgroup2 none /sys/fs/cgroup
}

cleanup() {
	[ -z "$keep" ] || return
	cd /
	swapoff /dev/zram0 2>/dev/null
	# Its size can be set once, and there may be another run.
	echo 1 >/sys/block/zram0/reset 2>/dev/null
	for dir in overlay xfs btrfs ext4 huge tmpfs images; do
		if mountpoint -q "$base/$dir" && ! umount "$base/$dir"; then
			point 'not ok' "umount of $dir"
		fi
	done
	mountpoint -q "$base" && umount "$base"
	mountpoint -q "$shared" && umount "$shared"
	rm -rf "$shared"
}

echo "TAP version 13"
echo "# $(uname -r), $(nproc) CPUs, $(awk '/MemTotal/ {print $2}' /proc/meminfo) KiB"
[ "$(id -u)" = 0 ] || must "run as root" false
mountpoint -q /dev/shm || { mkdir -p /dev/shm && mount -t tmpfs none /dev/shm; }
mountpoint -q /sys/kernel/debug || mount -t debugfs none /sys/kernel/debug 2>/dev/null

mark="memview-selftest: begin $$ $(cat /proc/uptime)"
echo "$mark" >/dev/kmsg
# A task that hangs must show up within the test's own time limit.
echo $((20 * patience)) >/proc/sys/kernel/hung_task_timeout_secs 2>/dev/null
echo 1 >/proc/sys/kernel/sysrq

if [ -n "$keep" ] && mountpoint -q "$base"; then
	: # left by an earlier -k
else
	mkdir -p "$base"
	must "tmpfs" mount -t tmpfs -o size=3G none "$base"
	mkdir -p "$base/images" "$base/tmpfs" "$base/huge"
	for m in loop ext4 xfs btrfs overlay; do
		modprobe $m 2>/dev/null
	done
	must "tmpfs for tests" mount -t tmpfs -o size=1G none "$base/tmpfs"
	must "tmpfs of huge pages" \
		mount -t tmpfs -o size=1G,huge=always none "$base/huge"
	must "ext4" loop_fs ext4 256 -q -F
	must "xfs" loop_fs xfs 320 -q -f
	must "btrfs" loop_fs btrfs 256 -q -f
	must "overlay" overlay_fs
fi
must "virtiofs (a FUSE file system at $shared)" virtiofs_dir
must "swap on zram" swap_on
must "cgroup2" cgroup2
[ -e /dev/kvm ] || must "kvm-amd" modprobe kvm-amd
[ -e /dev/kvm ] || must "/dev/kvm" false

export MEMVIEW_DIRS="tmpfs=$base/tmpfs huge=$base/huge ext4=$base/ext4 xfs=$base/xfs btrfs=$base/btrfs overlay=$base/overlay virtiofs=$shared"
export MEMVIEW_IMAGES="$base/images"
MEMVIEW_MODULE=$(readlink -f "$module")
export MEMVIEW_MODULE
export MEMVIEW_CORPUS="$here/corpus.txt"
export MEMVIEW_STRESS_SECONDS="$stress"
export MEMVIEW_PATIENCE="$patience"

if ! grep -q '^memory_view ' /proc/modules; then
	if out=$(insmod "$module" 2>&1); then
		point ok "module loads"
	else
		echo "# insmod $module: $out"
		dmesg | tail -20 | sed 's/^/# kernel: /'
		point 'not ok' "module loads"
		cleanup
		finish
	fi
fi
# udev, where there is one, makes the node in its own time.
tries=0
while [ ! -c /dev/memory-view ] && [ $tries -lt 50 ]; do
	sleep 0.1
	tries=$((tries + 1))
done

if [ $# = 0 ]; then
	for source in "$here"/test_*.c; do
		program=${source##*/}
		program=${program%.c}
		if [ "$program" = test_allocation_failures ] &&
			[ ! -e /proc/self/make-it-fail ]; then
			echo "# not for this kernel: $program (it has no fault injection; e2e/sanitizers builds one)"
			continue
		fi
		set -- "$@" "$program"
	done
fi
for name; do
	begin=$(date +%s)
	echo "# Subtest: $name"
	# Beyond what the program's own limits allow: it never gets here.
	{
		timeout -k 5 $((stress + 240 * patience)) "$bin/$name" 2>&1
		echo $? >"$base/status"
	} | sed -u 's/^/    /'
	status=$(cat "$base/status")
	echo "# $name: $(($(date +%s) - begin)) s"
	if [ "$status" = 0 ]; then
		point ok "$name"
	else
		point 'not ok' "$name"
	fi
done

cleanup
if [ -w /sys/kernel/debug/kmemleak ]; then
	# What was just freed may still be seen in registers and stacks.
	sleep 6
	echo scan >/sys/kernel/debug/kmemleak
	if grep . /sys/kernel/debug/kmemleak | sed 's/^/# /' | grep .; then
		point 'not ok' "memory that nobody refers to"
	else
		point ok "memory that nobody refers to"
	fi
fi
if [ -z "$keep" ]; then
	tries=0
	# Grace periods of the last view may still run.
	while :; do
		refs=$(awk '$1 == "memory_view" {print $3}' /proc/modules)
		[ "$refs" = 0 ] && break
		tries=$((tries + 1))
		[ $tries -lt 50 ] || break
		sleep 0.1
	done
	if [ "$refs" = 0 ] && out=$(rmmod memory_view 2>&1); then
		point ok "module unloads: nothing leaked"
	else
		echo "# references: $refs ${out:-}"
		point 'not ok' "module unloads: nothing leaked"
	fi
fi

bad='BUG|WARNING|Bad page|Oops|lockdep|INFO: (task|possible)|blocked for more than|detected stall|refcount_t|general protection|KASAN|UBSAN|KFENCE|Bad rss-counter|panic|scheduling while atomic|unable to handle|Busy inodes'
dmesg | awk -v mark="$mark" 'seen; index($0, mark) {seen = 1}' >"/tmp/memview-log.$$"
if grep -E "$bad" "/tmp/memview-log.$$" | sed 's/^/# kernel: /' | grep .; then
	point 'not ok' "kernel log of the whole run"
else
	point ok "kernel log of the whole run"
fi
rm -f "/tmp/memview-log.$$"
finish
