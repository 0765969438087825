// SPDX-License-Identifier: Apache-2.0
/** Compares the layouts with the C compiler's. Fields and structs that the installed header is too old for are listed. */
import { execFileSync } from 'node:child_process'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { expect, test } from 'vitest'
import * as abi from './abi.ts'

/** The structs of abi.ts by their C names. */
const structs: Record<string, Readonly<Record<string, number>>> = {
  fuse_in_header: abi.FuseInHeader,
  fuse_out_header: abi.FuseOutHeader,
  fuse_attr: abi.FuseAttr,
  fuse_entry_out: abi.FuseEntryOut,
  fuse_attr_out: abi.FuseAttrOut,
  fuse_forget_in: abi.FuseForgetIn,
  fuse_forget_one: abi.FuseForgetOne,
  fuse_batch_forget_in: abi.FuseBatchForgetIn,
  fuse_getattr_in: abi.FuseGetattrIn,
  fuse_setattr_in: abi.FuseSetattrIn,
  fuse_mknod_in: abi.FuseMknodIn,
  fuse_mkdir_in: abi.FuseMkdirIn,
  fuse_rename_in: abi.FuseRenameIn,
  fuse_rename2_in: abi.FuseRename2In,
  fuse_link_in: abi.FuseLinkIn,
  fuse_open_in: abi.FuseOpenIn,
  fuse_create_in: abi.FuseCreateIn,
  fuse_open_out: abi.FuseOpenOut,
  fuse_release_in: abi.FuseReleaseIn,
  fuse_flush_in: abi.FuseFlushIn,
  fuse_read_in: abi.FuseReadIn,
  fuse_write_in: abi.FuseWriteIn,
  fuse_write_out: abi.FuseWriteOut,
  fuse_kstatfs: abi.FuseKstatfs,
  fuse_fsync_in: abi.FuseFsyncIn,
  fuse_setxattr_in: abi.FuseSetxattrIn,
  fuse_getxattr_in: abi.FuseGetxattrIn,
  fuse_getxattr_out: abi.FuseGetxattrOut,
  fuse_access_in: abi.FuseAccessIn,
  fuse_init_in: abi.FuseInitIn,
  fuse_init_out: abi.FuseInitOut,
  fuse_lk_in: abi.FuseLkIn,
  fuse_lk_out: abi.FuseLkOut,
  fuse_interrupt_in: abi.FuseInterruptIn,
  fuse_ioctl_in: abi.FuseIoctlIn,
  fuse_ioctl_out: abi.FuseIoctlOut,
  fuse_fallocate_in: abi.FuseFallocateIn,
  fuse_lseek_in: abi.FuseLseekIn,
  fuse_lseek_out: abi.FuseLseekOut,
  fuse_copy_file_range_in: abi.FuseCopyFileRangeIn,
  fuse_copy_file_range_out: abi.FuseCopyFileRangeOut,
  fuse_dirent: abi.FuseDirent,
  fuse_direntplus: abi.FuseDirentplus,
  fuse_setupmapping_in: abi.FuseSetupmappingIn,
  fuse_removemapping_in: abi.FuseRemovemappingIn,
  fuse_removemapping_one: abi.FuseRemovemappingOne,
  fuse_syncfs_in: abi.FuseSyncfsIn,
  fuse_statx_in: abi.FuseStatxIn,
  fuse_statx: abi.FuseStatx,
  fuse_statx_out: abi.FuseStatxOut,
  fuse_secctx: abi.FuseSecctx,
  fuse_ext_header: abi.FuseExtHeader,
  fuse_supp_groups: abi.FuseSuppGroups,
}

/** The minor version that brought a struct; the others are as old as the oldest header in use. */
const since: Record<string, number> = {
  fuse_statx_in: 39,
  fuse_statx: 39,
  fuse_statx_out: 39,
  fuse_supp_groups: 39,
  fuse_copy_file_range_out: 45,
}

/** Fields that newer headers call otherwise. */
const renamed: Record<string, string> = { 'fuse_open_out.padding': 'backing_id' }

/** Compiles and runs a C program; returns its lines. */
function runC(source: string): string[] {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'viewfsd-abi-'))
  try {
    const program = path.join(directory, 'abi')
    fs.writeFileSync(`${program}.c`, source)
    execFileSync(process.env['CC'] ?? 'cc', ['-o', program, `${program}.c`])
    return execFileSync(program, { encoding: 'utf8' }).trim().split('\n')
  } finally {
    fs.rmSync(directory, { recursive: true })
  }
}

const header = '#include <stddef.h>\n#include <stdio.h>\n#include <linux/fuse.h>\n'
const [headerMinor] = runC(`${header}int main(void) { printf("%d\\n", FUSE_KERNEL_MINOR_VERSION); }`).map(Number)

