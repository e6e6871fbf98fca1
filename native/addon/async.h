// From JS to a worker and back: values are copied into plain structs on the JS thread, `work` touches neither Node nor JS, and one promise is settled.
#pragma once

#include <napi.h>

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/error.h"
#include "core/worker_pool.h"

namespace strata::addon {

// What an errno of the core means in one group of functions, where it has a name of Strata's own.
using CodeNames = std::vector<std::pair<int, const char*>>;

// A NativeError (index.d.ts): code, errno, syscall, path and hint. "verb 'object'" in `what` gives syscall and path.
[[nodiscard]] Napi::Error make_error(Napi::Env env, const Error& error, const CodeNames& names = {});

// A TypeError for arguments of the wrong kind; the facade in TypeScript never makes such calls.
void throw_type_error(Napi::Env env, const std::string& message);

// Reads of arguments. Each throws a TypeError and gives a default where the value is of another kind; look at env.IsExceptionPending().
[[nodiscard]] std::string string_argument(const Napi::CallbackInfo& info, size_t index, const char* name);
[[nodiscard]] std::vector<std::string> strings_argument(const Napi::CallbackInfo& info, size_t index, const char* name);
[[nodiscard]] std::optional<double> number_property(const Napi::Value& object, const char* name);

[[nodiscard]] inline Napi::Value or_null(Napi::Env env, const std::optional<uint64_t>& value) {
  return value ? Napi::Value(Napi::Number::New(env, static_cast<double>(*value))) : env.Null();
}

using Flag = std::shared_ptr<std::atomic<bool>>;

// Sets the flag when the signal (undefined: none) aborts. The listener keeps the flag, not the work.
void follow_signal(const Napi::Value& signal, const Flag& cancelled);

// Each of its own threads but the first, so that what takes long in one never holds up the others: many imports no start, many starts no end.
enum class Where {
  kPool,     // libuv's: short, never waiting for anybody
  kProgram,  // waits for a program
  kCgroup,   // waits for processes to end
  kTree,     // as long as a tree or an archive is large
  kWatch,    // waits for something to change
};

// The threads of one Node environment (its instance data).
struct Workers {
  WorkerPool programs{32}, cgroups{16}, trees{16}, watches{64};

  [[nodiscard]] WorkerPool& of(Where where) {
    return where == Where::kProgram ? programs : where == Where::kCgroup ? cgroups : where == Where::kWatch ? watches : trees;
  }
};

namespace detail {

template <typename T>
struct Task {
  std::function<Result<T>()> work;
  std::function<Napi::Value(Napi::Env, const T&)> convert;
  CodeNames names;
  Napi::Promise::Deferred deferred;
  std::optional<Result<T>> result;
  napi_async_work pool_work = nullptr;

  void settle(Napi::Env env) {
    const Napi::HandleScope scope(env);
    if (*result) {
      deferred.Resolve(convert(env, **result));
    } else {
      deferred.Reject(make_error(env, result->error(), names).Value());
    }
  }
};

template <typename T>
void run_in_pool(Napi::Env env, std::unique_ptr<Task<T>> task) {
  Task<T>* raw = task.release();
  const auto execute = [](napi_env, void* data) {
    auto* self = static_cast<Task<T>*>(data);
    self->result = self->work();
  };
  const auto complete = [](napi_env raw_env, napi_status status, void* data) {
    const std::unique_ptr<Task<T>> self(static_cast<Task<T>*>(data));
    napi_delete_async_work(raw_env, self->pool_work);
    if (status != napi_cancelled) {
      self->settle(Napi::Env(raw_env));
    }
  };
  napi_create_async_work(env, nullptr, Napi::String::New(env, "strata"), execute, complete, raw, &raw->pool_work);
  napi_queue_async_work(env, raw->pool_work);
}

template <typename T>
void run_in_thread(Napi::Env env, Where where, std::unique_ptr<Task<T>> task) {
  const std::shared_ptr<Task<T>> shared(std::move(task));
  Napi::ThreadSafeFunction back = Napi::ThreadSafeFunction::New(env, Napi::Function(), "strata", 0, 1);
  auto taken = env.GetInstanceData<Workers>()->of(where).submit([shared, back]() mutable {
    shared->result = shared->work();
    // The promise's handle may only be touched, and freed, on the JS thread. Where the environment has ended, nobody waits any more.
    auto* held = new std::shared_ptr<Task<T>>(std::move(shared));
    const napi_status status = back.BlockingCall(held, [](Napi::Env js, Napi::Function, std::shared_ptr<Task<T>>* data) {
      if (js != nullptr) {
        (*data)->settle(js);
      }
      delete data;
    });
    if (status == napi_ok) {
      back.Release();
    }
  });
  if (!taken) {
    back.Release();
    shared->result = std::unexpected(std::move(taken).error());
    shared->settle(env);
  }
}

}  // namespace detail

// Runs `work` off the JS thread and settles the promise with what `convert` makes of its result; EAGAIN where no thread can be had.
template <typename T>
Napi::Value run_async(Napi::Env env, Where where, std::function<Result<T>()> work, std::function<Napi::Value(Napi::Env, const T&)> convert,
                      CodeNames names = {}) {
  auto task = std::unique_ptr<detail::Task<T>>(
      new detail::Task<T>{std::move(work), std::move(convert), std::move(names), Napi::Promise::Deferred::New(env), std::nullopt, nullptr});
  const Napi::Promise promise = task->deferred.Promise();
  if (where == Where::kPool) {
    detail::run_in_pool(env, std::move(task));
  } else {
    detail::run_in_thread(env, where, std::move(task));
  }
  return promise;
}

// For work without a result.
Napi::Value run_async_void(Napi::Env env, Where where, std::function<Status()> work, CodeNames names = {});

// Each group adds its functions.
void add_peers(Napi::Env env, Napi::Object& exports);
void add_supervisors(Napi::Env env, Napi::Object& exports);
void add_cgroups(Napi::Env env, Napi::Object& exports);
void add_sampler(Napi::Env env, Napi::Object& exports);
void add_layers(Napi::Env env, Napi::Object& exports);
void add_browse(Napi::Env env, Napi::Object& exports);
void add_inflater(Napi::Env env, Napi::Object& exports);
void add_layer_index(Napi::Env env, Napi::Object& exports);
void add_host(Napi::Env env, Napi::Object& exports);
void add_watches(Napi::Env env, Napi::Object& exports);

}  // namespace strata::addon
