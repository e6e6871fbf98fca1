#include <isa-l/crc.h>
#include <isa-l/igzip_lib.h>

#include "deflate_stream.h"

namespace strata {

namespace {

const char* reason(int result) {
  switch (result) {
    case ISAL_INVALID_BLOCK:
      return "a block of a kind that is not known";
    case ISAL_INVALID_SYMBOL:
      return "a code that is not known";
    case ISAL_INVALID_LOOKBACK:
      return "it refers to what was not there";
    default:
      return "invalid data";
  }
}

class IsalStream final : public DeflateStream {
 public:
  IsalStream() { ::isal_inflate_init(&state_); }

  void reset() override { ::isal_inflate_reset(&state_); }

  Result<Progress> run(std::span<const uint8_t> input, std::span<uint8_t> output) override {
    state_.next_in = const_cast<uint8_t*>(input.data());
    state_.avail_in = static_cast<uint32_t>(input.size());
    state_.next_out = output.data();
    state_.avail_out = static_cast<uint32_t>(output.size());
    const int result = ::isal_inflate(&state_);
    if (result < 0) {
      return fail(EBADMSG, "inflate 'gzip'", reason(result));
    }
    const bool done = state_.block_state == ISAL_BLOCK_FINISH;
    if (done) {
      // Its bit buffer holds whole bytes of what comes behind, after the rest of the stream's last byte.
      const int rest = state_.read_in_length % 8;
      state_.read_in >>= rest;
      state_.read_in_length -= rest;
    }
    return Progress{input.size() - state_.avail_in, output.size() - state_.avail_out, done};
  }

  bool take_byte(uint8_t& byte) override {
    if (state_.read_in_length < 8) {
      return false;
    }
    byte = static_cast<uint8_t>(state_.read_in);
    state_.read_in >>= 8;
    state_.read_in_length -= 8;
    return true;
  }

  uint32_t checksum(uint32_t before, std::span<const uint8_t> bytes) const override { return ::crc32_gzip_refl(before, bytes.data(), bytes.size()); }

 private:
  inflate_state state_;  // isal_inflate_init sets all of it that is read
};

}  // namespace

std::unique_ptr<DeflateStream> make_deflate_stream() { return std::make_unique<IsalStream>(); }

}  // namespace strata
