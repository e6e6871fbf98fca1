#include <mutex>

#include "async.h"
#include "core/cgroup_figures.h"

namespace strata::addon {

namespace {

using Batch = std::vector<std::optional<CgroupFigures>>;

Napi::Value to_js(Napi::Env env, const CgroupFigures& figures) {
  Napi::Object result = Napi::Object::New(env);
  const auto set = [&](const char* name, uint64_t value) { result.Set(name, static_cast<double>(value)); };
  set("atNs", figures.at_ns);
  set("cpuUsageUs", figures.cpu_usage_us);
  set("cpuUserUs", figures.cpu_user_us);
  set("cpuSystemUs", figures.cpu_system_us);
  set("throttledPeriods", figures.throttled_periods);
  set("totalPeriods", figures.total_periods);
  set("throttledUs", figures.throttled_us);
  set("memoryBytes", figures.memory_bytes);
  set("memoryUsageBytes", figures.memory_usage_bytes);
  set("memoryAnonBytes", figures.memory_anon_bytes);
  set("memoryFileBytes", figures.memory_file_bytes);
  result.Set("memoryPeakBytes", or_null(env, figures.memory_peak_bytes));
  result.Set("memoryMaxBytes", or_null(env, figures.memory_max_bytes));
  result.Set("swapBytes", or_null(env, figures.swap_bytes));
  set("oomKills", figures.oom_kills);
  set("pids", figures.pids);
  result.Set("pidsMax", or_null(env, figures.pids_max));
  set("ioReadBytes", figures.io_read_bytes);
  set("ioWriteBytes", figures.io_write_bytes);
  return result;
}

// The core's sampler serves one thread at a time; workers and the JS thread share it under the mutex.
struct SharedSampler {
  std::mutex mutex;
  std::optional<CgroupSampler> sampler;  // made by the first sample, where errors can be told; empty again after close()
  bool closed = false;
};

class JsCgroupSampler : public Napi::ObjectWrap<JsCgroupSampler> {
 public:
  explicit JsCgroupSampler(const Napi::CallbackInfo& info) : Napi::ObjectWrap<JsCgroupSampler>(info), shared_(std::make_shared<SharedSampler>()) {}

  static Napi::Function define(Napi::Env env) {
    return DefineClass(env, "CgroupSampler",
                       {InstanceMethod("sample", &JsCgroupSampler::sample), InstanceMethod("retain", &JsCgroupSampler::retain),
                        InstanceMethod("close", &JsCgroupSampler::close)});
  }

 private:
  Napi::Value sample(const Napi::CallbackInfo& info) {
    std::vector<std::string> paths = strings_argument(info, 0, "cgroups");
    if (info.Env().IsExceptionPending()) {
      return info.Env().Undefined();
    }
    return run_async<Batch>(
        info.Env(), Where::kPool,
        [shared = shared_, paths = std::move(paths)]() -> Result<Batch> {
          const std::lock_guard lock(shared->mutex);
          if (shared->closed) {
            return fail(EBADF, "sample 'cgroups'", "the sampler was closed");
          }
          if (!shared->sampler) {
            shared->sampler.emplace(TRY(CgroupHost::probe()));
          }
          return shared->sampler->sample(paths);
        },
        [](Napi::Env env, const Batch& batch) -> Napi::Value {
          Napi::Array result = Napi::Array::New(env, batch.size());
          for (uint32_t i = 0; i < batch.size(); ++i) {
            result.Set(i, batch[i] ? to_js(env, *batch[i]) : env.Null());
          }
          return result;
        });
  }

  void retain(const Napi::CallbackInfo& info) {
    const std::vector<std::string> paths = strings_argument(info, 0, "cgroups");
    const std::lock_guard lock(shared_->mutex);
    if (!info.Env().IsExceptionPending() && shared_->sampler) {
      shared_->sampler->retain(paths);
    }
  }

  void close(const Napi::CallbackInfo&) {
    const std::lock_guard lock(shared_->mutex);
    shared_->sampler.reset();
    shared_->closed = true;
  }

  std::shared_ptr<SharedSampler> shared_;
};

}  // namespace

void add_sampler(Napi::Env env, Napi::Object& exports) { exports.Set("CgroupSampler", JsCgroupSampler::define(env)); }

}  // namespace strata::addon
