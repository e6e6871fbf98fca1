#include "runtime/change_json.h"

#include <string_view>
#include <vector>

#include "runtime/json.h"

namespace strata::runtime {
namespace {

const char* letter_of(ChangeKind kind) {
  switch (kind) {
    case ChangeKind::kAdded:
      return "A";
    case ChangeKind::kChanged:
      return "C";
    case ChangeKind::kDeleted:
      return "D";
    case ChangeKind::kCopiedUp:
      break;
  }
  return "U";
}

const char* detail_of(const UpperChange& change) {
  switch (change.kind) {
    case ChangeKind::kAdded:
      return "added";
    case ChangeKind::kDeleted:
      return "deleted";
    case ChangeKind::kCopiedUp:
      return "copiedUp";
    case ChangeKind::kChanged:
      break;
  }
  const NodeDifferences& found = change.differences;
  return found.type ? "typeChanged" : found.content ? "modified" : found.any() ? "metadata" : "contains";
}

std::vector<std::string> names_of(const NodeDifferences& found) {
  std::vector<std::string> names;
  const auto add = [&](bool differs, const char* name) {
    if (differs) {
      names.emplace_back(name);
    }
  };
  add(found.type, "type");
  add(found.content, "content");
  add(found.mode, "mode");
  add(found.owner, "owner");
  add(found.attributes, "attributes");
  add(found.mtime, "mtime");
  return names;
}

std::string hex_of(std::string_view bytes) {
  static constexpr char kHex[] = "0123456789abcdef";
  std::string text;
  for (const char c : bytes) {
    const auto byte = static_cast<unsigned char>(c);
    text += kHex[byte >> 4];
    text += kHex[byte & 15];
  }
  return text;
}

}  // namespace

std::string change_json(const UpperChange& change, bool details) {
  JsonWriter json;
  json.begin_object();
  json.field("change", letter_of(change.kind));
  json.field("path", change.path);
  json.field("kind", layer_entry_kind_name(change.node));
  json.field("sizeBytes", change.size_bytes);
  if (details) {
    json.field("detail", detail_of(change));
    if (change.differences.any()) {
      json.field("differs", names_of(change.differences));
    }
    if (change.below) {
      json.begin_object("below");
      json.field("layer", static_cast<std::uint64_t>(change.below->layer + 1));
      json.field("kind", layer_entry_kind_name(change.below->node));
      json.field("sizeBytes", change.below->size_bytes);
      json.end_object();
    }
    if (!change.moved_from.empty()) {
      json.field("movedFrom", change.moved_from);
    }
    if (!is_utf8(change.path)) {
      json.field("pathHex", hex_of(change.path));
    }
  }
  json.end_object();
  return json.take() + "\n";
}

}  // namespace strata::runtime
