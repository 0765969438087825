// SPDX-License-Identifier: Apache-2.0
// A hostile guest against the data plane: FUSE requests, decoded and executed without Node on a
// real directory, while the host changes it, and with what else the control plane does to inodes
// and handles. The input is a script of requests and changes. A model of what the guest has been
// told (nodeids with their lookups, handles) must agree with the tables at any time.
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/fuse.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "fuse/data_plane.h"
#include "fuzz/check.h"
#include "fuzz/script.h"
#include "fuzz/share.h"
#include "host/file_syscalls.h"
#include "host/proc_fds.h"
#include "host/shared_directory.h"
#include "host/xattr.h"

namespace viewfsd::fuzz {
namespace {

constexpr uint64_t kWindow = 1 << 20;
constexpr size_t kReplyRoom = 16384;
// What no reply may show: what the scratch buffer for replies held before.
constexpr uint8_t kSecret = 0xa7;
// fuse_in_header.total_extlen
constexpr size_t kExtensionUnits = 36;
constexpr uint32_t kGroups = 32;
constexpr uint32_t kForbidden = 66;
constexpr const char* kNames[] = {"a", "b", "c", "d", "e", "f",  "g",   "h",    "i",
                                  "l", "p", "x", "y", ".", "..", "d/e", "../x", ""};
// Of security labels: two that can be had, one that can't, and one that nobody has a name for.
constexpr const char* kLabels[] = {"security.a", "security.b", "security.c", "security.d", ""};

// A window that takes everything it is asked for, and shows nothing.
class NoWindow : public Window {
 public:
  bool upgrades() const override { return true; }
  int Map(uint64_t, const WindowRange& range, int fd, bool) override {
    FUZZ_CHECK(fcntl(fd, F_GETFD) >= 0);
    FUZZ_CHECK(range.length <= kWindow && range.moffset <= kWindow - range.length);
    return 0;
  }
  int Unmap(std::span<const WindowPart> parts) override {
    for (const WindowPart& part : parts)
      FUZZ_CHECK(part.length <= kWindow && part.moffset <= kWindow - part.length);
    return 0;
  }
  bool Use(const WindowPart&, WindowUse*) const override { return false; }
};

// A shared directory and how a session has set it up.
struct Setting {
  Setting(const Share& share, HandleUse use, const DirectoryLimits& limits, bool exports)
      : directory(UniqueFd(fcntl(share.root(), F_DUPFD_CLOEXEC, 0)),
                  UniqueFd(fcntl(ProcFds(), F_DUPFD_CLOEXEC, 0)), CacheTimeouts{1, 1}, use, limits),
        remembers(exports) {
    FUZZ_CHECK(directory.Initialize() == 0);
    directory.set_window(std::make_unique<NoWindow>());
    directory.AddLabelName("security.a", "user.a");
    directory.AddLabelName("security.b", "trusted.b");
    directory.AddLabelName("security.c", "nonsense.c");
    if (!exports) return;
    using Kind = IdRange::Kind;
    const IdRanges to_host({{1000, 10, 2000, Kind::kShifted},
                            {1010, 10, 5, Kind::kSquashed},
                            {kForbidden, 1, 0, Kind::kForbidden}});
    const IdRanges to_guest({{2000, 10, 1000, Kind::kShifted}});
    directory.set_ids_to_host(to_host, to_host);
    directory.set_ids_to_guest(to_guest, to_guest);
  }

  SharedDirectory directory;
  const bool remembers;
};

Share& TheShare() {
  static Share share;
  return share;
}

std::array<std::unique_ptr<Setting>, 4>& Settings() {
  constexpr DirectoryLimits kAmple = {
      .inodes = 1000, .descriptors = 1000, .cached = 100, .remembered = 100};
  constexpr DirectoryLimits kTight = {.inodes = 6, .descriptors = 5, .cached = 2, .remembered = 2};
  static std::array<std::unique_ptr<Setting>, 4> settings = {
      std::make_unique<Setting>(TheShare(), HandleUse::kMandatory, kAmple, true),
      std::make_unique<Setting>(TheShare(), HandleUse::kMandatory, kTight, true),
      std::make_unique<Setting>(TheShare(), HandleUse::kPrefer, kTight, false),
      std::make_unique<Setting>(TheShare(), HandleUse::kNever, kTight, false)};
  return settings;
}

const int kOwnGroups = getgroups(0, nullptr);

class Scene {
 public:
  Scene(Script& script, Setting& setting)
      : script_(script),
        directory_(setting.directory),
        plane_(setting.directory, counters_),
        reply_(kReplyRoom) {
    TheShare().Fill();
    directory_.Begin(true, setting.remembers, true);
    Publish();
  }

