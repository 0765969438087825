// SPDX-License-Identifier: Apache-2.0
#include "fuse/read_ring.h"

#include <algorithm>
#include <cerrno>
#include <climits>

namespace viewfsd {

std::unique_ptr<ReadRing> ReadRing::Create(int wakeup) {
  std::unique_ptr<IoUring> ring = IoUring::Create(IORING_OP_READV, wakeup);
  if (ring == nullptr) return nullptr;
  return std::unique_ptr<ReadRing>(new ReadRing(std::move(ring)));
}

ReadRing::ReadRing(std::unique_ptr<IoUring> ring) : ring_(std::move(ring)) {
  for (size_t place = places_.size(); place-- > 0;) free_.push_back(static_cast<uint8_t>(place));
}

bool ReadRing::Add(PutOffRef& request, PendingRead& read) {
  if (free_.empty()) return false;
  const size_t place = free_.back();
  free_.pop_back();
  places_[place].request = std::move(request);
  places_[place].read = std::move(read);
  {
    const std::lock_guard lock(mutex_);
    places_[place].shown = PooledInProgress::Of(*places_[place].request);
  }
  Push(place);
  return true;
}

// The rest of a read.
void ReadRing::Push(size_t place) {
  Place& at = places_[place];
  const GuestBuffers& to = at.request->request.writable;
  at.pieces.resize(std::min<size_t>(to.count, IOV_MAX));
  uint64_t taken = 0;
  const int count = to.Slice(sizeof(fuse_out_header) + at.read.done, at.read.size - at.read.done,
                             at.pieces.data(), &taken);
  io_uring_sqe* entry = ring_->Push();
  entry->opcode = IORING_OP_READV;
  entry->fd = at.read.handle.fd();
  entry->addr = reinterpret_cast<uintptr_t>(at.pieces.data());
  entry->len = static_cast<uint32_t>(count);
  entry->off = at.read.offset + at.read.done;
  entry->user_data = place;
}

void ReadRing::Submit() {
  ring_->Submit([this](uint64_t place) { Return(place, {Answer::Kind::kPutOff, 0}); });
}

void ReadRing::Collect() {
  ring_->Take([this](uint64_t place, int32_t result) {
    PendingRead& read = places_[place].read;
    if (result > 0) read.done += static_cast<uint64_t>(result);
    // A guest takes a short reply for the end of the file: read on until nothing comes.
    if (result > 0 && read.done < read.size)
      Push(place);
    else if (result == -EAGAIN || result == -EINTR)
      Return(place, {Answer::Kind::kPutOff, 0});
    else if (result < 0)
      Return(place, {Answer::Kind::kInPlace, result});
    else
      Return(place, {Answer::Kind::kInPlace, static_cast<int64_t>(read.done), read.done});
  });
  if (has_unsubmitted()) Submit();
}

// Frees a place.
void ReadRing::Return(size_t place, Answer answer) {
  Place& at = places_[place];
  at.request->answer = answer;
  if (answer.kind != Answer::Kind::kPutOff) served_++;
  returned_.push_back(std::move(at.request));
  at.read = PendingRead();
  {
    const std::lock_guard lock(mutex_);
    at.shown.since = 0;
  }
  free_.push_back(static_cast<uint8_t>(place));
}

bool ReadRing::Arm() {
  ring_->Arm();
  if (empty()) return true;
  Disarm();
  return false;
}

std::vector<PooledInProgress> ReadRing::InProgress() {
  std::vector<PooledInProgress> in_progress;
  const std::lock_guard lock(mutex_);
  for (const Place& place : places_)
    if (place.shown.since != 0) in_progress.push_back(place.shown);
  return in_progress;
}

}  // namespace viewfsd
