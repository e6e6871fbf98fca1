#include "layer_copy.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <functional>
#include <optional>

#include "layer_merge.h"
#include "thread.h"

namespace strata {

namespace {

constexpr int kPipeBytes = 1 << 20;

using Pack = std::function<Result<PackedTree>(TarSink&)>;

// What is packed is unpacked at the same time.
Result<AppliedLayer> pass_on(const Pack& pack, int destination, const std::atomic<bool>* cancelled) {
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
    packed = pack(sink);
    writer.reset();  // the end of the archive, or of what there is of it
  }));
  auto applied = apply_layer(reader.get(), destination, {.compression = Compression::kNone, .cancelled = cancelled});
  reader.reset();  // a packer that still writes ends with EPIPE
  packing.join();
  // Where both failed the packer was first, unless it only lost its reader.
  if (!*packed && (applied || packed->error().errno_value != EPIPE)) {
    return std::unexpected(std::move(*packed).error());
  }
  return applied;
}

}  // namespace

Result<AppliedLayer> copy_layer(int source, int destination, const LayerCopyOptions& options) {
  const PackOptions packing{.sockets_hide = options.sockets_hide, .changes = options.changes, .left_out = options.left_out, .cancelled = options.cancelled};
  return pass_on([&](TarSink& sink) { return pack_tree(source, sink, packing); }, destination, options.cancelled);
}

Result<AppliedLayer> merge_layers(const std::vector<int>& layers, bool over_base, int destination, const std::atomic<bool>* cancelled) {
  return pass_on([&](TarSink& sink) { return pack_merged(layers, over_base, sink, {.cancelled = cancelled}); }, destination, cancelled);
}

}  // namespace strata
