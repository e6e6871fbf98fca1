// The module: what index.d.ts declares.
#include "async.h"

namespace {

Napi::Object initialize(Napi::Env env, Napi::Object exports) {
  using namespace strata::addon;
  env.SetInstanceData(new Workers);
  add_peers(env, exports);
  add_supervisors(env, exports);
  add_cgroups(env, exports);
  add_sampler(env, exports);
  add_layers(env, exports);
  add_browse(env, exports);
  add_inflater(env, exports);
  add_layer_index(env, exports);
  add_host(env, exports);
  add_watches(env, exports);
  exports.Set("version", STRATA_VERSION);
  return exports;
}

}  // namespace

NODE_API_MODULE(strata, initialize)
