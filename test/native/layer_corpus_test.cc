// Archives as other tools write them and as nobody should.
#include <doctest/doctest.h>
#include <sys/sysmacros.h>
#include <zstd.h>

#include "tar_fixture.h"

using namespace strata;
using namespace strata::test;

namespace {

int error_of(const std::string& archive, const ApplyOptions& options = {}) {
  const TempDirectory directory;
  const auto applied = unpack(archive, directory.path(), options);
  return applied ? 0 : applied.error().errno_value;
}

bool is_whiteout(const std::string& path) { return S_ISCHR(status_of(path).st_mode) && status_of(path).st_rdev == 0; }

// A number as GNU tar writes what octal digits cannot hold.
std::string base256(int64_t value, size_t width) {
  std::string field(width, value < 0 ? '\xff' : '\0');
  for (size_t i = 0; i < 8; ++i) {
    field[width - 1 - i] = static_cast<char>(value >> (8 * i));
  }
  field[0] = static_cast<char>(value < 0 ? 0xff : 0x80);
  return field;
}

// A header with fields of one's own, which are put in before the checksum.
std::string header(const TarBuilder::Member& member, const std::vector<std::pair<size_t, std::string>>& fields) {
  std::string block = TarBuilder().add(member).unfinished().substr(0, 512);
  for (const auto& [at, text] : fields) {
    block.replace(at, text.size(), text);
  }
  block.replace(148, 8, "        ");
  unsigned sum = 0;
  for (const char byte : block) {
    sum += static_cast<unsigned char>(byte);
  }
  char text[8];
  std::snprintf(text, sizeof text, "%06o", sum);
  block.replace(148, 8, std::string(text, 6) + std::string(1, '\0') + " ");
  return block;
}

std::string octal12(unsigned long value) {
  char text[16];
  std::snprintf(text, sizeof text, "%011lo", value);
  return std::string(text, 11) + std::string(1, '\0');
}

}  // namespace

TEST_CASE("whiteouts inside a directory that the same layer removes") {
  const TempDirectory out;
  REQUIRE(unpack(TarBuilder()
                     .add({.name = ".wh.gone"})
                     .add({.name = "gone/.wh.file"})
                     .add({.name = "gone/deep/.wh.file"})
                     .add({.name = "gone/.wh..wh..opq"})
                     .add({.name = "kept/", .type = '5'})
                     .add({.name = "kept/.wh.sub"})
                     .add({.name = "kept/sub/.wh.file"})
                     .bytes(),
                 out.path()));
  CHECK(is_whiteout(out / "gone"));
  CHECK(is_whiteout(out / "kept/sub"));
  SUBCASE("what is put there again is there, without what was") {
    const TempDirectory again;
    REQUIRE(unpack(TarBuilder().add({.name = ".wh.d"}).add({.name = "d/.wh.old"}).add({.name = "d/new", .data = "n"}).bytes(), again.path()));
    CHECK(read_file(again / "d/new") == "n");
    CHECK_FALSE(exists(again / "d/old"));
  }
  SUBCASE("a device is no whiteout in a root file system") {
    CHECK(error_of(TarBuilder().add({.name = "d", .type = '3'}).add({.name = "d/.wh.x"}).bytes(), {.whiteouts = false}) == ENOTDIR);
  }
}

TEST_CASE("hard links: to links, to what was replaced, through links") {
  const TempDirectory out;
  REQUIRE(unpack(TarBuilder()
                     .add({.name = "dir/", .type = '5'})
                     .add({.name = "dir/file", .data = "content"})
                     .add({.name = "link", .type = '2', .link = "dir/file"})
                     .add({.name = "hard-to-link", .type = '1', .link = "link"})
                     .add({.name = "dirlink", .type = '2', .link = "/dir"})
                     .add({.name = "through", .type = '1', .link = "dirlink/file"})
                     .add({.name = "/absolute", .type = '1', .link = "/dir/file"})
                     .bytes(),
                 out.path()));
  CHECK(S_ISLNK(status_of(out / "hard-to-link").st_mode));
  CHECK(status_of(out / "hard-to-link").st_ino == status_of(out / "link").st_ino);
  CHECK(status_of(out / "through").st_ino == status_of(out / "dir/file").st_ino);
  CHECK(status_of(out / "absolute").st_nlink == 3);
  CHECK(error_of(TarBuilder().add({.name = "d/", .type = '5'}).add({.name = "h", .type = '1', .link = "d"}).bytes()) == EBADMSG);
  CHECK(error_of(TarBuilder().add({.name = "h", .type = '1', .link = "of-a-lower-layer"}).bytes()) == EBADMSG);
}

