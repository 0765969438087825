// SPDX-License-Identifier: Apache-2.0
#ifndef VIEWFSD_QUEUE_WORKER_H_
#define VIEWFSD_QUEUE_WORKER_H_

#include <napi.h>

namespace viewfsd {

// exports.QueueWorker: the loop of one queue thread.
void InitQueueWorker(Napi::Env env, Napi::Object exports);

}  // namespace viewfsd

#endif  // VIEWFSD_QUEUE_WORKER_H_
