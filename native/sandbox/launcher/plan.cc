// SPDX-License-Identifier: Apache-2.0
#include "sandbox/launcher/plan.h"

#include <charconv>
#include <string_view>

#include "sandbox/launcher/failure.h"

namespace viewfsd {
namespace {

template <typename T>
T Number(std::string_view text, int base, std::string_view argument) {
  T value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (error != std::errc() || end != text.data() + text.size() || text.empty())
    Fail("not a number in " + std::string(argument));
  return value;
}

// INSIDE:OUTSIDE:COUNT
IdRange Range(std::string_view text, std::string_view argument) {
  uint32_t numbers[3];
  for (int i = 0; i < 3; i++) {
    const size_t end = i < 2 ? text.find(':') : text.size();
    if (end == std::string_view::npos) Fail("not a range: " + std::string(argument));
    numbers[i] = Number<uint32_t>(text.substr(0, end), 10, argument);
    if (i < 2) text.remove_prefix(end + 1);
  }
  return {numbers[0], numbers[1], numbers[2]};
}

}  // namespace

Plan ParsePlan(int argc, char** argv) {
  Plan plan;
  for (int i = 1; i < argc; i++) {
    const std::string_view argument = argv[i];
    if (argument == "--") {
      plan.program = argv + i + 1;
      break;
    }
    const size_t equals = argument.find('=');
    if (equals == std::string_view::npos) Fail("unknown argument " + std::string(argument));
    const std::string_view name = argument.substr(0, equals);
    const std::string_view value = argument.substr(equals + 1);
    if (name == "--sandbox" && value == "none") {
      plan.kind = SandboxKind::kNone;
    } else if (name == "--sandbox" && value == "chroot") {
      plan.kind = SandboxKind::kChroot;
    } else if (name == "--sandbox" && value == "namespace") {
      plan.kind = SandboxKind::kNamespace;
    } else if (name == "--capabilities") {
      plan.capabilities = Number<uint64_t>(value, 16, argument);
    } else if (name == "--seccomp") {
      plan.filtered = value != "none";
    } else if (name == "--on-crash") {
      plan.restarts = value == "restart";
    } else if (name == "--view") {
      plan.view = value == "on";
    } else if (name == "--shared-dir") {
      plan.shared_directory = value;
    } else if (name == "--mount") {
      plan.read_only = value == "ro";
    } else if (name == "--uid-map") {
      plan.uid_map.push_back(Range(value, argument));
    } else if (name == "--gid-map") {
      plan.gid_map.push_back(Range(value, argument));
    } else if (name == "--cleanup") {
      plan.cleanup.emplace_back(value);
    } else {
      Fail("unknown argument " + std::string(argument));
    }
  }
  if (plan.program == nullptr || plan.program[0] == nullptr) Fail("no program to start");
  return plan;
}

}  // namespace viewfsd
