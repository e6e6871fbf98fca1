#include <doctest/doctest.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/xattr.h>

#include <array>
#include <atomic>
#include <optional>
#include <thread>
#include <vector>

#include "core/digest.h"
#include "core/layer_pack.h"
#include "tar_fixture.h"

using namespace strata;
using namespace strata::test;

namespace {

UniqueFd directory(const std::string& path) { return UniqueFd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)); }

struct Packed {
  PackedDirectory result;
  std::string bytes;
};

Packed pack(const std::string& path, const PackOptions& options = {}) {
  const UniqueFd output(::memfd_create("packed", MFD_CLOEXEC));
  const auto packed = pack_directory(directory(path).get(), output.get(), options);
  REQUIRE_MESSAGE(packed, packed.error().message());
  std::string bytes(packed->blob_bytes, '\0');
  REQUIRE(::pread(output.get(), bytes.data(), bytes.size(), 0) == static_cast<ssize_t>(bytes.size()));
  return {*packed, std::move(bytes)};
}

int refusal(const std::string& path, const PackOptions& options = {}) {
  const UniqueFd output(::open("/dev/null", O_WRONLY | O_CLOEXEC));
  const auto packed = pack_directory(directory(path).get(), output.get(), options);
  return packed ? 0 : packed.error().errno_value;
}

std::string digest_of(const std::string& bytes) {
  Sha256 hash;
  hash.update({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()});
  return hash.finish();
}

