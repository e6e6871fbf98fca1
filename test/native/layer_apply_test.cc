#include <doctest/doctest.h>
#include <malloc.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <sys/xattr.h>

#include "core/layer_stream.h"
#include "core/tar_reader.h"
#include "tar_fixture.h"

using namespace strata;
using namespace strata::test;

namespace {

std::string xattr(const std::string& path, const std::string& name) {
  std::string value(256, '\0');
  const ssize_t got = ::lgetxattr(path.c_str(), name.c_str(), value.data(), value.size());
  return got < 0 ? "(none)" : value.substr(0, static_cast<size_t>(got));
}

int error_of(const std::string& archive, const ApplyOptions& options = {}) {
  const TempDirectory directory;
  const auto applied = unpack(archive, directory.path(), options);
  return applied ? 0 : applied.error().errno_value;
}

bool is_whiteout(const std::string& path) { return S_ISCHR(status_of(path).st_mode) && status_of(path).st_rdev == 0; }

}  // namespace

TEST_CASE("a layer is unpacked with its kinds, modes, times and digests") {
  const TempDirectory out;
  const std::string archive = TarBuilder()
                                  .add({.name = "./", .type = '5', .mode = 0711})
                                  .add({.name = "./d/", .type = '5', .mode = 01777})
                                  .add({.name = "d/f", .data = "hello", .mode = 04755})
                                  .add({.name = "d/hard", .type = '1', .link = "./d/f"})
                                  .add({.name = "link", .type = '2', .link = "/etc/passwd"})
                                  .add({.name = "fifo", .type = '6'})
                                  .bytes();
  const auto applied = unpack(archive, out.path());
  REQUIRE(applied);
  CHECK(applied->entries == 6);
  CHECK(applied->size_bytes == 5);
  CHECK(applied->compressed_bytes == archive.size());
  CHECK(applied->diff_id == applied->digest);
  CHECK(read_file(out / "d/f") == "hello");
  CHECK((status_of(out / "d/f").st_mode & 07777) == 04755);
  CHECK((status_of(out / "d").st_mode & 07777) == 01777);
  CHECK((status_of(out.path()).st_mode & 07777) == 0711);
  CHECK(status_of(out / "d").st_mtime == 1700000000);
  CHECK(status_of(out / "d/hard").st_ino == status_of(out / "d/f").st_ino);
  CHECK(S_ISLNK(status_of(out / "link").st_mode));
  CHECK(S_ISFIFO(status_of(out / "fifo").st_mode));
}

