#include "runtime/json.h"

// rapidjson asserts where it is misused; without exceptions a trap is the only honest answer.
#define RAPIDJSON_ASSERT(condition) ((condition) ? (void)0 : __builtin_trap())
#define RAPIDJSON_NOMEMBERITERATORCLASS
#include <rapidjson/document.h>
#include <rapidjson/error/en.h>
#include <rapidjson/stringbuffer.h>
#include <rapidjson/writer.h>

namespace strata::runtime {
namespace {

using Value = rapidjson::Value;

const Value& as_value(const void* value) { return *static_cast<const Value*>(value); }

// Counts brackets outside of strings. The parser runs iteratively, so this is not about its stack but about everything that walks the tree later.
bool too_deep(std::string_view text) {
  unsigned depth = 0;
  bool quoted = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (quoted) {
      if (c == '\\') {
        ++i;
      } else if (c == '"') {
        quoted = false;
      }
    } else if (c == '"') {
      quoted = true;
    } else if (c == '{' || c == '[') {
      if (++depth > JsonDocument::kMaxDepth) {
        return true;
      }
    } else if ((c == '}' || c == ']') && depth > 0) {
      --depth;
    }
  }
  return false;
}

// Length of the well-formed UTF-8 sequence of more than one byte that `text` starts with, or 0 (RFC 3629, table of section 4).
std::size_t utf8_sequence(std::string_view text) {
  const auto byte = [&](std::size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0U; };
  const unsigned first = byte(0);
  std::size_t length = 0;
  unsigned least = 0x80;
  unsigned most = 0xbf;
  if (first >= 0xc2 && first <= 0xdf) {
    length = 2;
  } else if (first >= 0xe0 && first <= 0xef) {
    length = 3;
    least = first == 0xe0 ? 0xa0 : 0x80;
    most = first == 0xed ? 0x9f : 0xbf;
  } else if (first >= 0xf0 && first <= 0xf4) {
    length = 4;
    least = first == 0xf0 ? 0x90 : 0x80;
    most = first == 0xf4 ? 0x8f : 0xbf;
  } else {
    return 0;
  }
  for (std::size_t i = 1; i < length; ++i) {
    if (byte(i) < (i == 1 ? least : 0x80) || byte(i) > (i == 1 ? most : 0xbf)) {
      return 0;
    }
  }
  return length;
}

}  // namespace

bool is_utf8(std::string_view text) {
  for (std::size_t i = 0; i < text.size();) {
    const bool is_plain = static_cast<unsigned char>(text[i]) < 0x80;
    const std::size_t length = is_plain ? 1 : utf8_sequence(text.substr(i));
    if (length == 0) {
      return false;
    }
    i += length;
  }
  return true;
}

struct JsonDocument::Content {
  rapidjson::Document document;
};

JsonDocument::JsonDocument() : content_(std::make_unique<Content>()) {}
JsonDocument::JsonDocument(JsonDocument&&) noexcept = default;
JsonDocument& JsonDocument::operator=(JsonDocument&&) noexcept = default;
JsonDocument::~JsonDocument() = default;

Outcome<JsonDocument> JsonDocument::parse(std::string_view text) {
  if (too_deep(text)) {
    return refuse(ErrorCode::kInvalidRequest, "JSON is nested deeper than " + std::to_string(kMaxDepth) + " levels");
  }
  JsonDocument result;
  auto& document = result.content_->document;
  document.Parse<rapidjson::kParseIterativeFlag | rapidjson::kParseValidateEncodingFlag>(text.data(), text.size());
  if (document.HasParseError()) {
    return refuse(ErrorCode::kInvalidRequest, std::string("malformed JSON at byte ") + std::to_string(document.GetErrorOffset()) + ": " +
                                                 rapidjson::GetParseError_En(document.GetParseError()));
  }
  return result;
}

Json JsonDocument::root() const {
  Json json;
  json.value_ = static_cast<const Value*>(&content_->document);
  return json;
}

Json Json::operator[](const char* name) const {
  Json child;
  child.parent_ = this;
  child.name_ = name;
  if (value_ != nullptr && as_value(value_).IsObject()) {
    const auto member = as_value(value_).FindMember(name);
    if (member != as_value(value_).MemberEnd() && !member->value.IsNull()) {
      child.value_ = &member->value;
    }
  }
  return child;
}

bool Json::absent() const { return value_ == nullptr; }

std::string Json::path() const {
  if (parent_ == nullptr) {
    return "the message";
  }
  if (name_ == nullptr) {
    return parent_->path() + "[" + std::to_string(index_) + "]";
  }
  return parent_->parent_ == nullptr ? name_ : parent_->path() + "." + name_;
}

std::unexpected<Failure> Json::wrong(const std::string& expected) const {
  return refuse(ErrorCode::kInvalidRequest, path() + (absent() ? " is missing: it must be " : " must be ") + expected);
}

Outcome<std::string> Json::text() const {
  if (absent() || !as_value(value_).IsString()) {
    return wrong("a string");
  }
  std::string text(as_value(value_).GetString(), as_value(value_).GetStringLength());
  // All strings end up in system calls, which would see another text than the checks did.
  if (text.find('\0') != std::string::npos) {
    return wrong("a string without NUL");
  }
  return text;
}