  void Play() {
    for (int step = 0; step < 300 && !script_.done(); step++) {
      if (script_.Pick(8) == 0)
        Meddle();
      else
        Request();
      CheckTables();
    }
    plane_.AfterReply();
    directory_.Reset();
    lookups_.clear();
    handles_.clear();
    CheckTables();
    TheShare().CheckOutside();
  }

 private:
  struct OpenHandle {
    uint64_t fh;
    uint64_t nodeid;
    bool is_directory;
  };

  void Publish() {
    const uint8_t how = script_.Byte();
    const uint8_t making = script_.Byte();
    ServicePolicy policy;
    policy.services.fill(Service::kNative);
    policy.writeback_cache = (how & 1) != 0;
    policy.posix_locks = (how & 2) != 0;
    policy.handles_killpriv = (how & 4) != 0;
    policy.negative_entries = (how & 8) != 0;
    policy.extensions = (making & 1) == 0;
    policy.labels = (making & 2) == 0;
    policy.applies_umask = (making & 4) == 0;
    policy.open.read_only = (how & 0x30) == 0x30;
    policy.open.asks_again = (how & 0x40) != 0;
    policy.open.file_flags = {0, FOPEN_KEEP_CACHE, FOPEN_DIRECT_IO};
    policy.open.directory_flags = {0, FOPEN_CACHE_DIR};
    policy.window = {.size = kWindow, .shown = (how & 0x80) == 0};
    directory_.policy().Publish(policy);
  }

  // --- what a guest chooses ---

  uint64_t Nodeid() {
    const uint32_t pick = script_.Pick(16);
    if (pick == 0) return script_.Take<uint64_t>();
    if (pick < 4 || told_.empty()) return FUSE_ROOT_ID;
    return told_[script_.Byte() % told_.size()];
  }

  // A handle and its nodeid, or what is none.
  OpenHandle Handle() {
    if (handles_.empty() || script_.Pick(16) == 0) return {script_.Byte(), Nodeid(), false};
    return handles_[script_.Byte() % handles_.size()];
  }

  uint64_t Offset() {
    static constexpr uint64_t kOffsets[] = {0,     1,       4096,      5000,
                                            65536, 1 << 20, INT64_MAX, UINT64_MAX};
    const uint32_t pick = script_.Pick(12);
    if (pick < 8) return kOffsets[pick];
    return pick == 8 ? script_.Take<uint64_t>() : script_.Take<uint16_t>();
  }

  template <typename Struct>
  void Append(const Struct& in) {
    const auto* bytes = reinterpret_cast<const uint8_t*>(&in);
    body_.insert(body_.end(), bytes, bytes + sizeof(in));
  }
  void AppendText(const char* text) { body_.insert(body_.end(), text, text + strlen(text) + 1); }
  void AppendName() { AppendText(kNames[script_.Byte() % std::size(kNames)]); }

  // A count, mostly the right one.
  uint32_t OrLie(uint32_t count) {
    return script_.Pick(16) == 0 ? script_.Take<uint32_t>() : count;
  }

  // What stands behind the operation's own bytes where something is made.
  void AppendExtensions(fuse_in_header& header) {
    const size_t begin = body_.size();
    for (uint32_t left = script_.Pick(4); left > 1; left--) AppendExtension();
    auto units = static_cast<uint16_t>((body_.size() - begin) / 8);
    if (script_.Pick(16) == 0) units = script_.Take<uint16_t>();
    memcpy(reinterpret_cast<uint8_t*>(&header) + kExtensionUnits, &units, sizeof(units));
  }
  void AppendExtension() {
    const size_t at = body_.size();
    const uint32_t pick = script_.Pick(16);
    const bool groups = pick >= 8;
    // Size and type.
    Append(uint32_t{0});
    Append(pick == 0 ? uint32_t{script_.Byte()} : groups ? kGroups : uint32_t{1});
    const uint32_t count = script_.Pick(4);
    Append(OrLie(count));
    if (groups) {
      for (uint32_t i = 0; i < count; i++) Append(Id());
    } else {
      Append(uint32_t{0});
      AppendText(kLabels[script_.Byte() % std::size(kLabels)]);
      body_.insert(body_.end(), count, Share::kInside);
    }
    const uint32_t size = OrLie(static_cast<uint32_t>(body_.size() - at));
    memcpy(&body_[at], &size, sizeof(size));
    while ((body_.size() - at) % 8 != 0) body_.push_back(0);
  }

