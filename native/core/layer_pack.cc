#include "layer_pack.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "layer_tree.h"
#include "member_writer.h"
#include "tree.h"
#include "unique_fd.h"

namespace strata {

namespace {

// A whiteout has neither owner nor time of its own: when the overlay made it is nobody's matter.
Status pack_marker(MemberWriter& writer, const std::string& name) {
  TarEntry member;
  member.name = name;
  return writer.write_empty(member);
}

Status pack_node(MemberWriter& writer, int node, const struct stat& status, const std::string& name) {
  const auto written = TRY(writer.write(node, status, name));
  return written == MemberWriter::Written::kOpaque ? pack_marker(writer, (name == "." ? "" : name + "/") + ".wh..wh..opq") : Status{};
}

Status pack_root(MemberWriter& writer, int source) {
  struct stat status;
  const UniqueFd node(::openat(source, ".", O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!node || ::fstat(node.get(), &status) != 0) {
    return fail_errno("stat 'source'");
  }
  return pack_node(writer, node.get(), status, ".");
}

Status pack_entry(MemberWriter& writer, const TreeEntry& entry, const PackOptions& options) {
  TRY(writer.go_on());
  if (writer.entries() >= options.max_entries) {
    return fail(E2BIG, "read '" + entry.path + "'", "the directory has more than " + std::to_string(options.max_entries) + " entries");
  }
  const UniqueFd node(::openat(entry.parent, entry.name, O_PATH | O_NOFOLLOW | O_CLOEXEC));
  struct stat status;
  if (!node || ::fstat(node.get(), &status) != 0) {
    return fail_errno("open '" + entry.path + "'");
  }
  if (is_whiteout(status)) {
    return pack_marker(writer, entry.path.substr(0, entry.path.size() - std::string_view(entry.name).size()) + ".wh." + entry.name);
  }
  return pack_node(writer, node.get(), status, entry.path);
}

}  // namespace

Result<PackedDirectory> pack_directory(int source, int output, const PackOptions& options) {
  MemberWriter writer(output, {.max_bytes = options.max_bytes, .overlay_attributes = true, .cancelled = options.cancelled});
  TRY(pack_root(writer, source));
  const auto visit = [&](TreeVisit when, const TreeEntry& entry) -> Result<bool> {
    if (when == TreeVisit::kBefore) {
      TRY(pack_entry(writer, entry, options));
    }
    return true;
  };
  TRY(walk_tree(source, TreeOrder::kByName, visit, {.most_names = options.max_entries}));
  TRY(writer.finish());
  return PackedDirectory{writer.entries(), writer.bytes()};
}

}  // namespace strata
