// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <functional>
#include <map>
#include <vector>

#include "bench/fail.h"
#include "bench/files.h"
#include "bench/operation.h"

namespace viewfsd::bench {
namespace {

constexpr uint32_t kUser = 1000;

std::vector<std::string> Names(uint32_t count) {
  std::vector<std::string> names;
  for (uint32_t i = 0; i < count; i++) names.push_back(FileName(i));
  return names;
}

// Visits all of [0, count) in an order without neighbours; `count` no multiple of 7919.
class Order {
 public:
  explicit Order(uint64_t count) : count_(count) {}
  uint64_t Next() { return at_ = (at_ + 7919) % count_; }

 private:
  const uint64_t count_;
  uint64_t at_ = 0;
};

class Lookup : public Operation {
 public:
  // `cold`: of names that the daemon does not know, since the guest has forgotten them.
  explicit Lookup(bool cold) : cold_(cold), nodes_(kFew), lookups_(kFew) {}

  void Prepare(Session& session, size_t) override {
    directory_ = session.Lookup(FUSE_ROOT_ID, "few");
    names_ = Names(kFew);
    nodes_ = session.LookupAll(directory_, names_);
    lookups_.assign(kFew, 1);
  }
  void Start(Slot& slot) override {
    slot.step = static_cast<uint32_t>(order_.Next());
    slot.Begin(FUSE_LOOKUP, directory_);
    slot.Text(names_[slot.step]);
    slot.TakeBody(sizeof(fuse_entry_out));
    slot.Submit();
  }
  bool Continue(Slot& slot, uint32_t) override {
    nodes_[slot.step] = slot.Body<fuse_entry_out>().nodeid;
    lookups_[slot.step]++;
    return false;
  }
  size_t Batch() const override { return cold_ ? kFew : 0; }
  void Restore(Session& session) override {
    if (cold_) ForgetThem(session);
  }
  void Finish(Session& session, size_t) override {
    ForgetThem(session);
    session.Forget(directory_, 1);
  }

 private:
  void ForgetThem(Session& session) {
    std::vector<uint64_t> nodes;
    std::vector<uint64_t> counts;
    for (uint32_t i = 0; i < kFew; i++)
      if (lookups_[i] > 0) {
        nodes.push_back(nodes_[i]);
        counts.push_back(lookups_[i]);
      }
    session.ForgetAll(nodes, counts);
    lookups_.assign(kFew, 0);
  }

  const bool cold_;
  uint64_t directory_ = 0;
  std::vector<std::string> names_;
  std::vector<uint64_t> nodes_;
  std::vector<uint64_t> lookups_;
  Order order_{kFew};
};

class Getattr : public Operation {
 public:
  Getattr(const char* directory, uint32_t count) : name_(directory), count_(count), order_(count) {}

  void Prepare(Session& session, size_t) override {
    directory_ = session.Lookup(FUSE_ROOT_ID, name_);
    nodes_ = session.LookupAll(directory_, Names(count_));
    // Once each: what is measured is a hot set.
    session.CallAll(
        count_, [&](Slot& slot, size_t i) { Build(slot, nodes_[i]); }, [](Slot&, size_t) {});
  }
  void Start(Slot& slot) override {
    Build(slot, nodes_[order_.Next()]);
    slot.Submit();
  }
  bool Continue(Slot& slot, uint32_t) override {
    if (!S_ISREG(slot.Body<fuse_attr_out>().attr.mode)) Fail("GETATTR: no file", EBADMSG);
    return false;
  }
  void Finish(Session& session, size_t) override {
    session.ForgetAll(nodes_, std::vector<uint64_t>(nodes_.size(), 1));
    session.Forget(directory_, 1);
  }

 private:
  static void Build(Slot& slot, uint64_t nodeid) {
    slot.Begin(FUSE_GETATTR, nodeid);
    slot.Argument(fuse_getattr_in{});
    slot.TakeBody(sizeof(fuse_attr_out));
  }

