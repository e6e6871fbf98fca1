#include "gzip_inflater.h"

#include <array>

#include "deflate_stream.h"

namespace strata {

namespace {

constexpr uint8_t kHasCrc = 0x02, kHasExtra = 0x04, kHasName = 0x08, kHasComment = 0x10, kReserved = 0xe0;

std::unexpected<Error> damaged(const char* why) { return fail(EBADMSG, "inflate 'gzip'", why); }

class Gzip final : public Inflater {
 public:
  Result<Progress> run(std::span<const uint8_t> input, std::span<uint8_t> output) override {
    size_t consumed = 0;
    while (part_ != Part::kBody && consumed < input.size()) {
      TRY(take_byte(input[consumed++]));
    }
    if (part_ != Part::kBody) {
      return Progress{consumed, 0};
    }
    const auto progress = TRY(deflate_->run(input.subspan(consumed), output));
    if (progress.produced > 0) {
      crc_ = deflate_->checksum(crc_, output.first(progress.produced));
    }
    size_ += static_cast<uint32_t>(progress.produced);  // modulo 2^32, as the trailer has it
    if (progress.done) {
      begin(Part::kTrailer);
      for (uint8_t byte = 0; deflate_->take_byte(byte);) {
        TRY(take_byte(byte));
      }
    }
    return Progress{consumed + progress.consumed, progress.produced};
  }
  bool at_end() const override { return part_ == Part::kBetween && members_ > 0; }

 private:
  enum class Part { kBetween, kFixed, kExtraLength, kExtra, kName, kComment, kHeaderCrc, kBody, kTrailer };

  void begin(Part part) {
    part_ = part;
    at_ = 0;
  }

  // The optional parts stand in the order of the enum.
  void begin_next_part() {
    if (part_ < Part::kExtraLength && (flags_ & kHasExtra) != 0) {
      begin(Part::kExtraLength);
    } else if (part_ < Part::kName && (flags_ & kHasName) != 0) {
      begin(Part::kName);
    } else if (part_ < Part::kComment && (flags_ & kHasComment) != 0) {
      begin(Part::kComment);
    } else if (part_ < Part::kHeaderCrc && (flags_ & kHasCrc) != 0) {
      begin(Part::kHeaderCrc);
    } else {
      begin(Part::kBody);
      deflate_->reset();
      crc_ = 0;
      size_ = 0;
    }
  }

  // Of a header, a trailer or what is between members.
  Status take_byte(uint8_t byte) {
    if (part_ == Part::kBetween) {
      if (byte == 0 && members_ > 0) {
        return {};  // gzip(1) takes zeros behind the last member for padding
      }
      if (byte != 0x1f) {
        return damaged(members_ > 0 ? "there is something else behind the compressed data" : "it does not begin as gzip does");
      }
      begin(Part::kFixed);
      header_crc_ = 0;
    }
    if (part_ != Part::kTrailer && part_ != Part::kHeaderCrc) {
      header_crc_ = deflate_->checksum(header_crc_, std::span(&byte, 1));
    }
    const size_t index = at_++;
    if (index < bytes_.size()) {
      bytes_[index] = byte;
    }
    switch (part_) {
      case Part::kFixed:
        return index == 9 ? take_fixed() : Status{};
      case Part::kExtraLength:
        if (index == 1) {
          extra_left_ = static_cast<uint32_t>(bytes_[0]) | static_cast<uint32_t>(bytes_[1]) << 8;
          begin(Part::kExtra);
          if (extra_left_ == 0) {
            begin_next_part();
          }
        }
        return {};
      case Part::kExtra:
        if (--extra_left_ == 0) {
          begin_next_part();
        }
        return {};
      case Part::kName:
      case Part::kComment:
        if (byte == 0) {
          begin_next_part();
        }
        return {};
      case Part::kHeaderCrc:
        if (index == 1) {
          if (word(0, 2) != (header_crc_ & 0xffff)) {
            return damaged("the checksum of its header is wrong");
          }
          begin_next_part();
        }
        return {};
      case Part::kTrailer:
        return index == 7 ? take_trailer() : Status{};
      case Part::kBetween:
      case Part::kBody:
        break;
    }
    return {};
  }

  Status take_fixed() {
    if (bytes_[1] != 0x8b || bytes_[2] != 8) {
      return damaged("it is of a kind that is not known");
    }
    flags_ = bytes_[3];
    if ((flags_ & kReserved) != 0) {
      return damaged("its header has flags that are not known");
    }
    begin_next_part();
    return {};
  }

  Status take_trailer() {
    if (word(0, 4) != crc_ || word(4, 4) != size_) {
      return damaged("the checksum of its content is wrong");
    }
    ++members_;
    begin(Part::kBetween);
    return {};
  }

  [[nodiscard]] uint32_t word(size_t from, size_t width) const {
    uint32_t value = 0;
    for (size_t i = 0; i < width; ++i) {
      value |= static_cast<uint32_t>(bytes_[from + i]) << (8 * i);
    }
    return value;
  }

  std::unique_ptr<DeflateStream> deflate_ = make_deflate_stream();
  Part part_ = Part::kBetween;
  size_t at_ = 0;  // bytes of this part so far
  std::array<uint8_t, 10> bytes_{};
  uint8_t flags_ = 0;
  uint32_t extra_left_ = 0;
  uint32_t header_crc_ = 0;
  uint32_t crc_ = 0, size_ = 0;
  uint64_t members_ = 0;
};

}  // namespace

std::unique_ptr<Inflater> make_gzip_inflater() { return std::make_unique<Gzip>(); }

}  // namespace strata
