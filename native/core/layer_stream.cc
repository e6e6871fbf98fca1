#include "layer_stream.h"

#include <poll.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>

namespace strata {

namespace {

// Small enough for hashing and writing to find the bytes in the cache.
constexpr size_t kInputBytes = 128 * 1024;
constexpr size_t kOutputBytes = 256 * 1024;

}  // namespace

LayerStream::LayerStream(int fd, Compression compression, const std::atomic<bool>* cancelled, uint64_t least_bytes)
    : fd_(fd), compression_(compression), cancelled_(cancelled), least_bytes_(least_bytes), input_(kInputBytes) {}

LayerStream::~LayerStream() { stop(); }

void LayerStream::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopped_ = true;
  }
  changed_.notify_all();
  for (Thread* thread : {&producer_, &hasher_}) {
    if (thread->joinable()) {
      thread->join();
    }
  }
}

Status LayerStream::start() {
  if (!hasher_.joinable()) {
    hasher_ = TRY(Thread::start([this] { hash(); }));
  }
  producer_ = TRY(Thread::start([this] { produce(); }));
  return {};
}

// Never blocks in read(2): a pipe whose writer sleeps must not keep a cancelled work alive.
Status LayerStream::wait_readable() const {
  for (;;) {
    if (stopped_ || (cancelled_ != nullptr && cancelled_->load(std::memory_order_relaxed))) {
      return fail(ECANCELED, "read 'layer'");
    }
    pollfd ready{fd_, POLLIN, 0};
    if (::poll(&ready, 1, 100) != 0) {
      return {};
    }
  }
}

// Until somebody has written to the file, or for a while: the caller looks again.
Status LayerStream::wait_growth() {
  if (!growth_) {
    growth_ = UniqueFd(::inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
    // What was written before the watch was there is read before it is waited for.
    if (growth_ && ::inotify_add_watch(growth_.get(), ("/proc/self/fd/" + std::to_string(fd_)).c_str(), IN_MODIFY) >= 0) {
      return wait_readable();
    }
  }
  TRY(wait_readable());
  pollfd ready{growth_.get(), POLLIN, 0};
  // Where the host has no more inotify instances poll(2) takes -1 for nothing to wait for, and looking every few milliseconds will do.
  if (::poll(&ready, 1, growth_ ? 100 : 10) > 0) {
    std::array<char, 4096> events;
    (void)!::read(growth_.get(), events.data(), events.size());
  }
  return {};
}

// Where `waits` is false and the file has not grown yet, nothing is read.
Status LayerStream::read_input(bool waits) {
  input_from_ = input_to_ = 0;
  // Full buffers where the source has them: a pipe gives 64 KiB at best.
  while (input_to_ < input_.size()) {
    TRY(wait_readable());
    const ssize_t got = ::read(fd_, input_.data() + input_to_, input_.size() - input_to_);
    if (got < 0) {
      if (errno == EINTR || errno == EAGAIN) {
        continue;
      }
      return fail_errno("read 'layer'");
    }
    if (got == 0 && compressed_bytes_ + input_to_ < least_bytes_) {
      if (input_to_ > 0) {
        break;
      }
      if (!waits) {
        return {};
      }
      TRY(wait_growth());
      continue;
    }
    if (got == 0) {
      input_ended_ = true;
      break;
    }
    input_to_ += static_cast<size_t>(got);
    if (static_cast<size_t>(got) < kInputBytes / 4) {
      break;
    }
  }
  compressed_bytes_ += input_to_;
  if (inflater_ == nullptr) {
    // The first bytes tell the format.
    if (compression_ == Compression::kAuto) {
      if (const char* name = unsupported_compression({input_.data(), input_to_}); name != nullptr) {
        const std::string tool = name;
        return fail(EPROTONOSUPPORT, "read 'layer'", "it is compressed with " + tool + ", which is not supported: unpack it first, with " + tool + " -dc");
      }
      compression_ = detect_compression({input_.data(), input_to_});
    }
    inflater_ = make_inflater(compression_);
    if (compression_ != Compression::kNone) {
      compressed_hash_ = std::make_unique<Sha256>();
    }
  }
  if (compressed_hash_ != nullptr) {
    compressed_hash_->update({input_.data(), input_to_});
  }
  return {};
}

// How many bytes are in `output` then; 0 at the end.
Result<size_t> LayerStream::fill(std::vector<uint8_t>& output) {
  size_t filled = 0;
  while (filled < output.size()) {
    if (input_from_ == input_to_ && !input_ended_) {
      // What there is goes on before a pipe is waited for.
      pollfd ready{fd_, POLLIN, 0};
      if (filled > output.size() / 2 || (filled > 0 && ::poll(&ready, 1, 0) == 0)) {
        break;
      }
      TRY(read_input(filled == 0));
      if (input_from_ == input_to_ && !input_ended_) {
        break;
      }
    }
    const auto progress = TRY(inflater_->run({input_.data() + input_from_, input_to_ - input_from_}, {output.data() + filled, output.size() - filled}));
    input_from_ += progress.consumed;
    filled += progress.produced;
    if (progress.consumed != 0 || progress.produced != 0) {
      continue;
    }
    if (input_from_ < input_to_) {
      if (filled > 0) {
        break;
      }
      return fail(EBADMSG, "inflate 'layer'");
    }
    if (input_ended_) {
      if (!inflater_->at_end()) {
        return fail(EBADMSG, "inflate 'layer'", "the compressed data is cut off");
      }
      break;
    }
  }
  plain_bytes_ += filled;
  if (plain_bytes_ > free_bytes_ && plain_bytes_ / most_times_ > compressed_bytes_) {
    return fail(E2BIG, "inflate 'layer'", "it grows to more than " + std::to_string(most_times_) + " times its size: it is made to fill disks");
  }
  return filled;
}

void LayerStream::produce() {
  for (;;) {
    Block* block = nullptr;
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [&] { return stopped_ || filled_ - std::min(taken_, hashed_) < blocks_.size(); });
      if (stopped_) {
        return;
      }
      block = &blocks_[filled_ % blocks_.size()];
    }
    block->bytes.resize(kOutputBytes);
    auto filled = fill(block->bytes);
    {
      const std::lock_guard lock(mutex_);
      if (filled && *filled > 0) {
        block->size = *filled;
        ++filled_;
      } else {
        ended_ = true;
        if (!filled) {
          failure_ = std::move(filled).error();
        }
      }
    }
    changed_.notify_all();
    if (!filled || *filled == 0) {
      return;
    }
  }
}