  uint32_t Id() {
    static constexpr uint32_t kIds[] = {0, 0, 0, 0, 1000, 1009, 1015, kForbidden, UINT32_MAX};
    const uint32_t pick = script_.Pick(10);
    return pick < 9 ? kIds[pick] : script_.Take<uint32_t>();
  }

  uint32_t Mode() {
    static constexpr uint32_t kModes[] = {S_IFREG | 0644, S_IFREG | 0,     S_IFIFO | 0644,
                                          S_IFCHR | 0666, S_IFSOCK | 0755, S_IFDIR | 0755,
                                          S_IFLNK | 0777, 06755,           0};
    const uint32_t pick = script_.Pick(10);
    return pick < 9 ? kModes[pick] : script_.Take<uint32_t>();
  }

  int Flags() {
    static constexpr int kFlags[] = {O_RDONLY,         O_WRONLY,          O_RDWR,
                                     O_RDWR | O_TRUNC, O_RDWR | O_APPEND, O_RDONLY | O_NOATIME,
                                     O_ACCMODE,        O_RDONLY};
    const uint32_t pick = script_.Pick(10);
    return pick < 8 ? kFlags[pick] : script_.Take<int>();
  }

  // --- requests ---

  void Request() {
    body_.clear();
    payload_.clear();
    fuse_in_header header = {};
    header.unique = ++unique_;
    header.pid = script_.Byte() & 3;
    handle_ = {};
    static constexpr uint32_t kOpcodes[] = {
        FUSE_LOOKUP,       FUSE_LOOKUP,        FUSE_LOOKUP,  FUSE_FORGET,      FUSE_BATCH_FORGET,
        FUSE_GETATTR,      FUSE_OPEN,          FUSE_OPEN,    FUSE_OPENDIR,     FUSE_READ,
        FUSE_READ,         FUSE_WRITE,         FUSE_FLUSH,   FUSE_FSYNC,       FUSE_FSYNCDIR,
        FUSE_SYNCFS,       FUSE_FALLOCATE,     FUSE_READDIR, FUSE_READDIRPLUS, FUSE_READDIRPLUS,
        FUSE_SETUPMAPPING, FUSE_REMOVEMAPPING, FUSE_RELEASE, FUSE_RELEASEDIR,  FUSE_COPY_FILE_RANGE,
        kCopyFileRange64,  FUSE_CREATE,        FUSE_CREATE,  kTmpfile,         FUSE_MKDIR,
        FUSE_MKDIR,        FUSE_MKNOD,         FUSE_SYMLINK, FUSE_UNLINK,      FUSE_UNLINK,
        FUSE_RMDIR,        FUSE_RENAME,        FUSE_RENAME,  FUSE_RENAME2,     FUSE_SETATTR,
        FUSE_SETATTR};
    const uint32_t pick = script_.Byte();
    header.opcode = pick < 250 ? kOpcodes[pick % std::size(kOpcodes)] : script_.Byte();
    header.nodeid = Nodeid();
    MakeBody(header);
    // Sometimes cut, or with a byte that is wrong.
    const uint8_t fault = script_.Byte();
    if (fault >= 240) body_.resize(std::min<size_t>(body_.size(), script_.Byte()));
    if (fault >= 224 && fault < 240 && !body_.empty())
      body_[script_.Byte() % body_.size()] = script_.Byte();
    header.len = static_cast<uint32_t>(sizeof(header) + body_.size() + payload_.size());
    if (fault == 223) header.len = script_.Take<uint32_t>();
    Serve(header);
  }

