// SPDX-License-Identifier: Apache-2.0
#ifndef VIEWFSD_BINDING_DEVICE_WATCH_H_
#define VIEWFSD_BINDING_DEVICE_WATCH_H_

#include <napi.h>

#include "virtio/device.h"

namespace viewfsd {

// What DeviceControl shows of the queue threads' work; declared in native/device.ts.
Napi::Value LatenciesOf(Napi::Env env, Device& device);
Napi::Value HotInodesOf(Napi::Env env, Device& device);

}  // namespace viewfsd

#endif  // VIEWFSD_BINDING_DEVICE_WATCH_H_
