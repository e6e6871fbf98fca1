// JSON for the runtime: a strict parser (depth limited, UTF-8 checked), typed readers whose errors name the member, and a small writer.
#pragma once

#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/failure.h"

namespace strata::runtime {

// One value and how it was reached. A child points to its parent, which has to outlive it: readers keep both on the stack.
class Json {
 public:
  // A member; `absent()` where the object has none (or null, which the contract treats alike).
  [[nodiscard]] Json operator[](const char* name) const;
  [[nodiscard]] bool absent() const;
  [[nodiscard]] std::string path() const;

  [[nodiscard]] Outcome<std::string> text() const;
  [[nodiscard]] Outcome<bool> boolean() const;
  [[nodiscard]] Outcome<std::int64_t> integer(std::int64_t least = std::numeric_limits<std::int64_t>::min(),
                                             std::int64_t most = std::numeric_limits<std::int64_t>::max()) const;
  [[nodiscard]] Outcome<std::uint64_t> natural() const;
  // Fails where the value is no object.
  [[nodiscard]] Done object() const;
  [[nodiscard]] Outcome<std::size_t> array_size() const;
  [[nodiscard]] Json at(std::size_t index) const;
  [[nodiscard]] Outcome<std::vector<std::string>> texts() const;
  // Names of an object's members.
  [[nodiscard]] Outcome<std::vector<std::string>> names() const;

  // The same with a default where the value is absent.
  [[nodiscard]] Outcome<std::string> text_or(std::string value) const;
  [[nodiscard]] Outcome<bool> boolean_or(bool value) const;
  [[nodiscard]] Outcome<std::optional<std::int64_t>> optional_integer(std::int64_t least = std::numeric_limits<std::int64_t>::min(),
                                                                      std::int64_t most = std::numeric_limits<std::int64_t>::max()) const;
  // The value as JSON again; empty where it is absent.
  [[nodiscard]] std::string to_text() const;
  [[nodiscard]] std::unexpected<Failure> wrong(const std::string& expected) const;

 private:
  friend class JsonDocument;
  const void* value_ = nullptr;  // rapidjson::Value; the header stays out of this one
  const Json* parent_ = nullptr;
  const char* name_ = nullptr;
  std::size_t index_ = 0;
};

// Owns the memory of everything read from it.
class JsonDocument {
 public:
  static constexpr unsigned kMaxDepth = 32;
  static Outcome<JsonDocument> parse(std::string_view text);

  JsonDocument(JsonDocument&&) noexcept;
  JsonDocument& operator=(JsonDocument&&) noexcept;
  ~JsonDocument();
  [[nodiscard]] Json root() const;

 private:
  struct Content;
  JsonDocument();
  std::unique_ptr<Content> content_;
};

[[nodiscard]] bool is_utf8(std::string_view text);

class JsonWriter {
 public:
  void begin_object();
  void end_object();
  void begin_object(const char* name);
  void field(const char* name, std::string_view value);
  void field(const char* name, const char* value) { field(name, std::string_view(value)); }
  void field(const char* name, std::int64_t value);
  void field(const char* name, int value) { field(name, static_cast<std::int64_t>(value)); }
  void field(const char* name, std::uint64_t value);
  void field(const char* name, bool value);
  void field(const char* name, const std::vector<std::string>& values);
  void null_field(const char* name);
  // `json` is a JSON text already.
  void raw_field(const char* name, std::string_view json);
  [[nodiscard]] std::string take() { return std::move(text_); }

 private:
  void name(const char* text);
  void quote(std::string_view text);
  std::string text_;
  bool first_ = true;
};

}  // namespace strata::runtime
