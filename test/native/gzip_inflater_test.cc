#include <doctest/doctest.h>
#include <zlib.h>

#include <random>

#include "core/gzip_inflater.h"

using namespace strata;

namespace {

using Bytes = std::vector<uint8_t>;

// What layers are made of: words, numbers with a pattern, runs, and what nothing makes smaller.
Bytes sample(std::mt19937& random, size_t size) {
  Bytes bytes;
  while (bytes.size() < size) {
    const size_t length = 1 + random() % 3000;
    const auto kind = random() % 5;
    for (size_t i = 0; i < length; ++i) {
      const auto byte = kind == 0   ? 'a' + random() % 4
                        : kind == 1 ? random() % 256
                        : kind == 2 ? length % 256
                        : kind == 3 ? (i * length) % 251
                        : bytes.size() > 40000 ? bytes[bytes.size() - 20000 - length % 12000]
                                               : 0;
      bytes.push_back(static_cast<uint8_t>(byte));
    }
  }
  bytes.resize(size);
  return bytes;
}

Bytes gzip(const Bytes& text, int level, int strategy, size_t flush_every = SIZE_MAX) {
  z_stream stream{};
  ::deflateInit2(&stream, level, Z_DEFLATED, 15 + 16, 8, strategy);
  Bytes out(::deflateBound(&stream, text.size()) + text.size() / 100 + 4096);
  stream.next_out = out.data();
  stream.avail_out = static_cast<uInt>(out.size());
  for (size_t done = 0; done < text.size();) {
    const size_t amount = std::min(flush_every, text.size() - done);
    stream.next_in = const_cast<Bytef*>(text.data() + done);
    stream.avail_in = static_cast<uInt>(amount);
    done += amount;
    ::deflate(&stream, flush_every == SIZE_MAX ? Z_NO_FLUSH : Z_FULL_FLUSH);
  }
  ::deflate(&stream, Z_FINISH);
  out.resize(stream.total_out);
  ::deflateEnd(&stream);
  return out;
}

// In pieces of random sizes, each input piece in memory of its own, so that a sanitizer sees reads behind it.
Result<Bytes> unzip(const Bytes& packed, std::mt19937& random, size_t most_input, size_t most_output) {
  const auto inflater = make_gzip_inflater();
  Bytes text;
  size_t at = 0;
  for (int idle = 0; idle < 3;) {
    const Bytes input(packed.begin() + static_cast<ptrdiff_t>(at), packed.begin() + static_cast<ptrdiff_t>(std::min(packed.size(), at + 1 + random() % most_input)));
    Bytes output(1 + random() % most_output);
    const auto progress = TRY(inflater->run(input, output));
    if (progress.consumed > input.size() || progress.produced > output.size()) {
      return fail(EFAULT, "inflate 'test'", "it says more than there is");
    }
    at += progress.consumed;
    text.insert(text.end(), output.begin(), output.begin() + static_cast<ptrdiff_t>(progress.produced));
    idle = progress.consumed == 0 && progress.produced == 0 ? idle + 1 : 0;
  }
  if (at < packed.size() || !inflater->at_end()) {
    return fail(EBADMSG, "inflate 'test'", "the data is cut off");
  }
  return text;
}

// zlib's answer to one member.
Result<Bytes> unzip_with_zlib(const Bytes& packed) {
  z_stream stream{};
  ::inflateInit2(&stream, 15 + 16);
  stream.next_in = const_cast<Bytef*>(packed.data());
  stream.avail_in = static_cast<uInt>(packed.size());
  Bytes text(1 << 20);
  stream.next_out = text.data();
  stream.avail_out = static_cast<uInt>(text.size());
  const int result = ::inflate(&stream, Z_FINISH);
  text.resize(stream.total_out);
  const bool all = stream.avail_in == 0;
  ::inflateEnd(&stream);
  if (result != Z_STREAM_END || !all) {
    return fail(EBADMSG, "inflate 'test'");
  }
  return text;
}

}  // namespace

