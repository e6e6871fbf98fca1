#include "layer_copy.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <optional>

#include "layer_pack.h"
#include "thread.h"

namespace strata {

namespace {

constexpr int kPipeBytes = 1 << 20;

}  // namespace

Result<AppliedLayer> copy_layer(int source, int destination, const LayerCopyOptions& options) {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) {
    return fail_errno("make 'pipe'");
  }
  UniqueFd reader(ends[0]);
  UniqueFd writer(ends[1]);
  ::fcntl(writer.get(), F_SETPIPE_SZ, kPipeBytes);  // more at a time; with less it goes on as well
  std::optional<Result<PackedTree>> packed;
  Thread packing = TRY(Thread::start([&] {
    DescriptorSink sink(writer.get());
    packed = pack_tree(source, sink, {.sockets_hide = options.sockets_hide, .changes = options.changes, .left_out = options.left_out, .cancelled = options.cancelled});
    writer.reset();  // the end of the archive, or of what there is of it
  }));
  auto applied = apply_layer(reader.get(), destination, {.compression = Compression::kNone, .cancelled = options.cancelled});
  reader.reset();  // a packer that still writes ends with EPIPE
  packing.join();
  // Where both failed the packer was first, unless it only lost its reader.
  if (!*packed && (applied || packed->error().errno_value != EPIPE)) {
    return std::unexpected(std::move(*packed).error());
  }
  return applied;
}

}  // namespace strata
