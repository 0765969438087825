// SPDX-License-Identifier: Apache-2.0
/**
 * The passthrough file system under ordinary programs, through this kernel's own FUSE client: what a guest's programs do
 * in earnest, without a guest. Three threads serve it, as several request queues would.
 */
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { DEV_FUSE_SERVER } from './harness/dev-fuse.ts'

let scratch: string
let share: string
let mountPoint: string
let server: ChildProcess
beforeAll(async () => {
  scratch = fs.mkdtempSync(path.join(os.tmpdir(), 'viewfsd-client-'))
  fs.chmodSync(scratch, 0o755)
  share = path.join(scratch, 'share')
  mountPoint = path.join(scratch, 'mount')
  fs.mkdirSync(share)
  fs.mkdirSync(mountPoint)
  server = spawn(process.execPath, [...DEV_FUSE_SERVER, share, mountPoint, '{}', '3'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  if (server.stdout === null) throw new Error('no output')
  const [line] = await Promise.race([
    once(server.stdout, 'data'),
    once(server, 'exit').then(() => ['the server has not started']),
  ])
  if (!String(line).startsWith('ready')) throw new Error(String(line))
})
afterAll(async () => {
  const exited = once(server, 'exit')
  execFileSync('umount', [mountPoint])
  // A mount namespace that somebody made meanwhile may keep the mount, and so the server.
  server.kill('SIGKILL')
  await exited
  fs.rmSync(scratch, { recursive: true, force: true })
})

/** Runs a shell script in the mount; every command must succeed. */
function sh(script: string, input?: string): string {
  return execFileSync('bash', ['-euo', 'pipefail', '-c', script], {
    cwd: mountPoint,
    encoding: 'utf8',
    ...(input === undefined ? {} : { input }),
    env: { ...process.env, HOME: scratch, GIT_CONFIG_NOSYSTEM: '1' },
  })
}

/** Compiles a C program outside of the mount and runs it in it. */
function runC(source: string): string {
  const program = path.join(scratch, 'program')
  fs.writeFileSync(`${program}.c`, source)
  execFileSync(process.env['CC'] ?? 'cc', ['-D_GNU_SOURCE', '-pthread', '-o', program, `${program}.c`])
  // The program says itself what went wrong.
  return spawnSync(program, { cwd: mountPoint, encoding: 'utf8' }).stdout
}

test('git commits, packs, clones and finds its repository sound', () => {
  const output = sh(`
    git init -q repo && cd repo
    git config user.email tester@example.org && git config user.name Tester
    for i in $(seq 150); do mkdir -p d$((i % 7)); echo "line $i" > d$((i % 7))/f$i; done
    ln -s d1/f1 link && chmod 755 d2/f2
    git add . && git commit -qm one
    git mv d1/f1 d2/moved && git commit -qm two
    git gc -q && git fsck --strict
    git clone -q . ../clone && cd ../clone && git status --short && git log --oneline | wc -l
  `)
  expect(output.trim().split('\n').at(-1)).toBe('2')
  sh('rm -rf repo clone')
})

test('tar brings back what it has packed: modes, owners, times, links, sparse files', () => {
  sh(`
    mkdir tree && cd tree
    echo text > file && chmod 4711 file && chown 12:34 file && chmod 4711 file
    ln file hard && ln -s nowhere soft && mkfifo fifo && mknod device c 1 3
    truncate -s 100M sparse && echo end >> sparse
    touch -h -d @1000000000.123456789 soft && touch -d @1234567890.987654321 file && mkdir -m 1777 sticky
    cd .. && tar --format=pax -cSf tree.tar tree && mkdir copy && tar -xpSf tree.tar -C copy
  `)
  const listing = 'find . -printf "%P %y %m %U:%G %s %T@ %n %l\\n" | grep -v "^ " | sort'
  expect(sh(`cd copy/tree && ${listing}`)).toBe(sh(`cd tree && ${listing}`))
  expect(Number(sh('stat -c %b copy/tree/sparse'))).toBeLessThan(100)
  sh('cmp tree/sparse copy/tree/sparse && rm -rf tree copy tree.tar')
})

test('several processes append to one file, and no line is lost or torn', () => {
  sh(`
    for p in 1 2 3 4; do (for i in $(seq 200); do echo "process $p line $i of two hundred" >> log; done) & done; wait
  `)
  expect(sh('wc -l < log; sort -u log | wc -l; rm log')).toBe('800\n800\n')
})

function asNobody(script: string): string {
  return `setpriv --reuid=65534 --regid=65534 --clear-groups sh -c '${script}'`
}

test('ordinary users: ownership, umask, sticky directories, refusals', () => {
  const output = sh(`
    mkdir -m 1777 tmp && mkdir -m 755 closed && echo secret > private && chmod 600 private
    ${asNobody('umask 027; echo mine > tmp/file; mkdir tmp/dir')}
    stat -c "%n %u:%g %a" tmp/file tmp/dir
    ! ${asNobody('echo x > closed/file')} 2>/dev/null
    ! ${asNobody('cat private')} 2>/dev/null
    echo root > tmp/root && ! ${asNobody('rm -f tmp/root')} 2>/dev/null
    rm -r tmp closed private
  `)
  expect(output).toBe('tmp/file 65534:65534 640\ntmp/dir 65534:65534 750\n')
})

test('a setgid directory: the group of a supplementary member', () => {
  const output = sh(`
    mkdir team && chgrp 4321 team && chmod 2775 team
    setpriv --reuid=1234 --regid=1234 --groups=4321 sh -c 'umask 002; echo x > team/file; mkdir team/dir'
    stat -c "%n %u:%g %a" team/file team/dir && rm -r team
  `)
  expect(output).toBe('team/file 1234:4321 664\nteam/dir 1234:4321 2775\n')
})

test('a write by an ordinary user takes setuid away', () => {
  const output = sh(`
    echo x > program && chmod 6777 program
    setpriv --reuid=1234 --regid=1234 --clear-groups sh -c 'echo y >> program'
    stat -c %a program && rm program
  `)
  expect(output).toBe('777\n')
})

describe('system calls', () => {
  const HEADER = `
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>
#include <unistd.h>
#define CHECK(x) do { if (!(x)) { printf("line %d: %s: %s\\n", __LINE__, #x, strerror(errno)); exit(1); } } while (0)
`
  test('rename over open files, exchange, unlinked files, O_TMPFILE', () => {
    const output = runC(`${HEADER}
int main(void) {
  char buffer[64] = {0};
  int a = open("a", O_CREAT | O_RDWR, 0644), b = open("b", O_CREAT | O_RDWR, 0644);
  CHECK(write(a, "first", 5) == 5 && write(b, "second", 6) == 6);
  CHECK(renameat2(AT_FDCWD, "a", AT_FDCWD, "b", RENAME_NOREPLACE) < 0 && errno == EEXIST);
  CHECK(renameat2(AT_FDCWD, "a", AT_FDCWD, "b", RENAME_EXCHANGE) == 0);
  CHECK(rename("a", "b") == 0);
  CHECK(pread(a, buffer, 64, 0) == 5 && memcmp(buffer, "first", 5) == 0);
  CHECK(pread(b, buffer, 64, 0) == 6);
  CHECK(unlink("b") == 0);
  struct stat status;
  CHECK(fstat(a, &status) == 0 && status.st_nlink == 0);
  CHECK(fchmod(b, 0600) == 0 && ftruncate(b, 100) == 0 && fstat(b, &status) == 0 && status.st_size == 100);
  int tmp = open(".", O_TMPFILE | O_RDWR, 0600);
  CHECK(tmp >= 0 && write(tmp, "temporary", 9) == 9);
  char name[64];
  snprintf(name, sizeof(name), "/proc/self/fd/%d", tmp);
  CHECK(linkat(AT_FDCWD, name, AT_FDCWD, "named", AT_SYMLINK_FOLLOW) == 0);
  CHECK(stat("named", &status) == 0 && status.st_size == 9 && status.st_nlink == 1);
  CHECK(unlink("named") == 0);
  puts("good");
}`)
    expect(output).toBe('good\n')
  })

  test('holes, fallocate, copy_file_range beyond 4 GiB, birth time', () => {
    const output = runC(`${HEADER}
int main(void) {
  int fd = open("holes", O_CREAT | O_RDWR, 0644);
  CHECK(pwrite(fd, "x", 1, 0) == 1 && pwrite(fd, "y", 1, 5000000000) == 1);
  CHECK(lseek(fd, 0, SEEK_HOLE) > 0 && lseek(fd, 0, SEEK_HOLE) <= 65536);
  off_t data = lseek(fd, 1 << 20, SEEK_DATA);
  CHECK(data > 4900000000 && data <= 5000000000);
  CHECK(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 5000000000 & ~4095, 4096) == 0);
  char c = 1;
  CHECK(pread(fd, &c, 1, 5000000000) == 1 && c == 0);
  CHECK(fallocate(fd, FALLOC_FL_ZERO_RANGE, 0, 4096) == 0 && pread(fd, &c, 1, 0) == 1 && c == 0);
  CHECK(fallocate(fd, 0, 5000000000, 1 << 20) == 0);
  struct stat status;
  CHECK(fstat(fd, &status) == 0 && status.st_size == 5000000000 + (1 << 20));
  CHECK(pwrite(fd, "z", 1, 4999999999) == 1);
  int copy = open("copy", O_CREAT | O_RDWR, 0644);
  off_t from = 4990000000, to = 4990000000;
  while (from < status.st_size) {
    ssize_t copied = copy_file_range(fd, &from, copy, &to, status.st_size - from, 0);
    CHECK(copied > 0);
  }
  CHECK(pread(copy, &c, 1, 4999999999) == 1 && c == 'z');
  struct statx extended;
  CHECK(statx(AT_FDCWD, "holes", 0, STATX_BTIME, &extended) == 0 && (extended.stx_mask & STATX_BTIME));
  CHECK(unlink("holes") == 0 && unlink("copy") == 0);
  puts("good");
}`)
    expect(output).toBe('good\n')
  })

  test('shared mappings, msync and fsync reach the host; extended attributes', () => {
    const output = runC(`${HEADER}
int main(void) {
  int fd = open("mapped", O_CREAT | O_RDWR, 0644);
  CHECK(ftruncate(fd, 1 << 20) == 0);
  char *map = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  CHECK(map != MAP_FAILED);
  memset(map, 'm', 1 << 20);
  CHECK(msync(map, 1 << 20, MS_SYNC) == 0 && fsync(fd) == 0 && fdatasync(fd) == 0);
  CHECK(setxattr("mapped", "user.key", "value", 5, XATTR_CREATE) == 0);
  CHECK(setxattr("mapped", "user.key", "value", 5, XATTR_CREATE) < 0 && errno == EEXIST);
  char value[16];
  CHECK(getxattr("mapped", "user.key", value, 16) == 5 && listxattr("mapped", value, 16) == 9);
  CHECK(removexattr("mapped", "user.key") == 0 && getxattr("mapped", "user.key", value, 16) < 0 && errno == ENODATA);
  int dir = open(".", O_RDONLY | O_DIRECTORY);
  CHECK(fsync(dir) == 0 && syncfs(dir) == 0);
  struct statvfs fs;
  CHECK(fstatvfs(dir, &fs) == 0 && fs.f_namemax == 255 && fs.f_blocks > 0);
  puts("good");
}`)
    expect(output).toBe('good\n')
    expect(fs.readFileSync(path.join(share, 'mapped')).equals(Buffer.alloc(1 << 20, 'm'))).toBe(true)
    sh('rm mapped')
  })

  test('locks of processes and threads are kept by the client itself', () => {
    const output = runC(`${HEADER}
#include <sys/file.h>
#include <sys/wait.h>
int main(void) {
  int fd = open("lock", O_CREAT | O_RDWR, 0644);
  struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 10};
  CHECK(fcntl(fd, F_SETLK, &lock) == 0 && flock(fd, LOCK_EX) == 0);
  if (fork() == 0) {
    int other = open("lock", O_RDWR);
    CHECK(fcntl(other, F_SETLK, &lock) < 0 && errno == EAGAIN && flock(other, LOCK_EX | LOCK_NB) < 0);
    exit(0);
  }
  int status;
  CHECK(wait(&status) > 0 && status == 0 && unlink("lock") == 0);
  puts("good");
}`)
    expect(output).toBe('good\n')
  })

  test('many threads make, rename, read and remove files in one directory', () => {
    const output = runC(`${HEADER}
static void *work(void *number) {
  long id = (long)number;
  for (int round = 0; round < 150; round++) {
    char name[64], other[64], text[64], back[64] = {0};
    snprintf(name, sizeof(name), "many/%ld-%d", id, round);
    snprintf(other, sizeof(other), "many/renamed-%ld", id);
    int length = snprintf(text, sizeof(text), "thread %ld round %d", id, round);
    int fd = open(name, O_CREAT | O_EXCL | O_RDWR, 0644);
    CHECK(fd >= 0 && write(fd, text, length) == length && close(fd) == 0);
    CHECK(rename(name, other) == 0 && access(name, F_OK) < 0);
    fd = open(other, O_RDONLY);
    CHECK(fd >= 0 && read(fd, back, 64) == length && strcmp(text, back) == 0 && close(fd) == 0);
    if (round % 3 == 0) CHECK(unlink(other) == 0);
  }
  return NULL;
}
int main(void) {
  pthread_t threads[8];
  CHECK(mkdir("many", 0755) == 0);
  for (long i = 0; i < 8; i++) CHECK(pthread_create(&threads[i], NULL, work, (void *)i) == 0);
  for (int i = 0; i < 8; i++) pthread_join(threads[i], NULL);
  puts("good");
}`)
    expect(output).toBe('good\n')
    expect(fs.readdirSync(path.join(share, 'many')).length).toBe(8)
    sh('rm -r many')
  })
})

test('names in any encoding, and long ones', () => {
  const name = Buffer.concat([Buffer.from([0xff, 0xfe, 0x80, 0x20, 0x0a]), Buffer.alloc(250, 'é')])
  const file = Buffer.concat([Buffer.from(`${mountPoint}/`), name])
  fs.writeFileSync(file, 'x')
  const listed = fs.readdirSync(Buffer.from(share), { encoding: 'buffer' })
  expect(listed.some((each) => each.equals(name))).toBe(true)
  fs.unlinkSync(file)
  const long = Buffer.concat([file, Buffer.from('x')])
  expect(() => fs.writeFileSync(long, '')).toThrow(expect.objectContaining({ code: 'ENAMETOOLONG' }))
})

test('a directory of 15,000 files: listed, searched, removed', () => {
  sh('mkdir big && cd big && seq 15000 | xargs touch')
  expect(fs.readdirSync(path.join(mountPoint, 'big')).length).toBe(15_000)
  expect(sh('find big -type f -size 0 | wc -l').trim()).toBe('15000')
  sh('rm -r big')
  expect(fs.existsSync(path.join(share, 'big'))).toBe(false)
}, 300_000)

test('changes on the host become visible within the second that is allowed', async () => {
  const file = path.join(mountPoint, 'changing')
  fs.writeFileSync(file, 'old')
  expect(fs.readFileSync(file, 'utf8')).toBe('old')
  fs.writeFileSync(path.join(share, 'changing'), 'new text')
  await new Promise((resolve) => {
    setTimeout(resolve, 1200)
  })
  expect(fs.readFileSync(file, 'utf8')).toBe('new text')
  fs.unlinkSync(path.join(share, 'changing'))
  await new Promise((resolve) => {
    setTimeout(resolve, 1200)
  })
  expect(fs.existsSync(file)).toBe(false)
})
