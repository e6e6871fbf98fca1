// The bytes of a layer on their way in: file, sha256, decompression, sha256, reader; one pass, memory bounded.
// Reading, hashing and decompressing are a thread of their own, so that writing the files overlaps with them.
#pragma once

#include <array>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "digest.h"
#include "error.h"
#include "inflate.h"
#include "thread.h"

namespace strata {

// Invariants: blocks_[filled_ % n] up to blocks_[(taken_ + n - 1) % n] belong to the producer, the others to the reader; filled_, taken_, ended_ and failure_
// are under mutex_; everything from fd_ to input_ended_ is the producer's until it was joined.
class LayerStream {
 public:
  // `fd` is borrowed and read from where it stands to its end. `cancelled` (may be null) is looked at before each read: ECANCELED.
  LayerStream(int fd, Compression compression, const std::atomic<bool>* cancelled);
  // Stops the producer, even where it waits for a pipe.
  ~LayerStream();
  LayerStream(const LayerStream&) = delete;
  LayerStream& operator=(const LayerStream&) = delete;

  // The next uncompressed bytes, 1 to `most` of them; empty at the end. Valid until the next call. EBADMSG for damaged or cut-off input, EAGAIN where no
  // thread can be made.
  [[nodiscard]] Result<std::span<const uint8_t>> next(size_t most);
  // Exactly `bytes`; false at a clean end before the first byte, EBADMSG at an end within.
  [[nodiscard]] Result<bool> read_exactly(std::span<uint8_t> bytes);
  [[nodiscard]] Status skip(uint64_t bytes);
  // Reads to the end, at most `most` bytes (EFBIG).
  [[nodiscard]] Status drain(uint64_t most);

  struct Digests {
    std::string diff_id;
    std::string compressed;
    uint64_t compressed_bytes = 0;
  };
  // Once, after next() was empty.
  [[nodiscard]] Digests finish();

 private:
  struct Block {
    std::vector<uint8_t> bytes;
    size_t size = 0;
  };

  void produce();
  [[nodiscard]] Result<size_t> fill(std::vector<uint8_t>& output);
  [[nodiscard]] Status read_input();
  [[nodiscard]] Status wait_readable() const;
  void stop();

  int fd_;
  Compression compression_;
  const std::atomic<bool>* cancelled_;
  std::unique_ptr<Inflater> inflater_;
  std::unique_ptr<Sha256> compressed_hash_;  // null for a plain tar: one hash serves both
  Sha256 plain_hash_;
  std::vector<uint8_t> input_;
  size_t input_from_ = 0, input_to_ = 0;
  uint64_t compressed_bytes_ = 0;
  bool input_ended_ = false;

  Thread producer_;  // started by the first next()
  std::mutex mutex_;
  std::condition_variable changed_;
  std::array<Block, 4> blocks_;
  uint64_t filled_ = 0, taken_ = 0;
  bool ended_ = false;
  std::optional<Error> failure_;
  std::atomic<bool> stopped_ = false;

  size_t from_ = 0;  // the reader's place in its block
  bool holding_ = false;
};

}  // namespace strata
