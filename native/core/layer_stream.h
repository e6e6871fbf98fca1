// The bytes of a layer on their way in: file, sha256, decompression, sha256, reader; one pass, memory bounded.
// Reading and decompressing are a thread of their own and hashing what comes out another, so that both overlap with writing the files.
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
#include "unique_fd.h"

namespace strata {

// Invariants: blocks_ is a ring; the first filled_ blocks of the stream were written, taken_ of them the reader is done with and hashed_ of them the hasher;
// a block is written again when both are, and until then nobody writes to it. filled_, hashed_, taken_, ended_ and failure_ are under mutex_; everything from
// fd_ to input_ended_ is the producer's until it was joined, plain_hash_ the hasher's.
class LayerStream {
 public:
  // `fd` is borrowed and read from where it stands to its end; where that comes before `least_bytes`, somebody still writes to the file and is waited for.
  // `cancelled` (may be null) is looked at before each read: ECANCELED.
  LayerStream(int fd, Compression compression, const std::atomic<bool>* cancelled, uint64_t least_bytes = 0);
  // Stops the threads, even where one waits for a pipe.
  ~LayerStream();
  LayerStream(const LayerStream&) = delete;
  LayerStream& operator=(const LayerStream&) = delete;

  // Before the first next(): more than `free_bytes` come out only as long as that is at most `times` what went in (E2BIG).
  void limit_expansion(uint64_t free_bytes, uint64_t times) { free_bytes_ = free_bytes, most_times_ = times; }

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

  [[nodiscard]] Status start();
  void produce();
  void hash();
  [[nodiscard]] Result<size_t> fill(std::vector<uint8_t>& output);
  [[nodiscard]] Status read_input(bool waits);
  [[nodiscard]] Status wait_readable() const;
  [[nodiscard]] Status wait_growth();
  void stop();

  int fd_;
  Compression compression_;
  const std::atomic<bool>* cancelled_;
  uint64_t least_bytes_;
  uint64_t free_bytes_ = UINT64_MAX, most_times_ = UINT64_MAX;
  UniqueFd growth_;  // inotify, once the end was met too early
  std::unique_ptr<Inflater> inflater_;
  std::unique_ptr<Sha256> compressed_hash_;  // null for a plain tar: one hash serves both
  Sha256 plain_hash_;
  std::vector<uint8_t> input_;
  size_t input_from_ = 0, input_to_ = 0;
  uint64_t compressed_bytes_ = 0, plain_bytes_ = 0;
  bool input_ended_ = false;

  Thread producer_, hasher_;  // started by the first next()
  std::mutex mutex_;
  std::condition_variable changed_;
  std::array<Block, 6> blocks_;
  uint64_t filled_ = 0, hashed_ = 0, taken_ = 0;
  bool ended_ = false;
  std::optional<Error> failure_;
  std::atomic<bool> stopped_ = false;

  size_t from_ = 0;  // the reader's place in its block
  bool holding_ = false;
};

}  // namespace strata
