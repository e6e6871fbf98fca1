#include <algorithm>
#include <mutex>

#include "async.h"
#include "core/inflate.h"

namespace strata::addon {

namespace {

constexpr size_t kOutputBytes = 256 * 1024;

// One call at a time works on it; the mutex is for a caller that does not keep to that.
struct SharedInflater {
  std::mutex mutex;
  std::unique_ptr<Inflater> inflater;
};

struct Piece {
  size_t consumed = 0;
  std::vector<uint8_t> output;
};

const char* name_of(Compression compression) {
  switch (compression) {
    case Compression::kGzip:
      return "gzip";
    case Compression::kZstd:
      return "zstd";
    case Compression::kXz:
      return "xz";
    case Compression::kAuto:
    case Compression::kNone:
      break;
  }
  return "none";
}

class JsInflater : public Napi::ObjectWrap<JsInflater> {
 public:
  explicit JsInflater(const Napi::CallbackInfo& info) : Napi::ObjectWrap<JsInflater>(info), shared_(std::make_shared<SharedInflater>()) {
    if (!info[0].IsTypedArray() || info[0].As<Napi::TypedArray>().TypedArrayType() != napi_uint8_array) {
      throw_type_error(info.Env(), "head must be a Uint8Array");
      return;
    }
    const auto bytes = info[0].As<Napi::Uint8Array>();
    const std::span<const uint8_t> head(bytes.Data(), bytes.ByteLength());
    if (const char* other = unsupported_compression(head); other != nullptr) {
      const std::string tool = other;
      make_error(info.Env(), fail(EPROTONOSUPPORT, "inflate 'archive'", "it is compressed with " + tool + ", which is not supported: unpack it first, with " + tool + " -dc").error(),
                 {{EPROTONOSUPPORT, "UNSUPPORTED"}})
          .ThrowAsJavaScriptException();
      return;
    }
    compression_ = detect_compression(head);
    shared_->inflater = make_inflater(compression_);
  }

  static Napi::Function define(Napi::Env env) {
    return DefineClass(env, "Inflater",
                       {InstanceAccessor<&JsInflater::compression>("compression"), InstanceAccessor<&JsInflater::at_end>("atEnd"),
                        InstanceMethod("run", &JsInflater::run)});
  }

 private:
  Napi::Value compression(const Napi::CallbackInfo& info) { return Napi::String::New(info.Env(), name_of(compression_)); }

  Napi::Value at_end(const Napi::CallbackInfo& info) {
    const std::lock_guard lock(shared_->mutex);
    return Napi::Boolean::New(info.Env(), shared_->inflater->at_end());
  }

  Napi::Value run(const Napi::CallbackInfo& info) {
    const Napi::Env env = info.Env();
    if (!info[0].IsTypedArray() || info[0].As<Napi::TypedArray>().TypedArrayType() != napi_uint8_array) {
      throw_type_error(env, "input must be a Uint8Array");
      return env.Undefined();
    }
    const auto bytes = info[0].As<Napi::Uint8Array>();
    // No more of it than one piece of output needs: what is left comes again with the next call.
    std::vector<uint8_t> input(bytes.Data(), bytes.Data() + std::min(bytes.ByteLength(), kOutputBytes));
    return run_async<Piece>(
        env, Where::kPool,
        [shared = shared_, input = std::move(input)]() -> Result<Piece> {
          const std::lock_guard lock(shared->mutex);
          Piece piece{0, std::vector<uint8_t>(kOutputBytes)};
          size_t filled = 0;
          while (filled < piece.output.size()) {
            const std::span<const uint8_t> left(input.data() + piece.consumed, input.size() - piece.consumed);
            const auto progress = TRY(shared->inflater->run(left, {piece.output.data() + filled, piece.output.size() - filled}));
            piece.consumed += progress.consumed;
            filled += progress.produced;
            if (progress.consumed == 0 && progress.produced == 0) {
              break;
            }
          }
          piece.output.resize(filled);
          return piece;
        },
        [](Napi::Env js, const Piece& piece) -> Napi::Value {
          Napi::Object result = Napi::Object::New(js);
          result.Set("consumed", static_cast<double>(piece.consumed));
          result.Set("output", Napi::Buffer<uint8_t>::Copy(js, piece.output.data(), piece.output.size()));
          return result;
        },
        {{EBADMSG, "CORRUPT_ARCHIVE"}, {EPROTONOSUPPORT, "UNSUPPORTED"}});
  }

  std::shared_ptr<SharedInflater> shared_;
  Compression compression_ = Compression::kNone;
};

}  // namespace

void add_inflater(Napi::Env env, Napi::Object& exports) { exports.Set("Inflater", JsInflater::define(env)); }

}  // namespace strata::addon
