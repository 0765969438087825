// SPDX-License-Identifier: Apache-2.0
// What is measured: operations of one to four requests, each of which the next slot begins when it
// is free.
#ifndef VIEWFSD_BENCH_OPERATION_H_
#define VIEWFSD_BENCH_OPERATION_H_

#include <memory>
#include <string>

#include "bench/session.h"

namespace viewfsd::bench {

class Operation {
 public:
  virtual ~Operation() = default;

  // Before the first measurement, with the number of slots that will be in use.
  virtual void Prepare(Session&, size_t /*slots*/) {}
  // Builds the operation's first request and submits it.
  virtual void Start(Slot& slot) = 0;
  // Looks at a reply with a body of `size` bytes. True where it has submitted the next request of
  // the operation; false where that is done.
  virtual bool Continue(Slot&, uint32_t /*size*/) { return false; }
  // How many operations are measured at a time, where something has to be put back in between
  // (Restore, which is not measured); 0 where nothing has.
  virtual size_t Batch() const { return 0; }
  virtual void Restore(Session&) {}
  // After the last: gives back what it holds, and checks what has become of the files.
  virtual void Finish(Session&, size_t /*slots*/) {}
};

// By the names in the usage text. Null for another. `share`: the shared directory as the host sees
// it.
std::unique_ptr<Operation> MakeOperation(const std::string& name, const std::string& share);
std::string OperationNames();
// The hot set of a "getattr-FILES"; 0 for another name.
uint32_t FilesOfGetattr(const std::string& name);

// Makes the files that the operations use where they are missing. `many`: also those for larger
// hot sets.
void MakeFiles(const std::string& share, bool many);

}  // namespace viewfsd::bench

#endif  // VIEWFSD_BENCH_OPERATION_H_
