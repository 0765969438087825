// SPDX-License-Identifier: Apache-2.0
// A hash table of pointers to objects that hold their own key: open addressing with linear probing,
// one word a slot, shrinking when it has become too large. It owns nothing and locks nothing.
#ifndef VIEWFSD_UTIL_POINTER_INDEX_H_
#define VIEWFSD_UTIL_POINTER_INDEX_H_

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace viewfsd {

// Traits: `using Key`, `static Key Of(const Object&)`, `static uint64_t Hash(const Key&)`.
template <typename Object, typename Traits>
class PointerIndex {
 public:
  using Key = typename Traits::Key;

  Object* Find(const Key& key) const {
    for (size_t slot = Home(key);; slot = Next(slot)) {
      Object* found = slots_[slot];
      if (found == nullptr || Traits::Of(*found) == key) return found;
    }
  }

  // The key must not be in the table.
  void Insert(Object* object) {
    if ((size_ + 1) * 4 > slots_.size() * 3) Resize(slots_.size() * 2);
    Place(object);
    ++size_;
  }

  // The object must be in the table.
  void Erase(const Object* object) {
    size_t hole = Home(Traits::Of(*object));
    while (slots_[hole] != object) hole = Next(hole);
    // Moves back whatever a search could no longer reach beyond the hole.
    for (size_t slot = Next(hole); slots_[slot] != nullptr; slot = Next(slot)) {
      const size_t home = Home(Traits::Of(*slots_[slot]));
      const size_t distance = (slot - home) & mask();
      if (distance < ((slot - hole) & mask())) continue;
      slots_[hole] = slots_[slot];
      hole = slot;
    }
    slots_[hole] = nullptr;
    --size_;
    if (slots_.size() > kSmallest && size_ * 8 < slots_.size()) Resize(slots_.size() / 4);
  }

  void Clear() {
    slots_ = std::vector<Object*>(kSmallest);
    size_ = 0;
  }

  size_t size() const { return size_; }

  template <typename Visit>
  void ForEach(Visit visit) const {
    for (Object* object : slots_)
      if (object != nullptr) visit(object);
  }

 private:
  // Powers of two, all of them.
  static constexpr size_t kSmallest = 64;

  size_t mask() const { return slots_.size() - 1; }
  size_t Home(const Key& key) const { return static_cast<size_t>(Traits::Hash(key)) & mask(); }
  size_t Next(size_t slot) const { return (slot + 1) & mask(); }

  void Place(Object* object) {
    size_t slot = Home(Traits::Of(*object));
    while (slots_[slot] != nullptr) slot = Next(slot);
    slots_[slot] = object;
  }

  void Resize(size_t slots) {
    std::vector<Object*> old(slots < kSmallest ? kSmallest : slots);
    old.swap(slots_);
    for (Object* object : old)
      if (object != nullptr) Place(object);
  }

  std::vector<Object*> slots_ = std::vector<Object*>(kSmallest);
  size_t size_ = 0;
};

}  // namespace viewfsd

#endif  // VIEWFSD_UTIL_POINTER_INDEX_H_