  const char* const name_;
  const uint32_t count_;
  uint64_t directory_ = 0;
  std::vector<uint64_t> nodes_;
  Order order_;
};

void SubmitOpen(Slot& slot, uint64_t nodeid, uint32_t flags) {
  slot.Begin(FUSE_OPEN, nodeid);
  fuse_open_in in = {};
  in.flags = flags;
  slot.Argument(in);
  slot.TakeBody(sizeof(fuse_open_out));
}

void BuildRelease(Slot& slot, uint32_t opcode, uint64_t nodeid, uint64_t fh) {
  slot.Begin(opcode, nodeid);
  fuse_release_in in = {};
  in.fh = fh;
  slot.Argument(in);
}

class OpenRelease : public Operation {
 public:
  void Prepare(Session& session, size_t) override {
    directory_ = session.Lookup(FUSE_ROOT_ID, "few");
    nodes_ = session.LookupAll(directory_, Names(kFew));
  }
  void Start(Slot& slot) override {
    slot.step = 0;
    slot.nodeid = nodes_[order_.Next()];
    SubmitOpen(slot, slot.nodeid, O_RDONLY);
    slot.Submit();
  }
  bool Continue(Slot& slot, uint32_t) override {
    if (slot.step++ > 0) return false;
    BuildRelease(slot, FUSE_RELEASE, slot.nodeid, slot.Body<fuse_open_out>().fh);
    slot.Submit();
    return true;
  }
  void Finish(Session& session, size_t) override {
    session.ForgetAll(nodes_, std::vector<uint64_t>(nodes_.size(), 1));
    session.Forget(directory_, 1);
  }

 private:
  uint64_t directory_ = 0;
  std::vector<uint64_t> nodes_;
  Order order_{kFew};
};

// One file that stays open.
class OpenFile : public Operation {
 public:
  OpenFile(std::string path, const char* name, uint32_t flags)
      : path_(std::move(path)), name_(name), flags_(flags) {}

  void Prepare(Session& session, size_t) override {
    node_ = session.Lookup(FUSE_ROOT_ID, name_);
    Slot& slot = session.slot(0);
    SubmitOpen(slot, node_, flags_);
    session.Call(&slot);
    fh_ = slot.Body<fuse_open_out>().fh;
    host_ = open(path_.c_str(), O_RDONLY | O_CLOEXEC);
    if (host_ < 0) Fail(path_);
  }
  void Finish(Session& session, size_t) override {
    Slot& slot = session.slot(0);
    BuildRelease(slot, FUSE_RELEASE, node_, fh_);
    session.Call(&slot);
    session.Forget(node_, 1);
    close(host_);
  }

 protected:
  const std::string path_;
  const char* const name_;
  const uint32_t flags_;
  uint64_t node_ = 0;
  uint64_t fh_ = 0;
  int host_ = -1;
};

enum class From {
  kMemory,
  // Sixteen at a time of what is not in the host's memory.
  kDisk,
  // O_DIRECT, for as long as it takes.
  kDiskDirect,
};

class Read : public OpenFile {
 public:
  Read(const std::string& share, uint32_t size, From from)
      : OpenFile(share + "/data", "data",
                 static_cast<uint32_t>(O_RDONLY | (from == From::kDiskDirect ? O_DIRECT : 0))),
        size_(size),
        from_(from),
        order_(kDataSize / size - 1) {}

  void Prepare(Session& session, size_t slots) override {
    OpenFile::Prepare(session, slots);
    // Into the host's memory, where another operation has dropped it from there.
    std::vector<uint8_t> piece(kMaxData);
    for (off_t at = 0; from_ == From::kMemory && pread(host_, piece.data(), kMaxData, at) > 0;)
      at += kMaxData;
  }
  void Start(Slot& slot) override {
    slot.offset = order_.Next() * size_;
    slot.Begin(FUSE_READ, node_);
    fuse_read_in in = {};
    in.fh = fh_;
    in.offset = slot.offset;
    in.size = size_;
    in.flags = flags_;
    slot.Argument(in);
    slot.TakeData(size_);
    slot.Submit();
  }
  // A word of each page; the last ones are looked at whole in the end.
  bool Continue(Slot& slot, uint32_t size) override {
    Check(slot, size, kPage);
    slot.count = size;
    return false;
  }
  size_t Batch() const override { return from_ == From::kDisk ? 16 : 0; }
  void Restore(Session&) override {
    if (from_ == From::kDisk && posix_fadvise(host_, 0, 0, POSIX_FADV_DONTNEED) != 0) Fail(path_);
  }
  void Finish(Session& session, size_t slots) override {
    for (size_t i = 0; i < slots; i++)
      if (session.slot(i).count > 0) Check(session.slot(i), size_, sizeof(uint64_t));
    OpenFile::Finish(session, slots);
  }

