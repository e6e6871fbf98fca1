#include "async.h"
#include "core/directory_watch.h"

namespace strata::addon {

namespace {

class JsDirectoryWatch : public Napi::ObjectWrap<JsDirectoryWatch> {
 public:
  // It watches once this has returned; two system calls.
  explicit JsDirectoryWatch(const Napi::CallbackInfo& info) : Napi::ObjectWrap<JsDirectoryWatch>(info) {
    const std::string path = string_argument(info, 0, "path");
    if (info.Env().IsExceptionPending()) {
      return;
    }
    auto opened = DirectoryWatch::open(path);
    if (!opened) {
      make_error(info.Env(), opened.error(), {{EOPNOTSUPP, "UNSUPPORTED"}, {EXDEV, "UNSUPPORTED"}, {ENOSYS, "UNSUPPORTED"}, {EINVAL, "UNSUPPORTED"}}).ThrowAsJavaScriptException();
      return;
    }
    watch_ = std::make_shared<DirectoryWatch>(std::move(*opened));
  }
  ~JsDirectoryWatch() override { cancel(); }

  static Napi::Function define(Napi::Env env) {
    return DefineClass(env, "DirectoryWatch", {InstanceMethod("changed", &JsDirectoryWatch::changed), InstanceMethod("close", &JsDirectoryWatch::close)});
  }

 private:
  Napi::Value changed(const Napi::CallbackInfo& info) {
    if (!watch_ || is_waited_for_) {
      throw_type_error(info.Env(), "a watch is waited for once");
      return info.Env().Undefined();
    }
    is_waited_for_ = true;
    return run_async<bool>(info.Env(), Where::kWatch, [watch = watch_] { return watch->wait(); }, [](Napi::Env env, const bool& changed) -> Napi::Value { return Napi::Boolean::New(env, changed); });
  }

  void close(const Napi::CallbackInfo&) { cancel(); }

  void cancel() {
    if (watch_) {
      watch_->cancel();
    }
    watch_.reset();
  }

  std::shared_ptr<DirectoryWatch> watch_;
  bool is_waited_for_ = false;
};

}  // namespace

void add_watches(Napi::Env env, Napi::Object& exports) { exports.Set("DirectoryWatch", JsDirectoryWatch::define(env)); }

}  // namespace strata::addon
