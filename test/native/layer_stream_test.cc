#include <doctest/doctest.h>
#include <lzma.h>
#include <zlib.h>
#include <zstd.h>

#include "core/digest.h"
#include "core/layer_stream.h"
#include "tar_fixture.h"

using namespace strata;
using namespace strata::test;

namespace {

std::string gzip(const std::string& text) {
  z_stream stream{};
  ::deflateInit2(&stream, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY);
  std::string out(::deflateBound(&stream, text.size()) + 64, '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  ::deflate(&stream, Z_FINISH);
  out.resize(stream.total_out);
  ::deflateEnd(&stream);
  return out;
}

std::string zstd(const std::string& text) {
  std::string out(::ZSTD_compressBound(text.size()), '\0');
  out.resize(::ZSTD_compress(out.data(), out.size(), text.data(), text.size(), 3));
  return out;
}

std::string xz(const std::string& text, uint32_t preset = 1) {
  std::string out(::lzma_stream_buffer_bound(text.size()), '\0');
  size_t used = 0;
  REQUIRE(::lzma_easy_buffer_encode(preset, LZMA_CHECK_CRC64, nullptr, reinterpret_cast<const uint8_t*>(text.data()), text.size(),
                                    reinterpret_cast<uint8_t*>(out.data()), &used, out.size()) == LZMA_OK);
  out.resize(used);
  return out;
}

// The same with a dictionary of 768 MiB asked for, which to make would take as much (xz-file-format 1.1.0, sections 3.1 and 5.3.1).
std::string greedy_xz(const std::string& text) {
  constexpr size_t kHeader = 12;
  std::string packed = xz(text);
  const size_t size = (static_cast<size_t>(packed[kHeader]) + 1) * 4;
  const size_t filter = packed.find("\x21\x01", kHeader);
  REQUIRE(filter < kHeader + size);
  packed[filter + 2] = 35;
  const uint32_t crc = ::lzma_crc32(reinterpret_cast<const uint8_t*>(packed.data()) + kHeader, size - 4, 0);
  for (size_t i = 0; i < 4; ++i) {
    packed[kHeader + size - 4 + i] = static_cast<char>(crc >> (8 * i));
  }
  return packed;
}

Result<std::string> read_all(const std::string& input, Compression compression = Compression::kAuto) {
  const UniqueFd fd = memory_file(input);
  LayerStream stream(fd.get(), compression, nullptr);
  std::string text;
  for (;;) {
    const auto piece = TRY(stream.next(100000));
    if (piece.empty()) {
      return text;
    }
    text.append(reinterpret_cast<const char*>(piece.data()), piece.size());
  }
}

std::string sample(size_t size) {
  std::string text;
  uint32_t state = 1;
  while (text.size() < size) {
    state = state * 1664525 + 1013904223;
    text += (state >> 28) < 12 ? std::string((state >> 20) & 31, static_cast<char>('a' + ((state >> 24) & 15))) : std::string(1, static_cast<char>(state >> 16));
  }
  return text;
}

}  // namespace

TEST_CASE("sha256 of the empty string and of abc") {
  CHECK(Sha256().finish() == "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  Sha256 hash;
  const uint8_t abc[] = {'a', 'b', 'c'};
  hash.update(abc);
  CHECK(hash.finish() == "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

TEST_CASE("gzip, zstd and xz come out as they went in") {
  for (const size_t size : {size_t{0}, size_t{1}, size_t{1000}, size_t{3'000'000}}) {
    const std::string text = sample(size);
    CHECK(read_all(gzip(text)).value_or("error") == text);
    CHECK(read_all(zstd(text)).value_or("error") == text);
    CHECK(read_all(xz(text)).value_or("error") == text);
    CHECK(read_all(xz(text) + std::string(8, '\0') + xz(text, 6)).value_or("error") == text + text);
    CHECK(read_all(gzip(text) + gzip(text)).value_or("error") == text + text);
    CHECK(read_all(zstd(text) + zstd(text)).value_or("error") == text + text);
    CHECK(read_all(gzip(text) + std::string(700, '\0')).value_or("error") == text);
  }
  const std::string zeros(20'000'000, '\0');
  CHECK(read_all(gzip(zeros)).value_or("error") == zeros);
}

TEST_CASE("cut off or damaged compressed data is an error wherever it happens") {
  const std::string text = sample(300'000);
  for (const std::string& packed : {gzip(text), zstd(text), xz(text)}) {
    const Compression compression = detect_compression({reinterpret_cast<const uint8_t*>(packed.data()), 6});
    for (const size_t length : {size_t{3}, size_t{12}, packed.size() / 2, packed.size() - 1}) {
      const auto got = read_all(packed.substr(0, length), compression);
      REQUIRE_FALSE(got);
      CHECK(got.error().errno_value == EBADMSG);
    }
  }
  for (size_t at = 10; at < 2000; at += 7) {
    std::string packed = gzip(text);
    packed[at] = static_cast<char>(packed[at] ^ (1 << (at % 8)));
    const auto got = read_all(packed, Compression::kGzip);
    // The crc tells at the latest; but a match within a run of one letter may be moved without a difference.
    CHECK((!got || *got == text));
  }
  CHECK_FALSE(read_all(gzip(text) + "trailing"));
}

TEST_CASE("xz: every damaged byte is seen, and so are wrong padding and what follows") {
  const std::string text = sample(2000);
  const std::string packed = xz(text);
  for (size_t at = 6; at < packed.size(); ++at) {
    std::string damaged = packed;
    damaged[at] = static_cast<char>(damaged[at] ^ (1 << (at % 8)));
    CHECK_FALSE(read_all(damaged, Compression::kXz));
  }
  CHECK_FALSE(read_all(packed + std::string(3, '\0')));
  CHECK_FALSE(read_all(packed + std::string(6, '\0') + packed));
  CHECK_FALSE(read_all(packed + "trailing"));
}

TEST_CASE("xz takes a bounded amount of memory, whatever the archive asks for") {
  CHECK(read_all(xz("small", 9)).value_or("error") == "small");
  const auto greedy = read_all(greedy_xz("small"));
  REQUIRE_FALSE(greedy);
  CHECK(greedy.error().errno_value == EPROTONOSUPPORT);
  CHECK(greedy.error().hint.find("xz -dc") != std::string::npos);
}

TEST_CASE("both digests are of the bytes they name") {
  const std::string text = sample(100'000);
  const std::string packed = gzip(text);
  const auto hash_of = [](const std::string& bytes) {
    Sha256 hash;
    hash.update({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()});
    return hash.finish();
  };
  const UniqueFd fd = memory_file(packed);
  LayerStream stream(fd.get(), Compression::kAuto, nullptr);
  REQUIRE(stream.drain(UINT64_MAX));
  const auto digests = stream.finish();
  CHECK(digests.diff_id == hash_of(text));
  CHECK(digests.compressed == hash_of(packed));
  CHECK(digests.compressed_bytes == packed.size());
}

TEST_CASE("a reader that gives up does not wait for a silent pipe") {
  int ends[2];
  REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
  const UniqueFd reader(ends[0]);
  const UniqueFd writer(ends[1]);
  REQUIRE(::write(writer.get(), "0123456789", 10) == 10);
  std::atomic<bool> cancelled = false;
  {
    LayerStream stream(reader.get(), Compression::kNone, &cancelled);
    CHECK(stream.next(4)->size() == 4);
  }
  cancelled = true;
  LayerStream stream(reader.get(), Compression::kNone, &cancelled);
  CHECK(stream.next(4).error().errno_value == ECANCELED);
}

TEST_CASE("a file that is still written is read as it grows") {
  const std::string text = sample(3'000'000);
  const std::string packed = gzip(text);
  const TempDirectory directory;
  const std::string path = directory / "blob";
  const UniqueFd writer(::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
  const UniqueFd reader(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  REQUIRE(::write(writer.get(), packed.data(), 1000) == 1000);
  LayerStream stream(reader.get(), Compression::kAuto, nullptr, packed.size());
  std::string got;
  const auto read_some = [&](size_t bytes) {
    while (got.size() < bytes) {
      const auto piece = stream.next(bytes - got.size());
      REQUIRE(piece);
      if (piece->empty()) {
        return;
      }
      got.append(reinterpret_cast<const char*>(piece->data()), piece->size());
    }
  };
  read_some(100);  // of what is there; the rest is waited for
  Thread thread = *Thread::start([&] {
    for (size_t done = 1000; done < packed.size();) {
      const auto written = ::write(writer.get(), packed.data() + done, std::min<size_t>(50'000, packed.size() - done));
      done += static_cast<size_t>(std::max<ssize_t>(written, 0));
    }
  });
  read_some(SIZE_MAX);
  thread.join();
  CHECK(got == text);
  CHECK(stream.finish().compressed_bytes == packed.size());
}

TEST_CASE("a file that stays too short is waited for until somebody cancels") {
  const UniqueFd file = memory_file(gzip("half").substr(0, 5));  // of its header: nothing comes out
  std::atomic<bool> cancelled = false;
  LayerStream stream(file.get(), Compression::kAuto, &cancelled, 1000);
  Thread thread = *Thread::start([&] { cancelled = true; });
  CHECK(stream.next(4).error().errno_value == ECANCELED);
  thread.join();
}