  void MakeBody(fuse_in_header& header) {
    switch (header.opcode) {
      case FUSE_LOOKUP:
        return AppendName();
      case FUSE_FORGET:
        return Append(fuse_forget_in{.nlookup = Count()});
      case FUSE_BATCH_FORGET: {
        const uint32_t count = script_.Pick(5);
        Append(fuse_batch_forget_in{.count = script_.Pick(8) == 0 ? script_.Byte() : count,
                                    .dummy = 0});
        for (uint32_t i = 0; i < count; i++) {
          const uint64_t nodeid = Nodeid();
          Append(fuse_forget_one{.nodeid = nodeid, .nlookup = Count()});
        }
        return;
      }
      case FUSE_GETATTR:
        return Append(fuse_getattr_in{});
      case FUSE_OPEN:
      case FUSE_OPENDIR:
        return Append(
            fuse_open_in{.flags = static_cast<uint32_t>(Flags()), .open_flags = script_.Byte()});
      case FUSE_REMOVEMAPPING: {
        const uint32_t count = script_.Pick(4);
        Append(fuse_removemapping_in{.count = script_.Pick(8) == 0 ? script_.Byte() : count});
        for (uint32_t i = 0; i < count; i++)
          Append(fuse_removemapping_one{.moffset = Offset(), .len = Offset()});
        return;
      }
      case FUSE_SETUPMAPPING:
        return Append(fuse_setupmapping_in{.fh = UINT64_MAX,
                                           .foffset = Offset(),
                                           .len = Offset(),
                                           .flags = script_.Pick(4),
                                           .moffset = Offset()});
      case FUSE_SYNCFS:
        return Append(fuse_syncfs_in{});
      case FUSE_UNLINK:
      case FUSE_RMDIR:
        return AppendName();
      case FUSE_RENAME:
      case FUSE_RENAME2:
        return MakeRename(header);
      case FUSE_CREATE:
      case FUSE_MKDIR:
      case FUSE_MKNOD:
      case FUSE_SYMLINK:
      case kTmpfile:
        header.uid = Id();
        header.gid = Id();
        MakeMaking(header.opcode);
        return AppendExtensions(header);
      default:
        handle_ = Handle();
        header.nodeid = handle_.nodeid;
        return MakeHandleBody(header.opcode);
    }
  }

  void MakeRename(fuse_in_header& header) {
    const uint64_t to = Nodeid();
    if (header.opcode == FUSE_RENAME) {
      Append(fuse_rename_in{.newdir = to});
    } else {
      header.uid = Id();
      Append(fuse_rename2_in{.newdir = to, .flags = script_.Pick(10), .padding = 0});
    }
    AppendName();
    AppendName();
  }

  void MakeMaking(uint32_t opcode) {
    constexpr uint32_t kUmask = 022;
    switch (opcode) {
      case FUSE_MKDIR:
        Append(fuse_mkdir_in{.mode = Mode(), .umask = kUmask});
        break;
      case FUSE_MKNOD:
        // The null device, and what is none.
        Append(fuse_mknod_in{
            .mode = Mode(), .rdev = script_.Pick(2) * 0x103, .umask = kUmask, .padding = 0});
        break;
      case FUSE_SYMLINK:
        AppendName();
        return AppendText(script_.Pick(4) == 0 ? "" : "../secret");
      default:
        Append(fuse_create_in{.flags = static_cast<uint32_t>(Flags()) |
                                       (script_.Pick(4) == 0 ? uint32_t{O_EXCL} : 0u),
                              .mode = Mode(),
                              .umask = kUmask,
                              .open_flags = script_.Pick(2)});
    }
    AppendName();
  }

  fuse_setattr_in Changes() {
    fuse_setattr_in in = {};
    in.valid = script_.Take<uint16_t>();
    in.fh = handle_.fh;
    in.size = Offset();
    in.atime = in.mtime = Offset();
    in.atimensec = in.mtimensec = script_.Pick(8) == 0 ? script_.Take<uint32_t>() : 0;
    in.mode = Mode();
    in.uid = Id();
    in.gid = Id();
    return in;
  }

  uint64_t Count() { return script_.Pick(8) == 0 ? script_.Take<uint64_t>() : 1 + script_.Pick(3); }

