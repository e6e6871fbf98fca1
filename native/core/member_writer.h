// Writes nodes of a directory tree as members of a tar, whatever kind they are.
#pragma once

#include <sys/stat.h>

#include <atomic>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "error.h"
#include "tar_writer.h"

namespace strata {

struct MemberRules {
  uint64_t max_bytes = UINT64_MAX;       // of the files, without their holes
  uint64_t max_size_bytes = UINT64_MAX;  // with them
  // A layer's own directory, in the form that its digest is of: overlay's attributes steer this host and are left out, and holes are where the zeros are.
  // Else attributes are a person's own, and holes where the file system says.
  bool layer = false;
  // Somebody may write to the tree: what a file loses while it is read is zeros. Else it is EIO.
  bool changes = false;
  const std::atomic<bool>* cancelled = nullptr;
};

class MemberWriter {
 public:
  // `output` is borrowed.
  MemberWriter(TarSink& output, const MemberRules& rules) : rules_(rules), writer_(output), names_(1024, '\0'), value_(256, '\0') {}

  // kOpaque: and it is a directory that hides what layers below have. kWhiteout: it was not written, since it hides what layers below have.
  enum class Written { kWhole, kOpaque, kWhiteout, kLeftOut };
  // `node`: an O_PATH descriptor, which names any kind of node without opening it. A directory's name gets its slash here. Sockets, and what vanished, are left out.
  // A second name of a file is a hard link to the first. Errors: E2BIG, ECANCELED, EIO, EPROTONOSUPPORT what has its content or its place in a layer
  // below, and what reading and writing says.
  [[nodiscard]] Result<Written> write(int node, const struct stat& status, const std::string& name);
  // Of a regular file whose size says nothing, since the kernel makes it as it is read: it is read to its end before its header is written.
  // Errors: E2BIG more than `most` bytes; a file that cannot be read leaves no trace.
  [[nodiscard]] Status write_generated(int node, const struct stat& status, const std::string& name, size_t most);
  // A member without content.
  [[nodiscard]] Status write_empty(const TarEntry& member);
  [[nodiscard]] Status go_on() const;
  [[nodiscard]] Status finish() { return writer_.finish(); }
  [[nodiscard]] uint64_t entries() const { return entries_; }
  [[nodiscard]] uint64_t bytes() const { return writer_.bytes(); }  // of the tar
  [[nodiscard]] uint64_t size_bytes() const { return size_bytes_; }  // of the files, with their holes

 private:
  // What overlay's own attributes say of a node of a layer.
  struct Marks {
    bool opaque = false, whiteout = false;
  };
  [[nodiscard]] Result<Marks> read_xattrs(int node, TarEntry& member);
  [[nodiscard]] Status take_layer_xattr(const std::string& name, std::string value, TarEntry& member, Marks& marks) const;
  [[nodiscard]] Result<std::string_view> list_xattrs(const std::string& path, const TarEntry& member);
  [[nodiscard]] Status write_file(int node, TarEntry& member);
  [[nodiscard]] Status find_pieces(int file, TarEntry& member);
  [[nodiscard]] Status write_piece(int file, const TarSparsePiece& piece, const TarEntry& member);

  const MemberRules rules_;
  TarWriter writer_;
  std::vector<uint8_t> scanned_;  // memory for finding holes, once there is a file for it
  std::string names_, value_;     // memory for extended attributes
  std::map<std::pair<dev_t, ino_t>, std::string> linked_;  // at most kMostLinked
  uint64_t entries_ = 0;
  uint64_t file_bytes_ = 0, size_bytes_ = 0;
};

}  // namespace strata
