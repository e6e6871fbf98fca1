#include "runtime/oci/seccomp_cache.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/digest.h"
#include "runtime/seccomp.h"

namespace strata::runtime::oci {
namespace {

// Of the version too: a newer compiler may know more system calls.
std::string cache_name(std::string_view text) {
  Sha256 digest;
  const std::string_view version = STRATA_VERSION "+ENOSYS";
  digest.update({reinterpret_cast<const std::uint8_t*>(version.data()), version.size()});
  digest.update({reinterpret_cast<const std::uint8_t*>(text.data()), text.size()});
  return digest.finish().substr(7);
}

}  // namespace

Outcome<UniqueFd> seccomp_program(const std::string& root, const Json& profile, std::string_view text) {
  // A name with a dot in front is no container's.
  const std::string folder = root + "/.seccomp";
  ::mkdir(folder.c_str(), 0700);
  const std::string path = folder + "/" + cache_name(text);
  if (::access(path.c_str(), R_OK) == 0) {
    if (auto cached = open_seccomp_program(path)) {
      return cached;
    }
  }
  UniqueFd program = TRY(compile_seccomp_apart(profile));
  struct stat status {};
  const std::string temporary = path + ".tmp" + std::to_string(::getpid());
  const UniqueFd file(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (file && ::fstat(program.get(), &status) == 0) {
    std::string bytes(static_cast<std::size_t>(status.st_size), '\0');
    const bool copied = ::pread(program.get(), bytes.data(), bytes.size(), 0) == status.st_size && ::write(file.get(), bytes.data(), bytes.size()) == status.st_size;
    if (!copied || ::rename(temporary.c_str(), path.c_str()) < 0) {
      ::unlink(temporary.c_str());
    }
  }
  return program;
}

}  // namespace strata::runtime::oci
