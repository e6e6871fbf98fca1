// Builds archives by hand, hostile ones too, and unpacks them into a temporary directory.
#pragma once

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "core/layer_apply.h"
#include "core/tree.h"
#include "core/unique_fd.h"

namespace strata::test {

class TarBuilder {
 public:
  struct Member {
    std::string name = {};
    char type = '0';
    std::string link = {};
    std::string data = {};
    unsigned mode = 0644;
    std::string size_field = {};  // as written, where the true one is not wanted
    unsigned major = 0, minor = 0;
  };

  TarBuilder& add(const Member& member) {
    std::string header(512, '\0');
    const auto put = [&](size_t at, size_t width, const std::string& text) { header.replace(at, std::min(width, text.size()), text.substr(0, width)); };
    const auto octal = [](unsigned long value, int width) {
      char text[32];
      std::snprintf(text, sizeof text, "%0*lo", width, value);
      return std::string(text);
    };
    put(0, 100, member.name);
    put(100, 8, octal(member.mode, 7));
    put(108, 8, octal(0, 7));
    put(116, 8, octal(0, 7));
    put(124, 12, member.size_field.empty() ? octal(member.data.size(), 11) : member.size_field);
    put(136, 12, octal(1700000000, 11));
    put(156, 1, std::string(1, member.type));
    put(157, 100, member.link);
    put(257, 8, std::string("ustar\0" "00", 8));
    put(329, 8, octal(member.major, 7));
    put(337, 8, octal(member.minor, 7));
    put(148, 8, "        ");
    unsigned sum = 0;
    for (const char byte : header) {
      sum += static_cast<unsigned char>(byte);
    }
    put(148, 8, octal(sum, 6) + std::string(1, '\0') + " ");
    bytes_ += header + member.data + std::string((512 - member.data.size() % 512) % 512, '\0');
    return *this;
  }
  TarBuilder& pax(const std::string& records, char type = 'x') { return add({.name = "pax", .type = type, .data = records}); }
  static std::string record(const std::string& key, const std::string& value) {
    const size_t rest = key.size() + value.size() + 3;
    size_t length = rest + 1;
    while (std::to_string(length).size() + rest != length) {
      length = std::to_string(length).size() + rest;
    }
    return std::to_string(length) + " " + key + "=" + value + "\n";
  }
  TarBuilder& raw(const std::string& bytes) {
    bytes_ += bytes;
    return *this;
  }
  [[nodiscard]] std::string unfinished() const { return bytes_; }
  [[nodiscard]] std::string bytes() const { return bytes_ + std::string(1024, '\0'); }

 private:
  std::string bytes_;
};

class TempDirectory {
 public:
  explicit TempDirectory(const std::string& below = "/tmp") {
    std::string pattern = below + "/strata-test-XXXXXX";
    path_ = ::mkdtemp(pattern.data());
  }
  ~TempDirectory() { (void)remove_tree(path_); }
  TempDirectory(const TempDirectory&) = delete;
  TempDirectory& operator=(const TempDirectory&) = delete;
  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] std::string operator/(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

inline UniqueFd memory_file(const std::string& bytes) {
  UniqueFd fd(::memfd_create("test", MFD_CLOEXEC));
  size_t done = 0;
  while (done < bytes.size()) {
    done += static_cast<size_t>(::write(fd.get(), bytes.data() + done, bytes.size() - done));
  }
  ::lseek(fd.get(), 0, SEEK_SET);
  return fd;
}

inline Result<AppliedLayer> unpack(const std::string& archive, const std::string& destination, const ApplyOptions& options = {}) {
  const UniqueFd source = memory_file(archive);
  const UniqueFd directory(::open(destination.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  return apply_layer(source.get(), directory.get(), options);
}

inline std::string read_file(const std::string& path) {
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) {
    return "(" + std::string(std::strerror(errno)) + ")";
  }
  std::string text(1 << 20, '\0');
  const ssize_t got = ::read(fd.get(), text.data(), text.size());
  text.resize(got < 0 ? 0 : static_cast<size_t>(got));
  return text;
}

inline bool exists(const std::string& path) {
  struct stat status;
  return ::lstat(path.c_str(), &status) == 0;
}

inline struct stat status_of(const std::string& path) {
  struct stat status {};
  ::lstat(path.c_str(), &status);
  return status;
}

}  // namespace strata::test
