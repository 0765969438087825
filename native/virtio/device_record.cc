// SPDX-License-Identifier: Apache-2.0
// What a frontend has set up, into the memory from which a successor of this process takes it, and
// back.
#include <fcntl.h>

#include <algorithm>
#include <utility>

#include "session/server_state.h"
#include "util/signal_eventfd.h"
#include "virtio/device.h"

namespace viewfsd {

void Device::Retire(UniqueFd fd) {
  if (ServerState::Get() != nullptr && fd) retired_.push_back(std::move(fd));
}

void Device::SetRegionFds(std::vector<RegionFd> fds) {
  for (RegionFd& old : region_fds_)
    if (old.fd.use_count() == 1) Retire(std::move(*old.fd));
  region_fds_ = std::move(fds);
}

int Device::SetLogBase(int fd, uint64_t size, uint64_t offset, UniqueFd kept) {
  if (const int error = dirty_log_.SetBase(fd, size, offset, *memory_.Get())) return error;
  Retire(std::move(log_file_.fd));
  log_file_ = {std::move(kept), size, offset};
  return 0;
}

void Device::Record(const FrontendState& frontend) {
  StateRecord* const state = ServerState::Get();
  if (state == nullptr) return;
  DeviceRecord& record = state->device.Next();
  record.frontend = frontend.connection;
  record.backend = backend_.descriptor();
  record.protocol_features = frontend.protocol_features;
  record.last_queue = frontend.last_queue;
  record.window_possible = frontend.window_possible;
  record.window_active = frontend.window_active;
  record.replies_end = frontend.replies_end;
  record.logs = dirty_log_.enabled();
  record.log = log_file_.fd.get();
  record.log_size = log_file_.size;
  record.log_offset = log_file_.offset;
  record.log_signal = dirty_log_.signal_fd();
  record.event_idx = event_idx_;
  record.indirect = indirect_;
  record.rings_start_enabled = rings_start_enabled_;
  {
    const std::lock_guard lock(ranges_mutex_);
    record.view_shown = view_shown_;
  }
  record.region_count =
      static_cast<uint32_t>(std::min<size_t>(region_fds_.size(), DeviceRecord::kMaxRegions));
  for (uint32_t i = 0; i < record.region_count; i++) {
    const auto& [region, fd] = region_fds_[i];
    record.regions[i] = {region.guest_address, region.size, region.user_address, region.mmap_offset,
                         fd->get()};
  }
  for (size_t i = 0; i < queues_.size(); i++) {
    Queue& queue = *queues_[i];
    const std::lock_guard lock(queue.mutex);
    record.queues[i] = {.size = queue.size,
                        .descriptors = queue.addresses.descriptors,
                        .available = queue.addresses.available,
                        .used = queue.addresses.used,
                        .base = queue.base,
                        .addresses_set = queue.addresses_set,
                        .started = queue.started,
                        .enabled = queue.enabled,
                        .broken = queue.broken.load(),
                        .kick = queue.kick.get(),
                        .call = queue.call.get(),
                        .err = queue.err.get()};
  }
  state->device.Publish();
  retired_.clear();
}

std::optional<FrontendState> Device::Restore(bool crashed) {
  StateRecord* const state = ServerState::Get();
  const DeviceRecord* const left = state == nullptr ? nullptr : state->device.Get();
  if (left == nullptr || left->frontend < 0) return std::nullopt;
  const auto valid = [](int fd) { return fd >= 0 && fcntl(fd, F_GETFD) >= 0 ? fd : -1; };
  crashed_ = crashed;
  FrontendState frontend = {.connection = valid(left->frontend),
                            .protocol_features = left->protocol_features,
                            .last_queue = left->last_queue,
                            .window_possible = left->window_possible,
                            .window_active = left->window_active,
                            .replies_end = left->replies_end};
  if (frontend.connection < 0) return std::nullopt;
  backend_.SetSocket(UniqueFd(valid(left->backend)));
  SetFeatures(left->event_idx, left->indirect, left->rings_start_enabled);
  std::vector<RegionDescription> regions;
  std::vector<int> fds;
  std::vector<RegionFd> kept;
  for (uint32_t i = 0; i < std::min(left->region_count, DeviceRecord::kMaxRegions); i++) {
    const RegionRecord& region = left->regions[i];
    if (valid(region.fd) < 0) continue;
    regions.push_back({region.guest_address, region.size, region.user_address, region.mmap_offset});
    fds.push_back(region.fd);
    kept.push_back({regions.back(), std::make_shared<UniqueFd>(region.fd)});
  }
  // Where it can't be had as a whole, the message that sets another one is still to come.
  memory_.SetTable(regions, fds);
  SetRegionFds(std::move(kept));
  log_file_ = {UniqueFd(valid(left->log)), left->log_size, left->log_offset};
  // A guest that is moved without all that has been written is lost anyway.
  if (left->log >= 0 &&
      dirty_log_.SetBase(log_file_.fd.get(), log_file_.size, log_file_.offset, *memory_.Get()) != 0)
    return std::nullopt;
  dirty_log_.SetSignal(UniqueFd(valid(left->log_signal)));
  dirty_log_.SetEnabled(left->logs);
  {
    const std::lock_guard lock(ranges_mutex_);
    view_shown_ = left->view_shown;
  }
  for (uint32_t i = 0; i < queues_.size(); i++) {
    const QueueRecord& record = left->queues[i];
    Queue& queue = *queues_[i];
    const bool sound = record.size > 0 && record.size <= SplitVirtqueue::kMaxSize &&
                       (record.size & (record.size - 1)) == 0;
    queue.size = sound ? record.size : 0;
    queue.addresses = {record.descriptors, record.available, record.used};
    queue.addresses_set = record.addresses_set;
    queue.base = record.base;
    queue.enabled = record.enabled;
    queue.call = UniqueFd(valid(record.call));
    queue.err = UniqueFd(valid(record.err));
    UniqueFd kick(valid(record.kick));
    if (!record.started || !kick || record.broken) continue;
    SetKick(i, std::move(kick));
    queue.left.store(true);
    queue.enabled = record.enabled;
    UpdateRunnable(&queue);
  }
  restarted_.store(false);
  return frontend;
}

void Device::NoteDeadly(std::vector<uint8_t> request) {
  const std::lock_guard lock(deadly_mutex_);
  deadly_.push_back(std::move(request));
  SignalEventFd(quiesced_.get());
}

std::vector<std::vector<uint8_t>> Device::TakeDeadly() {
  const std::lock_guard lock(deadly_mutex_);
  return std::exchange(deadly_, {});
}

}  // namespace viewfsd