TEST_CASE("long link targets of GNU and pax") {
  const TempDirectory out;
  const std::string target = std::string(150, 't') + "/" + std::string(150, 'u');
  REQUIRE(unpack(TarBuilder()
                     .add({.name = "././@LongLink", .type = 'K', .data = target + std::string(1, '\0')})
                     .add({.name = "gnu", .type = '2', .link = "cut"})
                     .pax(TarBuilder::record("linkpath", target))
                     .add({.name = "pax", .type = '2', .link = "cut"})
                     .bytes(),
                 out.path()));
  for (const char* name : {"gnu", "pax"}) {
    std::string text(1000, '\0');
    text.resize(static_cast<size_t>(::readlink((out / name).c_str(), text.data(), text.size())));
    CHECK(text == target);
  }
}

TEST_CASE("sparse files of old GNU and pax 0.0") {
  const TempDirectory out;
  // Six pieces of one byte: four in the header, two in the block behind it.
  std::string map;
  for (unsigned long i = 0; i < 6; ++i) {
    map += octal12(i * 100'000) + octal12(1);
  }
  std::string more = map.substr(4 * 24);
  more.resize(512);
  const std::string gnu = header({.name = "gnu", .type = 'S'}, {{257, std::string("ustar  \0", 8)},
                                                                   {124, octal12(6)},
                                                                   {345, std::string(167, '\0')},
                                                                   {386, map.substr(0, 4 * 24)},
                                                                   {482, "\x01"},
                                                                   {483, octal12(700'000)}});
  TarBuilder archive;
  archive.raw(gnu + more + "abcdef" + std::string(506, '\0'));
  archive.pax(TarBuilder::record("GNU.sparse.size", "90000") + TarBuilder::record("GNU.sparse.numblocks", "2") + TarBuilder::record("GNU.sparse.offset", "0") +
              TarBuilder::record("GNU.sparse.numbytes", "2") + TarBuilder::record("GNU.sparse.offset", "80000") + TarBuilder::record("GNU.sparse.numbytes", "1"));
  archive.add({.name = "pax", .data = "xyz"});
  REQUIRE(unpack(archive.bytes(), out.path()));
  const std::string content = read_file(out / "gnu");
  REQUIRE(content.size() == 700'000);
  for (size_t i = 0; i < 6; ++i) {
    CHECK(content.substr(i * 100'000, 2) == std::string(1, static_cast<char>('a' + i)) + std::string(1, '\0'));
  }
  CHECK(status_of(out / "gnu").st_blocks * 512 < 100'000);
  CHECK(read_file(out / "pax") == "xy" + std::string(79'998, '\0') + "z" + std::string(9'999, '\0'));
}

TEST_CASE("devices, fifos, set-id bits and large ids") {
  const TempDirectory out;
  REQUIRE(unpack(TarBuilder()
                     .add({.name = "null", .type = '3', .mode = 0666, .major = 1, .minor = 3})
                     .add({.name = "disk", .type = '4', .mode = 0660, .major = 259, .minor = 70'000})
                     .add({.name = "fifo", .type = '6', .mode = 0640})
                     .raw(header({.name = "suid", .mode = 06755}, {{108, base256(3'000'000'000, 8)}, {116, base256(70'000, 8)}}))
                     .pax(TarBuilder::record("uid", "4294967294") + TarBuilder::record("gid", "65536"))
                     .add({.name = "pax", .mode = 02711})
                     .add({.name = "sgid/", .type = '5', .mode = 02777})
                     .add({.name = "sgid/plain", .mode = 0644})
                     .add({.name = "sgid/d/", .type = '5', .mode = 0755})
                     .bytes(),
                 out.path()));
  CHECK(S_ISCHR(status_of(out / "null").st_mode));
  CHECK(status_of(out / "null").st_rdev == makedev(1, 3));
  CHECK((status_of(out / "null").st_mode & 07777) == 0666);  // whatever the umask
  CHECK(S_ISBLK(status_of(out / "disk").st_mode));
  CHECK(status_of(out / "disk").st_rdev == makedev(259, 70'000));
  CHECK((status_of(out / "fifo").st_mode & 07777) == 0640);
  CHECK((status_of(out / "suid").st_mode & 07777) == 06755);  // changing the owner takes these bits away
  CHECK(status_of(out / "suid").st_uid == 3'000'000'000);
  CHECK(status_of(out / "suid").st_gid == 70'000);
  CHECK(status_of(out / "pax").st_uid == 4294967294);
  CHECK(status_of(out / "pax").st_gid == 65536);
  CHECK((status_of(out / "pax").st_mode & 07777) == 02711);
  CHECK((status_of(out / "sgid/d").st_mode & 07777) == 0755);  // a set-gid parent gives its bit to new directories
  CHECK((status_of(out / "sgid/plain").st_mode & 07777) == 0644);
  CHECK(error_of(TarBuilder().raw(header({.name = "f"}, {{108, base256(-2, 8)}})).bytes()) == EBADMSG);
  CHECK(error_of(TarBuilder().raw(header({.name = "f"}, {{108, base256(int64_t{1} << 32, 8)}})).bytes()) == EBADMSG);
}

TEST_CASE("a set-gid directory gives its group to nothing that the archive gives to another") {
  const TempDirectory out;
  REQUIRE(unpack(TarBuilder()
                     .pax(TarBuilder::record("gid", "4242"))
                     .add({.name = "d/", .type = '5', .mode = 02755})
                     .add({.name = "d/file"})
                     .add({.name = "d/link", .type = '2', .link = "x"})
                     .add({.name = "d/fifo", .type = '6'})
                     .add({.name = "d/sub/", .type = '5'})
                     .bytes(),
                 out.path()));
  CHECK(status_of(out / "d").st_gid == 4242);
  for (const char* name : {"d/file", "d/link", "d/fifo", "d/sub"}) {
    CHECK(status_of(out / name).st_gid == 0);
  }
}

TEST_CASE("times before the epoch, behind 2038 and between seconds") {
  const TempDirectory out;
  REQUIRE(unpack(TarBuilder()
                     .raw(header({.name = "before"}, {{136, base256(-86'400, 12)}}))
                     .raw(header({.name = "after"}, {{136, base256(5'000'000'000, 12)}}))
                     .pax(TarBuilder::record("mtime", "-1.25"))
                     .add({.name = "between"})
                     .pax(TarBuilder::record("mtime", "1700000000.1234567891"))
                     .add({.name = "d/", .type = '5'})
                     .add({.name = "d/later"})
                     .pax(TarBuilder::record("mtime", "12.000000001"))
                     .add({.name = "link", .type = '2', .link = "d"})
                     .bytes(),
                 out.path()));
  CHECK(status_of(out / "before").st_mtim.tv_sec == -86'400);
  CHECK(status_of(out / "after").st_mtim.tv_sec == 5'000'000'000);
  CHECK(status_of(out / "between").st_mtim.tv_sec == -2);
  CHECK(status_of(out / "between").st_mtim.tv_nsec == 750'000'000);
  CHECK(status_of(out / "d").st_mtim.tv_sec == 1'700'000'000);
  CHECK(status_of(out / "d").st_mtim.tv_nsec == 123'456'789);
  CHECK(status_of(out / "link").st_mtim.tv_nsec == 1);
}

TEST_CASE("200,000 entries in one directory, each a member of its own") {
  const TempDirectory out("/dev/shm");  // seconds where a disk may take minutes
  std::string archive;
  const std::string block = TarBuilder().add({.name = "many/0000000"}).unfinished();
  unsigned sum = 0;
  for (size_t i = 0; i < block.size(); ++i) {
    sum += i >= 148 && i < 156 ? ' ' : static_cast<unsigned char>(block[i]);
  }
  constexpr unsigned kCount = 200'000;
  archive.reserve(kCount * block.size() + 1024);
  for (unsigned i = 0; i < kCount; ++i) {
    // The name's digits are all that changes, and the sum with them.
    char name[16];
    std::snprintf(name, sizeof name, "%07u", i);
    unsigned digits = 0;
    for (size_t at = 0; at < 7; ++at) {
      digits += static_cast<unsigned>(name[at] - '0');
    }
    char checksum[8];
    std::snprintf(checksum, sizeof checksum, "%06o", sum + digits);
    std::string member = block;
    member.replace(5, 7, name, 7);
    member.replace(148, 6, checksum, 6);
    archive += member;
  }
  archive += std::string(1024, '\0');
  const auto applied = unpack(archive, out.path());
  REQUIRE(applied);
  CHECK(applied->entries == kCount);
  CHECK(exists(out / "many/0000000"));
  CHECK(exists(out / "many/0199999"));
}

TEST_CASE("archives that are made to fill disks") {
  const auto zeros = [](size_t mib) {
    const size_t size = mib << 20;
    std::string tar = TarBuilder().add({.name = "zeros", .size_field = octal12(size)}).unfinished() + std::string(size, '\0') + std::string(1024, '\0');
    std::string packed(::ZSTD_compressBound(tar.size()), '\0');
    packed.resize(::ZSTD_compress(packed.data(), packed.size(), tar.data(), tar.size(), 3));
    return packed;
  };
  const std::string bomb = zeros(32);
  CHECK(bomb.size() * 1100 < 32 << 20);
  CHECK(error_of(bomb) == 0);  // small enough to be nobody's trouble
  CHECK(error_of(bomb, {.free_expansion_bytes = 16 << 20}) == E2BIG);
  CHECK(error_of(bomb, {.max_expansion = 100'000, .free_expansion_bytes = 16 << 20}) == 0);
  CHECK(error_of(bomb, {.max_bytes = 1 << 20}) == E2BIG);
  // As deep as a path can be, and one deeper.
  std::string deep;
  for (int i = 0; i < 2046; ++i) {
    deep += "d/";
  }
  CHECK(error_of(TarBuilder().pax(TarBuilder::record("path", deep + "f")).add({.name = "f"}).bytes()) == 0);
  CHECK(error_of(TarBuilder().pax(TarBuilder::record("path", deep + "d/ff")).add({.name = "f"}).bytes()) == ENAMETOOLONG);
}
