// SPDX-License-Identifier: Apache-2.0
/** Kinds of file systems under the share that want something of their own, through this kernel's FUSE client. */
import { execFileSync, spawnSync } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { mountBadDisk } from './harness/bad-disk.ts'
import { dropInodeCache, mountForClient } from './harness/client-mount.ts'
import { makeScratch, removeScratch } from './harness/daemon.ts'
import { ROOT_ID } from './harness/fuse-abi.ts'
import { outcome, startSession } from './harness/session.ts'

const O_PATH = 0o10000000
/** More than the daemon keeps descriptors for. */
const FILES = 200

function scratchDirectory(): string {
  const scratch = makeScratch()
  onTestFinished(() => {
    removeScratch(scratch)
  })
  return scratch
}

/** `mount ...options mountPoint`, until the test ends. */
function mount(mountPoint: string, ...options: string[]): void {
  execFileSync('mount', [...options, mountPoint])
  onTestFinished(() => {
    spawnSync('umount', ['--lazy', mountPoint], { stdio: 'ignore' })
  })
}

test.each(['namespace', 'chroot', 'none'])('--sandbox=%s: the host mounts and unmounts below', async (sandbox) => {
  const scratch = scratchDirectory()
  mount(scratch, '-t', 'tmpfs', 'viewfsd-test')
  // As systemd has made every mount of an ordinary host.
  execFileSync('mount', ['--make-shared', scratch])
  const share = path.join(scratch, 'share')
  for (const name of ['early', 'late']) fs.mkdirSync(path.join(share, name), { recursive: true })
  mount(path.join(share, 'early'), '-t', 'tmpfs', 'viewfsd-test')
  const { client } = await startSession({ sharedDir: share, args: [`--sandbox=${sandbox}`] })
  mount(path.join(share, 'late'), '-t', 'tmpfs', 'viewfsd-test')
  for (const name of ['early', 'late']) {
    fs.writeFileSync(path.join(share, name, 'file'), name)
    const { nodeid } = client.lookup(client.lookup(ROOT_ID, name).nodeid, 'file')
    const fh = client.open(nodeid, fs.constants.O_RDONLY)
    expect(client.read(nodeid, fh, 0, 10).toString()).toBe(name)
    client.release(nodeid, fh)
    expect(client.getattr(nodeid).size).toBe(name.length)
    execFileSync('umount', [path.join(share, name)])
    expect(outcome(() => client.getattr(nodeid))).toBe('ESTALE')
    expect(outcome(() => client.lookup(client.lookup(ROOT_ID, name).nodeid, 'file'))).toBe('ENOENT')
  }
})

test('a share on a FUSE file system: what the guest holds without having opened it never goes stale', async () => {
  const disk = await mountBadDisk()
  fs.mkdirSync(disk.at('project'))
  const names = Array.from({ length: FILES }, (_, index) => `file-${index}`)
  for (const name of names) fs.writeFileSync(disk.at('project', name), name)
  // A cache of 128 descriptors.
  const mountPoint = await mountForClient(disk.mountPoint, { descriptorLimit: 2048, cache: 'never' })
  const directory = fs.openSync(path.join(mountPoint, 'project'), O_PATH)
  const files = names.map((name) => fs.openSync(path.join(mountPoint, 'project', name), O_PATH))
  try {
    dropInodeCache()
    expect(files.map((fd) => fs.fstatSync(fd).size)).toEqual(names.map((name) => name.length))
    expect(fs.readFileSync(`/proc/self/fd/${directory}/file-7`, 'utf8')).toBe('file-7')
    fs.mkdirSync(`/proc/self/fd/${directory}/new`)
    expect(fs.existsSync(path.join(disk.backing, 'project', 'new'))).toBe(true)
    expect(fs.readFileSync(`/proc/self/fd/${files[8]}`, 'utf8')).toBe('file-8')
  } finally {
    for (const fd of [directory, ...files]) fs.closeSync(fd)
  }
})

/** Prints the file handle of a path, or opens one in a mount and prints what is there. */
const HANDLES = `
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static union { struct file_handle handle; unsigned char bytes[sizeof(struct file_handle) + MAX_HANDLE_SZ]; } room;

int main(int argc, char **argv) {
  if (argc == 2) {
    int mount;
    room.handle.handle_bytes = MAX_HANDLE_SZ;
    if (name_to_handle_at(AT_FDCWD, argv[1], &room.handle, &mount, 0) < 0) return puts(strerror(errno)), 0;
    for (unsigned i = 0; i < sizeof(struct file_handle) + room.handle.handle_bytes; i++) printf("%02x", room.bytes[i]);
    return puts(""), 0;
  }
  for (unsigned i = 0; i < strlen(argv[2]) / 2; i++) sscanf(argv[2] + 2 * i, "%2hhx", &room.bytes[i]);
  int mount = open(argv[1], O_RDONLY | O_DIRECTORY), fd = open_by_handle_at(mount, &room.handle, O_RDONLY);
  struct stat status;
  if (fd < 0 || fstat(fd, &status) < 0) return puts(strerror(errno)), 0;
  char where[64], name[4096] = {0};
  snprintf(where, sizeof(where), "/proc/self/fd/%d", fd);
  if (readlink(where, name, sizeof(name) - 1) < 0) return puts(strerror(errno)), 0;
  printf("%lu %s\\n", (unsigned long)status.st_ino, S_ISDIR(status.st_mode) ? name : "");
}
`

