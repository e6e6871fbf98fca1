#include "async.h"

#include <cstring>
#include <variant>

namespace strata::addon {

namespace {

struct Place {
  std::string syscall, path;
};

// "context: verb 'object'": the innermost verb and object.
Place place_of(const std::string& what) {
  Place place;
  if (what.size() < 2 || what.back() != '\'') {
    return place;
  }
  const size_t open = what.rfind(" '", what.size() - 2);
  if (open == std::string::npos) {
    return place;
  }
  place.path = what.substr(open + 2, what.size() - open - 3);
  const size_t verb = what.find_last_of(" '\"", open - 1);
  place.syscall = what.substr(verb == std::string::npos ? 0 : verb + 1, open - (verb == std::string::npos ? 0 : verb + 1));
  return place;
}

}  // namespace

Napi::Error make_error(Napi::Env env, const Error& error, const CodeNames& names) {
  std::string code;
  for (const auto& [number, name] : names) {
    if (number == error.errno_value) {
      code = name;
    }
  }
  // Under a name of Strata's own the errno is a way to say it inside the core; its text ("Bad message") would only mislead.
  const bool own_words = !code.empty() && !error.hint.empty();
  Napi::Error result = Napi::Error::New(env, own_words ? error.what + ": " + error.hint : error.message());
  if (code.empty()) {
    const char* symbol = ::strerrorname_np(error.errno_value);
    code = symbol != nullptr ? symbol : "UNKNOWN";
  }
  Napi::Object object = result.Value();
  object.Set("code", code);
  object.Set("errno", error.errno_value);
  const Place place = place_of(error.what);
  if (!place.syscall.empty()) {
    object.Set("syscall", place.syscall);
  }
  if (!place.path.empty()) {
    object.Set("path", place.path);
  }
  if (!error.hint.empty()) {
    object.Set("hint", error.hint);
  }
  return result;
}

void throw_type_error(Napi::Env env, const std::string& message) { Napi::TypeError::New(env, message).ThrowAsJavaScriptException(); }

std::string string_argument(const Napi::CallbackInfo& info, size_t index, const char* name) {
  if (index >= info.Length() || !info[index].IsString()) {
    throw_type_error(info.Env(), std::string(name) + " must be a string");
    return {};
  }
  std::string text = info[index].As<Napi::String>().Utf8Value();
  if (text.find('\0') != std::string::npos) {
    throw_type_error(info.Env(), std::string(name) + " has a NUL character");
    return {};
  }
  return text;
}

std::vector<std::string> strings_argument(const Napi::CallbackInfo& info, size_t index, const char* name) {
  std::vector<std::string> strings;
  if (index >= info.Length() || !info[index].IsArray()) {
    throw_type_error(info.Env(), std::string(name) + " must be an array of strings");
    return strings;
  }
  const auto array = info[index].As<Napi::Array>();
  for (uint32_t i = 0; i < array.Length(); ++i) {
    const Napi::Value value = array[i];
    if (!value.IsString()) {
      throw_type_error(info.Env(), std::string(name) + " must be an array of strings");
      return strings;
    }
    strings.push_back(value.As<Napi::String>().Utf8Value());
  }
  return strings;
}

std::optional<double> number_property(const Napi::Value& object, const char* name) {
  if (!object.IsObject()) {
    return std::nullopt;
  }
  const Napi::Value value = object.As<Napi::Object>().Get(name);
  return value.IsNumber() ? std::optional(value.As<Napi::Number>().DoubleValue()) : std::nullopt;
}

void follow_signal(const Napi::Value& signal, const Flag& cancelled) {
  if (!signal.IsObject()) {
    return;
  }
  const auto object = signal.As<Napi::Object>();
  if (object.Get("aborted").ToBoolean().Value()) {
    cancelled->store(true);
    return;
  }
  const Napi::Value add = object.Get("addEventListener");
  if (add.IsFunction()) {
    const Napi::Function listener = Napi::Function::New(object.Env(), [cancelled](const Napi::CallbackInfo&) { cancelled->store(true); });
    add.As<Napi::Function>().Call(object, {Napi::String::New(object.Env(), "abort"), listener});
  }
}

Napi::Value run_async_void(Napi::Env env, Where where, std::function<Status()> work, CodeNames names) {
  return run_async<std::monostate>(
      env, where,
      [work = std::move(work)]() -> Result<std::monostate> {
        TRY(work());
        return std::monostate{};
      },
      [](Napi::Env js, const std::monostate&) -> Napi::Value { return js.Undefined(); }, std::move(names));
}

}  // namespace strata::addon
