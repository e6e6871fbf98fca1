#include <doctest/doctest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/xattr.h>

#include <fstream>

#include "core/tree_archive.h"
#include "core/tree_extract.h"
#include "tar_fixture.h"

using namespace strata;
using namespace strata::test;

namespace {

UniqueFd node(const std::string& path) { return UniqueFd(::open(path.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC)); }

void write_text(const std::string& path, const std::string& text) { std::ofstream(path) << text; }

Result<Extracted> extract(const std::string& bytes, const std::string& root, const std::string& directory, const ExtractOptions& options = {}) {
  const UniqueFd source = memory_file(bytes);
  return extract_archive(source.get(), node(root).get(), directory, options);
}

std::string archived(const std::string& path, const ArchiveOptions& options) {
  const UniqueFd output(::memfd_create("archive", MFD_CLOEXEC));
  REQUIRE(archive_tree(node(path).get(), output.get(), options));
  std::string bytes(static_cast<size_t>(::lseek(output.get(), 0, SEEK_CUR)), '\0');
  CHECK(::pread(output.get(), bytes.data(), bytes.size(), 0) == static_cast<ssize_t>(bytes.size()));
  return bytes;
}

std::string link_of(const std::string& path) {
  std::string target(4096, '\0');
  const ssize_t length = ::readlink(path.c_str(), target.data(), target.size());
  target.resize(length < 0 ? 0 : static_cast<size_t>(length));
  return target;
}

}  // namespace

