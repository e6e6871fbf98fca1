// Looks into one layer, or into what several show together.
#include <algorithm>

#include "async.h"
#include "core/layer_browse.h"
#include "core/merged_view.h"

namespace strata::addon {

namespace {

Napi::Value entry_to_js(Napi::Env env, const LayerEntry& entry) {
  Napi::Object result = Napi::Object::New(env);
  result.Set("name", entry.name);
  result.Set("kind", layer_entry_kind_name(entry.kind));
  result.Set("sizeBytes", static_cast<double>(entry.size_bytes));
  result.Set("mode", entry.mode);
  result.Set("uid", entry.uid);
  result.Set("gid", entry.gid);
  result.Set("mtimeMs", entry.mtime_ms);
  if (entry.link_target) {
    result.Set("linkTarget", *entry.link_target);
  }
  if (entry.link_kind) {
    result.Set("linkKind", layer_entry_kind_name(*entry.link_kind));
  }
  if (entry.opaque) {
    result.Set("opaque", true);
  }
  return result;
}

Napi::Value listing_to_js(Napi::Env env, const LayerListing& listing) {
  Napi::Array entries = Napi::Array::New(env, listing.entries.size());
  for (uint32_t i = 0; i < listing.entries.size(); ++i) {
    entries.Set(i, entry_to_js(env, listing.entries[i]));
  }
  Napi::Object result = Napi::Object::New(env);
  result.Set("entries", entries);
  result.Set("truncated", listing.truncated);
  return result;
}

size_t limit_of(const Napi::Value& options) {
  return static_cast<size_t>(std::max(0.0, number_property(options, "limit").value_or(static_cast<double>(kMostListed))));
}

// Shared, so that the descriptor is closed when nobody is left to take it.
using Opened = std::shared_ptr<UniqueFd>;
Napi::Value descriptor_to_js(Napi::Env env, const Opened& fd) { return Napi::Number::New(env, fd->release()); }

Napi::Value list(const Napi::CallbackInfo& info) {
  std::string root = string_argument(info, 0, "root");
  std::string path = string_argument(info, 1, "path");
  if (info.Env().IsExceptionPending()) {
    return info.Env().Undefined();
  }
  const size_t limit = limit_of(info[2]);
  return run_async<LayerListing>(
      info.Env(), Where::kPool, [root = std::move(root), path = std::move(path), limit] { return list_layer(root, path, limit); }, listing_to_js);
}

Napi::Value stat(const Napi::CallbackInfo& info) {
  std::string root = string_argument(info, 0, "root");
  std::string path = string_argument(info, 1, "path");
  if (info.Env().IsExceptionPending()) {
    return info.Env().Undefined();
  }
  return run_async<LayerEntry>(
      info.Env(), Where::kPool, [root = std::move(root), path = std::move(path)] { return stat_layer(root, path); }, entry_to_js);
}

Napi::Value open_file(const Napi::CallbackInfo& info) {
  std::string root = string_argument(info, 0, "root");
  std::string path = string_argument(info, 1, "path");
  if (info.Env().IsExceptionPending()) {
    return info.Env().Undefined();
  }
  return run_async<Opened>(
      info.Env(), Where::kPool,
      [root = std::move(root), path = std::move(path)]() -> Result<Opened> { return std::make_shared<UniqueFd>(TRY(open_layer_file(root, path))); },
      descriptor_to_js);
}

Napi::Value list_merged(const Napi::CallbackInfo& info) {
  std::vector<std::string> layers = strings_argument(info, 0, "layers");
  std::string path = string_argument(info, 1, "path");
  if (info.Env().IsExceptionPending()) {
    return info.Env().Undefined();
  }
  const size_t limit = limit_of(info[2]);
  return run_async<LayerListing>(
      info.Env(), Where::kPool,
      [layers = std::move(layers), path = std::move(path), limit]() -> Result<LayerListing> { return TRY(MergedView::open(layers)).list(path, limit); }, listing_to_js);
}

Napi::Value stat_merged(const Napi::CallbackInfo& info) {
  std::vector<std::string> layers = strings_argument(info, 0, "layers");
  std::string path = string_argument(info, 1, "path");
  if (info.Env().IsExceptionPending()) {
    return info.Env().Undefined();
  }
  const bool follows = info[2].IsObject() && info[2].As<Napi::Object>().Get("follow").ToBoolean().Value();
  return run_async<LayerEntry>(
      info.Env(), Where::kPool,
      [layers = std::move(layers), path = std::move(path), follows]() -> Result<LayerEntry> { return TRY(MergedView::open(layers)).stat(path, follows); }, entry_to_js);
}

Napi::Value open_merged_file(const Napi::CallbackInfo& info) {
  std::vector<std::string> layers = strings_argument(info, 0, "layers");
  std::string path = string_argument(info, 1, "path");
  if (info.Env().IsExceptionPending()) {
    return info.Env().Undefined();
  }
  return run_async<Opened>(
      info.Env(), Where::kPool,
      [layers = std::move(layers), path = std::move(path)]() -> Result<Opened> {
        const MergedView view = TRY(MergedView::open(layers));
        return std::make_shared<UniqueFd>(TRY(view.open_file(path)));
      },
      descriptor_to_js);
}

}  // namespace

void add_browse(Napi::Env env, Napi::Object& exports) {
  exports.Set("listLayer", Napi::Function::New(env, list));
  exports.Set("statLayer", Napi::Function::New(env, stat));
  exports.Set("openLayerFile", Napi::Function::New(env, open_file));
  exports.Set("listMerged", Napi::Function::New(env, list_merged));
  exports.Set("statMerged", Napi::Function::New(env, stat_merged));
  exports.Set("openMergedFile", Napi::Function::New(env, open_merged_file));
}

}  // namespace strata::addon