TEST_CASE("nothing lands outside the destination") {
  const TempDirectory outside;
  SUBCASE("names with .. are refused") {
    CHECK(error_of(TarBuilder().add({.name = "../x"}).bytes()) == EXDEV);
    CHECK(error_of(TarBuilder().add({.name = "a/../../x"}).bytes()) == EXDEV);
    CHECK(error_of(TarBuilder().add({.name = "a/.."}).bytes()) == EXDEV);
    CHECK(error_of(TarBuilder().add({.name = ".."}).bytes()) == EXDEV);
  }
  SUBCASE("absolute names are relative ones") {
    const TempDirectory out;
    REQUIRE(unpack(TarBuilder().add({.name = "/x/y", .data = "in"}).bytes(), out.path()));
    CHECK(read_file(out / "x/y") == "in");
  }
  SUBCASE("an absolute link as a parent stays inside") {
    const TempDirectory out;
    const auto applied = unpack(TarBuilder()
                                    .add({.name = "etc/", .type = '5'})
                                    .add({.name = "link", .type = '2', .link = "/etc"})
                                    .add({.name = "link/strata-escape", .data = "in"})
                                    .bytes(),
                                out.path());
    REQUIRE(applied);
    CHECK(read_file(out / "etc/strata-escape") == "in");
    CHECK_FALSE(exists("/etc/strata-escape"));
  }
  SUBCASE("a link to a directory outside leads nowhere") {
    CHECK(error_of(TarBuilder().add({.name = "link", .type = '2', .link = outside.path()}).add({.name = "link/x", .data = "out"}).bytes()) == EXDEV);
    CHECK(error_of(TarBuilder().add({.name = "link", .type = '2', .link = "../../../.." + outside.path()}).add({.name = "link/x"}).bytes()) == EXDEV);
    CHECK_FALSE(exists(outside / "x"));
  }
  SUBCASE("a link in place of a file is replaced, not written through") {
    const TempDirectory out;
    const std::string target = outside / "target";
    REQUIRE(unpack(TarBuilder().add({.name = "f", .type = '2', .link = target}).add({.name = "f", .data = "new"}).bytes(), out.path()));
    CHECK(read_file(out / "f") == "new");
    CHECK_FALSE(exists(target));
  }
  SUBCASE("a link swapped after its parent was looked up") {
    const TempDirectory out;
    const auto applied = unpack(TarBuilder()
                                    .add({.name = "d/", .type = '5'})
                                    .add({.name = "d/one", .data = "1"})
                                    .add({.name = "d", .type = '2', .link = outside.path()})
                                    .add({.name = "d/two", .data = "2"})
                                    .bytes(),
                                out.path());
    CHECK_FALSE(applied);
    CHECK_FALSE(exists(outside / "two"));
  }
  SUBCASE("hard links to outside are refused") {
    CHECK(error_of(TarBuilder().add({.name = "h", .type = '1', .link = "../../../etc/passwd"}).bytes()) == EXDEV);
    CHECK(error_of(TarBuilder().add({.name = "h", .type = '1', .link = "/etc/passwd"}).bytes()) == EBADMSG);
    CHECK(error_of(TarBuilder().add({.name = "l", .type = '2', .link = "/etc"}).add({.name = "h", .type = '1', .link = "l/passwd"}).bytes()) == EBADMSG);
  }
  SUBCASE("the root cannot be replaced") {
    CHECK(error_of(TarBuilder().add({.name = "./", .type = '2', .link = "/"}).bytes()) == EXDEV);
    CHECK(error_of(TarBuilder().add({.name = "/"}).bytes()) == 0);  // ends in a slash: a directory
  }
  SUBCASE("whiteouts of no name") {
    CHECK(error_of(TarBuilder().add({.name = ".wh."}).bytes()) == EXDEV);
    CHECK(error_of(TarBuilder().add({.name = "d/.wh..."}).bytes()) == EXDEV);
    CHECK(error_of(TarBuilder().add({.name = ".wh.."}).bytes()) == EXDEV);
  }
}

TEST_CASE("the last member of a name wins, whatever its kind") {
  const TempDirectory out;
  const auto applied = unpack(TarBuilder()
                                  .add({.name = "a", .data = "first"})
                                  .add({.name = "hard", .type = '1', .link = "a"})
                                  .add({.name = "a", .data = "second"})
                                  .add({.name = "f", .data = "file"})
                                  .add({.name = "f/", .type = '5'})
                                  .add({.name = "f/in", .data = "in"})
                                  .add({.name = "d/x/y", .data = "deep"})
                                  .add({.name = "d", .data = "now a file"})
                                  .add({.name = "a", .type = '1', .link = "a"})
                                  .bytes(),
                              out.path());
  REQUIRE(applied);
  CHECK(read_file(out / "a") == "second");
  CHECK(read_file(out / "hard") == "first");  // the link was broken, not written through
  CHECK(read_file(out / "f/in") == "in");
  CHECK(read_file(out / "d") == "now a file");
}

TEST_CASE("damaged archives are told apart") {
  const std::string good = TarBuilder().add({.name = "f", .data = std::string(2000, 'x')}).bytes();
  CHECK(error_of(good) == 0);
  CHECK(error_of(good.substr(0, 700)) == EBADMSG);
  CHECK(error_of(good.substr(0, 512)) == EBADMSG);
  CHECK(error_of(good.substr(0, 100)) == EBADMSG);
  CHECK(error_of("") == EBADMSG);
  CHECK(error_of(TarBuilder().add({.name = "f"}).unfinished()) == EBADMSG);
  std::string flipped = good;
  flipped[3] ^= 1;
  CHECK(error_of(flipped) == EBADMSG);
  CHECK(error_of(std::string(1024, 'z')) == EBADMSG);
  CHECK(error_of(TarBuilder().add({.name = "f", .size_field = "zzzzzzzzzzz"}).bytes()) == EBADMSG);
  CHECK(error_of(TarBuilder().add({.name = "f", .size_field = "77777777777"}).bytes()) == EBADMSG);
  CHECK(error_of(TarBuilder().add({.name = "f", .size_field = std::string("\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff", 12)}).bytes()) != 0);
  CHECK(error_of(TarBuilder().add({.name = "f", .size_field = std::string(12, '\xff')}).bytes()) == EBADMSG);  // -1
  CHECK(error_of(TarBuilder().add({.name = ""}).bytes()) == EBADMSG);
  CHECK(error_of(TarBuilder().add({.name = "f", .type = '?'}).bytes()) == EPROTONOSUPPORT);
  CHECK(error_of(TarBuilder().pax("999 path=x\n").add({.name = "f"}).bytes()) == EBADMSG);
  CHECK(error_of(TarBuilder().pax("3 \n").add({.name = "f"}).bytes()) == EBADMSG);
  CHECK(error_of(TarBuilder().pax(TarBuilder::record("path", std::string("a\0b", 3))).add({.name = "f"}).bytes()) == EBADMSG);
  CHECK(error_of(TarBuilder().pax(TarBuilder::record("size", "99999999999999999999")).add({.name = "f"}).bytes()) == EBADMSG);
}