TEST_CASE("a tree that is archived and unpacked is the same") {
  const TempDirectory place;
  const std::string from = place / "from";
  REQUIRE(::mkdir(from.c_str(), 0755) == 0);
  REQUIRE(::mkdir((from + "/d").c_str(), 0701) == 0);
  write_text(from + "/d/file", "text");
  REQUIRE(::chmod((from + "/d/file").c_str(), 04751) == 0);
  REQUIRE(::chown((from + "/d/file").c_str(), 5, 6) == 0);
  REQUIRE(::chmod((from + "/d/file").c_str(), 04751) == 0);
  REQUIRE(::link((from + "/d/file").c_str(), (from + "/d/same").c_str()) == 0);
  REQUIRE(::symlink("/etc/passwd", (from + "/link").c_str()) == 0);
  REQUIRE(::mkfifo((from + "/pipe").c_str(), 0620) == 0);
  REQUIRE(::chmod((from + "/pipe").c_str(), 0620) == 0);
  const UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
  std::strncpy(address.sun_path, (from + "/socket").c_str(), sizeof address.sun_path - 1);
  REQUIRE(::bind(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);

  const std::string bytes = archived(from, {.name = "named"});
  REQUIRE(::mkdir((place / "root").c_str(), 0755) == 0);
  REQUIRE(::mkdir((place / "root/in").c_str(), 0755) == 0);
  const auto extracted = extract(bytes, place / "root", "/in", {.keeps_owners = true});
  REQUIRE(extracted);
  CHECK(extracted->entries == 6);
  CHECK(extracted->bytes == 4);
  const std::string to = place / "root/in/named";
  CHECK(read_file(to + "/d/file") == "text");
  CHECK(status_of(to + "/d/file").st_mode == (S_IFREG | 04751));
  CHECK(status_of(to + "/d/file").st_uid == 5);
  CHECK(status_of(to + "/d/file").st_gid == 6);
  CHECK(status_of(to + "/d/file").st_ino == status_of(to + "/d/same").st_ino);
  CHECK(status_of(to + "/d").st_mode == (S_IFDIR | 0701));
  CHECK(status_of(to + "/d").st_mtim.tv_nsec == status_of(from + "/d").st_mtim.tv_nsec);
  CHECK(link_of(to + "/link") == "/etc/passwd");
  CHECK(status_of(to + "/pipe").st_mode == (S_IFIFO | 0620));
  CHECK(!exists(to + "/socket"));

  SUBCASE("without owners it is root's, and gives nobody rights") {
    REQUIRE(::mkdir((place / "root/plain").c_str(), 0755) == 0);
    REQUIRE(extract(bytes, place / "root", "/plain"));
    CHECK(status_of(place / "root/plain/named/d/file").st_mode == (S_IFREG | 0751));
    CHECK(status_of(place / "root/plain/named/d/file").st_uid == 0);
  }
  SUBCASE("its content goes without its name") {
    REQUIRE(::mkdir((place / "root/content").c_str(), 0755) == 0);
    REQUIRE(extract(archived(from, {.name = ".", .emptied = {"d/file"}}), place / "root", "/content"));
    CHECK(read_file(place / "root/content/d/file").empty());
  }
  SUBCASE("it may be one file, or a link") {
    REQUIRE(extract(archived(from + "/link", {.name = "alone"}) , place / "root", "/in"));
    CHECK(link_of(place / "root/in/alone") == "/etc/passwd");
  }
}

TEST_CASE("what is unpacked stays in the directory, and in the root") {
  const TempDirectory place;
  for (const char* path : {"root", "root/in", "root/elsewhere", "outside"}) {
    REQUIRE(::mkdir((place / path).c_str(), 0755) == 0);
  }
  write_text(place / "root/victim", "victim");
  const auto code = [&](const TarBuilder& tar) {
    const auto extracted = extract(tar.bytes(), place / "root", "/in");
    return extracted ? 0 : extracted.error().errno_value;
  };
  CHECK(code(TarBuilder().add({.name = "../victim", .data = "x"})) == EXDEV);
  CHECK(code(TarBuilder().add({.name = "hard", .type = '1', .link = "../victim"})) == EXDEV);
  CHECK(code(TarBuilder().add({.name = "hard", .type = '1', .link = "/victim"})) == EBADMSG);
  // The link is made when all else was: in its place is a directory by then.
  CHECK(code(TarBuilder().add({.name = "l", .type = '2', .link = "/"}).add({.name = "l/victim", .data = "x"})) == EISDIR);
  CHECK(read_file(place / "root/in/l/victim") == "x");
  CHECK(code(TarBuilder().add({.name = "m", .type = '2', .link = "/"}).add({.name = "hard", .type = '1', .link = "m/victim"})) == EBADMSG);
  CHECK(read_file(place / "root/victim") == "victim");

  // Links that were there lead inside of the root, absolute ones too.
  REQUIRE(::symlink((place / "outside").c_str(), (place / "root/in/absolute").c_str()) == 0);
  REQUIRE(::symlink("../../../outside", (place / "root/in/up").c_str()) == 0);
  REQUIRE(::symlink("/elsewhere", (place / "root/in/inside").c_str()) == 0);
  CHECK(code(TarBuilder().add({.name = "absolute/f"})) == ENOTDIR);
  CHECK(code(TarBuilder().add({.name = "up/f"})) == ENOTDIR);
  CHECK(code(TarBuilder().add({.name = "inside/f", .data = "x"})) == 0);
  CHECK(read_file(place / "root/elsewhere/f") == "x");
  CHECK(status_of(place / "outside").st_nlink == 2);
}

TEST_CASE("the last member of a name wins, and no kind takes another's place") {
  const TempDirectory place;
  REQUIRE(::mkdir((place / "in").c_str(), 0755) == 0);
  const auto put = [&](const TarBuilder& tar) { return extract(tar.bytes(), place.path(), "/in"); };
  REQUIRE(put(TarBuilder().add({.name = "f", .type = '2', .link = "x"}).add({.name = "f", .data = "file"})));
  CHECK(read_file(place / "in/f") == "file");
  REQUIRE(put(TarBuilder().add({.name = "f", .data = "first"}).add({.name = "f", .type = '2', .link = "x"}).add({.name = "g", .type = '1', .link = "f"})));
  CHECK(link_of(place / "in/f") == "x");
  CHECK(link_of(place / "in/g") == "x");
  REQUIRE(put(TarBuilder().add({.name = "d/", .type = '5'}).add({.name = "d/x"}).add({.name = "d/", .type = '5'})));
  CHECK(put(TarBuilder().add({.name = "d"})).error().errno_value == EISDIR);
  CHECK(put(TarBuilder().add({.name = "d/x/", .type = '5'})).error().errno_value == ENOTDIR);
  // No temporary name is left.
  const std::string names = archived(place / "in", {.name = "."});
  CHECK(names.find(".strata-") == std::string::npos);
}

TEST_CASE("what waits for the end is bounded") {
  const TempDirectory place;
  TarBuilder tar;
  for (int i = 0; i < 100; ++i) {
    tar.add({.name = "l" + std::to_string(i), .type = '2', .link = "target"});
  }
  CHECK(extract(tar.bytes(), place.path(), "/", {.most_memory = 10'000}).error().errno_value == E2BIG);
  CHECK(extract(tar.bytes(), place.path(), "/", {.most_memory = 1'000'000})->entries == 100);
}

TEST_CASE("a file that the kernel makes as it is read is archived with all that it holds, or refused") {
  const TempDirectory place;
  // Of no size, and of a page whatever it holds.
  for (const std::string path : {"/proc/sys/kernel/osrelease", "/sys/class/net/lo/mtu"}) {
    const std::string bytes = archived(path, {.name = "file"});
    REQUIRE(extract(bytes, place / ".", "/"));
    const std::string content = read_file(place / "file");
    CHECK(content == read_file(path));
    CHECK_FALSE(content.empty());
  }
  // It has as many entries as the address space has pages.
  const UniqueFd output(::memfd_create("archive", MFD_CLOEXEC));
  const auto endless = archive_tree(node("/proc/self/pagemap").get(), output.get(), {.name = "file"});
  REQUIRE_FALSE(endless);
  CHECK(endless.error().errno_value == E2BIG);
  CHECK(::lseek(output.get(), 0, SEEK_END) == 0);
  // In a directory it is left out.
  const UniqueFd process(::open(("/proc/" + std::to_string(::getpid()) + "/fdinfo").c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  CHECK(archive_tree(process.get(), output.get(), {.name = "fdinfo"}));
}