  void MakeHandleBody(uint32_t opcode) {
    const uint64_t fh = handle_.fh;
    switch (opcode) {
      case FUSE_READ:
      case FUSE_READDIR:
      case FUSE_READDIRPLUS:
        return Append(fuse_read_in{.fh = fh, .offset = Offset(), .size = Size(), .flags = 0});
      case FUSE_WRITE: {
        const uint32_t size = Size();
        payload_.assign(std::min<uint32_t>(size, script_.Take<uint16_t>()), Share::kInside);
        return Append(fuse_write_in{
            .fh = fh,
            .offset = Offset(),
            .size = script_.Pick(8) == 0 ? size : static_cast<uint32_t>(payload_.size()),
            .write_flags = script_.Pick(8u),
            .lock_owner = 0,
            .flags = script_.Pick(8) == 0 ? uint32_t{O_APPEND} : 0u});
      }
      case FUSE_FLUSH:
        return Append(fuse_flush_in{.fh = fh, .lock_owner = script_.Byte()});
      case FUSE_FSYNC:
      case FUSE_FSYNCDIR:
        return Append(fuse_fsync_in{.fh = fh, .fsync_flags = script_.Byte()});
      case FUSE_FALLOCATE:
        return Append(fuse_fallocate_in{
            .fh = fh, .offset = Offset(), .length = Offset(), .mode = script_.Byte()});
      case FUSE_RELEASE:
      case FUSE_RELEASEDIR:
        return Append(fuse_release_in{.fh = fh});
      case FUSE_SETATTR:
        return Append(Changes());
      case FUSE_COPY_FILE_RANGE:
      case kCopyFileRange64: {
        const OpenHandle to = Handle();
        return Append(fuse_copy_file_range_in{.fh_in = fh,
                                              .off_in = Offset(),
                                              .nodeid_out = to.nodeid,
                                              .fh_out = to.fh,
                                              .off_out = Offset(),
                                              .len = Offset(),
                                              .flags = 0});
      }
      default:
        while (script_.Pick(8) != 0 && body_.size() < 64 && !script_.done())
          body_.push_back(script_.Byte());
    }
  }

  uint32_t Size() {
    static constexpr uint32_t kSizes[] = {0, 100, 4096, 65536, UINT32_MAX};
    const uint32_t pick = script_.Pick(8);
    return pick < 5 ? kSizes[pick] : script_.Take<uint16_t>();
  }

  // Buffers of their very size, so that whoever leaves them is seen.
  void Serve(const fuse_in_header& header) {
    message_.assign(reinterpret_cast<const uint8_t*>(&header),
                    reinterpret_cast<const uint8_t*>(&header + 1));
    message_.insert(message_.end(), body_.begin(), body_.end());
    message_.shrink_to_fit();
    FuseRequest request;
    if (!DecodeHeader(message_.data(), static_cast<uint32_t>(message_.size()), payload_.size(),
                      &request))
      return;
    const std::array<iovec, 2> in = {
        {{message_.data(), message_.size()}, {payload_.data(), payload_.size()}}};
    request.readable = {in.data(), in.size(), message_.size() + payload_.size()};
    request.payload_offset = message_.size();
    request.payload_size = payload_.size();
    static constexpr size_t kRooms[] = {0, 15, 16, 100, 4112, 8192};
    std::array<std::vector<uint8_t>, 2> out;
    out[0].assign(kRooms[2 + script_.Pick(4)], kSecret);
    out[1].assign(kRooms[script_.Pick(6)], kSecret);
    if (script_.Pick(16) == 0) out[0].clear();
    const std::array<iovec, 2> pieces = {
        {{out[0].data(), out[0].size()}, {out[1].data(), out[1].size()}}};
    request.writable = {pieces.data(), pieces.size(), out[0].size() + out[1].size()};
    std::fill(reply_.begin(), reply_.end(), kSecret);
    const Answer answer = plane_.Serve(request, reply_.data(), reply_.size());
    // Whoever has asked, the thread is itself again.
    FUZZ_CHECK(geteuid() == 0 && getegid() == 0 && getgroups(0, nullptr) == kOwnGroups);
    Judge(request, answer, out);
    // Before the next request, as on a queue's thread.
    plane_.AfterReply();
  }

  void Judge(const FuseRequest& request, const Answer& answer,
             const std::array<std::vector<uint8_t>, 2>& out) {
    std::vector<uint8_t> written = out[0];
    written.insert(written.end(), out[1].begin(), out[1].end());
    FUZZ_CHECK(answer.kind != Answer::Kind::kPutOff && answer.kind != Answer::Kind::kInterrupted);
    size_t touched = sizeof(fuse_out_header);
    if (answer.kind == Answer::Kind::kInPlace && answer.value > 0) {
      touched += static_cast<size_t>(answer.value);
      FUZZ_CHECK(touched <= written.size());
      for (size_t i = sizeof(fuse_out_header); i < touched; i++)
        FUZZ_CHECK(written[i] == Share::kInside || written[i] == 0);
    }
    for (size_t i = touched; i < written.size(); i++) FUZZ_CHECK(written[i] == kSecret);
    if (answer.kind == Answer::Kind::kAsk || answer.kind == Answer::Kind::kWait) return;
    const uint32_t opcode = request.header.opcode;
    const bool forgets = opcode == FUSE_FORGET || opcode == FUSE_BATCH_FORGET;
    FUZZ_CHECK(!forgets || answer.kind == Answer::Kind::kSilent);
    // Nothing is done where there is no room for a reply.
    if (answer.kind == Answer::Kind::kSilent && !forgets) return;
    if (answer.kind == Answer::Kind::kBody && answer.value > 0)
      FUZZ_CHECK(sizeof(fuse_out_header) + static_cast<size_t>(answer.value) <= written.size());
    Learn(request, answer);
  }

