#include "layer_paths.h"

#include <algorithm>
#include <cstring>
#include <functional>

namespace strata {

namespace {

uint32_t hash_of(uint32_t parent, std::string_view name) {
  const size_t hash = std::hash<std::string_view>{}(name) ^ (size_t{parent} * 0x9E3779B97F4A7C15U);
  return static_cast<uint32_t>(hash ^ (hash >> 32));
}

}  // namespace

uint32_t TextArena::add(std::string_view text) {
  constexpr uint32_t kChunk = 1U << kBits;
  if (kChunk - used_ < text.size() || chunks_.empty()) {
    chunks_.push_back(std::make_unique_for_overwrite<char[]>(kChunk));
    used_ = 0;
  }
  const uint32_t offset = (static_cast<uint32_t>(chunks_.size() - 1) << kBits) | used_;
  std::memcpy(&chunks_.back()[used_], text.data(), text.size());
  used_ += static_cast<uint32_t>(text.size());
  return offset;
}

LayerPaths::LayerPaths() : table_(1024, kNoId) { nodes_.add({kNoId, kNoId, kNoId, texts_.add(""), 0, 0}); }

std::string LayerPaths::text(uint32_t path) const {
  size_t length = 0;
  for (uint32_t at = path; at != 0; at = nodes_[at].parent) {
    length += nodes_[at].name_length + size_t{1};
  }
  std::string text(length == 0 ? 0 : length - 1, '/');
  size_t end = text.size();
  for (uint32_t at = path; at != 0; at = nodes_[at].parent) {
    const std::string_view part = name(at);
    end -= part.size();
    std::copy(part.begin(), part.end(), text.begin() + static_cast<ptrdiff_t>(end));
    end -= end > 0 ? 1 : 0;
  }
  return text;
}

size_t LayerPaths::slot(uint32_t parent, std::string_view name_wanted, uint32_t hash) const {
  const size_t mask = table_.size() - 1;
  size_t at = hash & mask;
  for (; table_[at] != kNoId; at = (at + 1) & mask) {
    const Node& node = nodes_[table_[at]];
    if (node.hash == hash && node.parent == parent && name(table_[at]) == name_wanted) {
      break;
    }
  }
  return at;
}

uint32_t LayerPaths::find(uint32_t parent, std::string_view name) const { return table_[slot(parent, name, hash_of(parent, name))]; }

uint32_t LayerPaths::add(uint32_t parent, std::string_view name) {
  const uint32_t hash = hash_of(parent, name);
  const size_t at = slot(parent, name, hash);
  if (table_[at] != kNoId) {
    return table_[at];
  }
  const uint32_t path = nodes_.add({parent, kNoId, nodes_[parent].first_child, texts_.add(name), hash, static_cast<uint8_t>(name.size())});
  nodes_[parent].first_child = path;
  table_[at] = path;
  if (nodes_.size() > table_.size() / 4 * 3) {
    grow();
  }
  return path;
}

void LayerPaths::grow() {
  std::vector<uint32_t> table(table_.size() * 2, kNoId);
  const size_t mask = table.size() - 1;
  for (uint32_t path = 1; path < nodes_.size(); ++path) {
    size_t at = nodes_[path].hash & mask;
    while (table[at] != kNoId) {
      at = (at + 1) & mask;
    }
    table[at] = path;
  }
  table_ = std::move(table);
}

size_t LayerPaths::bytes() const { return nodes_.bytes() + texts_.bytes() + table_.size() * sizeof(uint32_t); }

}  // namespace strata
