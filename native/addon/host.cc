#include "async.h"
#include "core/kernel_features.h"

namespace strata::addon {

namespace {

using Features = std::vector<KernelFeature>;

Napi::Value get_kernel_features(const Napi::CallbackInfo& info) {
  return run_async<Features>(
      info.Env(), Where::kPool, []() -> Result<Features> { return kernel_features(); },
      [](Napi::Env env, const Features& features) -> Napi::Value {
        Napi::Array result = Napi::Array::New(env, features.size());
        for (uint32_t i = 0; i < features.size(); ++i) {
          Napi::Object feature = Napi::Object::New(env);
          feature.Set("name", features[i].name);
          feature.Set("available", features[i].available);
          feature.Set("detail", features[i].detail);
          result.Set(i, feature);
        }
        return result;
      });
}

}  // namespace

void add_host(Napi::Env env, Napi::Object& exports) { exports.Set("kernelFeatures", Napi::Function::New(env, get_kernel_features)); }

}  // namespace strata::addon