// What the producer writes, until its end.
void LayerStream::hash() {
  for (;;) {
    const Block* block = nullptr;
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [&] { return stopped_ || ended_ || filled_ > hashed_; });
      if (stopped_ || filled_ == hashed_) {
        return;
      }
      block = &blocks_[hashed_ % blocks_.size()];
    }
    plain_hash_.update({block->bytes.data(), block->size});
    {
      const std::lock_guard lock(mutex_);
      ++hashed_;
    }
    changed_.notify_all();
  }
}

Result<std::span<const uint8_t>> LayerStream::next(size_t most) {
  if (!producer_.joinable() && !ended_) {
    TRY(start());
  }
  if (holding_ && from_ == blocks_[taken_ % blocks_.size()].size) {
    {
      const std::lock_guard lock(mutex_);
      ++taken_;
    }
    changed_.notify_all();
    holding_ = false;
  }
  if (!holding_) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return ended_ || filled_ > taken_; });
    if (filled_ == taken_) {
      if (failure_) {
        return std::unexpected(*failure_);
      }
      return std::span<const uint8_t>();
    }
    holding_ = true;
    from_ = 0;
  }
  const Block& block = blocks_[taken_ % blocks_.size()];
  const size_t amount = std::min(most, block.size - from_);
  const std::span<const uint8_t> bytes(block.bytes.data() + from_, amount);
  from_ += amount;
  return bytes;
}

LayerStream::Digests LayerStream::finish() {
  // All was read, so the hasher comes to its end by itself.
  if (hasher_.joinable()) {
    hasher_.join();
  }
  stop();
  Digests digests{plain_hash_.finish(), {}, compressed_bytes_};
  digests.compressed = compressed_hash_ != nullptr ? compressed_hash_->finish() : digests.diff_id;
  return digests;
}

Result<bool> LayerStream::read_exactly(std::span<uint8_t> bytes) {
  size_t done = 0;
  while (done < bytes.size()) {
    const auto piece = TRY(next(bytes.size() - done));
    if (piece.empty()) {
      if (done == 0) {
        return false;
      }
      return fail(EBADMSG, "read 'layer'", "the archive is cut off");
    }
    std::memcpy(bytes.data() + done, piece.data(), piece.size());
    done += piece.size();
  }
  return true;
}

Status LayerStream::skip(uint64_t bytes) {
  while (bytes > 0) {
    const auto piece = TRY(next(static_cast<size_t>(std::min<uint64_t>(bytes, kOutputBytes))));
    if (piece.empty()) {
      return fail(EBADMSG, "read 'layer'", "the archive is cut off");
    }
    bytes -= piece.size();
  }
  return {};
}

Status LayerStream::drain(uint64_t most) {
  for (;;) {
    const auto piece = TRY(next(kOutputBytes));
    if (piece.empty()) {
      return {};
    }
    if (piece.size() > most) {
      return fail(EFBIG, "read 'layer'", "there is too much behind the end of the archive");
    }
    most -= piece.size();
  }
}

}  // namespace strata
