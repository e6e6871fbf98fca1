// Makes a blob of a tar while the tar is written: both digests, compression and writing are threads of their own.
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
#include "inflate.h"
#include "tar_sink.h"
#include "thread.h"

namespace strata {

struct BlobDigests {
  std::string diff_id;  // of the tar
  std::string digest;   // of what was written
  uint64_t bytes = 0;   // written
};

// How the blob's bytes come of the tar's: told every block in turn, then the end.
class BlobEncoder {
 public:
  virtual ~BlobEncoder() = default;
  [[nodiscard]] virtual Status take(std::span<const uint8_t> tar) = 0;
  [[nodiscard]] virtual Status finish() = 0;
};

// Invariants: a block belongs to the writer of the tar until put(), then to the two consumers until both have counted it; the counts, ended_, stopped_ and
// failure_ are under mutex_; encoder_ and what it writes to are the encoding thread's until it was joined.
class BlobSink final : public TarSink {
 public:
  // `fd` is borrowed; `compression`: kNone or kGzip (zlib's level 6, no time and no name in the header: the same tar gives the same bytes).
  BlobSink(int fd, Compression compression, const std::atomic<bool>* cancelled);
  // Waits for the threads. One that waits for the reader of a pipe ends with it.
  ~BlobSink() override;
  BlobSink(const BlobSink&) = delete;
  BlobSink& operator=(const BlobSink&) = delete;

  // Before all else. EAGAIN where no thread can be made, EINVAL another compression.
  [[nodiscard]] Status start();
  [[nodiscard]] Result<std::span<uint8_t>> room() override;
  [[nodiscard]] Status put(size_t size) override;
  // Once, after the last put().
  [[nodiscard]] Result<BlobDigests> finish();

 private:
  static constexpr size_t kBlockBytes = 256 * 1024;
  struct Block {
    std::vector<uint8_t> bytes;
    size_t size = 0;
  };

  void hash_blocks();
  void encode_blocks();
  [[nodiscard]] std::optional<std::span<const uint8_t>> next_block(uint64_t done);
  void count_block(uint64_t& done);
  void set_failure(Error error);
  void stop();

  const int fd_;
  const Compression compression_;
  const std::atomic<bool>* cancelled_;
  Sha256 tar_hash_;
  std::unique_ptr<Sha256> blob_hash_;  // null: what is written is the tar
  uint64_t blob_bytes_ = 0;
  std::unique_ptr<BlobEncoder> encoder_;

  Thread hashing_, encoding_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::array<Block, 8> blocks_;
  uint64_t filled_ = 0, hashed_ = 0, encoded_ = 0;
  bool ended_ = false, stopped_ = false;
  std::optional<Error> failure_;
};

}  // namespace strata
