// SPDX-License-Identifier: Apache-2.0
// USDT probes, which bpftrace, perf and SystemTap find in the addon's file: doc/tracing.md lists
// them.
//
// Each is a nop and a note that says where it is and where its arguments are
// (https://sourceware.org/systemtap/wiki/UserSpaceProbeImplementation, as sys/sdt.h makes them).
// Whoever traces it raises its semaphore meanwhile; while that is zero, a probe costs a look at it,
// and its arguments are not computed.
#ifndef VIEWFSD_UTIL_PROBES_H_
#define VIEWFSD_UTIL_PROBES_H_

#include <cstdint>

// Once for each probe, in session/probes.cc.
#define VIEWFSD_DEFINE_PROBE(name) \
  __attribute__((section(".probes"))) volatile uint16_t viewfsd_##name##_semaphore = 0

#define VIEWFSD_DECLARE_PROBE(name) \
  extern "C" __attribute__((visibility("hidden"))) volatile uint16_t viewfsd_##name##_semaphore

VIEWFSD_DECLARE_PROBE(request_begin);
VIEWFSD_DECLARE_PROBE(request_end);
VIEWFSD_DECLARE_PROBE(wait);
VIEWFSD_DECLARE_PROBE(signal);
VIEWFSD_DECLARE_PROBE(map);
VIEWFSD_DECLARE_PROBE(unmap);
VIEWFSD_DECLARE_PROBE(fault_policy);

// `arguments`: how the note tells of them. The nop stands where all of them are in their registers.
#define VIEWFSD_PROBE_NOTE(name, arguments)                               \
  "990: nop\n"                                                            \
  ".pushsection .note.stapsdt,\"?\",\"note\"\n"                           \
  ".balign 4\n"                                                           \
  ".4byte 992f-991f, 994f-993f, 3\n"                                      \
  "991: .asciz \"stapsdt\"\n"                                             \
  "992: .balign 4\n"                                                      \
  "993: .8byte 990b\n"                                                    \
  ".8byte _.stapsdt.base\n"                                               \
  ".8byte viewfsd_" #name                                                 \
  "_semaphore\n"                                                          \
  ".asciz \"viewfsd\"\n"                                                  \
  ".asciz \"" #name                                                       \
  "\"\n"                                                                  \
  ".asciz \"" arguments                                                   \
  "\"\n"                                                                  \
  "994: .balign 4\n"                                                      \
  ".popsection\n"                                                         \
  ".ifndef _.stapsdt.base\n"                                              \
  ".pushsection .stapsdt.base,\"aG\",\"progbits\",.stapsdt.base,comdat\n" \
  ".weak _.stapsdt.base\n"                                                \
  ".hidden _.stapsdt.base\n"                                              \
  "_.stapsdt.base: .space 1\n"                                            \
  ".size _.stapsdt.base, 1\n"                                             \
  ".popsection\n"                                                         \
  ".endif\n"

#define VIEWFSD_PROBED(name) (__builtin_expect(viewfsd_##name##_semaphore != 0, 0))
#define VIEWFSD_ARGUMENT(value) "r"(static_cast<uint64_t>(value))

// Arguments are numbers, as 64 bits without sign.
#define VIEWFSD_PROBE1(name, a)                                                   \
  do {                                                                            \
    if (VIEWFSD_PROBED(name))                                                     \
      __asm__ volatile(VIEWFSD_PROBE_NOTE(name, "8@%0") : : VIEWFSD_ARGUMENT(a)); \
  } while (false)

#define VIEWFSD_PROBE2(name, a, b)                                  \
  do {                                                              \
    if (VIEWFSD_PROBED(name))                                       \
      __asm__ volatile(VIEWFSD_PROBE_NOTE(name, "8@%0 8@%1")        \
                       :                                            \
                       : VIEWFSD_ARGUMENT(a), VIEWFSD_ARGUMENT(b)); \
  } while (false)

#define VIEWFSD_PROBE3(name, a, b, c)                                                    \
  do {                                                                                   \
    if (VIEWFSD_PROBED(name))                                                            \
      __asm__ volatile(VIEWFSD_PROBE_NOTE(name, "8@%0 8@%1 8@%2")                        \
                       :                                                                 \
                       : VIEWFSD_ARGUMENT(a), VIEWFSD_ARGUMENT(b), VIEWFSD_ARGUMENT(c)); \
  } while (false)

#define VIEWFSD_PROBE4(name, a, b, c, d)                                                \
  do {                                                                                  \
    if (VIEWFSD_PROBED(name))                                                           \
      __asm__ volatile(VIEWFSD_PROBE_NOTE(name, "8@%0 8@%1 8@%2 8@%3")                  \
                       :                                                                \
                       : VIEWFSD_ARGUMENT(a), VIEWFSD_ARGUMENT(b), VIEWFSD_ARGUMENT(c), \
                         VIEWFSD_ARGUMENT(d));                                          \
  } while (false)

#define VIEWFSD_PROBE5(name, a, b, c, d, e)                                             \
  do {                                                                                  \
    if (VIEWFSD_PROBED(name))                                                           \
      __asm__ volatile(VIEWFSD_PROBE_NOTE(name, "8@%0 8@%1 8@%2 8@%3 8@%4")             \
                       :                                                                \
                       : VIEWFSD_ARGUMENT(a), VIEWFSD_ARGUMENT(b), VIEWFSD_ARGUMENT(c), \
                         VIEWFSD_ARGUMENT(d), VIEWFSD_ARGUMENT(e));                     \
  } while (false)

#endif  // VIEWFSD_UTIL_PROBES_H_