 private:
  void Check(const Slot& slot, uint32_t size, size_t step) const {
    if (size != size_) Fail("READ: too short", EBADMSG);
    for (size_t at = 0; at < size_; at += step) {
      uint64_t word;
      memcpy(&word, slot.data() + at, sizeof(word));
      if (word != Word(slot.offset + at)) Fail("READ: wrong data", EBADMSG);
    }
  }

  const uint32_t size_;
  const From from_;
  Order order_;
};

// Each slot writes to a part of the file of its own.
class Write : public OpenFile {
 public:
  Write(const std::string& share, uint32_t size)
      : OpenFile(share + "/written", "written", O_RDWR), size_(size) {}

  void Prepare(Session& session, size_t slots) override {
    const int fd = open(path_.c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0644);
    if (fd < 0 || posix_fallocate(fd, 0, static_cast<off_t>(slots) * kMaxData) != 0) Fail(path_);
    close(fd);
    for (size_t i = 0; i < slots; i++) {
      auto* words = reinterpret_cast<uint64_t*>(session.slot(i).data());
      for (size_t word = 0; word < size_ / sizeof(uint64_t); word++) words[word] = Word(i + word);
    }
    OpenFile::Prepare(session, slots);
  }
  void Start(Slot& slot) override {
    slot.offset = uint64_t{slot.index()} * kMaxData + slot.count++ * size_ % kMaxData;
    memcpy(slot.data(), &slot.count, sizeof(slot.count));
    slot.Begin(FUSE_WRITE, node_);
    fuse_write_in in = {};
    in.fh = fh_;
    in.offset = slot.offset;
    in.size = size_;
    slot.Argument(in);
    slot.SendData(size_);
    slot.TakeBody(sizeof(fuse_write_out));
    slot.Submit();
  }
  bool Continue(Slot& slot, uint32_t) override {
    if (slot.Body<fuse_write_out>().size != size_) Fail("WRITE: too short", EBADMSG);
    return false;
  }
  // What each has written last must be in the file.
  void Finish(Session& session, size_t slots) override {
    std::vector<uint8_t> found(size_);
    for (size_t i = 0; i < slots; i++) {
      const Slot& slot = session.slot(i);
      if (slot.count == 0) continue;
      if (pread(host_, found.data(), size_, static_cast<off_t>(slot.offset)) != size_) Fail(path_);
      if (memcmp(found.data(), slot.data(), size_) != 0) Fail("WRITE: wrong data", EBADMSG);
    }
    OpenFile::Finish(session, slots);
  }

 private:
  const uint32_t size_;
};

// WRITE and FSYNC, as a database does it.
class WriteFsync : public Write {
 public:
  using Write::Write;

  void Start(Slot& slot) override {
    slot.step = 0;
    Write::Start(slot);
  }
  bool Continue(Slot& slot, uint32_t size) override {
    if (slot.step++ > 0) return false;
    Write::Continue(slot, size);
    slot.Begin(FUSE_FSYNC, node_);
    fuse_fsync_in in = {};
    in.fh = fh_;
    slot.Argument(in);
    slot.Submit();
    return true;
  }
};

// CREATE, RELEASE, UNLINK, FORGET.
class CreateUnlink : public Operation {
 public:
  explicit CreateUnlink(uint32_t user) : user_(user) {}

