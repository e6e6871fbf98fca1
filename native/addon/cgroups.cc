#include "async.h"
#include "core/cgroup.h"
#include "core/cgroup_freezer.h"
#include "core/cgroup_limits.h"

namespace strata::addon {

namespace {

constexpr double kMostSafeInteger = 9007199254740991.0;

// Every refusal of a limit is one code; the rest (a cgroup that is gone) keeps its errno.
const CodeNames& limit_codes() {
  static const CodeNames names{{EINVAL, "LIMIT_REJECTED"}, {ERANGE, "LIMIT_REJECTED"}, {EBUSY, "LIMIT_REJECTED"}, {ENOTSUP, "LIMIT_REJECTED"},
                               {EACCES, "LIMIT_REJECTED"}, {EPERM, "LIMIT_REJECTED"}, {ENOSPC, "LIMIT_REJECTED"}, {E2BIG, "LIMIT_REJECTED"}};
  return names;
}

Result<Cgroup> open_cgroup(const std::string& path) {
  const CgroupHost host = TRY(CgroupHost::probe());
  return Cgroup::open(host, path);
}

Napi::Value get_cgroup_host(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const auto host = CgroupHost::probe();
  if (!host) {
    make_error(env, host.error()).ThrowAsJavaScriptException();
    return env.Undefined();
  }
  Napi::Object result = Napi::Object::New(env);
  result.Set("mode", cgroup_mode_name(host->mode()));
  Napi::Array controllers = Napi::Array::New(env);
  for (const std::string& name : host->controllers()) {
    controllers.Set(controllers.Length(), name);
  }
  result.Set("controllers", controllers);
  Napi::Object mounts = Napi::Object::New(env);
  for (const CgroupHierarchy& hierarchy : host->hierarchies()) {
    if (hierarchy.unified) {
      mounts.Set("", hierarchy.mount_point);
      continue;
    }
    for (const std::string& name : hierarchy.controllers) {
      mounts.Set(name, hierarchy.mount_point);
    }
  }
  result.Set("mounts", mounts);
  result.Set("swapAccounting", host->swap_accounting());
  result.Set("psi", host->psi());
  return result;
}

Napi::Value get_limits(const Napi::CallbackInfo& info) {
  std::string path = string_argument(info, 0, "cgroup");
  if (info.Env().IsExceptionPending()) {
    return info.Env().Undefined();
  }
  return run_async<CgroupLimits>(
      info.Env(), Where::kPool,
      [path = std::move(path)]() -> Result<CgroupLimits> {
        const Cgroup cgroup = TRY(open_cgroup(path));
        return read_limits(cgroup);
      },
      [](Napi::Env env, const CgroupLimits& limits) -> Napi::Value {
        const auto text = [&](const std::optional<std::string>& value) { return value ? Napi::Value(Napi::String::New(env, *value)) : env.Null(); };
        Napi::Object result = Napi::Object::New(env);
        result.Set("cpuQuotaUs", limits.cpu_quota_us ? Napi::Value(Napi::Number::New(env, static_cast<double>(*limits.cpu_quota_us))) : env.Null());
        result.Set("cpuPeriodUs", static_cast<double>(limits.cpu_period_us));
        result.Set("cpuWeight", static_cast<double>(limits.cpu_weight));
        result.Set("cpusetCpus", text(limits.cpuset_cpus));
        result.Set("cpusetMems", text(limits.cpuset_mems));
        result.Set("memoryMaxBytes", or_null(env, limits.memory_max_bytes));
        result.Set("memorySwapMaxBytes", or_null(env, limits.memory_swap_max_bytes));
        result.Set("pidsMax", or_null(env, limits.pids_max));
        return result;
      });
}

// Absent and undefined: not named. Throws a TypeError for what is no whole number of at least `least`.
template <typename Number>
std::optional<std::optional<Number>> nullable_number(const Napi::Object& object, const char* name) {
  const Napi::Value value = object.Get(name);
  if (value.IsUndefined()) {
    return std::nullopt;
  }
  if (value.IsNull()) {
    return std::optional<Number>();
  }
  const double number = value.IsNumber() ? value.As<Napi::Number>().DoubleValue() : -1;
  if (!(number >= 0 && number <= kMostSafeInteger) || number != static_cast<double>(static_cast<int64_t>(number))) {
    throw_type_error(object.Env(), std::string(name) + " must be null or a whole number that is not negative");
    return std::nullopt;
  }
  return std::optional<Number>(static_cast<Number>(number));
}

std::optional<uint64_t> plain_number(const Napi::Object& object, const char* name) {
  const auto value = nullable_number<uint64_t>(object, name);
  if (value && !*value) {
    throw_type_error(object.Env(), std::string(name) + " must be a number");
  }
  return value ? *value : std::nullopt;
}

std::optional<std::optional<std::string>> nullable_text(const Napi::Object& object, const char* name) {
  const Napi::Value value = object.Get(name);
  if (value.IsUndefined()) {
    return std::nullopt;
  }
  if (value.IsNull()) {
    return std::optional<std::string>();
  }
  if (!value.IsString()) {
    throw_type_error(object.Env(), std::string(name) + " must be null or a string");
    return std::nullopt;
  }
  return std::optional<std::string>(value.As<Napi::String>().Utf8Value());
}

Napi::Value set_limits(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  std::string path = string_argument(info, 0, "cgroup");
  if (!info[1].IsObject()) {
    throw_type_error(env, "limits must be an object");
  }
  if (env.IsExceptionPending()) {
    return env.Undefined();
  }
  const auto object = info[1].As<Napi::Object>();
  CgroupLimitsChange change;
  change.cpu_quota_us = nullable_number<int64_t>(object, "cpuQuotaUs");
  change.cpu_period_us = plain_number(object, "cpuPeriodUs");
  change.cpu_weight = plain_number(object, "cpuWeight");
  change.cpuset_cpus = nullable_text(object, "cpusetCpus");
  change.cpuset_mems = nullable_text(object, "cpusetMems");
  change.memory_max_bytes = nullable_number<uint64_t>(object, "memoryMaxBytes");
  change.memory_swap_max_bytes = nullable_number<uint64_t>(object, "memorySwapMaxBytes");
  change.pids_max = nullable_number<uint64_t>(object, "pidsMax");
  if (env.IsExceptionPending()) {
    return env.Undefined();
  }
  return run_async_void(
      env, Where::kPool,
      [path = std::move(path), change = std::move(change)]() -> Status {
        const Cgroup cgroup = TRY(open_cgroup(path));
        return write_limits(cgroup, change);
      },
      limit_codes());
}

Napi::Value get_processes(const Napi::CallbackInfo& info) {
  std::string path = string_argument(info, 0, "cgroup");
  if (info.Env().IsExceptionPending()) {
    return info.Env().Undefined();
  }
  using Pids = std::vector<pid_t>;
  return run_async<Pids>(
      info.Env(), Where::kPool,
      [path = std::move(path)]() -> Result<Pids> {
        const auto cgroup = open_cgroup(path);
        if (!cgroup && cgroup.error().errno_value == ENOENT) {
          return Pids{};
        }
        return cgroup ? cgroup->processes() : Result<Pids>(std::unexpected(cgroup.error()));
      },
      [](Napi::Env env, const Pids& pids) -> Napi::Value {
        Napi::Array result = Napi::Array::New(env, pids.size());
        for (uint32_t i = 0; i < pids.size(); ++i) {
          result.Set(i, pids[i]);
        }
        return result;
      });
}

Napi::Value destroy(const Napi::CallbackInfo& info) {
  std::string path = string_argument(info, 0, "cgroup");
  if (info.Env().IsExceptionPending()) {
    return info.Env().Undefined();
  }
  const int timeout_ms = static_cast<int>(number_property(info[1], "timeoutMs").value_or(10000));
  // Waits for processes to die: not in the pool.
  return run_async_void(info.Env(), Where::kCgroup, [path = std::move(path), timeout_ms]() -> Status {
    auto cgroup = open_cgroup(path);
    if (!cgroup) {
      return cgroup.error().errno_value == ENOENT ? Status{} : Status(std::unexpected(cgroup.error()));
    }
    return cgroup->destroy(timeout_ms);
  });
}

Napi::Value get_frozen(const Napi::CallbackInfo& info) {
  std::string path = string_argument(info, 0, "cgroup");
  if (info.Env().IsExceptionPending()) {
    return info.Env().Undefined();
  }
  return run_async<bool>(
      info.Env(), Where::kPool,
      [path = std::move(path)]() -> Result<bool> { return is_frozen(TRY(open_cgroup(path))); },
      [](Napi::Env env, const bool& frozen) -> Napi::Value { return Napi::Boolean::New(env, frozen); });
}

Napi::Value change_frozen(const Napi::CallbackInfo& info) {
  std::string path = string_argument(info, 0, "cgroup");
  if (!info[1].IsBoolean()) {
    throw_type_error(info.Env(), "frozen must be a boolean");
  }
  if (info.Env().IsExceptionPending()) {
    return info.Env().Undefined();
  }
  const bool frozen = info[1].As<Napi::Boolean>().Value();
  // Waits for processes to stand still: not in the pool.
  return run_async_void(info.Env(), Where::kCgroup, [path = std::move(path), frozen]() -> Status { return set_frozen(TRY(open_cgroup(path)), frozen); });
}

Napi::Value get_children(const Napi::CallbackInfo& info) {
  std::string path = string_argument(info, 0, "cgroup");
  if (info.Env().IsExceptionPending()) {
    return info.Env().Undefined();
  }
  using Names = std::vector<std::string>;
  return run_async<Names>(
      info.Env(), Where::kPool,
      [path = std::move(path)]() -> Result<Names> {
        const CgroupHost host = TRY(CgroupHost::probe());
        return cgroup_children(host, path);
      },
      [](Napi::Env env, const Names& names) -> Napi::Value {
        Napi::Array result = Napi::Array::New(env, names.size());
        for (uint32_t i = 0; i < names.size(); ++i) {
          result.Set(i, names[i]);
        }
        return result;
      });
}

}  // namespace

void add_cgroups(Napi::Env env, Napi::Object& exports) {
  exports.Set("cgroupHost", Napi::Function::New(env, get_cgroup_host));
  exports.Set("readLimits", Napi::Function::New(env, get_limits));
  exports.Set("writeLimits", Napi::Function::New(env, set_limits));
  exports.Set("cgroupProcesses", Napi::Function::New(env, get_processes));
  exports.Set("destroyCgroup", Napi::Function::New(env, destroy));
  exports.Set("isFrozen", Napi::Function::New(env, get_frozen));
  exports.Set("setFrozen", Napi::Function::New(env, change_frozen));
  exports.Set("cgroupChildren", Napi::Function::New(env, get_children));
}

}  // namespace strata::addon
