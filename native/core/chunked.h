// A growing array that never moves what it holds: growing costs one more chunk and no copy of the whole.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

namespace strata {

// Of plain values, named by 32-bit ids.
template <typename T>
class Chunked {
 public:
  [[nodiscard]] uint32_t size() const { return size_; }
  [[nodiscard]] T& operator[](uint32_t id) { return chunks_[id >> kBits][id & kMask]; }
  [[nodiscard]] const T& operator[](uint32_t id) const { return chunks_[id >> kBits][id & kMask]; }

  uint32_t add(const T& value) {
    if ((size_ & kMask) == 0) {
      chunks_.push_back(std::make_unique_for_overwrite<T[]>(size_t{1} << kBits));
    }
    chunks_.back()[size_ & kMask] = value;
    return size_++;
  }
  [[nodiscard]] size_t bytes() const { return chunks_.size() * (sizeof(T) << kBits); }

 private:
  static constexpr uint32_t kBits = 14, kMask = (1U << kBits) - 1;

  std::vector<std::unique_ptr<T[]>> chunks_;
  uint32_t size_ = 0;
};

}  // namespace strata
