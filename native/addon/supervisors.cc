#include "async.h"
#include "core/run_program.h"

namespace strata::addon {

namespace {

Napi::Value run_runtime(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  std::string program = string_argument(info, 0, "runtime");
  std::vector<std::string> arguments = strings_argument(info, 1, "runtimeArguments");
  if (env.IsExceptionPending()) {
    return env.Undefined();
  }
  ProgramOptions options;
  options.timeout_ms = static_cast<int>(number_property(info[2], "timeoutMs").value_or(0));
  if (info[2].IsObject()) {
    const Napi::Value input = info[2].As<Napi::Object>().Get("input");
    if (input.IsTypedArray() && input.As<Napi::TypedArray>().TypedArrayType() == napi_uint8_array) {
      const auto bytes = input.As<Napi::Uint8Array>();
      options.input.assign(reinterpret_cast<const char*>(bytes.Data()), bytes.ByteLength());
      options.has_input = true;
    } else if (!input.IsUndefined()) {
      throw_type_error(env, "input must be a Uint8Array");
      return env.Undefined();
    }
  }
  return run_async<ProgramRun>(
      env, Where::kProgram,
      [program = std::move(program), arguments = std::move(arguments), options = std::move(options)] { return run_program(program, arguments, options); },
      [](Napi::Env js, const ProgramRun& run) -> Napi::Value {
        Napi::Object result = Napi::Object::New(js);
        result.Set("exitCode", run.exit_code);
        result.Set("stdout", run.output);
        result.Set("stderr", run.errors);
        return result;
      });
}

}  // namespace

void add_supervisors(Napi::Env env, Napi::Object& exports) { exports.Set("runRuntime", Napi::Function::New(env, run_runtime)); }

}  // namespace strata::addon
