// SPDX-License-Identifier: Apache-2.0
// A hostile driver against the device's side of a ring: SplitVirtqueue, the guest's memory, and the
// copying of RequestServer. The input is a script of what driver, frontend and queue thread do, in
// turns. After each step: what the device has read is what an independent reading of the rings says
// (guest.h), nothing was written but to the used ring and the chain's own writable buffers, no byte
// from outside of the guest's memory is in it, and a queue beside this one still serves.
#include <fcntl.h>
#include <linux/fuse.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <map>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "fuzz/check.h"
#include "fuzz/guest.h"
#include "fuzz/script.h"
#include "host/shared_directory.h"
#include "memory/guarded_access.h"
#include "virtio/device.h"
#include "virtio/request_server.h"

namespace viewfsd::fuzz {
namespace {

constexpr uint32_t kHostileQueue = 1;
constexpr uint32_t kHonestQueue = 2;
constexpr size_t kFileSize = 10000;
constexpr uint32_t kFuseWrite = 16;

uint8_t FileByte(uint64_t offset) { return static_cast<uint8_t>(0x20 + offset % 90); }

// What READ and WRITE are about: a shared directory with two open files.
class Files {
 public:
  Files() {
    char path[] = "/tmp/viewfsd-ring-fuzz-XXXXXX";
    FUZZ_CHECK(mkdtemp(path) != nullptr);
    UniqueFd root(open(path, O_PATH | O_DIRECTORY | O_CLOEXEC));
    UniqueFd proc_fds(open("/proc/self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC));
    FUZZ_CHECK(root.valid() && proc_fds.valid());
    const int top = root.get();
    const int source = openat(top, "source", O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    sink_ = openat(top, "sink", O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    FUZZ_CHECK(source >= 0 && sink_ >= 0);
    for (uint64_t offset = 0; offset < kFileSize; offset++) {
      const uint8_t byte = FileByte(offset);
      FUZZ_CHECK(pwrite(source, &byte, 1, static_cast<off_t>(offset)) == 1);
    }
    directory_ = std::make_unique<SharedDirectory>(
        std::move(root), std::move(proc_fds), CacheTimeouts{1, 1}, HandleUse::kNever,
        DirectoryLimits{.inodes = 100, .descriptors = 100, .cached = 10, .remembered = 0});
    FUZZ_CHECK(directory_->Initialize() == 0);
    Open("source", source, &source_in_);
    Open("sink", dup(sink_), &sink_in_);
    FUZZ_CHECK(unlinkat(top, "source", 0) == 0 && unlinkat(top, "sink", 0) == 0);
    FUZZ_CHECK(rmdir(path) == 0);
  }

  SharedDirectory& directory() { return *directory_; }
  int sink() const { return sink_; }

  // The data plane serves these from now on, or nothing.
  void Serve(bool serves) {
    ServicePolicy policy;
    if (serves) policy.services[FUSE_READ] = policy.services[FUSE_WRITE] = Service::kNative;
    directory_->policy().Publish(policy);
  }

  struct Message {
    fuse_in_header header = {};
    union {
      fuse_read_in read = {};
      fuse_write_in write;
    };
  };
  static_assert(sizeof(Message) == 80);

  Message ReadFrom(uint64_t offset, uint32_t size) const {
    Message message;
    message.header = {
        .len = sizeof(message), .opcode = FUSE_READ, .unique = 1, .nodeid = source_in_.nodeid};
    message.read = {.fh = source_in_.fh, .offset = offset, .size = size};
    return message;
  }
  // With `payload` bytes behind it.
  Message WriteTo(uint32_t size, uint64_t payload) const {
    Message message;
    message.header = {.len = static_cast<uint32_t>(sizeof(message) + payload),
                      .opcode = FUSE_WRITE,
                      .unique = 1,
                      .nodeid = sink_in_.nodeid};
    message.write = {.fh = sink_in_.fh, .size = size};
    return message;
  }

 private:
  struct In {
    uint64_t nodeid;
    uint64_t fh;
  };

  void Open(const char* name, int fd, In* in) {
    fuse_entry_out entry;
    FUZZ_CHECK(directory_->Lookup(InodeTable::kRootNodeid, name, false, &entry) == 0);
    const int64_t fh = directory_->handles().Add(entry.nodeid, UniqueFd(fd), HandleKind::kFile);
    FUZZ_CHECK(fh >= 0);
    *in = {entry.nodeid, static_cast<uint64_t>(fh)};
  }

  std::unique_ptr<SharedDirectory> directory_;
  int sink_;
  In source_in_;
  In sink_in_;
};

Files& TheFiles() {
  static Files files;
  return files;
}

// A queue thread's own memory: secret but for what a request brings or a reply takes.
struct Buffers {
  Buffers() {
    FillSecret(request.get(), RequestServer::kRequestBytes);
    FillSecret(reply.get(), RequestServer::kReplyBytes);
  }
  std::unique_ptr<uint8_t[]> request{new uint8_t[RequestServer::kRequestBytes]};
  std::unique_ptr<uint8_t[]> reply{new uint8_t[RequestServer::kReplyBytes]};
};

class Scene {
 public:
  explicit Scene(Script& script) : script_(script), device_(Device::Create(3)) {
    static Buffers hostile_buffers, honest_buffers;
    request_ = hostile_buffers.request.get();
    reply_ = hostile_buffers.reply.get();
    hostile_ = std::make_unique<RequestServer>(device_, 0, &files_.directory(), request_, reply_);
    honest_reply_ = honest_buffers.reply.get();
    honest_ = std::make_unique<RequestServer>(device_, 1, nullptr, honest_buffers.request.get(),
                                              honest_reply_);
    Negotiate();
    SetTable();
    Start();
    const uint64_t base = Guest::regions()[kHonestRegion].guest_address;
    honest_ring_ = {base, base + 0x400, base + 0x800, 16};
    StartQueue(kHonestQueue, honest_ring_, 0);
  }

  ~Scene() {
    hostile_.reset();
    honest_.reset();
    Device::Drop(device_->id());
  }

  void Play() {
    // A script of more steps finds nothing that two shorter ones would not.
    for (int step = 0; step < 200 && !script_.done(); step++) Step();
    Restore();
    ServeHonest();
    guest_.CheckSecrets();
  }

 private:
  void Step() {
    switch (script_.Pick(16)) {
      case 0:
      case 1:
        return WriteChain();
      case 2:
        return WriteHeader();
      case 3:
      case 4:
      case 5:
      case 6:
        return Serve();
      case 7:
        return Poke();
      case 8:
        return guest_.Put<uint16_t>(ring_.available + 2,
                                    static_cast<uint16_t>(available_ += script_.Byte() - 128));
      case 9:
        return guest_.Put<uint16_t>(ring_.available + 4 + 2 * ring_.size, script_.Take<uint16_t>());
      case 10:
        return CompleteDeferred();
      case 11:
        Stop();
        return Start();
      case 12:
        return device_->SetEnabled(kHostileQueue, (script_.Byte() & 1) != 0);
      case 13:
        return ChangeMemory();
      case 14:
        return Negotiate();
      default:
        Restore();
        return ServeHonest();
    }
  }

  // --- the frontend ---

  void Negotiate() {
    const uint8_t features = script_.Byte();
    negotiated_ = (features & 2) == 0;
    device_->SetFeatures((features & 1) != 0, negotiated_, true);
  }

  void SetTable() {
    std::vector<RegionDescription> present;
    for (size_t i = 0; i < kRegionCount; i++)
      if (guest_.present(i)) present.push_back(Guest::regions()[i]);
    const std::vector<int> fds(present.size(), guest_.fd());
    FUZZ_CHECK(device_->memory().SetTable(present, fds) == 0);
  }

  void ChangeMemory() {
    const uint32_t region = script_.Pick(kHonestRegion);
    switch (script_.Pick(4)) {
      case 0:
        guest_.Truncate(script_.Pick(40) * size_t{4096});
        return;
      case 1:
        guest_.Truncate(SIZE_MAX);
        return;
      case 2:
        if (!guest_.present(region)) return;
        FUZZ_CHECK(device_->memory().RemoveRegion(Guest::regions()[region]) == 0);
        return guest_.SetPresent(region, false);
      default:
        guest_.SetPresent(region, true);
        Restore();
    }
  }

  // Memory as an honest frontend leaves it.
  void Restore() {
    guest_.Truncate(SIZE_MAX);
    for (size_t i = 0; i < kRegionCount; i++) guest_.SetPresent(i, true);
    SetTable();
  }

  void StartQueue(uint32_t index, const RingPlace& ring, uint16_t base) {
    Queue& queue = *device_->queues()[index];
    queue.size = ring.size;
    queue.addresses = {kUserBase + ring.descriptors, kUserBase + ring.available,
                       kUserBase + ring.used};
    queue.addresses_set = true;
    queue.base = base;
    queue.call.reset(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    FUZZ_CHECK(device_->SetKick(index, UniqueFd(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK))) == 0);
  }

  void Start() {
    ring_ = {0x10000, 0x10800, 0x11000, 1u << script_.Pick(7)};
    // Sometimes anywhere, the end of a region being likelier.
    const uint8_t where = script_.Byte();
    if ((where & 0xe0) == 0xe0) {
      uint64_t* const places[] = {&ring_.descriptors, &ring_.available, &ring_.used};
      *places[where % 3] = Address();
    }
    const auto base = script_.Take<uint16_t>();
    available_ = base;
    guest_.Put<uint16_t>(ring_.available + 2, base);
    guest_.Put<uint16_t>(ring_.used + 2, base);
    fresh_ = true;
    StartQueue(kHostileQueue, ring_, base);
  }

  void Stop() {
    // However the ring is filled, the queue thread lets go as soon as it looks for more.
    if (!device_->RequestStop(kHostileQueue)) {
      FUZZ_CHECK(Next() < 0);
      FUZZ_CHECK(device_->RequestStop(kHostileQueue));
    }
    device_->FinishStop(kHostileQueue);
    chain_.reset();
  }

  // --- the driver ---

  uint64_t Address() {
    static constexpr uint64_t kEnds[] = {0x10000, 0x20000, 0x27f00, 0x40000, 0x43080, 0};
    uint64_t address;
    switch (script_.Pick(5)) {
      case 0:
        address = kEnds[script_.Pick(6)] + static_cast<uint64_t>(int64_t{script_.Byte()} - 128);
        break;
      case 1:
        address = 0x10000 + script_.Take<uint16_t>();
        break;
      case 2:
        address = ring_.used + script_.Byte();
        break;
      case 3:
        address = script_.Take<uint64_t>();
        break;
      default:
        address = 0x12000 + 0x100 * uint64_t{script_.Byte()};
    }
    // The honest queue's memory is not this driver's.
    const RegionDescription& honest = Guest::regions()[kHonestRegion];
    const bool reaches =
        address + 0x10000 > honest.guest_address && address < honest.guest_address + honest.size;
    return reaches ? 0 : address;
  }

  uint32_t Length() {
    static constexpr uint32_t kLengths[] = {0, 1, 16, 24, 39, 40, 56, 80, 4096, 0xffffffff};
    const uint32_t pick = script_.Pick(12);
    if (pick < 10) return kLengths[pick];
    return pick == 10 ? script_.Byte() : script_.Take<uint16_t>();
  }

  void WriteDescriptor(uint64_t table, uint32_t index, uint64_t address, uint32_t length,
                       uint16_t flags, uint16_t next) {
    const uint64_t at = table + 16 * uint64_t{index};
    guest_.Put(at, address);
    guest_.Put(at + 8, length);
    guest_.Put(at + 12, flags);
    guest_.Put(at + 14, next);
  }

  // A chain that is well-formed but for what the script makes of it, and made available.
  void WriteChain() {
    const uint32_t count = 1 + script_.Pick(8);
    const uint8_t shape = script_.Byte();
    const bool indirect = (shape & 1) != 0;
    // Sometimes head and following descriptors are beyond the table.
    const uint32_t slots = (shape & 0xc0) == 0xc0 ? 64 : ring_.size;
    const uint16_t head = static_cast<uint16_t>(script_.Byte() % slots);
    const uint64_t table = indirect ? 0x13000 + 0x80 * (shape >> 4) : ring_.descriptors;
    const uint32_t first = indirect ? 0 : head;
    const uint32_t readable = script_.Pick(count + 1);
    for (uint32_t i = 0; i < count; i++) {
      const uint32_t slot = indirect ? i : (first + i) % slots;
      const uint32_t next = indirect ? i + 1 : (slot + 1) % slots;
      const uint16_t flags = (i >= readable ? 2 : 0) | (i + 1 < count ? 1 : 0);
      const uint64_t address = Address();
      WriteDescriptor(table, slot, address, Length(), flags, static_cast<uint16_t>(next));
    }
    if (indirect) {
      const uint32_t length = (shape & 0x0e) == 0x0e ? Length() : 16 * count;
      WriteDescriptor(ring_.descriptors, head, table, length, 4, 0);
    }
    Publish(head);
  }

  void Publish(uint16_t head) {
    guest_.Put<uint16_t>(ring_.available + 4 + 2 * (available_ % ring_.size), head);
    guest_.Put<uint16_t>(ring_.available + 2, ++available_);
  }

  // A request's header where a chain may look for it.
  void WriteHeader() {
    const uint64_t address = Address();
    uint8_t header[80] = {};
    const uint32_t opcode = (script_.Byte() & 1) != 0 ? kFuseWrite : script_.Byte();
    memcpy(header + 4, &opcode, 4);
    const auto unique = script_.Take<uint64_t>();
    memcpy(header + 8, &unique, 8);
    guest_.Write(address, header, sizeof(header));
  }

  // Bytes anywhere: descriptors, rings, requests, indirect tables.
  void Poke() {
    const uint64_t address =
        (script_.Byte() & 1) != 0 ? ring_.descriptors + script_.Take<uint16_t>() % 1024 : Address();
    const auto bytes = script_.Take<uint64_t>();
    guest_.Write(address, &bytes, 1 + script_.Pick(8));
  }

  // --- the queue thread ---

  SplitVirtqueue& ring() { return device_->queues()[kHostileQueue]->ring; }

  int Next() {
    guest_.Remember();
    if (fresh_ && device_->queues()[kHostileQueue]->runnable) {
      indirect_ = negotiated_;
      fresh_ = false;
    }
    const int queue = hostile_->Next(0);
    CheckRegions();
    chain_.reset();
    if (queue < 0) return queue;
    FUZZ_CHECK(queue == static_cast<int>(kHostileQueue));
    // A request is only handed out for a chain that keeps all rules, with the bytes that are in it.
    chain_ = guest_.Parse(ring_, ring().next_available() - 1, indirect_);
    FUZZ_CHECK(chain_.has_value());
    uint64_t readable = 0, writable = 0;
    for (const Segment& segment : chain_->readable) readable += segment.length;
    for (const Segment& segment : chain_->writable) writable += segment.length;
    FUZZ_CHECK(hostile_->request_size() + uint64_t{hostile_->payload_size()} == readable);
    FUZZ_CHECK(hostile_->reply_capacity() == writable);
    const auto bytes = guest_.Gather(chain_->readable, 0, hostile_->request_size());
    FUZZ_CHECK(bytes.has_value());
    FUZZ_CHECK(memcmp(bytes->data(), request_, bytes->size()) == 0);
    uint32_t opcode;
    memcpy(&opcode, request_ + 4, 4);
    FUZZ_CHECK(opcode == kFuseWrite || hostile_->payload_size() == 0);
    return queue;
  }

  // The hostile driver's own memory may have changed, and nothing else.
  void CheckRegions() const {
    std::vector<Segment> anywhere;
    for (size_t i = 0; i < kHonestRegion; i++)
      anywhere.push_back(
          {Guest::regions()[i].guest_address, static_cast<uint32_t>(Guest::regions()[i].size)});
    guest_.CheckChanges(anywhere);
  }

  void Serve() {
    if (Next() < 0) return;
    guest_.Remember();
    const uint16_t used = guest_.Get<uint16_t>(ring_.used + 2);
    const Chain chain = *chain_;
    int64_t result;
    switch (script_.Pick(8)) {
      case 0:
      case 1:
        result = Reply();
        break;
      case 2:
        result = hostile_->ReplyError(script_.Byte());
        break;
      case 3:
        result = hostile_->NoReply();
        break;
      case 4:
        return Read();
      case 5:
        return Write();
      case 6: {
        // Nothing is set aside that has data in the guest's memory.
        const bool data = hostile_->payload_size() > 0;
        result = hostile_->Defer();
        FUZZ_CHECK(!data || result == -EINVAL);
        if (result >= 0) deferred_[static_cast<uint32_t>(result)] = chain;
        if (data) result = hostile_->NoReply();
        break;
      }
      default:
        result = hostile_->GiveBack();
    }
    FUZZ_CHECK(result != -EINVAL || chain.writable.empty() || hostile_->reply_capacity() < 16);
    CheckReply(chain, used);
  }

  void CheckReply(const Chain& chain, uint16_t used_before) {
    std::vector<Segment> allowed = chain.writable;
    allowed.push_back({ring_.used, 6 + 8 * ring_.size});
    guest_.CheckChanges(allowed);
    // Where the guest's buffers leave the used ring alone, it says what was served, and no more
    // bytes than there was room for.
    uint64_t room = 0;
    for (const Segment& segment : chain.writable) {
      const bool apart = segment.address >= ring_.UsedEnd() ||
                         segment.address + segment.length <= ring_.used ||
                         segment.address + segment.length < segment.address;
      if (!apart) return;
      room += segment.length;
    }
    // The index is the device's own, whatever the driver has written there since.
    const uint16_t used = guest_.Get<uint16_t>(ring_.used + 2);
    if (used == used_before) return;
    const uint64_t element = ring_.used + 4 + 8 * (static_cast<uint16_t>(used - 1) % ring_.size);
    FUZZ_CHECK(guest_.Get<uint32_t>(element) == chain.head);
    FUZZ_CHECK(guest_.Get<uint32_t>(element + 4) <= room);
  }

  int64_t Reply() {
    const uint64_t body = (script_.Byte() & 1) != 0 ? script_.Byte() : Length();
    const size_t size = std::min<size_t>(16 + body, RequestServer::kReplyBytes);
    memset(reply_ + 16, 'r', size - 16);
    const int64_t result = hostile_->Reply(body);
    FillSecret(reply_, size);
    return result;
  }

  // Lays a message where the request is that has been taken, and has the data plane serve it from
  // there. Returns what the reply's header says, 0 or -errno, and in `*size` the bytes behind it;
  // nothing where the chain can't hold the message or takes no reply.
  std::optional<int32_t> ServeHot(const Chain& chain, const Files::Message& message,
                                  uint32_t* size) {
    *size = 0;
    hostile_->GiveBack();
    const auto* bytes = reinterpret_cast<const uint8_t*>(&message);
    size_t laid = 0;
    for (const Segment& segment : chain.readable) {
      const size_t part = std::min<size_t>(segment.length, sizeof(message) - laid);
      guest_.Write(segment.address, bytes + laid, part);
      laid += part;
    }
    // Its descriptors, or the ring, may have been under it; its parts may overlap.
    const auto there = guest_.Gather(chain.readable, 0, sizeof(message));
    const auto again = guest_.Parse(ring_, ring().next_available(), indirect_);
    guest_.Remember();
    if (laid < sizeof(message) || !there.has_value() ||
        memcmp(there->data(), bytes, sizeof(message)) != 0 || !again.has_value() ||
        again->head != chain.head || !Same(again->readable, chain.readable) ||
        !Same(again->writable, chain.writable))
      return std::nullopt;
    const auto used = guest_.Get<uint16_t>(ring_.used + 2);
    files_.Serve(true);
    const int queue = hostile_->Next(0);
    files_.Serve(false);
    CheckRegions();
    // It has been refused, and another one taken.
    if (queue >= 0) {
      hostile_->NoReply();
      return std::nullopt;
    }
    FUZZ_CHECK(queue == RequestServer::kTimedOut);
    const auto header = guest_.Gather(chain.writable, 0, sizeof(fuse_out_header));
    if (!header.has_value() || Overlap(chain)) return std::nullopt;
    // A ring that feeds itself has been served more than this.
    if (static_cast<uint16_t>(guest_.Get<uint16_t>(ring_.used + 2) - used) != 1)
      return std::nullopt;
    fuse_out_header out;
    memcpy(&out, header->data(), sizeof(out));
    FUZZ_CHECK(out.unique == message.header.unique && out.len >= sizeof(out));
    *size = out.len - static_cast<uint32_t>(sizeof(out));
    return out.error;
  }

  static bool Same(const std::vector<Segment>& one, const std::vector<Segment>& other) {
    return std::equal(one.begin(), one.end(), other.begin(), other.end(),
                      [](const Segment& a, const Segment& b) {
                        return a.address == b.address && a.length == b.length;
                      });
  }

  // READ: what the guest gets are the file's bytes, from the offset on.
  void Read() {
    const Chain chain = *chain_;
    const auto offset = script_.Take<uint16_t>();
    const uint64_t capacity = hostile_->reply_capacity();
    const uint32_t size = (script_.Byte() & 1) != 0
                              ? Length()
                              : static_cast<uint32_t>(std::max<uint64_t>(capacity, 16) - 16);
    uint32_t got;
    const auto error = ServeHot(chain, files_.ReadFrom(offset, size), &got);
    if (error.value_or(-1) != 0) return;
    const uint64_t there = offset < kFileSize ? kFileSize - offset : 0;
    FUZZ_CHECK(got <= std::min<uint64_t>({size, capacity - 16, there}));
    const auto data = guest_.Gather(chain.writable, 16, got);
    FUZZ_CHECK(data.has_value());
    for (size_t i = 0; i < data->size(); i++) FUZZ_CHECK((*data)[i] == FileByte(offset + i));
  }

  // Buffers that overlap each other or the used ring don't keep what was written first.
  bool Overlap(const Chain& chain) const {
    std::vector<Segment> segments = chain.writable;
    segments.push_back({ring_.used, 6 + 8 * ring_.size});
    return OverlapsItself(segments);
  }

  // WRITE: what the file gets are the guest's bytes behind the headers.
  void Write() {
    const Chain chain = *chain_;
    const uint64_t readable = hostile_->request_size() + uint64_t{hostile_->payload_size()};
    const uint64_t payload =
        readable < sizeof(Files::Message) ? 0 : readable - sizeof(Files::Message);
    const uint32_t size = (script_.Byte() & 1) != 0 ? Length() : static_cast<uint32_t>(payload);
    FUZZ_CHECK(ftruncate(files_.sink(), 0) == 0);
    // The reply may overwrite it.
    const auto data =
        guest_.Gather(chain.readable, sizeof(Files::Message), std::min<uint64_t>(size, payload));
    uint32_t got;
    const auto error = ServeHot(chain, files_.WriteTo(size, payload), &got);
    if (error.value_or(-1) != 0 || got < sizeof(fuse_write_out)) return;
    const auto body = guest_.Gather(chain.writable, 16, sizeof(fuse_write_out));
    FUZZ_CHECK(body.has_value());
    fuse_write_out out;
    memcpy(&out, body->data(), sizeof(out));
    FUZZ_CHECK(out.size <= std::min<uint64_t>(size, payload));
    std::vector<uint8_t> written(out.size);
    FUZZ_CHECK(pread(files_.sink(), written.data(), written.size(), 0) == ssize_t{out.size});
    // Where the message has not been laid over it.
    if (data.has_value() && !OverlapsItself(chain.readable))
      FUZZ_CHECK(std::equal(written.begin(), written.end(), data->begin()));
  }

  static bool OverlapsItself(const std::vector<Segment>& segments) {
    for (size_t i = 0; i < segments.size(); i++)
      for (size_t j = 0; j < i; j++)
        if (segments[i].address < segments[j].address + segments[j].length &&
            segments[j].address < segments[i].address + segments[i].length)
          return true;
    return false;
  }

  void CompleteDeferred() {
    const uint32_t number = script_.Pick(8);
    const auto found = deferred_.find(number);
    guest_.Remember();
    if (hostile_->Resume(number) < 0) return guest_.CheckChanges({});
    const int64_t result = hostile_->ReplyError(script_.Byte());
    FUZZ_CHECK(result == 0);
    FUZZ_CHECK(found != deferred_.end());
    // Its ring and regions may have been replaced since; what was never a region stays untouched.
    if (found->second.writable.empty()) abort();
    deferred_.erase(found);
  }

  // --- the honest queue ---

  void ServeHonest() {
    const uint64_t base = Guest::regions()[kHonestRegion].guest_address;
    const uint64_t request = base + 0x1000, reply = base + 0x2000;
    const uint64_t unique = ++honest_count_;
    uint8_t message[56] = {};
    memcpy(message + 8, &unique, 8);
    message[4] = 3;
    guest_.Write(request, message, sizeof(message));
    WriteDescriptor(honest_ring_.descriptors, 0, request, 56, 1, 1);
    WriteDescriptor(honest_ring_.descriptors, 1, reply, 120, 2, 0);
    const uint16_t index = honest_available_++;
    guest_.Put<uint16_t>(honest_ring_.available + 4 + 2 * (index % 16), 0);
    guest_.Put<uint16_t>(honest_ring_.available + 2, honest_available_);
    FUZZ_CHECK(honest_->Next(0) == static_cast<int>(kHonestQueue));
    FUZZ_CHECK(honest_->request_size() == 56 && honest_->reply_capacity() == 120);
    memset(honest_reply_ + 16, 'h', 40);
    FUZZ_CHECK(honest_->Reply(40) == 0);
    FUZZ_CHECK(guest_.Get<uint32_t>(reply) == 56 && guest_.Get<uint64_t>(reply + 8) == unique);
    FUZZ_CHECK(guest_.Get<uint16_t>(honest_ring_.used + 2) == honest_available_);
  }

  Script& script_;
  Guest guest_;
  std::shared_ptr<Device> device_;
  std::unique_ptr<RequestServer> hostile_, honest_;
  uint8_t* request_;
  uint8_t* reply_;
  uint8_t* honest_reply_;
  Files& files_ = TheFiles();
  RingPlace ring_ = {}, honest_ring_ = {};
  // As the ring in use has it, and as one that starts will. `fresh_`: started, and not used since.
  bool indirect_ = true, negotiated_;
  bool fresh_ = false;
  uint16_t available_ = 0, honest_available_ = 0;
  uint64_t honest_count_ = 0;
  // The current request's, read independently.
  std::optional<Chain> chain_;
  std::map<uint32_t, Chain> deferred_;
};

}  // namespace
}  // namespace viewfsd::fuzz

// On one CPU: with more, a queue thread looks at its rings for a while before it sleeps.
extern "C" int LLVMFuzzerInitialize(int*, char***) {
  cpu_set_t cpus, one;
  CPU_ZERO(&one);
  if (sched_getaffinity(0, sizeof(cpus), &cpus) != 0) return 0;
  for (int cpu = 0; cpu < CPU_SETSIZE && CPU_COUNT(&one) == 0; cpu++)
    if (CPU_ISSET(cpu, &cpus)) CPU_SET(cpu, &one);
  sched_setaffinity(0, sizeof(one), &one);
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  viewfsd::fuzz::Script script(data, size);
  viewfsd::fuzz::Scene scene(script);
  scene.Play();
  return 0;
}
