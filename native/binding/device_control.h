// SPDX-License-Identifier: Apache-2.0
#ifndef VIEWFSD_DEVICE_CONTROL_H_
#define VIEWFSD_DEVICE_CONTROL_H_

#include <napi.h>

namespace viewfsd {

// exports.DeviceControl: the main thread's side of a Device. exports.deviceWindow: what
// windows need of it.
void InitDeviceControl(Napi::Env env, Napi::Object exports);

}  // namespace viewfsd

#endif  // VIEWFSD_DEVICE_CONTROL_H_