TEST_CASE("limits hold") {
  const std::string archive = TarBuilder().add({.name = "a", .data = "1234"}).add({.name = "b", .data = "1234"}).bytes();
  CHECK(error_of(archive, {.max_entries = 2, .max_bytes = 8}) == 0);
  CHECK(error_of(archive, {.max_entries = 1}) == E2BIG);
  CHECK(error_of(archive, {.max_bytes = 7}) == E2BIG);
  CHECK(error_of(TarBuilder().add({.name = std::string(90, 'a'), .size_field = "77777777777"}).bytes(), {.max_bytes = 1 << 20}) == E2BIG);
  std::string deep;
  for (int i = 0; i < 3000; ++i) {
    deep += "a/";
  }
  CHECK(error_of(TarBuilder().pax(TarBuilder::record("path", deep + "f")).add({.name = "f"}).bytes()) == ENAMETOOLONG);
  CHECK(error_of(TarBuilder().pax(TarBuilder::record("path", std::string(300, 'n'))).add({.name = "f"}).bytes()) == ENAMETOOLONG);
  const std::atomic<bool> cancelled = true;
  CHECK(error_of(archive, {.cancelled = &cancelled}) == ECANCELED);
}

TEST_CASE("long names, pax records and attributes") {
  const TempDirectory out;
  const std::string long_name = std::string(120, 'l') + "/" + std::string(200, 'm');
  const std::string binary("\0\x01=\n\xff", 5);
  const auto applied = unpack(TarBuilder()
                                  .add({.name = "././@LongLink", .type = 'L', .data = long_name + std::string(1, '\0')})
                                  .add({.name = "short", .data = "gnu"})
                                  .pax(TarBuilder::record("path", "pax-name") + TarBuilder::record("mtime", "1000000000.123456789") +
                                       TarBuilder::record("SCHILY.xattr.trusted.bin", binary) + TarBuilder::record("uid", "70000") +
                                       TarBuilder::record("SCHILY.xattr.trusted.overlay.redirect", "/elsewhere"))
                                  .add({.name = "f", .data = "pax"})
                                  .pax(TarBuilder::record("gid", "4242"), 'g')
                                  .add({.name = "g"})
                                  .bytes(),
                              out.path());
  REQUIRE(applied);
  CHECK(read_file(out / long_name) == "gnu");
  CHECK(read_file(out / "pax-name") == "pax");
  CHECK(status_of(out / "pax-name").st_mtim.tv_sec == 1000000000);
  CHECK(status_of(out / "pax-name").st_mtim.tv_nsec == 123456789);
  CHECK(status_of(out / "pax-name").st_uid == 70000);
  CHECK(status_of(out / "g").st_gid == 4242);
  CHECK(xattr(out / "pax-name", "trusted.bin") == binary);
  // Overlay's own attributes never reach overlay.
  CHECK(xattr(out / "pax-name", "trusted.overlay.redirect") == "(none)");
  CHECK(xattr(out / "pax-name", "trusted.overlay.overlay.redirect") == "/elsewhere");
}

TEST_CASE("global headers hold until a member or another one takes them back") {
  const TempDirectory out;
  REQUIRE(unpack(TarBuilder()
                     .pax(TarBuilder::record("gid", "4242") + TarBuilder::record("uid", "7") + TarBuilder::record("comment", "of nobody"), 'g')
                     .add({.name = "both"})
                     .pax(TarBuilder::record("gid", ""))
                     .add({.name = "own"})
                     .pax(TarBuilder::record("uid", "8"))
                     .add({.name = "other"})
                     .pax(TarBuilder::record("uid", ""), 'g')
                     .add({.name = "one"})
                     .bytes(),
                 out.path()));
  const auto owner = [&](const char* name) { return std::pair(status_of(out / name).st_uid, status_of(out / name).st_gid); };
  CHECK(owner("both") == std::pair(7u, 4242u));
  CHECK(owner("own") == std::pair(7u, 0u));
  CHECK(owner("other") == std::pair(8u, 4242u));
  CHECK(owner("one") == std::pair(0u, 4242u));
}

