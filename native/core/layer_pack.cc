#include "layer_pack.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "blob_sink.h"
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

std::string marker_name(const std::string& path, size_t name_length) {
  return path.substr(0, path.size() - name_length) + ".wh." + path.substr(path.size() - name_length);
}

Status pack_root(MemberWriter& writer, int source) {
  struct stat status;
  const UniqueFd node(::openat(source, ".", O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!node || ::fstat(node.get(), &status) != 0) {
    return fail_errno("stat 'source'");
  }
  return TRY(writer.write(node.get(), status, ".")) == MemberWriter::Written::kOpaque ? pack_marker(writer, ".wh..wh..opq") : Status{};
}

Status pack_entry(MemberWriter& writer, const TreeEntry& entry, const PackOptions& options) {
  TRY(writer.go_on());
  if (writer.entries() >= options.max_entries) {
    return fail(E2BIG, "read '" + entry.path + "'", "the directory has more than " + std::to_string(options.max_entries) + " entries");
  }
  const std::string_view name = entry.name;
  if (name.starts_with(".wh.")) {
    return fail(EPROTONOSUPPORT, "pack '" + entry.path + "'", "in a layer a name that begins with \".wh.\" deletes something: rename the file");
  }
  const UniqueFd node(::openat(entry.parent, entry.name, O_PATH | O_NOFOLLOW | O_CLOEXEC));
  struct stat status;
  if (!node || ::fstat(node.get(), &status) != 0) {
    if (errno == ENOENT && options.changes) {
      return {};
    }
    return fail_errno("open '" + entry.path + "'");
  }
  if (is_whiteout(status) || (S_ISSOCK(status.st_mode) && options.sockets_hide)) {
    return pack_marker(writer, marker_name(entry.path, name.size()));
  }
  switch (TRY(writer.write(node.get(), status, entry.path))) {
    case MemberWriter::Written::kOpaque:
      return pack_marker(writer, entry.path + "/.wh..wh..opq");
    case MemberWriter::Written::kWhiteout:
      return pack_marker(writer, marker_name(entry.path, name.size()));
    case MemberWriter::Written::kWhole:
    case MemberWriter::Written::kLeftOut:
      break;
  }
  return {};
}

}  // namespace

Result<PackedTree> pack_tree(int source, TarSink& output, const PackOptions& options) {
  MemberWriter writer(output, {.max_bytes = options.max_bytes, .max_size_bytes = options.max_size_bytes, .layer = true, .changes = options.changes, .cancelled = options.cancelled});
  TRY(pack_root(writer, source));
  const auto visit = [&](TreeVisit when, const TreeEntry& entry) -> Result<bool> {
    if (when == TreeVisit::kBefore) {
      if (std::ranges::find(options.left_out, entry.path) != options.left_out.end()) {
        return false;
      }
      TRY(pack_entry(writer, entry, options));
    }
    return true;
  };
  TRY(walk_tree(source, TreeOrder::kByName, visit, {.most_names = options.max_entries, .changes = options.changes}));
  TRY(writer.finish());
  return PackedTree{writer.entries(), writer.bytes(), writer.size_bytes()};
}

Result<PackedDirectory> pack_directory(int source, int output, const PackOptions& options) {
  BlobSink sink(output, options.compression, options.cancelled);
  TRY(sink.start());
  const PackedTree tree = TRY(pack_tree(source, sink, options));
  BlobDigests digests = TRY(sink.finish());
  return PackedDirectory{tree.entries, tree.bytes, tree.size_bytes, std::move(digests.diff_id), std::move(digests.digest), digests.bytes};
}

}  // namespace strata
