#include "async.h"
#include "core/peer.h"

namespace strata::addon {

namespace {

Napi::Value get_peer_credentials(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (!info[0].IsNumber()) {
    throw_type_error(env, "fd must be a number");
    return env.Undefined();
  }
  const auto peer = peer_credentials(info[0].As<Napi::Number>().Int32Value());
  if (!peer) {
    make_error(env, peer.error()).ThrowAsJavaScriptException();
    return env.Undefined();
  }
  Napi::Object result = Napi::Object::New(env);
  result.Set("pid", peer->pid);
  result.Set("uid", peer->uid);
  result.Set("gid", peer->gid);
  Napi::Array groups = Napi::Array::New(env, peer->groups.size());
  for (uint32_t i = 0; i < peer->groups.size(); ++i) {
    groups.Set(i, peer->groups[i]);
  }
  result.Set("groups", groups);
  return result;
}

}  // namespace

void add_peers(Napi::Env env, Napi::Object& exports) { exports.Set("peerCredentials", Napi::Function::New(env, get_peer_credentials)); }

}  // namespace strata::addon