TEST_CASE("global headers do not pile up") {
  // What nobody reads is not kept; what is read has an end.
  TarBuilder comments;
  TarBuilder attributes;
  TarBuilder repeated;
  for (int i = 0; i < 200; ++i) {
    const std::string name = "f" + std::to_string(i);
    const std::string value(1000, 'v');
    comments.pax(TarBuilder::record("comment." + name, std::string(100'000, 'c')), 'g').add({.name = name});
    attributes.pax(TarBuilder::record("SCHILY.xattr.user." + name, value), 'g').add({.name = name});
    repeated.pax(TarBuilder::record("SCHILY.xattr.user.same", value), 'g').add({.name = name});
  }
  const auto read_all = [](const std::string& archive) -> Status {
    const UniqueFd source = memory_file(archive);
    LayerStream stream(source.get(), Compression::kNone, nullptr);
    TarReader reader(stream);
    const size_t before = ::mallinfo2().uordblks;
    while (TRY(reader.next())) {
    }
    CHECK(::mallinfo2().uordblks < before + (4 << 20));
    return {};
  };
  CHECK(read_all(comments.bytes()));
  CHECK(read_all(attributes.bytes()).error().errno_value == EBADMSG);
  CHECK(read_all(repeated.bytes()));
}

TEST_CASE("a file system without attributes is told from an archive that is not understood") {
  const TempDirectory out;
  const auto outcome = [&](const std::string& archive) {
    const pid_t child = ::fork();
    if (child == 0) {
      if (::unshare(CLONE_NEWNS) != 0 || ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
          ::mount("none", out.path().c_str(), "ramfs", 0, nullptr) != 0) {
        ::_exit(255);
      }
      const auto applied = unpack(archive, out.path());
      const bool says_why = !applied && applied.error().hint.find("extended attributes") != std::string::npos;
      ::_exit(applied ? 0 : says_why && applied.error().errno_value == ENOTSUP ? 1 : 2);
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  };
  CHECK(outcome(TarBuilder().pax(TarBuilder::record("SCHILY.xattr.user.note", "lost")).add({.name = "f"}).bytes()) == 0);
  CHECK(outcome(TarBuilder().pax(TarBuilder::record("SCHILY.xattr.trusted.rights", "r")).add({.name = "f"}).bytes()) == 1);
  CHECK(outcome(TarBuilder().add({.name = "d/", .type = '5'}).add({.name = "d/.wh..wh..opq"}).bytes()) == 1);
}

TEST_CASE("whiteouts become overlay's form") {
  const TempDirectory out;
  const auto applied = unpack(TarBuilder()
                                  .add({.name = "d/.wh..wh..opq"})
                                  .add({.name = "d/.wh.gone"})
                                  .add({.name = ".wh..wh.plnk"})
                                  .add({.name = "stays", .data = "s"})
                                  .add({.name = ".wh.stays"})
                                  .add({.name = ".wh.anew"})
                                  .add({.name = "anew", .data = "n"})
                                  .add({.name = ".wh.tree"})
                                  .add({.name = "tree/", .type = '5'})
                                  .add({.name = ".wh.implied"})
                                  .add({.name = "implied/f", .data = "i"})
                                  .bytes(),
                              out.path());
  REQUIRE(applied);
  CHECK(xattr(out / "d", "trusted.overlay.opaque") == "y");
  CHECK(is_whiteout(out / "d/gone"));
  CHECK_FALSE(exists(out / ".wh..wh.plnk"));
  CHECK(read_file(out / "stays") == "s");
  CHECK(read_file(out / "anew") == "n");
  CHECK(xattr(out / "tree", "trusted.overlay.opaque") == "y");
  CHECK(read_file(out / "implied/f") == "i");
  CHECK(xattr(out / "implied", "trusted.overlay.opaque") == "y");
}

TEST_CASE("a rootfs tar has no whiteouts") {
  const TempDirectory out;
  REQUIRE(unpack(TarBuilder().add({.name = ".wh.name", .data = "kept"}).bytes(), out.path(), {.whiteouts = false}));
  CHECK(read_file(out / ".wh.name") == "kept");
}

TEST_CASE("sparse files of pax 1.0 and 0.1") {
  const TempDirectory out;
  const std::string map = "2\n0\n3\n1000000\n4\n";
  const auto applied = unpack(TarBuilder()
                                  .pax(TarBuilder::record("GNU.sparse.major", "1") + TarBuilder::record("GNU.sparse.minor", "0") +
                                       TarBuilder::record("GNU.sparse.name", "one") + TarBuilder::record("GNU.sparse.realsize", "2000000"))
                                  .add({.name = "GNUSparseFile.0/one", .data = map + std::string(512 - map.size(), '\0') + "abcdefg"})
                                  .pax(TarBuilder::record("GNU.sparse.map", "10,2") + TarBuilder::record("GNU.sparse.size", "100"))
                                  .add({.name = "two", .data = "xy"})
                                  .bytes(),
                              out.path());
  REQUIRE(applied);
  CHECK(status_of(out / "one").st_size == 2000000);
  CHECK(read_file(out / "one").substr(1000000, 4) == "defg");
  CHECK(read_file(out / "two") == std::string(10, '\0') + "xy" + std::string(88, '\0'));
  CHECK(error_of(TarBuilder().pax(TarBuilder::record("GNU.sparse.map", "99,2") + TarBuilder::record("GNU.sparse.size", "100")).add({.name = "t", .data = "xy"}).bytes()) == EBADMSG);
  CHECK(error_of(TarBuilder().pax(TarBuilder::record("GNU.sparse.map", "5,2,1,0") + TarBuilder::record("GNU.sparse.size", "100")).add({.name = "t", .data = "xy"}).bytes()) == EBADMSG);
  CHECK(error_of(TarBuilder().pax(TarBuilder::record("GNU.sparse.major", "1") + TarBuilder::record("GNU.sparse.realsize", "10")).add({.name = "t", .data = std::string(512, '9')}).bytes()) == EBADMSG);
}

TEST_CASE("sparse files count with their holes") {
  TarBuilder archive;
  for (const char* name : {"one", "two", "three"}) {
    archive.pax(TarBuilder::record("GNU.sparse.map", "0,2") + TarBuilder::record("GNU.sparse.size", "6597069766656")).add({.name = name, .data = "xy"});  // 6 TiB
  }
  CHECK(error_of(archive.bytes()) == E2BIG);
  CHECK(error_of(archive.bytes(), {.max_size_bytes = uint64_t{1} << 50}) == 0);
  CHECK(error_of(TarBuilder().add({.name = "f", .data = "12345"}).bytes(), {.max_size_bytes = 4}) == E2BIG);
}

TEST_CASE("directories that an archive does not name are as old as the epoch, those that it names after their members as it says") {
  const TempDirectory out;
  const std::string archive = TarBuilder()
                                  .add({.name = "implied/deeper/f", .data = "x"})
                                  .add({.name = "later/f", .data = "x"})
                                  .add({.name = "later/", .type = '5'})
                                  .bytes();
  REQUIRE(unpack(archive, out.path()));
  CHECK(status_of(out.path()).st_mtime == 0);
  CHECK(status_of(out / "implied").st_mtime == 0);
  CHECK(status_of(out / "implied/deeper").st_mtime == 0);
  CHECK(status_of(out / "later").st_mtime == 1700000000);
}

TEST_CASE("the times of directories take no more memory than there may be") {
  const ApplyOptions options{.max_directory_bytes = 8192};
  TarBuilder repeated;
  TarBuilder many;
  for (int i = 0; i < 100; ++i) {
    repeated.add({.name = "d/", .type = '5'});
    many.add({.name = "d" + std::to_string(i) + "/", .type = '5'});
  }
  CHECK(error_of(repeated.bytes(), options) == 0);
  CHECK(error_of(many.bytes(), options) == E2BIG);
}

TEST_CASE("an archive by name is a regular file, and nobody is waited for") {
  const TempDirectory directory;
  REQUIRE(::mkfifo((directory / "fifo").c_str(), 0600) == 0);
  for (const std::string& path : {directory / "fifo", directory.path(), std::string("/dev/zero")}) {
    const auto opened = open_archive(path);
    REQUIRE_FALSE(opened);
    CHECK(opened.error().errno_value == EINVAL);
  }
  CHECK(open_archive(directory / "none").error().errno_value == ENOENT);
  CHECK(open_archive("/proc/self/exe"));
}
