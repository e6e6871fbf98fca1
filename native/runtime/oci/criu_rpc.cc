#include "runtime/oci/criu_rpc.h"

#include <limits>

namespace strata::runtime::oci {
namespace {

enum WireType : std::uint8_t { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

class Writer {
 public:
  void number(std::uint32_t field, std::uint64_t value) {
    varint(std::uint64_t{field} << 3U | kVarint);
    varint(value);
  }
  // An int32 below 0 has ten bytes.
  void integer(std::uint32_t field, int value) { number(field, static_cast<std::uint64_t>(std::int64_t{value})); }
  void flag(std::uint32_t field, bool value) {
    if (value) {
      number(field, 1);
    }
  }
  void bytes(std::uint32_t field, std::string_view value) {
    varint(std::uint64_t{field} << 3U | kBytes);
    varint(value.size());
    bytes_ += value;
  }
  void text(std::uint32_t field, std::string_view value) {
    if (!value.empty()) {
      bytes(field, value);
    }
  }
  [[nodiscard]] std::string take() { return std::move(bytes_); }

 private:
  void varint(std::uint64_t value) {
    for (; value >= 0x80; value >>= 7U) {
      bytes_ += static_cast<char>(value | 0x80U);
    }
    bytes_ += static_cast<char>(value);
  }
  std::string bytes_;
};

std::string pair_of(std::string_view first, std::string_view second) {
  Writer writer;
  writer.bytes(1, first);
  writer.bytes(2, second);
  return writer.take();
}

std::string encode_options(const CriuOptions& options) {
  Writer writer;
  writer.integer(1, options.images_fd);
  if (options.pid > 0) {
    writer.integer(2, options.pid);
  }
  writer.flag(3, options.leave_running);
  writer.flag(4, options.ext_unix_sockets);
  writer.flag(5, options.tcp_established);
  writer.flag(6, options.evasive_devices);
  writer.flag(7, options.shell_job);
  writer.flag(8, options.file_locks);
  writer.integer(9, 4);
  writer.text(10, options.log_file);
  writer.flag(12, true);  // notifications
  writer.text(13, options.root);
  writer.text(14, options.parent_image);
  writer.flag(15, options.track_memory);
  writer.flag(16, options.auto_dedup);
  if (options.work_fd >= 0) {
    writer.integer(17, options.work_fd);
  }
  writer.flag(18, options.link_remap);
  writer.flag(24, true);  // manages cgroups; field 34 says how
  for (const auto& [controller, path] : options.cgroup_roots) {
    writer.bytes(25, pair_of(controller, path));
  }
  writer.flag(26, options.restores_sibling);
  for (const auto& [key, fd] : options.inherited) {
    Writer inherited;
    inherited.bytes(1, key);
    inherited.integer(2, fd);
    writer.bytes(27, inherited.take());
  }
  writer.flag(30, options.external_masters);
  writer.number(34, static_cast<std::uint64_t>(options.cgroups));
  for (const std::string& external : options.external) {
    writer.bytes(37, external);
  }
  if (options.empty_namespaces != 0) {
    writer.number(38, options.empty_namespaces);
  }
  for (const auto& [kind, file] : options.joined) {
    writer.bytes(39, pair_of(kind, file));
  }
  writer.text(44, options.freeze_cgroup);
  writer.flag(46, options.tcp_skip_in_flight);
  writer.flag(50, options.orphan_terminals);
  writer.text(51, options.config_file);
  writer.text(53, options.lsm_profile);
  writer.text(63, options.lsm_mount_context);
  return writer.take();
}

std::unexpected<Failure> no_message() { return refuse(ErrorCode::kInternal, "criu's answer is no message of its protocol", EPROTO); }

struct Field {
  std::uint64_t number = 0;
  std::uint64_t value = 0;  // of a varint
  std::string_view bytes;
};

class Reader {
 public:
  explicit Reader(std::string_view bytes) : rest_(bytes) {}

  [[nodiscard]] bool at_end() const { return rest_.empty(); }

  Outcome<Field> next() {
    const std::uint64_t key = TRY(varint());
    Field field;
    field.number = key >> 3U;
    switch (key & 7U) {
      case kVarint: field.value = TRY(varint()); return field;
      case kBytes: {
        const std::uint64_t size = TRY(varint());
        field.bytes = TRY(take(size));
        return field;
      }
      case kFixed64: TRY(take(8)); return field;
      case kFixed32: TRY(take(4)); return field;
      default: return no_message();
    }
  }

 private:
  Outcome<std::uint64_t> varint() {
    std::uint64_t value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
      const std::string_view byte = TRY(take(1));
      const auto bits = static_cast<unsigned char>(byte.front());
      value |= std::uint64_t{bits & 0x7fU} << shift;
      if (bits < 0x80) {
        return value;
      }
    }
    return no_message();
  }

  Outcome<std::string_view> take(std::uint64_t size) {
    if (size > rest_.size()) {
      return no_message();
    }
    const std::string_view taken = rest_.substr(0, static_cast<std::size_t>(size));
    rest_.remove_prefix(static_cast<std::size_t>(size));
    return taken;
  }

  std::string_view rest_;
};

// A pid or an errno: what is out of their range is 0.
int int_of(std::uint64_t value) { return value <= static_cast<std::uint64_t>(std::numeric_limits<int>::max()) ? static_cast<int>(value) : 0; }

}  // namespace

std::string encode_request(CriuType type, const CriuOptions& options) {
  Writer writer;
  writer.number(1, static_cast<std::uint64_t>(type));
  writer.bytes(2, encode_options(options));
  return writer.take();
}

std::string encode_notified(bool well) {
  Writer writer;
  writer.number(1, static_cast<std::uint64_t>(CriuType::kNotify));
  writer.number(3, well ? 1 : 0);
  return writer.take();
}

Outcome<CriuAnswer> decode_answer(std::string_view bytes) {
  CriuAnswer answer;
  bool has_type = false;
  Reader reader(bytes);
  while (!reader.at_end()) {
    const Field field = TRY(reader.next());
    switch (field.number) {
      case 1:
        answer.type = field.value;
        has_type = true;
        break;
      case 2: answer.success = field.value != 0; break;
      case 4:    // restore: pid
      case 5: {  // notify: script, pid
        Reader inner(field.bytes);
        while (!inner.at_end()) {
          const Field part = TRY(inner.next());
          if (part.number == (field.number == 4 ? 1U : 2U)) {
            answer.pid = int_of(part.value);
          } else if (part.number == 1) {
            answer.notification = part.bytes;
          }
        }
        break;
      }
      case 7: answer.reason = int_of(field.value); break;
      case 9: answer.message = field.bytes; break;
      default: break;
    }
  }
  return has_type ? Outcome<CriuAnswer>(std::move(answer)) : no_message();
}

}  // namespace strata::runtime::oci
