// SPDX-License-Identifier: Apache-2.0
#include "fuzz/share.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "fuzz/check.h"

namespace viewfsd::fuzz {
namespace {

constexpr size_t kFileSize = 5000;

struct CloseDirectory {
  void operator()(DIR* directory) const { closedir(directory); }
};

std::vector<std::string> Names(int directory) {
  const int copy = openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const std::unique_ptr<DIR, CloseDirectory> stream(fdopendir(copy));
  FUZZ_CHECK(stream != nullptr);
  std::vector<std::string> names;
  while (const dirent* entry = readdir(stream.get()))
    if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
      names.emplace_back(entry->d_name);
  return names;
}

void Empty(int directory) {
  for (const std::string& name : Names(directory)) {
    if (unlinkat(directory, name.c_str(), 0) == 0) continue;
    const UniqueFd below(openat(directory, name.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    FUZZ_CHECK(below.valid());
    Empty(below.get());
    FUZZ_CHECK(unlinkat(directory, name.c_str(), AT_REMOVEDIR) == 0);
  }
}

void MakeFile(int directory, const char* name, uint8_t byte, mode_t mode = 0644) {
  const UniqueFd file(openat(directory, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode));
  const std::vector<uint8_t> bytes(kFileSize, byte);
  FUZZ_CHECK(write(file.get(), bytes.data(), bytes.size()) == ssize_t{kFileSize});
  FUZZ_CHECK(fchmod(file.get(), mode) == 0);
}

}  // namespace

Share::Share() {
  const UniqueFd context(fsopen("tmpfs", FSOPEN_CLOEXEC));
  FUZZ_CHECK(context.valid());
  FUZZ_CHECK(fsconfig(context.get(), FSCONFIG_SET_STRING, "size", "64m", 0) == 0);
  FUZZ_CHECK(fsconfig(context.get(), FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) == 0);
  top_.reset(fsmount(context.get(), FSMOUNT_CLOEXEC, 0));
  FUZZ_CHECK(top_.valid());
  FUZZ_CHECK(mkdirat(top_.get(), "share", 0755) == 0);
  MakeFile(top_.get(), "secret", kOutside);
  share_.reset(openat(top_.get(), "share", O_PATH | O_DIRECTORY | O_CLOEXEC));
  FUZZ_CHECK(share_.valid());
  Fill();
}

void Share::Fill() {
  Empty(share_.get());
  FUZZ_CHECK(fchownat(top_.get(), "share", 0, 0, 0) == 0);
  FUZZ_CHECK(fchmodat(top_.get(), "share", 0755, 0) == 0);
  MakeFile(share_.get(), "a", kInside);
  MakeFile(share_.get(), "b", kInside, 04755);
  FUZZ_CHECK(linkat(share_.get(), "a", share_.get(), "c", 0) == 0);
  FUZZ_CHECK(symlinkat("../secret", share_.get(), "l") == 0);
  FUZZ_CHECK(mkfifoat(share_.get(), "p", 0644) == 0);
  FUZZ_CHECK(mkdirat(share_.get(), "d", 0755) == 0);
  const UniqueFd below(openat(share_.get(), "d", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  for (const char* name : {"e", "f", "g", "h"}) MakeFile(below.get(), name, kInside);
  FUZZ_CHECK(mkdirat(below.get(), "i", 0755) == 0);
}

void Share::CheckOutside() const {
  FUZZ_CHECK(Names(top_.get()).size() == 2);
  struct stat status;
  FUZZ_CHECK(fstatat(top_.get(), "secret", &status, 0) == 0);
  FUZZ_CHECK(status.st_size == off_t{kFileSize} && status.st_nlink == 1);
  const UniqueFd file(openat(top_.get(), "secret", O_RDONLY | O_CLOEXEC));
  std::vector<uint8_t> bytes(kFileSize);
  FUZZ_CHECK(read(file.get(), bytes.data(), bytes.size()) == ssize_t{kFileSize});
  FUZZ_CHECK(bytes == std::vector<uint8_t>(kFileSize, kOutside));
}

bool Share::IsOutside(uint64_t number) const {
  struct stat status;
  for (const char* name : {".", "secret"})
    if (fstatat(top_.get(), name, &status, 0) == 0 && status.st_ino == number) return true;
  return false;
}

size_t CountDescriptors() {
  const UniqueFd directory(open("/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  return Names(directory.get()).size();
}

}  // namespace viewfsd::fuzz
