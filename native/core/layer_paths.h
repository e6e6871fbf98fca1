// The paths of several trees laid over each other, each once: a node has a name and a parent, and nothing is stored twice.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "chunked.h"

namespace strata {

inline constexpr uint32_t kNoId = UINT32_MAX;

// Bytes of any text, at most 4 GiB of them; one text lies in one piece.
class TextArena {
 public:
  uint32_t add(std::string_view text);
  [[nodiscard]] std::string_view at(uint32_t offset, size_t length) const { return {&chunks_[offset >> kBits][offset & kMask], length}; }
  [[nodiscard]] size_t bytes() const { return chunks_.size() << kBits; }

 private:
  static constexpr uint32_t kBits = 20, kMask = (1U << kBits) - 1;

  std::vector<std::unique_ptr<char[]>> chunks_;
  uint32_t used_ = 1U << kBits;  // of the last chunk
};

// Invariant: a parent's id is smaller than its children's, so a pass in order of the ids sees parents first. 0 is the root.
class LayerPaths {
 public:
  LayerPaths();

  [[nodiscard]] uint32_t size() const { return nodes_.size(); }
  [[nodiscard]] uint32_t parent(uint32_t path) const { return nodes_[path].parent; }
  [[nodiscard]] uint32_t first_child(uint32_t path) const { return nodes_[path].first_child; }
  [[nodiscard]] uint32_t next_sibling(uint32_t path) const { return nodes_[path].next_sibling; }
  [[nodiscard]] std::string_view name(uint32_t path) const { return texts_.at(nodes_[path].name, nodes_[path].name_length); }
  // "a/b"; "" for the root.
  [[nodiscard]] std::string text(uint32_t path) const;

  // kNoId: there is none.
  [[nodiscard]] uint32_t find(uint32_t parent, std::string_view name) const;
  uint32_t add(uint32_t parent, std::string_view name);
  TextArena& texts() { return texts_; }
  [[nodiscard]] const TextArena& texts() const { return texts_; }
  [[nodiscard]] size_t bytes() const;

 private:
  struct Node {
    uint32_t parent, first_child, next_sibling, name, hash;
    uint8_t name_length;
  };

  // Where it is in the table, or where it would be.
  [[nodiscard]] size_t slot(uint32_t parent, std::string_view name, uint32_t hash) const;
  void grow();

  Chunked<Node> nodes_;
  TextArena texts_;
  std::vector<uint32_t> table_;  // open addressing; kNoId: free
};

}  // namespace strata
