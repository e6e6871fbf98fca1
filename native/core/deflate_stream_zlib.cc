#include <zlib.h>

#include "deflate_stream.h"

namespace strata {

namespace {

class ZlibStream final : public DeflateStream {
 public:
  ZlibStream() { ready_ = ::inflateInit2(&stream_, -15) == Z_OK; }
  ~ZlibStream() override { ::inflateEnd(&stream_); }
  ZlibStream(const ZlibStream&) = delete;
  ZlibStream& operator=(const ZlibStream&) = delete;

  void reset() override { ::inflateReset(&stream_); }

  Result<Progress> run(std::span<const uint8_t> input, std::span<uint8_t> output) override {
    if (!ready_) {
      return fail(ENOMEM, "inflate 'gzip'");
    }
    stream_.next_in = const_cast<Bytef*>(input.data());
    stream_.avail_in = static_cast<uInt>(input.size());
    stream_.next_out = output.data();
    stream_.avail_out = static_cast<uInt>(output.size());
    const int result = ::inflate(&stream_, Z_NO_FLUSH);
    if (result == Z_MEM_ERROR) {
      return fail(ENOMEM, "inflate 'gzip'");
    }
    if (result != Z_OK && result != Z_STREAM_END && result != Z_BUF_ERROR) {
      return fail(EBADMSG, "inflate 'gzip'", stream_.msg != nullptr ? stream_.msg : "invalid data");
    }
    return Progress{input.size() - stream_.avail_in, output.size() - stream_.avail_out, result == Z_STREAM_END};
  }

  bool take_byte(uint8_t& /*byte*/) override { return false; }  // zlib gives back what it has not used

  uint32_t checksum(uint32_t before, std::span<const uint8_t> bytes) const override {
    return static_cast<uint32_t>(::crc32_z(before, bytes.data(), bytes.size()));
  }

 private:
  z_stream stream_{};
  bool ready_ = false;
};

}  // namespace

std::unique_ptr<DeflateStream> make_deflate_stream() { return std::make_unique<ZlibStream>(); }

}  // namespace strata