Outcome<bool> Json::boolean() const {
  if (absent() || !as_value(value_).IsBool()) {
    return wrong("true or false");
  }
  return as_value(value_).GetBool();
}

Outcome<std::int64_t> Json::integer(std::int64_t least, std::int64_t most) const {
  if (absent() || !as_value(value_).IsInt64()) {
    return wrong("an integer");
  }
  const std::int64_t number = as_value(value_).GetInt64();
  if (number < least || number > most) {
    return wrong("an integer from " + std::to_string(least) + " to " + std::to_string(most));
  }
  return number;
}

Outcome<std::uint64_t> Json::natural() const {
  if (absent() || !as_value(value_).IsUint64()) {
    return wrong("an integer of 0 or more");
  }
  return as_value(value_).GetUint64();
}

Done Json::object() const {
  if (absent() || !as_value(value_).IsObject()) {
    return wrong("an object");
  }
  return {};
}

Outcome<std::size_t> Json::array_size() const {
  if (absent()) {
    return std::size_t{0};
  }
  if (!as_value(value_).IsArray()) {
    return wrong("an array");
  }
  return std::size_t{as_value(value_).Size()};
}

Json Json::at(std::size_t index) const {
  Json child;
  child.parent_ = this;
  child.index_ = index;
  const Value& element = as_value(value_)[static_cast<rapidjson::SizeType>(index)];
  child.value_ = element.IsNull() ? nullptr : &element;
  return child;
}

Outcome<std::vector<std::string>> Json::texts() const {
  std::vector<std::string> result;
  const std::size_t size = TRY(array_size());
  result.reserve(size);
  for (std::size_t i = 0; i < size; ++i) {
    result.push_back(TRY(at(i).text()));
  }
  return result;
}

Outcome<std::vector<std::string>> Json::names() const {
  std::vector<std::string> result;
  if (absent()) {
    return result;
  }
  TRY(object());
  for (auto member = as_value(value_).MemberBegin(); member != as_value(value_).MemberEnd(); ++member) {
    result.emplace_back(member->name.GetString(), member->name.GetStringLength());
  }
  return result;
}

Outcome<std::string> Json::text_or(std::string value) const { return absent() ? Outcome<std::string>(std::move(value)) : text(); }
Outcome<bool> Json::boolean_or(bool value) const { return absent() ? Outcome<bool>(value) : boolean(); }

Outcome<std::optional<std::int64_t>> Json::optional_integer(std::int64_t least, std::int64_t most) const {
  if (absent()) {
    return std::optional<std::int64_t>();
  }
  return std::optional<std::int64_t>(TRY(integer(least, most)));
}

std::string Json::to_text() const {
  if (absent()) {
    return {};
  }
  rapidjson::StringBuffer buffer;
  rapidjson::Writer<rapidjson::StringBuffer> writer(buffer);
  as_value(value_).Accept(writer);
  return {buffer.GetString(), buffer.GetSize()};
}

// ---- writer ----

void JsonWriter::begin_object() {
  text_ += '{';
  first_ = true;
}
void JsonWriter::end_object() {
  text_ += '}';
  first_ = false;
}
void JsonWriter::begin_object(const char* object_name) {
  name(object_name);
  begin_object();
}
void JsonWriter::name(const char* text) {
  if (!first_) {
    text_ += ',';
  }
  first_ = false;
  text_ += '"';
  text_ += text;
  text_ += "\":";
}
void JsonWriter::field(const char* field_name, std::string_view value) {
  name(field_name);
  quote(value);
}
void JsonWriter::field(const char* field_name, std::int64_t value) {
  name(field_name);
  text_ += std::to_string(value);
}
void JsonWriter::field(const char* field_name, std::uint64_t value) {
  name(field_name);
  text_ += std::to_string(value);
}
void JsonWriter::field(const char* field_name, bool value) {
  name(field_name);
  text_ += value ? "true" : "false";
}
void JsonWriter::field(const char* field_name, const std::vector<std::string>& values) {
  name(field_name);
  text_ += '[';
  for (const std::string& value : values) {
    if (&value != &values.front()) {
      text_ += ',';
    }
    quote(value);
  }
  text_ += ']';
}

void JsonWriter::null_field(const char* field_name) {
  name(field_name);
  text_ += "null";
}
void JsonWriter::raw_field(const char* field_name, std::string_view json) {
  name(field_name);
  text_ += json;
}

void JsonWriter::quote(std::string_view text) {
  static constexpr char kHex[] = "0123456789abcdef";
  text_ += '"';
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    const auto byte = static_cast<unsigned char>(c);
    const std::size_t sequence = byte >= 0x80 ? utf8_sequence(text.substr(i)) : 0;
    if (sequence > 0) {
      text_ += text.substr(i, sequence);
      i += sequence - 1;
    } else if (c == '"' || c == '\\') {
      text_ += '\\';
      text_ += c;
    } else if (byte < 0x20 || byte >= 0x7f) {
      // Names in errors may come from an image and be no UTF-8: such a byte is shown as \u00xx, and the message stays valid JSON.
      text_ += "\\u00";
      text_ += kHex[byte >> 4];
      text_ += kHex[byte & 15];
    } else {
      text_ += c;
    }
  }
  text_ += '"';
}

}  // namespace strata::runtime
