#!/bin/busybox sh
# SPDX-License-Identifier: Apache-2.0
# PID 1 of the nested host. Its root is a read-only disk, what is shared with the run is below /.rig. This puts a writable
# overlay over the root, goes there, and runs /out/.command. Status and kernel log go to /out, then the machine powers off.
#
# No code may be executed from the shared folders (e2e/rig/machine.ts says why), so they are mounted noexec, and what has to
# be executed is copied into memory first: .snapshot/list names the folders of the checkout.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 TERM="${TERM:-linux}"

# Runs the command and powers off; under systemd, as its last service.
run_command() {
  cd /repo || exit
  # A sign of life: the rig looks at the file's time (e2e/rig/standstill.ts).
  while date >/out/.alive; do sleep 2; done </dev/null >/dev/null 2>&1 &
  stty -F /dev/hvc0 raw -echo
  setsid -c /bin/sh /out/.command </dev/hvc0 >/dev/hvc0 2>&1
  status=$?
  dmesg >/out/.dmesg
  echo $status >/out/.status
  sync
  # Lets the console drain; then ACPI power-off, which ends the emulator with status 0.
  sleep 0.2
  busybox poweroff -f
}
[ "$1" != service ] || run_command

if [ "$1" != second ]; then
  mount -t proc proc /proc
  mount -t devtmpfs dev /dev 2>/dev/null
  modprobe overlay
  mount -t tmpfs -o size=75%,mode=755 tmpfs /mnt
  mkdir /mnt/upper /mnt/work /mnt/root
  mount -t overlay -o lowerdir=/,upperdir=/mnt/upper,workdir=/mnt/work overlay /mnt/root
  # Writes into the checkout stay in this machine's memory.
  mkdir /mnt/repo-upper /mnt/repo-work
  mount -t overlay -o noexec,lowerdir=/.rig/repo,upperdir=/mnt/repo-upper,workdir=/mnt/repo-work overlay /mnt/root/repo
  for dir in out share; do mount --bind /.rig/$dir /mnt/root/$dir; done
  cp -a /.rig/out/.snapshot /mnt/snapshot
  while read -r dir; do mount --bind "/mnt/snapshot/$dir" "/mnt/root/repo/$dir"; done </mnt/snapshot/list
  mount --move /proc /mnt/root/proc
  mount --move /dev /mnt/root/dev
  cd /mnt/root || exit
  # Guests of this machine get the same lower layer for their own overlays.
  mkdir .hostroot
  pivot_root . .hostroot
  exec chroot . busybox sh /repo/e2e/guest/host-init.sh second
fi

# As an init system does it: a sandboxed daemon sees what is mounted below its directory later.
mount --make-rshared /
mount -t sysfs sysfs /sys
mount -t tmpfs -o mode=1777 tmpfs /tmp
mount -t tmpfs -o mode=755 tmpfs /run
mount -t debugfs debugfs /sys/kernel/debug 2>/dev/null
mount -t cgroup2 cgroup2 /sys/fs/cgroup 2>/dev/null
mkdir -p /dev/pts /dev/shm
mount -t devpts -o ptmxmode=666 devpts /dev/pts
mount -t tmpfs -o mode=1777 tmpfs /dev/shm
ln -sf /proc/self/fd /dev/fd
modprobe virtio_blk
hostname nested-host
ip link set lo up
# shellcheck disable=SC3045 # dash has it
ulimit -c 0

if grep -qw viewfsd.init=systemd /proc/cmdline; then
  units=/run/systemd/system
  mkdir -p $units/multi-user.target.wants
  cat >$units/viewfsd-run.service <<'EOF'
[Unit]
After=multi-user.target
DefaultDependencies=no
[Service]
Type=simple
ExecStart=/bin/busybox sh /repo/e2e/guest/host-init.sh service
EOF
  ln -s ../viewfsd-run.service $units/multi-user.target.wants/
  exec /lib/systemd/systemd
fi
run_command
