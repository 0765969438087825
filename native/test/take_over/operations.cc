// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <optional>
#include <string>
#include <utility>

#include "fuzz/check.h"
#include "host/directory.h"
#include "host/file_syscalls.h"
#include "host/open_files.h"
#include "test/take_over/guest.h"

namespace viewfsd::take_over {
namespace {

constexpr DirectoryLimits kLimits = {
    .inodes = 1000, .descriptors = 1000, .cached = 2, .remembered = 2};

void MakeFile(int root, const std::string& name) {
  const UniqueFd file(openat(root, name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644));
  FUZZ_CHECK(file.valid());
}

std::string ManyName(int number) { return "m" + std::to_string(number); }

uint64_t Lookup(const Served& served, const std::string& name) {
  fuse_entry_out entry;
  FUZZ_CHECK(served.directory.Lookup(1, name.c_str(), false, &entry) == 0);
  served.guest.last_nodeid = std::max(served.guest.last_nodeid, entry.nodeid);
  return entry.nodeid;
}

template <char name>
void LookUp(const Served& served) {
  served.guest.nodeid[size_t{name}] = Lookup(served, {name});
}

// Takes so much from the lookup count.
template <char name, int count>
void Forget(const Served& served) {
  served.directory.Forget(served.guest.nodeid[size_t{name}], count);
}

uint64_t Remember(const Served& served, const fuse_open_out& out) {
  served.guest.last_fh = std::max(served.guest.last_fh, out.fh);
  return out.fh;
}

template <char name>
void OpenFor(const Served& served) {
  fuse_open_out out;
  const OpenRequest request = {.nodeid = served.guest.nodeid[size_t{name}],
                               .flags = O_RDWR,
                               .kill_suidgid = false,
                               .pid = 0};
  FUZZ_CHECK(OpenFile(served.directory, OpenPolicy(), request, &out) == 0);
  served.guest.fh[size_t{name}] = Remember(served, out);
}

template <char name, HandleKind kind>
void Release(const Served& served) {
  CloseFile(served.directory,
            served.directory.handles().Remove(served.guest.fh[size_t{name}],
                                              served.guest.nodeid[size_t{name}], kind));
}

void OpenD(const Served& served) {
  fuse_open_out out;
  FUZZ_CHECK(OpenDirectory(served.directory, OpenPolicy(), served.guest.nodeid['d'], &out) == 0);
  served.guest.fh['d'] = Remember(served, out);
}

void ReadD(const Served& served) {
  uint8_t entries[4096];
  FUZZ_CHECK(ReadDirectory(served.directory, served.guest.nodeid['d'], served.guest.fh['d'], 0,
                           false, entries, sizeof(entries)) > 0);
}

template <char name>
void UseOf(const Served& served) {
  FUZZ_CHECK(served.directory.Use(served.guest.nodeid[size_t{name}]).fd() >= 0);
}

void ReplaceB(const Served& served) {
  MakeFile(served.root, "new");
  FUZZ_CHECK(renameat(served.root, "new", served.root, "b") == 0);
}

// Lives from the preparation to the operation, in one process.
std::optional<SharedDirectory::PinnedChild> pinned;

void UnlinkU(const Served& served) {
  LookUp<'u'>(served);
  pinned = served.directory.PinChild(served.directory.Use(1), "u");
  FUZZ_CHECK(unlinkat(served.root, "u", 0) == 0);
}

void KeepU(const Served& served) {
  served.directory.KeepUnlinked(*pinned);
  pinned.reset();
}

template <char name>
void Create(const Served& served) {
  const char text[] = {name, '\0'};
  fuse_entry_out entry;
  fuse_open_out out;
  bool made;
  const CreateRequest request = {.parent = 1, .flags = O_RDWR, .mode = 0644, .kill_suidgid = false};
  FUZZ_CHECK(CreateFile(served.directory, OpenPolicy(), text, request, Caller(), &entry, &out,
                        &made) == 0);
  served.guest.nodeid[size_t{name}] = entry.nodeid;
  served.guest.last_nodeid = std::max(served.guest.last_nodeid, entry.nodeid);
  served.guest.fh[size_t{name}] = Remember(served, out);
}

void LockC(const Served& served) {
  const LockRequest request = {.nodeid = served.guest.nodeid['c'],
                               .fh = served.guest.fh['c'],
                               .owner = kOwner,
                               .start = 0,
                               .length = 0,
                               .type = F_WRLCK};
  FUZZ_CHECK(SetLock(served.directory, request) == 0);
}

void UnlockC(const Served& served) {
  served.directory.locks().Drop(served.guest.nodeid['c'], kOwner);
}

// Of the window, whatever it may show of a directory.
void MapD(const Served& served) {
  served.directory.mapped_ranges().Add(served.guest.nodeid['d'], {8, 4, 0}, true, 100);
}

void UnmapPartOfD(const Served& served) { served.directory.mapped_ranges().Remove({10, 4}); }

template <int from, int to>
void LookUpMany(const Served& served) {
  for (int i = from; i < to; i++) served.guest.many[i] = Lookup(served, ManyName(i));
}

template <int from, int to>
void ForgetMany(const Served& served) {
  for (int i = from; i < to; i++) served.directory.Forget(served.guest.many[i], 1);
}

void Nothing(const Served&) {}

}  // namespace

const std::vector<Operation>& Operations() {
  static const std::vector<Operation> operations = {
      {"lookup", Nothing, LookUp<'a'>},
      {"lookup-again", Nothing, LookUp<'a'>},
      {"lookup-unanswered", Nothing, LookUp<'a'>, true},
      {"lookup-new-unanswered", Nothing, LookUp<'n'>, true},
      {"forget-one", Nothing, Forget<'a', 1>},
      {"open", Nothing, OpenFor<'a'>},
      {"open-unanswered", Nothing, OpenFor<'a'>, true},
      {"opendir", LookUp<'d'>, OpenD},
      {"opendir-unanswered", Nothing, OpenD, true},
      {"readdir", Nothing, ReadD},
      {"lookup-replaced", [](const Served& served) { LookUp<'b'>(served), ReplaceB(served); },
       LookUp<'b'>},
      {"use", [](const Served& served) { UseOf<'a'>(served), UseOf<'b'>(served); }, UseOf<'d'>},
      {"keep-unlinked", UnlinkU, KeepU},
      {"forget-open", Nothing, Forget<'a', 1>},
      {"release", Nothing, Release<'a', HandleKind::kFile>},
      {"create", Nothing, Create<'c'>},
      {"create-unanswered", Nothing, Create<'e'>, true},
      {"lock", Nothing, LockC},
      {"unlock", Nothing, UnlockC},
      {"forget-last", Release<'c', HandleKind::kFile>, Forget<'c', 1>, true},
      {"lookup-remembered", Nothing, LookUp<'c'>},
      {"map", Nothing, MapD},
      {"unmap", Nothing, UnmapPartOfD},
      {"lookup-known-unanswered", Nothing, LookUp<'d'>, true},
      {"take-over", Nothing, nullptr},
      {"releasedir", Nothing, Release<'d', HandleKind::kDirectory>},
      // Where the arrays of indexes grow and shrink.
      {"lookup-many", LookUpMany<0, kMany - 8>, LookUpMany<kMany - 8, kMany>},
      {"forget-many", ForgetMany<0, kMany / 2>, ForgetMany<kMany / 2, kMany / 2 + 8>},
      {"clear", Nothing, [](const Served& served) { served.directory.Reset(); }},
  };
  return operations;
}

void Populate(int root) {
  for (const char* name : {"a", "b", "n", "u"}) MakeFile(root, name);
  for (int i = 0; i < kMany; i++) MakeFile(root, ManyName(i));
  FUZZ_CHECK(mkdirat(root, "d", 0755) == 0);
  for (const char* name : {"d/x", "d/y", "d/z"}) MakeFile(root, name);
}

std::unique_ptr<SharedDirectory> Open(int root, HandleUse use, bool remembers, int tables) {
  UniqueFd own_root(openat(root, ".", O_PATH | O_DIRECTORY | O_CLOEXEC));
  UniqueFd proc_fds(open("/proc/self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC));
  UniqueFd file(tables < 0 ? -1 : fcntl(tables, F_DUPFD_CLOEXEC, 0));
  if (file && MayTakeOver(file.get(), kLimits) != 0) return nullptr;
  auto directory = std::make_unique<SharedDirectory>(
      std::move(own_root), std::move(proc_fds), CacheTimeouts{1, 1}, use, kLimits, std::move(file));
  if (directory->Initialize() != 0) return nullptr;
  if (tables < 0) directory->Begin(false, remembers, false);
  return directory;
}

}  // namespace viewfsd::take_over
