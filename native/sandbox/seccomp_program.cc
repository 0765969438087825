// SPDX-License-Identifier: Apache-2.0
#include "sandbox/seccomp_program.h"

#include <linux/audit.h>
#include <linux/seccomp.h>

#include <cstddef>
#include <map>

namespace viewfsd {

namespace {

#if defined(__x86_64__)
constexpr uint32_t kArchitecture = AUDIT_ARCH_X86_64;
// Calls of the x32 ABI have this bit in their number.
constexpr uint32_t kFirstForeignNumber = 0x40000000;
#elif defined(__aarch64__)
constexpr uint32_t kArchitecture = AUDIT_ARCH_AARCH64;
constexpr uint32_t kFirstForeignNumber = UINT32_MAX;
#else
#error "no list of system calls for this architecture"
#endif

using Program = std::vector<sock_filter>;

uint32_t ArgumentOffset(int argument) {
  // Little endian: the low half comes first.
  return static_cast<uint32_t>(offsetof(seccomp_data, args) + sizeof(uint64_t) * argument);
}

void Statement(Program* program, uint16_t code, uint32_t k) {
  program->push_back(BPF_STMT(code, k));
}

// `yes` and `no`: instructions to skip.
void Jump(Program* program, uint16_t code, uint32_t k, uint8_t yes, uint8_t no) {
  program->push_back(BPF_JUMP(code, k, yes, no));
}

// What comes after the number has matched: returns for calls that fit, else falls through.
Program RuleBody(const SystemCallRule& rule) {
  Program body;
  const uint32_t verdict =
      rule.error == 0 ? SECCOMP_RET_ALLOW : SECCOMP_RET_ERRNO | static_cast<uint32_t>(rule.error);
  if (rule.test == ArgumentTest::kNone) {
    Statement(&body, BPF_RET | BPF_K, verdict);
    return body;
  }
  Statement(&body, BPF_LD | BPF_W | BPF_ABS, ArgumentOffset(rule.argument));
  switch (rule.test) {
    case ArgumentTest::kNone:
      break;
    case ArgumentTest::kOneOf:
      for (const uint32_t value : rule.values) {
        Jump(&body, BPF_JMP | BPF_JEQ | BPF_K, value, 0, 1);
        Statement(&body, BPF_RET | BPF_K, verdict);
      }
      break;
    case ArgumentTest::kAllBits:
      Statement(&body, BPF_ALU | BPF_AND | BPF_K, rule.values[0]);
      Jump(&body, BPF_JMP | BPF_JEQ | BPF_K, rule.values[0], 0, 1);
      Statement(&body, BPF_RET | BPF_K, verdict);
      break;
    case ArgumentTest::kNoBits:
      Jump(&body, BPF_JMP | BPF_JSET | BPF_K, rule.values[0], 1, 0);
      Statement(&body, BPF_RET | BPF_K, verdict);
      break;
  }
  return body;
}

}  // namespace

std::vector<sock_filter> CompileRules(const std::vector<SystemCallRule>& rules,
                                      uint32_t otherwise) {
  Program program;
  Statement(&program, BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, arch));
  Jump(&program, BPF_JMP | BPF_JEQ | BPF_K, kArchitecture, 1, 0);
  Statement(&program, BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
  Statement(&program, BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr));
  Jump(&program, BPF_JMP | BPF_JGE | BPF_K, kFirstForeignNumber, 0, 1);
  Statement(&program, BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);

  std::map<uint32_t, Program> calls;
  for (const SystemCallRule& rule : rules) {
    const Program body = RuleBody(rule);
    Program& call = calls[rule.number];
    call.insert(call.end(), body.begin(), body.end());
  }
  // A straight line. The kernel knows by itself which numbers are always allowed and runs the
  // program for the others alone.
  for (auto& [number, body] : calls) {
    // Whatever falls through gets the default.
    Statement(&body, BPF_RET | BPF_K, otherwise);
    Jump(&program, BPF_JMP | BPF_JEQ | BPF_K, number, 0, static_cast<uint8_t>(body.size()));
    program.insert(program.end(), body.begin(), body.end());
  }
  Statement(&program, BPF_RET | BPF_K, otherwise);
  return program;
}

}  // namespace viewfsd