  // --- the model ---

  void Learn(const FuseRequest& request, const Answer& answer) {
    const uint64_t nodeid = request.header.nodeid;
    const bool done = answer.value >= 0;
    switch (request.header.opcode) {
      case FUSE_LOOKUP:
        if (done) LearnEntry(Body<fuse_entry_out>(0));
        return;
      case FUSE_MKDIR:
      case FUSE_MKNOD:
      case FUSE_SYMLINK:
        if (done) LearnMade(Body<fuse_entry_out>(0));
        return;
      case FUSE_CREATE:
      case kTmpfile: {
        if (!done) return;
        const auto entry = Body<fuse_entry_out>(0);
        // A CREATE may have found a file that has had its label before.
        if (request.header.opcode == kTmpfile)
          LearnMade(entry);
        else
          LearnEntry(entry);
        handles_.push_back({Body<fuse_open_out>(sizeof(entry)).fh, entry.nodeid, false});
        return;
      }
      case FUSE_FORGET:
        if (request.body_size >= sizeof(fuse_forget_in))
          Forget(nodeid, request.In<fuse_forget_in>().nlookup);
        return;
      case FUSE_BATCH_FORGET:
        if (request.body_size >= sizeof(fuse_batch_forget_in) && done) ForgetBatch(request);
        return;
      case FUSE_GETATTR:
      case FUSE_SETATTR:
        if (done) CheckAttributes(Body<fuse_attr_out>(0).attr);
        return;
      case FUSE_OPEN:
      case FUSE_OPENDIR:
        if (done)
          handles_.push_back(
              {Body<fuse_open_out>(0).fh, nodeid, request.header.opcode == FUSE_OPENDIR});
        return;
      case FUSE_READDIRPLUS:
        if (answer.value > 0) LearnListing(static_cast<size_t>(answer.value));
        return;
      case FUSE_RELEASE:
      case FUSE_RELEASEDIR: {
        if (request.body_size < sizeof(fuse_release_in) || !done) return;
        const uint64_t fh = request.In<fuse_release_in>().fh;
        const bool is_directory = request.header.opcode == FUSE_RELEASEDIR;
        std::erase_if(handles_, [&](const OpenHandle& handle) {
          return handle.fh == fh && handle.nodeid == nodeid && handle.is_directory == is_directory;
        });
        return;
      }
      default:
        return;
    }
  }

  template <typename Struct>
  Struct Body(size_t offset) const {
    Struct out;
    memcpy(&out, &reply_[offset], sizeof(out));
    return out;
  }

  static void CheckAttributes(const fuse_attr& attributes) {
    FUZZ_CHECK(!TheShare().IsOutside(attributes.ino));
  }

  void LearnEntry(const fuse_entry_out& entry) {
    if (entry.nodeid == 0) return;
    CheckAttributes(entry.attr);
    told_.push_back(entry.nodeid);
    if (entry.nodeid != FUSE_ROOT_ID) ++lookups_[entry.nodeid];
  }

  // A label holds what has come with the request, and nothing else.
  void LearnMade(const fuse_entry_out& entry) {
    LearnEntry(entry);
    for (const char* name : {"user.a", "trusted.b"}) {
      std::vector<uint8_t> label(1 << 16);
      const int64_t size = GetXattr(directory_, entry.nodeid, name, label.data(), label.size());
      if (size < 0) continue;
      label.resize(static_cast<size_t>(size));
      FUZZ_CHECK(std::search(message_.begin(), message_.end(), label.begin(), label.end()) !=
                     message_.end() ||
                 label.empty());
    }
  }