  void Prepare(Session& session, size_t) override {
    directory_ = session.Lookup(FUSE_ROOT_ID, "made");
  }
  void Start(Slot& slot) override {
    slot.step = 0;
    slot.Begin(FUSE_CREATE, directory_);
    slot.SetCaller(user_, user_);
    fuse_create_in in = {};
    in.flags = O_CREAT | O_EXCL | O_RDWR;
    in.mode = S_IFREG | 0644;
    in.umask = 022;
    slot.Argument(in);
    slot.Text(FileName(slot.index()));
    slot.TakeBody(sizeof(Created));
    slot.Submit();
  }
  bool Continue(Slot& slot, uint32_t) override {
    switch (slot.step++) {
      case 0: {
        const auto& created = slot.Body<Created>();
        if (created.entry.attr.uid != user_ || created.entry.attr.gid != user_)
          Fail("CREATE: another's file", EBADMSG);
        slot.nodeid = created.entry.nodeid;
        BuildRelease(slot, FUSE_RELEASE, slot.nodeid, created.open.fh);
        break;
      }
      case 1:
        slot.Begin(FUSE_UNLINK, directory_);
        slot.SetCaller(user_, user_);
        slot.Text(FileName(slot.index()));
        break;
      case 2:
        slot.Begin(FUSE_FORGET, slot.nodeid);
        slot.Argument(fuse_forget_in{1});
        slot.WantNothing();
        break;
      default:
        return false;
    }
    slot.Submit();
    return true;
  }
  void Finish(Session& session, size_t) override { session.Forget(directory_, 1); }

 private:
  struct Created {
    fuse_entry_out entry;
    fuse_open_out open;
  };
  const uint32_t user_;
  uint64_t directory_ = 0;
};

class Rename : public Operation {
 public:
  explicit Rename(std::string share) : share_(std::move(share)) {}

  void Prepare(Session& session, size_t slots) override {
    directory_ = session.Lookup(FUSE_ROOT_ID, "moved");
    for (size_t i = 0; i < slots; i++) {
      unlink((share_ + "/moved/" + Name(i, 1)).c_str());
      const std::string path = share_ + "/moved/" + Name(i, 0);
      const int fd = open(path.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
      if (fd < 0) Fail(path);
      close(fd);
      session.slot(i).step = 0;
    }
  }
  void Start(Slot& slot) override {
    slot.Begin(FUSE_RENAME, directory_);
    slot.Argument(fuse_rename_in{directory_});
    slot.Text(Name(slot.index(), slot.step & 1));
    slot.Text(Name(slot.index(), ++slot.step & 1));
    slot.Submit();
  }
  void Finish(Session& session, size_t) override { session.Forget(directory_, 1); }

 private:
  static std::string Name(size_t slot, uint32_t turn) {
    return (turn == 0 ? "one" : "other") + std::to_string(slot);
  }
  const std::string share_;
  uint64_t directory_ = 0;
};

// A whole listing: READDIRPLUS until nothing comes.
class Readdirplus : public Operation {
 public:
  void Prepare(Session& session, size_t slots) override {
    directory_ = session.Lookup(FUSE_ROOT_ID, "few");
    for (size_t i = 0; i < slots; i++) {
      Slot& slot = session.slot(i);
      slot.Begin(FUSE_OPENDIR, directory_);
      slot.Argument(fuse_open_in{});
      slot.TakeBody(sizeof(fuse_open_out));
      session.Call(&slot);
      slot.fh = slot.Body<fuse_open_out>().fh;
    }
  }
  void Start(Slot& slot) override {
    slot.offset = slot.count = 0;
    Ask(slot);
    slot.Submit();
  }
  bool Continue(Slot& slot, uint32_t size) override {
    if (size == 0) {
      // "." and ".." besides.
      if (slot.count != kFew + 2) Fail("READDIRPLUS: not all names", EBADMSG);
      listings_++;
      return false;
    }
    Each(slot, size, [&](const fuse_direntplus& entry) {
      slot.count++;
      slot.offset = entry.dirent.off;
    });
    Ask(slot);
    slot.Submit();
    return true;
  }
  void Finish(Session& session, size_t slots) override {
    // Once more, to know whom each listing has looked up.
    Slot& first = session.slot(0);
    std::vector<uint64_t> nodes;
    first.offset = 0;
    Ask(first);
    while (const uint32_t size = session.Call(&first)) {
      Each(first, size, [&](const fuse_direntplus& entry) {
        if (entry.dirent.name[0] != '.') nodes.push_back(entry.entry_out.nodeid);
        first.offset = entry.dirent.off;
      });
      Ask(first);
    }
    session.ForgetAll(nodes, std::vector<uint64_t>(nodes.size(), listings_ + 1));
    for (size_t i = 0; i < slots; i++) {
      Slot& slot = session.slot(i);
      BuildRelease(slot, FUSE_RELEASEDIR, directory_, slot.fh);
      session.Call(&slot);
    }
    session.Forget(directory_, 1);
  }

