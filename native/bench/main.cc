// SPDX-License-Identifier: Apache-2.0
// The frontend of `npm run bench:requests` (e2e/bench-requests.ts): plays QEMU and a Linux guest,
// without either, and prints what operations cost the daemon, a line of JSON each.
#include <getopt.h>

#include <algorithm>
#include <cinttypes>
#include <string>
#include <vector>

#include "bench/fail.h"
#include "bench/files.h"
#include "bench/floor.h"
#include "bench/measure.h"
#include "bench/vhost_user.h"

namespace {

using namespace viewfsd::bench;

struct Cell {
  std::string operation;
  size_t depth;
  bool polls;
};

[[noreturn]] void Usage() {
  fprintf(stderr,
          "usage: frontend --share DIR (--socket PATH --pid PID | --floor) [--queues N] [--ms N] "
          "CELL...\n"
          "CELL: OPERATION:IN-FLIGHT:sleep|poll\nOPERATION: %s\n",
          OperationNames().c_str());
  exit(2);
}

Cell ParseCell(const std::string& text) {
  const size_t first = text.find(':');
  const size_t second = text.find(':', first + 1);
  if (first == std::string::npos || second == std::string::npos) Usage();
  const std::string how = text.substr(second + 1);
  const size_t depth = strtoul(text.c_str() + first + 1, nullptr, 10);
  if ((how != "sleep" && how != "poll") || depth == 0 || depth > Ring::kSize) Usage();
  return {text.substr(0, first), depth, how == "poll"};
}

}  // namespace

int main(int count, char** arguments) {
  const option options[] = {{"share", required_argument, nullptr, 's'},
                            {"socket", required_argument, nullptr, 'S'},
                            {"pid", required_argument, nullptr, 'p'},
                            {"floor", no_argument, nullptr, 'f'},
                            {"queues", required_argument, nullptr, 'q'},
                            {"ms", required_argument, nullptr, 'm'},
                            {}};
  std::string share;
  std::string socket_path;
  pid_t pid = 0;
  bool floor = false;
  uint32_t queues = 1;
  uint64_t milliseconds = 50;
  for (int found; (found = getopt_long(count, arguments, "", options, nullptr)) != -1;) {
    if (found == 's') share = optarg;
    if (found == 'S') socket_path = optarg;
    if (found == 'p') pid = atoi(optarg);
    if (found == 'f') floor = true;
    if (found == 'q') queues = static_cast<uint32_t>(atoi(optarg));
    if (found == 'm') milliseconds = strtoull(optarg, nullptr, 10);
    if (found == '?') Usage();
  }
  std::vector<Cell> cells;
  for (int i = optind; i < count; i++) cells.push_back(ParseCell(arguments[i]));
  if (share.empty() || cells.empty() || queues == 0 || floor == !socket_path.empty()) Usage();

  const auto many = [](const Cell& cell) { return FilesOfGetattr(cell.operation) > kFew; };
  MakeFiles(share, std::ranges::any_of(cells, many));
  const size_t slots = std::ranges::max(cells, {}, &Cell::depth).depth;
  Session session(queues, static_cast<uint32_t>(slots));
  if (floor) {
    pid = StartFloor(session, share);
  } else {
    StartDevice(ConnectTo(socket_path), session.ram(), session.rings());
  }
  session.Init();
  const std::vector<pid_t> daemon = ProcessTree(pid);
  for (const Cell& cell : cells) {
    const auto operation = MakeOperation(cell.operation, share);
    if (operation == nullptr) Usage();
    session.ClearSlots();
    operation->Prepare(session, cell.depth);
    const Load load = {cell.depth, cell.polls, milliseconds * 1'000'000};
    const Cost cost = Measure(session, *operation, load, daemon);
    operation->Finish(session, cell.depth);
    printf("{\"operation\":\"%s\",\"inFlight\":%zu,\"polls\":%s,\"operations\":%" PRIu64
           ",\"wallNs\":%" PRIu64 ",\"daemonNs\":%" PRIu64 ",\"frontendNs\":%" PRIu64 "}\n",
           cell.operation.c_str(), cell.depth, cell.polls ? "true" : "false", cost.operations,
           cost.wall, cost.daemon, cost.frontend);
    fflush(stdout);
  }
  return 0;
}