test('structs are as the C compiler lays them out', () => {
  const statements: string[] = []
  const expected: string[] = []
  for (const [name, layout] of Object.entries(structs)) {
    if ((since[name] ?? 0) > (headerMinor ?? 0)) continue
    for (const [field, value] of Object.entries(layout)) {
      const renamedField = (headerMinor ?? 0) >= 40 ? renamed[`${name}.${field}`] : undefined
      const c = field === 'SIZE' ? `sizeof(struct ${name})` : `offsetof(struct ${name}, ${renamedField ?? field})`
      statements.push(`printf("${name}.${field} %zu\\n", (size_t)${c});`)
      expected.push(`${name}.${field} ${value}`)
    }
  }
  expect(runC(`${header}int main(void) {\n${statements.join('\n')}\n}`)).toEqual(expected)
})

test('structs that are newer than the header are as their members add up', () => {
  // struct fuse_statx: u32 mask, blksize; u64 attributes; u32 nlink, uid, gid; u16 mode, spare; u64 ino, size, blocks,
  // attributes_mask; 4 times { i64 sec; u32 nsec; i32 reserved }; u32 rdev and dev, major and minor; u64 spare[14]
  const source = `${header}#include <stdint.h>
struct time_ { int64_t sec; uint32_t nsec; int32_t reserved; };
struct statx_ { uint32_t mask, blksize; uint64_t attributes; uint32_t nlink, uid, gid; uint16_t mode, spare0;
  uint64_t ino, size, blocks, attributes_mask; struct time_ atime, btime, ctime, mtime;
  uint32_t rdev_major, rdev_minor, dev_major, dev_minor; uint64_t spare2[14]; };
struct out { uint64_t attr_valid; uint32_t attr_valid_nsec, flags; uint64_t spare[2]; struct statx_ stat; };
int main(void) {
${Object.keys(abi.FuseStatx)
  .map((field) =>
    field === 'SIZE'
      ? 'printf("SIZE %zu\\n", sizeof(struct statx_));'
      : `printf("${field} %zu\\n", offsetof(struct statx_, ${field}));`,
  )
  .join('\n')}
printf("out %zu %zu\\n", sizeof(struct out), offsetof(struct out, stat));
}`
  expect(runC(source)).toEqual([
    ...Object.entries(abi.FuseStatx).map(([field, value]) => `${field} ${value}`),
    `out ${abi.FuseStatxOut.SIZE} ${abi.FuseStatxOut.stat}`,
  ])
})

test('opcodes and flags have the header’s values', () => {
  const constants: Record<string, number | bigint> = {
    FUSE_KERNEL_VERSION: abi.FUSE_KERNEL_VERSION,
    FUSE_ROOT_ID: abi.FUSE_ROOT_ID,
    FUSE_FSYNC_FDATASYNC: abi.FUSE_FSYNC_FDATASYNC,
    FUSE_WRITE_CACHE: abi.FUSE_WRITE_CACHE,
    FUSE_WRITE_LOCKOWNER: abi.FUSE_WRITE_LOCKOWNER,
    FUSE_WRITE_KILL_SUIDGID: abi.FUSE_WRITE_KILL_SUIDGID,
    FUSE_OPEN_KILL_SUIDGID: abi.FUSE_OPEN_KILL_SUIDGID,
    FUSE_GETATTR_FH: abi.FUSE_GETATTR_FH,
    FUSE_SETXATTR_ACL_KILL_SGID: abi.FUSE_SETXATTR_ACL_KILL_SGID,
    FUSE_ATTR_SUBMOUNT: abi.FUSE_ATTR_SUBMOUNT,
    FUSE_ATTR_DAX: abi.FUSE_ATTR_DAX,
    FUSE_SETUPMAPPING_FLAG_WRITE: abi.FUSE_SETUPMAPPING_FLAG_WRITE,
    FUSE_SETUPMAPPING_FLAG_READ: abi.FUSE_SETUPMAPPING_FLAG_READ,
  }
  const newer: Record<string, number> = {
    STATX: 39,
    COPY_FILE_RANGE_64: 45,
    CREATE_SUPP_GROUP: 39,
    DIRECT_IO_ALLOW_MMAP: 40,
    NO_EXPORT_SUPPORT: 40,
    ALLOW_IDMAP: 41,
  }
  const add = (prefix: string, table: Readonly<Record<string, number>>, shift = 0n): void => {
    for (const [name, value] of Object.entries(table)) {
      if ((newer[name] ?? 0) <= (headerMinor ?? 0)) constants[`${prefix}${name}`] = BigInt(value) << shift
    }
  }
  add('FUSE_', abi.FuseOpcode)
  add('FUSE_', abi.FuseInitFlag)
  add('FUSE_', abi.FuseInitFlag2, 32n)
  add('FATTR_', abi.FuseSetattrValid)
  add('FOPEN_', abi.FuseOpenFlag)
  const statements = Object.keys(constants).map((name) => `printf("${name} %llu\\n", (unsigned long long)(${name}));`)
  expect(runC(`${header}int main(void) {\n${statements.join('\n')}\n}`)).toEqual(
    Object.entries(constants).map(([name, value]) => `${name} ${value}`),
  )
})

test('opcodes have names', () => {
  expect(abi.opcodeName(48)).toBe('SETUPMAPPING')
  expect(abi.opcodeName(4096)).toBe('opcode 4096')
})