 private:
  template <typename Visit>
  static void Each(const Slot& slot, uint32_t size, Visit visit) {
    for (uint32_t at = 0; at < size;) {
      const auto* entry = reinterpret_cast<const fuse_direntplus*>(slot.data() + at);
      visit(*entry);
      at += static_cast<uint32_t>(FUSE_DIRENTPLUS_SIZE(entry));
    }
  }
  void Ask(Slot& slot) {
    constexpr uint32_t kSize = 128 << 10;
    slot.Begin(FUSE_READDIRPLUS, directory_);
    fuse_read_in in = {};
    in.fh = slot.fh;
    in.offset = slot.offset;
    in.size = kSize;
    slot.Argument(in);
    slot.TakeData(kSize);
  }
  uint64_t directory_ = 0;
  uint64_t listings_ = 0;
};

using Maker = std::function<std::unique_ptr<Operation>(const std::string&)>;

template <typename Kind, typename... Arguments>
Maker With(Arguments... arguments) {
  return [=](const std::string&) { return std::make_unique<Kind>(arguments...); };
}
template <typename Kind, typename... Arguments>
Maker InShare(Arguments... arguments) {
  return [=](const std::string& share) { return std::make_unique<Kind>(share, arguments...); };
}

const std::map<std::string, Maker>& Makers() {
  static const std::map<std::string, Maker> makers = {
      {"lookup-known", With<Lookup>(false)},
      {"lookup-cold", With<Lookup>(true)},
      {"open-release", With<OpenRelease>()},
      {"read-4k", InShare<Read>(4u << 10, From::kMemory)},
      {"read-128k", InShare<Read>(128u << 10, From::kMemory)},
      {"read-1m", InShare<Read>(1u << 20, From::kMemory)},
      {"read-cold", InShare<Read>(4u << 10, From::kDisk)},
      {"read-direct", InShare<Read>(4u << 10, From::kDiskDirect)},
      {"write-4k", InShare<Write>(4u << 10)},
      {"write-128k", InShare<Write>(128u << 10)},
      {"write-1m", InShare<Write>(1u << 20)},
      {"write-fsync", InShare<WriteFsync>(4u << 10)},
      {"create-unlink-root", With<CreateUnlink>(0u)},
      {"create-unlink-user", With<CreateUnlink>(kUser)},
      {"rename", InShare<Rename>()},
      {"readdirplus-1000", With<Readdirplus>()},
  };
  return makers;
}

}  // namespace

std::unique_ptr<Operation> MakeOperation(const std::string& name, const std::string& share) {
  if (const uint32_t files = FilesOfGetattr(name); files > 0)
    return std::make_unique<Getattr>(files > kFew ? "many" : "few", files);
  const auto maker = Makers().find(name);
  return maker == Makers().end() ? nullptr : maker->second(share);
}

uint32_t FilesOfGetattr(const std::string& name) {
  constexpr std::string_view kName = "getattr-";
  if (!name.starts_with(kName)) return 0;
  const unsigned long files = strtoul(name.c_str() + kName.size(), nullptr, 10);
  return files > kMany ? 0 : static_cast<uint32_t>(files);
}

std::string OperationNames() {
  std::string names = "getattr-FILES";
  for (const auto& [name, maker] : Makers()) names += ", " + name;
  return names;
}

}  // namespace viewfsd::bench