  void LearnListing(size_t size) {
    for (size_t at = 0; at < size;) {
      const auto plus = Body<fuse_direntplus>(at);
      LearnEntry(plus.entry_out);
      at += FUSE_DIRENTPLUS_SIZE(&plus);
    }
  }

  void Forget(uint64_t nodeid, uint64_t count) {
    const auto found = lookups_.find(nodeid);
    if (found == lookups_.end()) return;
    found->second -= std::min(count, found->second);
    if (found->second == 0) lookups_.erase(found);
  }

  void ForgetBatch(const FuseRequest& request) {
    const uint32_t count = request.In<fuse_batch_forget_in>().count;
    for (uint32_t i = 0; i < count; i++) {
      fuse_forget_one one;
      memcpy(&one, request.body + sizeof(fuse_batch_forget_in) + i * sizeof(one), sizeof(one));
      Forget(one.nodeid, one.nlookup);
    }
  }

  void CheckTables() {
    FUZZ_CHECK(directory_.inodes().size() == 1 + lookups_.size());
    FUZZ_CHECK(directory_.handles().size() == handles_.size());
    for (const auto& [nodeid, count] : lookups_)
      FUZZ_CHECK(!(directory_.inodes().Get(nodeid) == nullptr));
  }

  // --- what the guest does by the control plane, and the host by itself ---

  void Meddle() {
    const char* name = kNames[script_.Byte() % 13];
    const char* other = kNames[script_.Byte() % 13];
    const UniqueFd below(openat(TheShare().root(), "d", O_PATH | O_DIRECTORY | O_CLOEXEC));
    const int at = (script_.Byte() & 1) != 0 && below ? below.get() : TheShare().root();
    switch (script_.Pick(7)) {
      case 0:
        unlinkat(at, name, 0);
        return;
      case 1:
        renameat(TheShare().root(), name, at, other);
        return;
      case 2: {
        const UniqueFd made(
            openat(at, name, O_RDWR | O_CREAT | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC, 0644));
        if (made && script_.Pick(4) == 0) FUZZ_CHECK(ftruncate(made.get(), script_.Byte()) <= 0);
        return;
      }
      case 3:
        mkdirat(at, name, 0755);
        return;
      case 4: {
        fuse_entry_out entry;
        const uint64_t nodeid = Nodeid();
        if (MakeLink(directory_, nodeid, Nodeid(), name, &entry) == 0) LearnEntry(entry);
        return;
      }
      case 5:
        SetXattr(directory_, Nodeid(), "user.x", name, strlen(name), 0, (script_.Byte() & 1) != 0);
        return;
      default:
        return Publish();
    }
  }

  Script& script_;
  SharedDirectory& directory_;
  FuseCounters counters_;
  DataPlane plane_;
  std::vector<uint8_t> reply_;
  uint64_t unique_ = 0;
  // The request that is being made.
  OpenHandle handle_ = {};
  std::vector<uint8_t> body_, payload_, message_;
  // What the guest has been told, and of that what it has not forgotten or released.
  std::vector<uint64_t> told_;
  std::map<uint64_t, uint64_t> lookups_;
  std::vector<OpenHandle> handles_;
};

}  // namespace
}  // namespace viewfsd::fuzz

// No file may take more memory than this. (The tables are larger: they come before.)
extern "C" int LLVMFuzzerInitialize(int*, char***) {
  // A merge is a child, which begins with its parent's limit.
  struct rlimit largest;
  FUZZ_CHECK(getrlimit(RLIMIT_FSIZE, &largest) == 0);
  largest.rlim_cur = largest.rlim_max;
  FUZZ_CHECK(setrlimit(RLIMIT_FSIZE, &largest) == 0);
  viewfsd::fuzz::Settings();
  largest.rlim_cur = 1 << 22;
  FUZZ_CHECK(setrlimit(RLIMIT_FSIZE, &largest) == 0);
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  // libFuzzer has taken it for itself since.
  signal(SIGXFSZ, SIG_IGN);
  viewfsd::fuzz::Script script(data, size);
  auto& settings = viewfsd::fuzz::Settings();
  const size_t descriptors = viewfsd::fuzz::CountDescriptors();
  {
    viewfsd::fuzz::Scene scene(script, *settings[script.Pick(settings.size())]);
    scene.Play();
  }
  FUZZ_CHECK(viewfsd::fuzz::CountDescriptors() == descriptors);
  return 0;
}
