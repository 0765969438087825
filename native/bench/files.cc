// SPDX-License-Identifier: Apache-2.0
#include "bench/files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <vector>

#include "bench/fail.h"
#include "bench/operation.h"

namespace viewfsd::bench {
namespace {

void MakeDirectory(const std::string& path) {
  if (mkdir(path.c_str(), 0777) < 0 && errno != EEXIST) Fail(path);
  // Whatever the umask.
  if (chmod(path.c_str(), 0777) < 0) Fail(path);
}

void Fill(const std::string& directory, uint32_t count) {
  MakeDirectory(directory);
  // Made in order, so the last one says that all are there.
  if (access((directory + "/" + FileName(count - 1)).c_str(), F_OK) == 0) return;
  for (uint32_t i = 0; i < count; i++) {
    const std::string path = directory + "/" + FileName(i);
    const int fd = open(path.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
    if (fd < 0) Fail(path);
    close(fd);
  }
}

void MakeData(const std::string& path) {
  struct stat status;
  if (stat(path.c_str(), &status) == 0 && status.st_size == kDataSize) return;
  const int fd = open(path.c_str(), O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0644);
  if (fd < 0) Fail(path);
  std::vector<uint64_t> words((1 << 20) / sizeof(uint64_t));
  for (uint64_t at = 0; at < kDataSize; at += 1 << 20) {
    for (size_t i = 0; i < words.size(); i++) words[i] = Word(at + i * sizeof(uint64_t));
    if (pwrite(fd, words.data(), 1 << 20, static_cast<off_t>(at)) != 1 << 20) Fail(path);
  }
  // What is dirty can't be dropped from the cache.
  if (fsync(fd) < 0) Fail(path);
  close(fd);
}

}  // namespace

void MakeFiles(const std::string& share, bool many) {
  Fill(share + "/few", kFew);
  if (many) Fill(share + "/many", kMany);
  MakeDirectory(share + "/made");
  MakeDirectory(share + "/moved");
  MakeData(share + "/data");
}

}  // namespace viewfsd::bench
