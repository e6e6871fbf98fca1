#include <fcntl.h>

#include <atomic>

#include "async.h"
#include "core/layer_apply.h"
#include "core/layer_copy.h"
#include "core/layer_pack.h"
#include "core/tree.h"

namespace strata::addon {

namespace {

const CodeNames& archive_codes() {
  static const CodeNames names{{EBADMSG, "CORRUPT_ARCHIVE"}, {EXDEV, "UNSAFE_PATH"}, {E2BIG, "LIMIT_REJECTED"}, {EFBIG, "LIMIT_REJECTED"}, {EPROTONOSUPPORT, "UNSUPPORTED"}};
  return names;
}

Result<UniqueFd> open_directory(const std::string& path) {
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd) {
    return fail_errno("open '" + path + "'");
  }
  return fd;
}

bool read_apply_options(const Napi::Value& value, ApplyOptions& options, const Flag& cancelled) {
  const Napi::Env env = value.Env();
  if (!value.IsObject()) {
    throw_type_error(env, "options must be an object");
    return false;
  }
  const auto object = value.As<Napi::Object>();
  const Napi::Value compression = object.Get("compression");
  if (compression.IsString()) {
    const std::string name = compression.As<Napi::String>().Utf8Value();
    options.compression = name == "gzip" ? Compression::kGzip : name == "zstd" ? Compression::kZstd : name == "none" ? Compression::kNone : Compression::kAuto;
    if (options.compression == Compression::kAuto && name != "auto") {
      throw_type_error(env, "compression must be auto, none, gzip or zstd");
      return false;
    }
  }
  options.whiteouts = object.Get("whiteouts").ToBoolean().Value();
  if (const auto most = number_property(value, "maxEntries"); most && *most >= 0) {
    options.max_entries = static_cast<uint64_t>(*most);
  }
  if (const auto most = number_property(value, "maxBytes"); most && *most >= 0) {
    options.max_bytes = static_cast<uint64_t>(*most);
  }
  if (const auto least = number_property(value, "leastSourceBytes"); least && *least >= 0) {
    options.least_source_bytes = static_cast<uint64_t>(*least);
  }
  follow_signal(object.Get("signal"), cancelled);
  options.cancelled = cancelled.get();
  return !env.IsExceptionPending();
}

Napi::Value applied_to_js(Napi::Env env, const AppliedLayer& layer) {
  Napi::Object result = Napi::Object::New(env);
  result.Set("diffId", layer.diff_id);
  result.Set("digest", layer.digest);
  result.Set("compressedBytes", static_cast<double>(layer.compressed_bytes));
  result.Set("sizeBytes", static_cast<double>(layer.size_bytes));
  result.Set("entries", static_cast<double>(layer.entries));
  return result;
}

Napi::Value apply(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  int source_fd = -1;
  std::string source_path;
  if (info[0].IsNumber()) {
    // A copy of the descriptor: the caller may close its own meanwhile.
    source_fd = ::fcntl(info[0].As<Napi::Number>().Int32Value(), F_DUPFD_CLOEXEC, 3);
    if (source_fd < 0) {
      make_error(env, fail_errno("dup 'source'").error()).ThrowAsJavaScriptException();
      return env.Undefined();
    }
  } else {
    source_path = string_argument(info, 0, "source");
  }
  auto source = std::make_shared<UniqueFd>(source_fd);
  std::string destination = string_argument(info, 1, "destination");
  auto cancelled = std::make_shared<std::atomic<bool>>(false);
  ApplyOptions options;
  if (env.IsExceptionPending() || !read_apply_options(info[2], options, cancelled)) {
    return env.Undefined();
  }
  return run_async<AppliedLayer>(
      env, Where::kTree,
      [=]() -> Result<AppliedLayer> {
        if (!source->valid()) {
          *source = TRY(open_archive(source_path));
        }
        const UniqueFd directory = TRY(open_directory(destination));
        (void)cancelled;  // options points into it
        return apply_layer(source->get(), directory.get(), options);
      },
      applied_to_js, archive_codes());
}

std::vector<std::string> strings_property(const Napi::Object& object, const char* name) {
  std::vector<std::string> strings;
  const Napi::Value value = object.Get(name);
  if (!value.IsArray()) {
    return strings;
  }
  const auto array = value.As<Napi::Array>();
  for (uint32_t i = 0; i < array.Length(); ++i) {
    const Napi::Value element = array[i];
    strings.push_back(element.ToString().Utf8Value());
  }
  return strings;
}

Napi::Value merge(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  std::vector<std::string> sources = strings_argument(info, 0, "layers");
  std::string destination = string_argument(info, 1, "destination");
  if (env.IsExceptionPending()) {
    return env.Undefined();
  }
  auto cancelled = std::make_shared<std::atomic<bool>>(false);
  bool over_base = false;
  if (info[2].IsObject()) {
    over_base = info[2].As<Napi::Object>().Get("overBase").ToBoolean().Value();
    follow_signal(info[2].As<Napi::Object>().Get("signal"), cancelled);
  }
  return run_async<AppliedLayer>(
      env, Where::kTree,
      [=]() -> Result<AppliedLayer> {
        std::vector<UniqueFd> opened;
        std::vector<int> layers;
        for (const std::string& source : sources) {
          opened.push_back(TRY(open_directory(source)));
          layers.push_back(opened.back().get());
        }
        const UniqueFd to = TRY(open_directory(destination));
        return merge_layers(layers, over_base, to.get(), cancelled.get());
      },
      applied_to_js, archive_codes());
}

Napi::Value copy(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  std::string source = string_argument(info, 0, "source");
  std::string destination = string_argument(info, 1, "destination");
  if (env.IsExceptionPending()) {
    return env.Undefined();
  }
  auto cancelled = std::make_shared<std::atomic<bool>>(false);
  LayerCopyOptions options;
  options.cancelled = cancelled.get();
  if (info[2].IsObject()) {
    options.sockets_hide = info[2].As<Napi::Object>().Get("socketsHide").ToBoolean().Value();
    options.changes = info[2].As<Napi::Object>().Get("changes").ToBoolean().Value();
    options.left_out = strings_property(info[2].As<Napi::Object>(), "leftOut");
    follow_signal(info[2].As<Napi::Object>().Get("signal"), cancelled);
  }
  return run_async<AppliedLayer>(
      env, Where::kTree,
      [=]() -> Result<AppliedLayer> {
        const UniqueFd from = TRY(open_directory(source));
        const UniqueFd to = TRY(open_directory(destination));
        (void)cancelled;  // options points into it
        return copy_layer(from.get(), to.get(), options);
      },
      applied_to_js, archive_codes());
}

bool read_pack_options(const Napi::Object& object, PackOptions& options, const Flag& cancelled) {
  const Napi::Value compression = object.Get("compression");
  if (compression.IsString()) {
    const std::string name = compression.As<Napi::String>().Utf8Value();
    if (name != "none" && name != "gzip") {
      throw_type_error(object.Env(), "compression must be none or gzip");
      return false;
    }
    options.compression = name == "gzip" ? Compression::kGzip : Compression::kNone;
  }
  options.sockets_hide = object.Get("socketsHide").ToBoolean().Value();
  options.changes = object.Get("changes").ToBoolean().Value();
  options.left_out = strings_property(object, "leftOut");
  if (const auto most = number_property(object, "maxEntries"); most && *most >= 0) {
    options.max_entries = static_cast<uint64_t>(*most);
  }
  if (const auto most = number_property(object, "maxBytes"); most && *most >= 0) {
    options.max_bytes = static_cast<uint64_t>(*most);
  }
  follow_signal(object.Get("signal"), cancelled);
  return !object.Env().IsExceptionPending();
}

Napi::Value pack(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  std::string path = string_argument(info, 0, "source");
  if (!info[1].IsNumber()) {
    throw_type_error(env, "fd must be a number");
  }
  if (env.IsExceptionPending()) {
    return env.Undefined();
  }
  auto cancelled = std::make_shared<std::atomic<bool>>(false);
  PackOptions options;
  options.cancelled = cancelled.get();
  if (info[2].IsObject() && !read_pack_options(info[2].As<Napi::Object>(), options, cancelled)) {
    return env.Undefined();
  }
  auto output = std::make_shared<UniqueFd>(::fcntl(info[1].As<Napi::Number>().Int32Value(), F_DUPFD_CLOEXEC, 3));
  if (!output->valid()) {
    make_error(env, fail_errno("dup 'fd'").error()).ThrowAsJavaScriptException();
    return env.Undefined();
  }
  return run_async<PackedDirectory>(
      env, Where::kTree,
      [path = std::move(path), output, cancelled, options]() -> Result<PackedDirectory> {
        const UniqueFd directory = TRY(open_directory(path));
        (void)cancelled;  // options points into it
        return pack_directory(directory.get(), output->get(), options);
      },
      [](Napi::Env js, const PackedDirectory& packed) -> Napi::Value {
        Napi::Object result = Napi::Object::New(js);
        result.Set("entries", static_cast<double>(packed.entries));
        result.Set("bytes", static_cast<double>(packed.bytes));
        result.Set("sizeBytes", static_cast<double>(packed.size_bytes));
        result.Set("diffId", packed.diff_id);
        result.Set("digest", packed.digest);
        result.Set("blobBytes", static_cast<double>(packed.blob_bytes));
        return result;
      },
      {{E2BIG, "LIMIT_REJECTED"}, {EPROTONOSUPPORT, "UNSUPPORTED"}});
}

Napi::Value remove(const Napi::CallbackInfo& info) {
  std::string path = string_argument(info, 0, "path");
  if (info.Env().IsExceptionPending()) {
    return info.Env().Undefined();
  }
  return run_async_void(info.Env(), Where::kTree, [path = std::move(path)] { return remove_tree(path); });
}

// One call for a whole unpacked tree: an fsync of each of its files would cost a journal commit each.
Napi::Value sync(const Napi::CallbackInfo& info) {
  if (!info[0].IsNumber()) {
    throw_type_error(info.Env(), "fd must be a number");
    return info.Env().Undefined();
  }
  // A duplicate is the same open file, which is what the kernel remembers by which errors were told.
  auto directory = std::make_shared<UniqueFd>(::fcntl(info[0].As<Napi::Number>().Int32Value(), F_DUPFD_CLOEXEC, 3));
  if (!directory->valid()) {
    make_error(info.Env(), fail_errno("dup 'fd'").error()).ThrowAsJavaScriptException();
    return info.Env().Undefined();
  }
  return run_async_void(info.Env(), Where::kTree, [directory]() -> Status {
    if (::syncfs(directory->get()) < 0) {
      return fail_errno("sync the file system");
    }
    return {};
  });
}

Napi::Value usage(const Napi::CallbackInfo& info) {
  std::string path = string_argument(info, 0, "path");
  if (info.Env().IsExceptionPending()) {
    return info.Env().Undefined();
  }
  const double most = number_property(info[1], "maxEntries").value_or(-1);
  const uint64_t most_entries = most >= 0 ? static_cast<uint64_t>(most) : UINT64_MAX;
  return run_async<TreeUsage>(
      info.Env(), Where::kTree, [path = std::move(path), most_entries] { return tree_usage(path, most_entries); },
      [](Napi::Env env, const TreeUsage& tree) -> Napi::Value {
        Napi::Object result = Napi::Object::New(env);
        result.Set("sizeBytes", static_cast<double>(tree.size_bytes));
        result.Set("entries", static_cast<double>(tree.entries));
        result.Set("complete", tree.complete);
        return result;
      });
}

}  // namespace

void add_layers(Napi::Env env, Napi::Object& exports) {
  exports.Set("applyLayer", Napi::Function::New(env, apply));
  exports.Set("copyLayer", Napi::Function::New(env, copy));
  exports.Set("mergeLayers", Napi::Function::New(env, merge));
  exports.Set("packDirectory", Napi::Function::New(env, pack));
  exports.Set("removeTree", Napi::Function::New(env, remove));
  exports.Set("syncFileSystem", Napi::Function::New(env, sync));
  exports.Set("treeUsage", Napi::Function::New(env, usage));
}

}  // namespace strata::addon
