#!/bin/busybox sh
# SPDX-License-Identifier: Apache-2.0
# PID 1 of a guest: mounts what a user land needs and serves e2e/guest/agent.ts on the first virtio-serial port.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 TERM=linux
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev 2>/dev/null
mkdir -p /dev/pts /dev/shm
mount -t devpts -o ptmxmode=666 devpts /dev/pts
mount -t tmpfs -o mode=1777 tmpfs /dev/shm
mount -t tmpfs -o mode=755 tmpfs /run
mount -t debugfs debugfs /sys/kernel/debug 2>/dev/null
ln -sf /proc/self/fd /dev/fd
hostname guest
ip link set lo up 2>/dev/null
# shellcheck disable=SC3045 # dash has it
ulimit -c 0
# shellcheck disable=SC2013 # words are what is wanted
for word in $(cat /proc/cmdline); do
  case "$word" in viewfsd.token=*) token=${word#*=} ;; esac
done

tries=0
until set -- /dev/vport*p1 && [ -c "$1" ]; do
  tries=$((tries + 1)); [ $tries -lt 100 ] || { echo "no agent port"; break; }
  sleep 0.1
done
exec 3<>"$1"
cd /root || exit
echo "@@READY $token" >&3
while read -r number line <&3; do
  echo "$line" | base64 -d >/run/agent-script
  # Each write to the port costs an exit to the host, so the output is sent in one go.
  setsid /bin/sh /run/agent-script </dev/null >/run/agent-output 2>&1
  printf '\n@@DONE %s %s %s\n' "$token" "$number" $? >>/run/agent-output
  cat /run/agent-output >&3
done
echo "agent port closed" >/dev/console
poweroff -f
