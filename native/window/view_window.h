// SPDX-License-Identifier: Apache-2.0
#ifndef VIEWFSD_VIEW_WINDOW_H_
#define VIEWFSD_VIEW_WINDOW_H_

#include "window/view_ranges.h"
#include "window/window.h"

namespace viewfsd {

// A window that is a memory view: the frontend maps the whole of it once, and each range is put in
// place by one call of the driver.
class ViewWindow final : public Window {
 public:
  // `ranges` outlives the object. `view`: the control fd, which stays the caller's.
  ViewWindow(ViewRanges& ranges, int view) : ranges_(ranges), view_(view) { ranges_.Attach(view); }

  bool upgrades() const override { return true; }
  int Map(uint64_t nodeid, const WindowRange& range, int fd, bool writable) override;
  int Unmap(std::span<const WindowPart> parts) override;
  bool Use(const WindowPart& part, WindowUse* out) const override;

 private:
  ViewRanges& ranges_;
  const int view_;
};

}  // namespace viewfsd

#endif  // VIEWFSD_VIEW_WINDOW_H_