void write_at(const std::string& path, const std::string& text, off_t offset = 0) {
  const UniqueFd file(::open(path.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
  REQUIRE(::pwrite(file.get(), text.data(), text.size(), offset) == static_cast<ssize_t>(text.size()));
}

void set_xattr(const std::string& path, const std::string& name, const std::string& value) {
  REQUIRE_MESSAGE(::lsetxattr(path.c_str(), name.c_str(), value.data(), value.size(), 0) == 0, name);
}

std::string xattr(const std::string& path, const std::string& name) {
  std::string value(256, '\0');
  const ssize_t got = ::lgetxattr(path.c_str(), name.c_str(), value.data(), value.size());
  return got < 0 ? "(none)" : value.substr(0, static_cast<size_t>(got));
}

void set_time(const std::string& path, time_t seconds, long nanoseconds) {
  const timespec times[2] = {{0, 0}, {seconds, nanoseconds}};
  REQUIRE(::utimensat(AT_FDCWD, path.c_str(), times, AT_SYMLINK_NOFOLLOW) == 0);
}

// VFS_CAP_REVISION_2 with cap_net_bind_service, permitted and effective.
const std::string kCapability("\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00", 20);

// Something of each kind that a layer can hold. The times are the same on each run.
class Fixture {
 public:
  Fixture() {
    add_directory("", 0755, 0, 0);
    add_directory("bin", 0755, 0, 0);
    add_file("bin/busy", "#!/bin/sh\n", 04755, 0, 0, 1'700'000'000, 0);
    set_xattr(at("bin/busy"), "security.capability", kCapability);
    set_time(at("bin/busy"), 1'700'000'000, 0);
    add_file("bin/nanoseconds", "n", 0644, 1, 2, 1'700'000'000, 123'456'789);
    add_file("bin/old", "o", 0600, 3, 4, -2, 250'000'000);
    add_file("bin/owned", "", 02711, 3'000'000, 4'000'000'000, 0, 0);
    add_directory("data", 01777, 65534, 65534);
    add_file("data/first", std::string(1000, 'h'), 0640, 0, 5, 1, 0);
    REQUIRE(::link(at("data/first").c_str(), at("data/second").c_str()) == 0);
    REQUIRE(::symlink("../bin/busy", at("data/link").c_str()) == 0);
    set_xattr(at("data/link"), "trusted.of-a-link", "l");
    set_time(at("data/link"), 5, 6);
    REQUIRE(::link(at("data/link").c_str(), at("data/link-again").c_str()) == 0);
    REQUIRE(::symlink(std::string(300, 't').c_str(), at("data/long-link").c_str()) == 0);
    set_time(at("data/long-link"), 7, 0);
    add_node("data/fifo", S_IFIFO | 0620, 0);
    add_node("data/null", S_IFCHR | 0666, makedev(1, 3));
    add_node("data/disk", S_IFBLK | 0660, makedev(259, 1'000'000));
    add_file("data/attributes", "a", 0644, 0, 0, 8, 0);
    set_xattr(at("data/attributes"), "user.plain", std::string("\0=\n\xff", 4));
    set_xattr(at("data/attributes"), "trusted.overlay.overlay.redirect", "/nested");
    set_xattr(at("data/attributes"), "trusted.overlay.origin", "of this host");
    set_xattr(at("data/attributes"), "user.overlay.overlay.opaque", "y");
    set_xattr(at("data/attributes"), "user.overlay.of-a-container", "kept");
    std::string deep = "data";
    for (int level = 0; level < 3; ++level) {
      deep += "/" + std::string(110, static_cast<char>('a' + level));
      add_directory(deep, 0700, 0, 0);
    }
    add_file(deep + "/" + std::string(255, 'f'), "deep", 0644, 0, 0, 9, 0);
    add_file("data/\xff\xfe not UTF-8 \n", "", 0644, 0, 0, 10, 0);
    const std::string sparse = at("data/sparse");
    write_at(sparse, "start");
    write_at(sparse, "middle", off_t{5} << 30);
    REQUIRE(::truncate(sparse.c_str(), off_t{6} << 30) == 0);
    finish("data/sparse", 0600, 0, 0, 11, 0);
    write_at(at("data/zeros"), std::string(size_t{2} << 20, '\0'));
    finish("data/zeros", 0600, 0, 0, 12, 0);
    REQUIRE(::mknod(at("data/gone").c_str(), S_IFCHR, 0) == 0);
    add_directory("opaque", 0750, 0, 0);
    set_xattr(at("opaque"), "trusted.overlay.opaque", "y");
    add_file("opaque/new", "new", 0644, 0, 0, 13, 0);
    for (auto path = directories_.rbegin(); path != directories_.rend(); ++path) {
      set_time(*path, 1'600'000'000, 500'000'000);
    }
  }

  [[nodiscard]] std::string at(const std::string& name) const { return base_ / ("tree" + (name.empty() ? "" : "/" + name)); }
  [[nodiscard]] std::string path() const { return at(""); }

 private:
  void finish(const std::string& name, mode_t mode, uid_t uid, gid_t gid, time_t seconds, long nanoseconds) {
    REQUIRE(::lchown(at(name).c_str(), uid, gid) == 0);
    REQUIRE(::chmod(at(name).c_str(), mode) == 0);
    set_time(at(name), seconds, nanoseconds);
  }
  void add_file(const std::string& name, const std::string& text, mode_t mode, uid_t uid, gid_t gid, time_t seconds, long nanoseconds) {
    write_at(at(name), text);
    finish(name, mode, uid, gid, seconds, nanoseconds);
  }
  void add_directory(const std::string& name, mode_t mode, uid_t uid, gid_t gid) {
    REQUIRE(::mkdir(at(name).c_str(), 0700) == 0);
    finish(name, mode, uid, gid, 0, 0);
    directories_.push_back(at(name));
  }
  void add_node(const std::string& name, mode_t mode, dev_t device) {
    REQUIRE(::mknod(at(name).c_str(), mode, device) == 0);
    finish(name, mode & 07777, 0, 0, 14, 0);
  }

  TempDirectory base_;
  std::vector<std::string> directories_;
};

}  // namespace

TEST_CASE("the form of a packed layer never changes") {
  // Layers that were made here are known by this digest: where it changes, every one of them can no longer be pushed or saved.
  const Fixture fixture;
  const Packed packed = pack(fixture.path());
  CHECK(packed.result.entries == 27);
  CHECK(packed.result.diff_id == "sha256:daba1490763bc307c704cb380e6d24aae090ee7e9abe363a274159dc46c060ac");
}

TEST_CASE("what is packed, unpacked and packed again is the same") {
  const Fixture fixture;
  const TempDirectory out;
  const Packed packed = pack(fixture.path());
  const auto applied = unpack(packed.bytes, out.path());
  REQUIRE_MESSAGE(applied, applied.error().message());
  CHECK(applied->diff_id == packed.result.diff_id);
  CHECK(digest_of(packed.bytes) == packed.result.diff_id);
  const Packed again = pack(out.path());
  CHECK(again.result.diff_id == packed.result.diff_id);
  CHECK(again.bytes == packed.bytes);
  // And it is the same to the eye.
  CHECK(xattr(out / "bin/busy", "security.capability") == kCapability);
  CHECK((status_of(out / "bin/busy").st_mode & 07777) == 04755);
  CHECK(status_of(out / "bin/old").st_mtim.tv_sec == -2);
  CHECK(status_of(out / "bin/old").st_mtim.tv_nsec == 250'000'000);
  CHECK(status_of(out / "bin/owned").st_gid == 4'000'000'000);
  CHECK(status_of(out / "data/second").st_ino == status_of(out / "data/first").st_ino);
  CHECK(status_of(out / "data/link-again").st_ino == status_of(out / "data/link").st_ino);
  CHECK(xattr(out / "data/link", "trusted.of-a-link") == "l");
  CHECK(status_of(out / "data/disk").st_rdev == makedev(259, 1'000'000));
  CHECK(xattr(out / "data/attributes", "trusted.overlay.overlay.redirect") == "/nested");
  CHECK(xattr(out / "data/attributes", "trusted.overlay.origin") == "(none)");
  CHECK(status_of(out / "data/sparse").st_size == off_t{6} << 30);
  CHECK(status_of(out / "data/sparse").st_blocks < 4096);
  CHECK(status_of(out / "data/gone").st_rdev == 0);
  CHECK(xattr(out / "opaque", "trusted.overlay.opaque") == "y");
}

TEST_CASE("holes are where the zeros are, not where a file system keeps none") {
  const TempDirectory base;
  constexpr size_t kSize = 5 << 20;
  for (const char* name : {"stored", "sparse"}) {
    REQUIRE(::mkdir((base / name).c_str(), 0755) == 0);
    set_time(base / name, 1, 0);
  }
  std::string content(kSize, '\0');
  content.replace(1 << 20, 3, "one");
  content.replace(kSize - 70'000, 3, "two");
  write_at(base / "stored/file", content);
  write_at(base / "sparse/file", "one", 1 << 20);
  write_at(base / "sparse/file", "two", kSize - 70'000);
  REQUIRE(::truncate((base / "sparse/file").c_str(), kSize) == 0);
  for (const char* name : {"stored/file", "sparse/file", "stored", "sparse"}) {
    set_time(base / name, 2, 0);
  }
  const Packed stored = pack(base / "stored");
  CHECK(stored.bytes == pack(base / "sparse").bytes);
  CHECK(stored.result.bytes < 300'000);
  const TempDirectory out;
  REQUIRE(unpack(stored.bytes, out.path()));
  const UniqueFd file(::open((out / "file").c_str(), O_RDONLY | O_CLOEXEC));
  std::string back(kSize + 1, '?');
  CHECK(::pread(file.get(), back.data(), back.size(), 0) == static_cast<ssize_t>(kSize));
  CHECK(back.substr(0, kSize) == content);
}

TEST_CASE("a compressed blob has both digests, and no time or name in it") {
  const Fixture fixture;
  const Packed plain = pack(fixture.path());
  const Packed packed = pack(fixture.path(), {.compression = Compression::kGzip});
  CHECK(packed.result.diff_id == plain.result.diff_id);
  CHECK(packed.result.bytes == plain.result.bytes);
  CHECK(packed.result.digest == digest_of(packed.bytes));
  CHECK(packed.result.blob_bytes == packed.bytes.size());
  CHECK(packed.bytes.size() < plain.bytes.size() / 4);
  CHECK(packed.bytes.substr(0, 8) == std::string("\x1f\x8b\x08\0\0\0\0\0", 8));
  CHECK(packed.bytes == pack(fixture.path(), {.compression = Compression::kGzip}).bytes);
  const TempDirectory out;
  const auto applied = unpack(packed.bytes, out.path());
  REQUIRE_MESSAGE(applied, applied.error().message());
  CHECK(applied->diff_id == packed.result.diff_id);
  CHECK(applied->digest == packed.result.digest);
  CHECK(applied->size_bytes == packed.result.size_bytes);
  CHECK(applied->entries == packed.result.entries);
  CHECK(refusal(fixture.path(), {.compression = Compression::kZstd}) == EINVAL);
}

TEST_CASE("what no layer can hold is refused") {
  const TempDirectory base;
  REQUIRE(::mkdir((base / "tree").c_str(), 0755) == 0);
  SUBCASE("a name that deletes") { write_at(base / "tree/.wh.passwd", ""); }
  SUBCASE("the mark of an opaque directory") { write_at(base / "tree/.wh..wh..opq", ""); }
  SUBCASE("a file without its content") {
    write_at(base / "tree/file", "");
    set_xattr(base / "tree/file", "trusted.overlay.metacopy", "");
  }
  SUBCASE("a directory that was moved") {
    REQUIRE(::mkdir((base / "tree/new").c_str(), 0755) == 0);
    set_xattr(base / "tree/new", "trusted.overlay.redirect", "/old");
  }
  CHECK(refusal(base / "tree") == EPROTONOSUPPORT);
}

TEST_CASE("sockets are left out, or hide what is below") {
  const TempDirectory base;
  REQUIRE(::mkdir((base / "tree").c_str(), 0755) == 0);
  const UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
  std::strncpy(address.sun_path, (base / "tree/socket").c_str(), sizeof address.sun_path - 1);
  REQUIRE(::bind(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
  CHECK(pack(base / "tree").result.entries == 1);
  const Packed packed = pack(base / "tree", {.sockets_hide = true});
  CHECK(packed.result.entries == 2);
  const TempDirectory out;
  REQUIRE(unpack(packed.bytes, out.path()));
  CHECK(S_ISCHR(status_of(out / "socket").st_mode));
  CHECK(pack(out.path()).bytes == packed.bytes);
}

TEST_CASE("a whiteout in the form of an attribute is one") {
  const TempDirectory base;
  REQUIRE(::mkdir((base / "tree").c_str(), 0755) == 0);
  write_at(base / "tree/gone", "");
  set_xattr(base / "tree/gone", "trusted.overlay.whiteout", "");
  REQUIRE(::link((base / "tree/gone").c_str(), (base / "tree/gone too").c_str()) == 0);
  const TempDirectory out;
  REQUIRE(unpack(pack(base / "tree").bytes, out.path()));
  CHECK(S_ISCHR(status_of(out / "gone").st_mode));
  CHECK(S_ISCHR(status_of(out / "gone too").st_mode));
}

TEST_CASE("a full disk, a reader that is gone and a wish to stop end a pack") {
  const TempDirectory base;
  REQUIRE(::mkdir((base / "tree").c_str(), 0755) == 0);
  std::string noise(8 << 20, '\0');
  uint32_t state = 1;
  for (char& byte : noise) {
    state = state * 1664525 + 1013904223;
    byte = static_cast<char>(state >> 24);
  }
  write_at(base / "tree/noise", noise);
  const UniqueFd source = directory(base / "tree");
  ::signal(SIGPIPE, SIG_IGN);  // as Node has it
  for (const Compression compression : {Compression::kNone, Compression::kGzip}) {
    const UniqueFd full(::open("/dev/full", O_WRONLY | O_CLOEXEC));
    const auto packed = pack_directory(source.get(), full.get(), {.compression = compression});
    REQUIRE_FALSE(packed);
    CHECK(packed.error().errno_value == ENOSPC);

    std::array<int, 2> ends{};
    REQUIRE(::pipe2(ends.data(), O_CLOEXEC) == 0);
    UniqueFd reader(ends[0]);
    const UniqueFd writer(ends[1]);
    std::atomic<bool> cancelled = false;
    std::optional<Result<PackedDirectory>> stopped;
    std::thread work([&] { stopped = pack_directory(source.get(), writer.get(), {.compression = compression, .cancelled = &cancelled}); });
    char byte = 0;
    REQUIRE(::read(reader.get(), &byte, 1) == 1);  // it is under way
    cancelled = true;
    std::vector<char> rest(1 << 20);
    while (::read(reader.get(), rest.data(), rest.size()) == static_cast<ssize_t>(rest.size())) {
    }
    reader = UniqueFd();
    work.join();
    REQUIRE_FALSE(*stopped);
    CHECK((stopped->error().errno_value == ECANCELED || stopped->error().errno_value == EPIPE));
  }
}
