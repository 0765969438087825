// SPDX-License-Identifier: Apache-2.0
#include "session/guest_session.h"

namespace viewfsd {
namespace {

thread_local const GuestSessions* entered = nullptr;
thread_local uint32_t entered_number = 0;

}  // namespace

uint32_t EnterSession(const GuestSessions& sessions) {
  EnterSession(sessions, sessions.present());
  return entered_number;
}

void EnterSession(const GuestSessions& sessions, uint32_t number) {
  entered = &sessions;
  entered_number = number;
}

void LeaveSession(const GuestSessions& sessions) {
  if (entered == &sessions) entered = nullptr;
}

bool InPresentSession() { return entered == nullptr || entered->present() == entered_number; }

SessionHold::SessionHold() {
  if (entered != nullptr) lock_ = std::shared_lock(entered->mutex());
  present_ = InPresentSession();
}

}  // namespace viewfsd
