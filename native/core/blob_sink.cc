#include "blob_sink.h"

#include <zlib.h>

#include <algorithm>
#include <functional>
#include <utility>

namespace strata {

namespace {

using Output = std::function<Status(std::span<const uint8_t>)>;

class Plain final : public BlobEncoder {
 public:
  explicit Plain(Output output) : output_(std::move(output)) {}
  Status take(std::span<const uint8_t> tar) override { return output_(tar); }
  Status finish() override { return {}; }

 private:
  Output output_;
};

class Gzip final : public BlobEncoder {
 public:
  explicit Gzip(Output output) : output_(std::move(output)), bytes_(256 * 1024) {
    ready_ = ::deflateInit2(&stream_, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) == Z_OK;
  }
  ~Gzip() override {
    if (ready_) {
      ::deflateEnd(&stream_);
    }
  }
  Gzip(const Gzip&) = delete;
  Gzip& operator=(const Gzip&) = delete;

  Status take(std::span<const uint8_t> tar) override { return run(tar, Z_NO_FLUSH); }
  Status finish() override { return run({}, Z_FINISH); }

 private:
  Status run(std::span<const uint8_t> tar, int flush) {
    if (!ready_) {
      return fail(ENOMEM, "deflate 'layer'");
    }
    stream_.next_in = const_cast<Bytef*>(tar.data());
    stream_.avail_in = static_cast<uInt>(tar.size());
    do {
      stream_.next_out = bytes_.data();
      stream_.avail_out = static_cast<uInt>(bytes_.size());
      // Its only other results are of a stream that was not set up.
      ::deflate(&stream_, flush);
      TRY(output_({bytes_.data(), bytes_.size() - stream_.avail_out}));
    } while (stream_.avail_out == 0);
    return {};
  }

  Output output_;
  std::vector<uint8_t> bytes_;
  z_stream stream_{};
  bool ready_ = false;
};

}  // namespace

BlobSink::BlobSink(int fd, Compression compression, const std::atomic<bool>* cancelled) : fd_(fd), compression_(compression), cancelled_(cancelled) {}

BlobSink::~BlobSink() { stop(); }

Status BlobSink::start() {
  if (compression_ != Compression::kNone && compression_ != Compression::kGzip) {
    return fail(EINVAL, "pack 'layer'", "a layer is packed plain or with gzip");
  }
  if (compression_ == Compression::kGzip) {
    blob_hash_ = std::make_unique<Sha256>();
    encoder_ = std::make_unique<Gzip>([this](std::span<const uint8_t> bytes) -> Status {
      blob_hash_->update(bytes);
      blob_bytes_ += bytes.size();
      return write_all(fd_, bytes, "layer", cancelled_);
    });
  } else {
    encoder_ = std::make_unique<Plain>([this](std::span<const uint8_t> bytes) -> Status {
      blob_bytes_ += bytes.size();
      return write_all(fd_, bytes, "layer", cancelled_);
    });
  }
  hashing_ = TRY(Thread::start([this] { hash_blocks(); }));
  encoding_ = TRY(Thread::start([this] { encode_blocks(); }));
  return {};
}

void BlobSink::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopped_ = true;
  }
  changed_.notify_all();
  for (Thread* thread : {&hashing_, &encoding_}) {
    if (thread->joinable()) {
      thread->join();
    }
  }
}

Result<std::span<uint8_t>> BlobSink::room() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return failure_ || filled_ - std::min(hashed_, encoded_) < blocks_.size(); });
  if (failure_) {
    return std::unexpected(*failure_);
  }
  Block& block = blocks_[filled_ % blocks_.size()];
  block.bytes.resize(kBlockBytes);
  return std::span<uint8_t>(block.bytes);
}

Status BlobSink::put(size_t size) {
  {
    const std::lock_guard lock(mutex_);
    blocks_[filled_ % blocks_.size()].size = size;
    ++filled_;
  }
  changed_.notify_all();
  return {};
}

// None at the end, and where the work was given up.
std::optional<std::span<const uint8_t>> BlobSink::next_block(uint64_t done) {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return stopped_ || ended_ || filled_ > done; });
  if (stopped_ || filled_ == done) {
    return std::nullopt;
  }
  const Block& block = blocks_[done % blocks_.size()];
  return std::span<const uint8_t>(block.bytes.data(), block.size);
}

void BlobSink::count_block(uint64_t& done) {
  {
    const std::lock_guard lock(mutex_);
    ++done;
  }
  changed_.notify_all();
}

void BlobSink::set_failure(Error error) {
  {
    const std::lock_guard lock(mutex_);
    failure_ = std::move(error);
    stopped_ = true;
  }
  changed_.notify_all();
}

void BlobSink::hash_blocks() {
  while (const auto block = next_block(hashed_)) {
    tar_hash_.update(*block);
    count_block(hashed_);
  }
}

void BlobSink::encode_blocks() {
  while (const auto block = next_block(encoded_)) {
    if (auto taken = encoder_->take(*block); !taken) {
      return set_failure(std::move(taken).error());
    }
    count_block(encoded_);
  }
  bool whole = false;
  {
    const std::lock_guard lock(mutex_);
    whole = !stopped_;
  }
  if (!whole) {
    return;
  }
  if (auto finished = encoder_->finish(); !finished) {
    set_failure(std::move(finished).error());
  }
}

Result<BlobDigests> BlobSink::finish() {
  {
    const std::lock_guard lock(mutex_);
    ended_ = true;
  }
  changed_.notify_all();
  hashing_.join();
  encoding_.join();
  if (failure_) {
    return std::unexpected(*failure_);
  }
  BlobDigests digests{tar_hash_.finish(), {}, blob_bytes_};
  digests.digest = blob_hash_ != nullptr ? blob_hash_->finish() : digests.diff_id;
  return digests;
}

}  // namespace strata
