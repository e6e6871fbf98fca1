#include "inflate.h"

#include <lzma.h>
#include <zstd.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "gzip_inflater.h"

namespace strata {

namespace {

constexpr std::array<uint8_t, 6> kXzMagic = {0xfd, '7', 'z', 'X', 'Z', 0};
// What `xz -9` made takes 65 MiB; the format goes up to 4 GiB.
constexpr uint64_t kXzMemoryBytes = uint64_t{96} << 20;

class Plain final : public Inflater {
 public:
  Result<Progress> run(std::span<const uint8_t> input, std::span<uint8_t> output) override {
    const size_t amount = std::min(input.size(), output.size());
    std::memcpy(output.data(), input.data(), amount);
    return Progress{amount, amount};
  }
  bool at_end() const override { return true; }
};

class Zstd final : public Inflater {
 public:
  Zstd() : context_(::ZSTD_createDCtx()) {}
  ~Zstd() override { ::ZSTD_freeDCtx(context_); }
  Zstd(const Zstd&) = delete;
  Zstd& operator=(const Zstd&) = delete;

  Result<Progress> run(std::span<const uint8_t> input, std::span<uint8_t> output) override {
    if (context_ == nullptr) {
      return fail(ENOMEM, "inflate 'zstd'");
    }
    // The window is limited to the library's default of 128 MiB: a frame that wants more is refused.
    ZSTD_inBuffer in{input.data(), input.size(), 0};
    ZSTD_outBuffer out{output.data(), output.size(), 0};
    const size_t result = ::ZSTD_decompressStream(context_, &out, &in);
    if (::ZSTD_isError(result) != 0) {
      return fail(EBADMSG, "inflate 'zstd'", ::ZSTD_getErrorName(result));
    }
    if (in.pos > 0 || out.pos > 0) {
      frame_done_ = result == 0;
    }
    return Progress{in.pos, out.pos};
  }
  bool at_end() const override { return frame_done_; }

 private:
  ZSTD_DCtx* context_;
  bool frame_done_ = false;
};

class Xz final : public Inflater {
 public:
  ~Xz() override { ::lzma_end(&stream_); }
  Xz() = default;
  Xz(const Xz&) = delete;
  Xz& operator=(const Xz&) = delete;

  Result<Progress> run(std::span<const uint8_t> input, std::span<uint8_t> output) override {
    size_t skipped = 0;
    if (between_streams_) {
      // The format's section 2.2: zeros may follow a stream, in fours.
      while (streams_ > 0 && skipped < input.size() && input[skipped] == 0) {
        ++skipped;
      }
      padding_ += skipped;
      if (skipped == input.size()) {
        return Progress{skipped, 0};
      }
      if (streams_ > 0 && (padding_ % 4 != 0 || input[skipped] != kXzMagic[0])) {
        return fail(EBADMSG, "inflate 'xz'", "there is something else behind the compressed data");
      }
      if (::lzma_stream_decoder(&stream_, kXzMemoryBytes, 0) != LZMA_OK) {
        return fail(ENOMEM, "inflate 'xz'");
      }
      between_streams_ = false;
      padding_ = 0;
    }
    stream_.next_in = input.data() + skipped;
    stream_.avail_in = input.size() - skipped;
    stream_.next_out = output.data();
    stream_.avail_out = output.size();
    const lzma_ret result = ::lzma_code(&stream_, LZMA_RUN);
    if (result == LZMA_STREAM_END) {
      between_streams_ = true;
      ++streams_;
    } else if (result == LZMA_MEM_ERROR) {
      return fail(ENOMEM, "inflate 'xz'");
    } else if (result == LZMA_MEMLIMIT_ERROR) {
      return fail(EPROTONOSUPPORT, "inflate 'xz'",
                  "it takes " + std::to_string((::lzma_memusage(&stream_) >> 20) + 1) + " MiB of memory to unpack, and may take " +
                      std::to_string(kXzMemoryBytes >> 20) + ": unpack it first, with xz -dc");
    } else if (result != LZMA_OK && result != LZMA_BUF_ERROR) {
      return fail(EBADMSG, "inflate 'xz'", "invalid data");
    }
    return Progress{input.size() - stream_.avail_in, output.size() - stream_.avail_out};
  }
  bool at_end() const override { return between_streams_ && streams_ > 0 && padding_ % 4 == 0; }

 private:
  lzma_stream stream_ = LZMA_STREAM_INIT;
  bool between_streams_ = true;
  uint64_t streams_ = 0;
  uint64_t padding_ = 0;
};

}  // namespace

Compression detect_compression(std::span<const uint8_t> head) {
  if (head.size() >= 2 && head[0] == 0x1f && head[1] == 0x8b) {
    return Compression::kGzip;
  }
  // A zstd frame, or a skippable one before it.
  if (head.size() >= 4 && ((head[0] == 0x28 && head[1] == 0xb5 && head[2] == 0x2f && head[3] == 0xfd) ||
                           ((head[0] & 0xf0) == 0x50 && head[1] == 0x2a && head[2] == 0x4d && head[3] == 0x18))) {
    return Compression::kZstd;
  }
  if (head.size() >= kXzMagic.size() && std::equal(kXzMagic.begin(), kXzMagic.end(), head.begin())) {
    return Compression::kXz;
  }
  return Compression::kNone;
}

const char* unsupported_compression(std::span<const uint8_t> head) {
  constexpr std::array<uint8_t, 3> kBzip2 = {'B', 'Z', 'h'};
  if (head.size() >= kBzip2.size() && std::equal(kBzip2.begin(), kBzip2.end(), head.begin())) {
    return "bzip2";
  }
  return nullptr;
}

std::unique_ptr<Inflater> make_inflater(Compression compression) {
  switch (compression) {
    case Compression::kGzip:
      return make_gzip_inflater();
    case Compression::kZstd:
      return std::make_unique<Zstd>();
    case Compression::kXz:
      return std::make_unique<Xz>();
    case Compression::kAuto:
    case Compression::kNone:
      break;
  }
  return std::make_unique<Plain>();
}

}  // namespace strata