TEST_CASE("what zlib packs comes out again, whatever the sizes of the pieces") {
  std::mt19937 random(1);
  for (const int strategy : {Z_DEFAULT_STRATEGY, Z_FIXED, Z_HUFFMAN_ONLY, Z_RLE, Z_FILTERED}) {
    for (const int level : {0, 1, 4, 6, 9}) {
      const Bytes text = sample(random, random() % 150'000);
      const Bytes packed = gzip(text, level, strategy, level == 4 ? 5000 : SIZE_MAX);
      for (const auto& [input, output] : {std::pair<size_t, size_t>{200'000, 400'000}, {3000, 700}, {40, 100'000}, {1, 3}}) {
        const auto got = unzip(packed, random, input, output);
        REQUIRE(got);
        CHECK(*got == text);
      }
    }
  }
}

TEST_CASE("damaged data is damaged for zlib, too, and never more than that") {
  std::mt19937 random(2);
  size_t accepted = 0;
  for (int round = 0; round < 1000; ++round) {
    const Bytes text = sample(random, 1 + random() % 3000);
    Bytes packed = gzip(text, static_cast<int>(random() % 10), round % 3 == 0 ? Z_FIXED : Z_DEFAULT_STRATEGY);
    for (size_t flips = 1 + random() % 3; flips > 0; --flips) {
      packed[random() % packed.size()] ^= static_cast<uint8_t>(1 << random() % 8);
    }
    if (round % 5 == 0) {
      packed.resize(random() % packed.size());
    }
    const auto own = unzip(packed, random, 1 + random() % 2000, 1 + random() % 2000);
    const auto theirs = unzip_with_zlib(packed);
    if (own) {
      ++accepted;
      REQUIRE(theirs);
      CHECK(*own == *theirs);
    } else {
      CHECK(own.error().errno_value == EBADMSG);
      CHECK_FALSE(theirs);
    }
  }
  CHECK(accepted > 0);  // a flipped bit of the header's time changes nothing
}

TEST_CASE("the blocks themselves, damaged in every way, without a checksum that tells") {
  // The trailer is made right again, so that what the blocks say decides.
  std::mt19937 random(3);
  size_t accepted = 0;
  for (int round = 0; round < 1500; ++round) {
    const Bytes text = sample(random, 1 + random() % 2000);
    Bytes packed = gzip(text, 6, round % 4 == 0 ? Z_FIXED : Z_DEFAULT_STRATEGY);
    const size_t body = packed.size() - 18;
    packed[10 + random() % std::min<size_t>(body, round % 2 == 0 ? 80 : body)] ^= static_cast<uint8_t>(1 << random() % 8);
    z_stream stream{};
    ::inflateInit2(&stream, -15);
    stream.next_in = packed.data() + 10;
    stream.avail_in = static_cast<uInt>(body);
    Bytes expected(1 << 20);
    stream.next_out = expected.data();
    stream.avail_out = static_cast<uInt>(expected.size());
    const bool valid = ::inflate(&stream, Z_FINISH) == Z_STREAM_END && stream.avail_in == 0;
    expected.resize(stream.total_out);
    ::inflateEnd(&stream);
    const auto crc = static_cast<uint32_t>(::crc32(0, expected.data(), static_cast<uInt>(expected.size())));
    const auto size = static_cast<uint32_t>(expected.size());
    for (size_t i = 0; i < 4; ++i) {
      packed[10 + body + i] = static_cast<uint8_t>(crc >> (8 * i));
      packed[14 + body + i] = static_cast<uint8_t>(size >> (8 * i));
    }
    const auto own = unzip(packed, random, 4000, 4000);
    CHECK(own.has_value() == valid);
    if (own && valid) {
      CHECK(*own == expected);
      ++accepted;
    }
  }
  CHECK(accepted > 50);
}

TEST_CASE("headers with all that they may have, members one behind the other, zeros at the end") {
  std::mt19937 random(4);
  const Bytes text = sample(random, 5000);
  const Bytes plain = gzip(text, 6, Z_DEFAULT_STRATEGY);
  Bytes header{0x1f, 0x8b, 8, 0x1e, 1, 2, 3, 4, 0, 3};
  const std::string fields("\x05\x00" "extra" "name\0" "comment\0", 2 + 5 + 5 + 8);
  header.insert(header.end(), fields.begin(), fields.end());
  const auto crc = ::crc32(0, header.data(), static_cast<uInt>(header.size()));
  Bytes packed = header;
  packed.push_back(static_cast<uint8_t>(crc));
  packed.push_back(static_cast<uint8_t>(crc >> 8));
  packed.insert(packed.end(), plain.begin() + 10, plain.end());
  Bytes twice = packed;
  twice.insert(twice.end(), plain.begin(), plain.end());
  twice.resize(twice.size() + 777);
  Bytes doubled = text;
  doubled.insert(doubled.end(), text.begin(), text.end());
  for (const size_t most : {size_t{1}, size_t{7}, size_t{100'000}}) {
    CHECK(*unzip(packed, random, most, 1000) == text);
    CHECK(*unzip(twice, random, most, 1000) == doubled);
  }
  const auto refused = [&](size_t at, uint8_t value) {
    Bytes changed = packed;
    changed[at] = value;
    return !unzip(changed, random, 1000, 1000);
  };
  CHECK(refused(2, 7));                    // not deflate
  CHECK(refused(3, 0x3e));                 // a flag of the future
  CHECK(refused(header.size() - 3, 'x'));  // the header's checksum
  CHECK(refused(packed.size() - 5, 0));    // that of the content
  CHECK(refused(packed.size() - 1, 9));    // its size
  twice.push_back(1);
  CHECK_FALSE(unzip(twice, random, 1000, 1000));
}
