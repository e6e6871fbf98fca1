// Undo steps of a set-up in several steps; they run in reverse unless the set-up came through.
#pragma once

#include <functional>
#include <utility>
#include <vector>

namespace strata {

class Rollback {
 public:
  Rollback() = default;
  Rollback(const Rollback&) = delete;
  Rollback& operator=(const Rollback&) = delete;
  ~Rollback() {
    for (auto step = steps_.rbegin(); step != steps_.rend(); ++step) {
      (*step)();
    }
  }

  void add(std::function<void()> undo) { steps_.push_back(std::move(undo)); }
  // The set-up stands: nothing is undone any more.
  void commit() { steps_.clear(); }

 private:
  std::vector<std::function<void()>> steps_;
};

}  // namespace strata
