// A D-Bus connection to systemd, as far as scopes need one (D-Bus Specification 0.41; org.freedesktop.systemd1(5)): a static program cannot link
// libsystemd.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/unique_fd.h"
#include "runtime/failure.h"

namespace strata::runtime::oci {

// A message's body in wire form, little endian. Alignment counts from the body's start, which is aligned to 8 itself.
class DbusBody {
 public:
  DbusBody& byte(std::uint8_t value);
  DbusBody& uint32(std::uint32_t value);
  DbusBody& uint64(std::uint64_t value);
  DbusBody& boolean(bool value) { return uint32(value ? 1 : 0); }
  DbusBody& text(std::string_view value);  // also an object path
  DbusBody& signature(std::string_view value);
  DbusBody& begin_struct() { return align(8); }
  // Where the length goes, to be handed to end_array. `alignment` is the element's: 8 for structs, 4 for strings, 1 for bytes.
  std::size_t begin_array(std::size_t alignment);
  void end_array(std::size_t start, std::size_t alignment);
  [[nodiscard]] const std::string& bytes() const { return bytes_; }

 private:
  DbusBody& align(std::size_t to);
  std::string bytes_;
};

struct DbusMessage {
  std::uint8_t type = 0;  // 2: reply, 3: error, 4: signal
  std::uint32_t reply_to = 0;
  std::string member, error_name, signature, body;
  // The n-th argument where all up to it are strings, object paths and 32-bit numbers; empty else.
  [[nodiscard]] std::string text_at(std::size_t n) const;
};

// Nullopt-like: an empty type where the bytes are no message.
DbusMessage parse_dbus_message(std::string_view bytes);

class SystemdBus {
 public:
  // systemd's own socket, which takes root without a bus, else the system bus. The failure names the socket.
  static Outcome<SystemdBus> connect();
  // A method of systemd's manager; the failure has systemd's words.
  Outcome<DbusMessage> call(const std::string& method, const std::string& signature, const DbusBody& body);
  // The same for one that queues a job for `unit`: until the job is over.
  Done run_job(const std::string& method, const std::string& signature, const DbusBody& body, const std::string& unit);

 private:
  explicit SystemdBus(UniqueFd socket) : socket_(std::move(socket)) {}
  Done authenticate(const std::string& path);
  Outcome<DbusMessage> invoke(const std::string& destination, const std::string& path, const std::string& interface, const std::string& method,
                              const std::string& signature, const std::string& body);
  Outcome<DbusMessage> receive();
  UniqueFd socket_;
  std::uint32_t serial_ = 0;
  std::vector<DbusMessage> signals_;
};

}  // namespace strata::runtime::oci