function buildHandles(): (...words: string[]) => string {
  const program = path.join(scratchDirectory(), 'handles')
  fs.writeFileSync(`${program}.c`, HANDLES)
  execFileSync(process.env['CC'] ?? 'cc', ['-o', program, `${program}.c`])
  return (...words) => execFileSync(program, words, { encoding: 'utf8' }).trimEnd()
}

test('open_by_handle_at after the client has forgotten the inodes, as an NFS server would', async () => {
  const handles = buildHandles()
  const share = scratchDirectory()
  fs.mkdirSync(path.join(share, 'a', 'b', 'c'), { recursive: true })
  for (const name of ['file', 'gone']) fs.writeFileSync(path.join(share, 'a', 'b', name), name)
  fs.mkdirSync(path.join(share, 'moved'))
  const mountPoint = await mountForClient(share)
  const names = ['a/b/file', 'a/b', 'a/b/c', 'a/b/gone', 'moved']
  const [file = '', b = '', c = '', gone = '', moved = ''] = names.map((name) => handles(path.join(mountPoint, name)))
  const numbers = names.map((name) => fs.statSync(path.join(share, name)).ino)
  fs.unlinkSync(path.join(share, 'a', 'b', 'gone'))
  const outside = scratchDirectory()
  fs.renameSync(path.join(share, 'moved'), path.join(outside, 'moved'))
  dropInodeCache()
  expect(handles(mountPoint, file)).toBe(`${numbers[0]}`)
  // Directories are found with all that lies above them.
  expect(handles(mountPoint, c)).toBe(`${numbers[2]} ${mountPoint}/a/b/c`)
  expect(handles(mountPoint, b)).toBe(`${numbers[1]} ${mountPoint}/a/b`)
  expect(handles(mountPoint, gone)).toBe('Stale file handle')
  expect(handles(mountPoint, moved)).toBe('Stale file handle')
})

test('where inodes have no handles, the client makes none', async () => {
  const handles = buildHandles()
  const share = scratchDirectory()
  fs.writeFileSync(path.join(share, 'file'), '')
  const mountPoint = await mountForClient(share, { inodeFileHandles: 'never' })
  expect(handles(path.join(mountPoint, 'file'))).toBe('Operation not supported')
})

/** Inode numbers. */
const numbersIn = (folder: string, ...names: string[]): bigint[] =>
  names.map((name) => fs.statSync(path.join(folder, name), { bigint: true }).ino)

test('a share in a share: numbers that one has made up are the other’s own', async () => {
  const scratch = scratchDirectory()
  const at = (...names: string[]): string => path.join(scratch, ...names)
  for (const name of ['inner', 'one', 'two']) fs.mkdirSync(at(name))
  for (const name of ['one', 'two']) {
    mount(at(name), '-t', 'tmpfs', 'viewfsd-test')
    fs.writeFileSync(at(name, 'file'), name)
  }
  for (const name of ['own', 'b1', 'b2']) fs.writeFileSync(at('inner', name), '')
  mount(at('inner', 'b1'), '--bind', at('one', 'file'))
  const inner = await mountForClient(at('inner'))
  const [made = 0n] = numbersIn(inner, 'b1')
  expect(made >> 52n).toBe(1n)
  // Now a file of another device below the outer share, which wants just such a number.
  mount(path.join(inner, 'b2'), '--bind', at('two', 'file'))
  const first = await mountForClient(inner)
  const [b1, b2, own] = numbersIn(first, 'b1', 'b2', 'own')
  // The share's own come first here, and stay.
  expect([b1, own]).toEqual([made, ...numbersIn(at('inner'), 'own')])
  expect(new Set([b1, b2, own]).size).toBe(3)
  const second = await mountForClient(inner)
  const [other] = numbersIn(second, 'b2')
  const again = numbersIn(second, 'b1', 'b2', 'own')
  expect(new Set(again).size).toBe(3)
  expect([again[1], again[2]]).toEqual([other, own])
})
