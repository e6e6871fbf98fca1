#include "core/layer_index.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>

#include "async.h"
#include "core/layer_efficiency.h"
#include "core/layer_query.h"

namespace strata::addon {

namespace {

using Shared = std::shared_ptr<const LayerIndex>;

const CodeNames& index_codes() {
  static const CodeNames names{{E2BIG, "LIMIT_REJECTED"}};
  return names;
}

const char* kind_name(IndexedKind kind) {
  switch (kind) {
    case IndexedKind::kFile:
      return "file";
    case IndexedKind::kDirectory:
      return "directory";
    case IndexedKind::kSymlink:
      return "symlink";
    case IndexedKind::kWhiteout:
      return "whiteout";
    case IndexedKind::kOther:
      break;
  }
  return "other";
}

Napi::Value totals_to_js(Napi::Env env, const LayerTotals& totals) {
  Napi::Object result = Napi::Object::New(env);
  const std::pair<const char*, uint64_t> figures[] = {
      {"entries", totals.entries},          {"whiteouts", totals.whiteouts},    {"opaque", totals.opaque},
      {"redirects", totals.redirects},      {"metacopies", totals.metacopies},  {"storedBytes", totals.stored_bytes},
      {"seenBytes", totals.seen_bytes},     {"cumulativeBytes", totals.cumulative_bytes}};
  for (const auto& [name, value] : figures) {
    result.Set(name, static_cast<double>(value));
  }
  return result;
}

struct Efficiency {
  DiveEfficiency dive;
  WastedPaths wasted;
};

struct Selected {
  std::vector<QueryResult> results;
};

std::vector<std::string> texts_of(const Napi::Object& object, const char* name) {
  std::vector<std::string> texts;
  const Napi::Value value = object.Get(name);
  if (value.IsArray()) {
    const auto array = value.As<Napi::Array>();
    for (uint32_t at = 0; at < array.Length(); ++at) {
      const Napi::Value text = array[at];
      texts.push_back(text.ToString().Utf8Value());
    }
  }
  return texts;
}

std::string text_of(const Napi::Object& object, const char* name) {
  const Napi::Value value = object.Get(name);
  return value.IsString() ? value.As<Napi::String>().Utf8Value() : std::string();
}

EntryQuery query_of(const Napi::Object& object) {
  EntryQuery query;
  const std::string state = text_of(object, "state");
  query.state = state == "seen" ? EntryState::kSeen : state == "hidden" ? EntryState::kHidden : EntryState::kAny;
  const std::string relation = text_of(object, "relation");
  query.relation = relation == "metadataCopy"    ? EntryRelation::kMetadataCopy
                   : relation == "identicalCopy" ? EntryRelation::kIdenticalCopy
                   : relation == "brokenLink"    ? EntryRelation::kBrokenLink
                                                 : EntryRelation::kUnrelated;
  for (const std::string& kind : texts_of(object, "kinds")) {
    for (const IndexedKind known : {IndexedKind::kFile, IndexedKind::kDirectory, IndexedKind::kSymlink, IndexedKind::kOther}) {
      query.kinds |= kind == kind_name(known) ? 1U << static_cast<unsigned>(known) : 0U;
    }
  }
  query.paths = texts_of(object, "paths");
  query.suffixes = texts_of(object, "suffixes");
  query.mode_any = static_cast<uint16_t>(number_property(object, "modeAny").value_or(0));
  query.mode_none = static_cast<uint16_t>(number_property(object, "modeNone").value_or(0));
  query.is_below = object.Get("below").ToBoolean().Value();
  query.least_bytes = static_cast<uint64_t>(std::max(0.0, number_property(object, "leastBytes").value_or(0)));
  return query;
}

// The end of a path that is longer than any call takes (PATH_MAX): where in a layer it is can be told from that.
std::string shown_path(const LayerIndex& index, uint32_t path) {
  constexpr size_t kMost = 4096;
  const std::string text = index.paths().text(path);
  return text.size() < kMost ? "/" + text : "…" + text.substr(text.size() - kMost);
}

Napi::Value match_to_js(Napi::Env env, const LayerIndex& index, const EntryMatch& match) {
  const IndexedEntry& entry = index.entry(match.entry);
  Napi::Object result = Napi::Object::New(env);
  result.Set("entry", match.entry);
  result.Set("path", shown_path(index, entry.path));
  result.Set("layer", static_cast<uint32_t>(entry.layer));
  result.Set("kind", kind_name(entry.kind));
  result.Set("mode", static_cast<uint32_t>(entry.mode));
  result.Set("bytes", static_cast<double>(match.bytes));
  result.Set("files", static_cast<double>(match.files));
  const bool is_seen = entry.has(kSeen);
  result.Set("seen", is_seen);
  if (entry.kind == IndexedKind::kSymlink) {
    result.Set("linkTarget", std::string(index.link_target(entry)));
  }
  if (const auto hiding = is_seen ? std::nullopt : hidden_by(index, match.entry)) {
    Napi::Object by = Napi::Object::New(env);
    by.Set("layer", static_cast<uint32_t>(hiding->layer));
    by.Set("deleted", hiding->is_deleted);
    result.Set("hiddenBy", by);
  }
  return result;
}

class JsLayerIndex : public Napi::ObjectWrap<JsLayerIndex> {
 public:
  explicit JsLayerIndex(const Napi::CallbackInfo& info) : Napi::ObjectWrap<JsLayerIndex>(info) {}

  static Napi::Function define(Napi::Env env) {
    return DefineClass(env, "LayerIndex",
                       {InstanceMethod("build", &JsLayerIndex::build), InstanceMethod("efficiency", &JsLayerIndex::efficiency),
                        InstanceMethod("select", &JsLayerIndex::select), InstanceMethod("head", &JsLayerIndex::head), InstanceMethod("isCopyOfBelow", &JsLayerIndex::is_copy_of_below), InstanceMethod("close", &JsLayerIndex::close)});
  }

 private:
  // Null, with an exception, before it is built or after it is closed.
  Shared built(Napi::Env env) const {
    if (index_->get() == nullptr) {
      throw_type_error(env, "the index is not built");
    }
    return *index_;
  }

  Napi::Value build(const Napi::CallbackInfo& info) {
    const Napi::Env env = info.Env();
    std::vector<std::string> layers = strings_argument(info, 0, "layers");
    if (env.IsExceptionPending()) {
      return env.Undefined();
    }
    IndexOptions options;
    if (const auto most = number_property(info[1], "maxEntries"); most && *most >= 0) {
      options.max_entries = static_cast<uint64_t>(*most);
    }
    auto cancelled = std::make_shared<std::atomic<bool>>(false);
    if (info[1].IsObject()) {
      follow_signal(info[1].As<Napi::Object>().Get("signal"), cancelled);
    }
    options.cancelled = cancelled.get();
    return run_async<Shared>(
        env, Where::kTree,
        [=, layers = std::move(layers)]() -> Result<Shared> {
          (void)cancelled;  // options points into it
          return std::make_shared<const LayerIndex>(TRY(LayerIndex::build(layers, options)));
        },
        [held = index_](Napi::Env js, const Shared& index) -> Napi::Value {
          *held = index;
          Napi::Object result = Napi::Object::New(js);
          Napi::Array totals = Napi::Array::New(js, index->totals().size());
          for (uint32_t layer = 0; layer < index->totals().size(); ++layer) {
            totals.Set(layer, totals_to_js(js, index->totals()[layer]));
          }
          result.Set("layers", totals);
          result.Set("paths", index->paths().size() - 1);
          result.Set("memoryBytes", static_cast<double>(index->memory_bytes()));
          return result;
        },
        index_codes());
  }

  Napi::Value efficiency(const Napi::CallbackInfo& info) {
    const Napi::Env env = info.Env();
    const Shared index = built(env);
    if (index == nullptr) {
      return env.Undefined();
    }
    const auto most = static_cast<size_t>(std::max(0.0, number_property(info[0], "mostPaths").value_or(0)));
    auto cancelled = std::make_shared<std::atomic<bool>>(false);
    if (info[0].IsObject()) {
      follow_signal(info[0].As<Napi::Object>().Get("signal"), cancelled);
    }
    return run_async<Efficiency>(
        env, Where::kTree, [index, most, cancelled]() -> Result<Efficiency> { return Efficiency{TRY(dive_efficiency(*index, cancelled.get())), wasted_paths(*index, most)}; },
        [index](Napi::Env js, const Efficiency& found) -> Napi::Value {
          Napi::Array worst = Napi::Array::New(js, found.wasted.worst.size());
          for (uint32_t at = 0; at < found.wasted.worst.size(); ++at) {
            const WastedPath& path = found.wasted.worst[at];
            Napi::Array layers = Napi::Array::New(js, path.layers.size());
            for (uint32_t layer = 0; layer < path.layers.size(); ++layer) {
              layers.Set(layer, static_cast<uint32_t>(path.layers[layer]));
            }
            Napi::Object one = Napi::Object::New(js);
            one.Set("path", shown_path(*index, path.path));
            one.Set("bytes", static_cast<double>(path.bytes));
            one.Set("layers", layers);
            worst.Set(at, one);
          }
          Napi::Object result = Napi::Object::New(js);
          result.Set("diveScore", found.dive.score);
          result.Set("diveWastedBytes", static_cast<double>(found.dive.wasted_bytes));
          result.Set("wastedPaths", static_cast<double>(found.wasted.count));
          result.Set("worst", worst);
          return result;
        });
  }

  Napi::Value select(const Napi::CallbackInfo& info) {
    const Napi::Env env = info.Env();
    const Shared index = built(env);
    if (index == nullptr || !info[0].IsArray()) {
      throw_type_error(env, "queries must be an array");
      return env.Undefined();
    }
    std::vector<EntryQuery> queries;
    const auto array = info[0].As<Napi::Array>();
    for (uint32_t at = 0; at < array.Length(); ++at) {
      const Napi::Value query = array[at];
      queries.push_back(query_of(query.ToObject()));
    }
    const auto most = static_cast<size_t>(std::max(0.0, number_property(info[1], "mostMatches").value_or(100)));
    return run_async<Selected>(
        env, Where::kTree, [index, queries = std::move(queries), most]() -> Result<Selected> { return Selected{select_entries(*index, queries, most)}; },
        [index](Napi::Env js, const Selected& selected) -> Napi::Value {
          Napi::Array results = Napi::Array::New(js, selected.results.size());
          for (uint32_t at = 0; at < selected.results.size(); ++at) {
            const QueryResult& found = selected.results[at];
            Napi::Array matches = Napi::Array::New(js, found.matches.size());
            for (uint32_t match = 0; match < found.matches.size(); ++match) {
              matches.Set(match, match_to_js(js, *index, found.matches[match]));
            }
            Napi::Object one = Napi::Object::New(js);
            one.Set("count", static_cast<double>(found.count));
            one.Set("bytes", static_cast<double>(found.bytes));
            one.Set("matches", matches);
            results.Set(at, one);
          }
          return results;
        });
  }

  Napi::Value head(const Napi::CallbackInfo& info) {
    const Napi::Env env = info.Env();
    const Shared index = built(env);
    if (index == nullptr || !info[0].IsNumber() || !info[1].IsNumber() || info[0].As<Napi::Number>().Uint32Value() >= index->entry_count()) {
      throw_type_error(env, "entry must be one of the index, and most a number");
      return env.Undefined();
    }
    const uint32_t entry = info[0].As<Napi::Number>().Uint32Value();
    const size_t most = std::min<size_t>(info[1].As<Napi::Number>().Uint32Value(), size_t{1} << 20);
    return run_async<std::string>(
        env, Where::kTree,
        [index, entry, most]() -> Result<std::string> {
          if (index->entry(entry).kind != IndexedKind::kFile) {
            return fail(EINVAL, "read 'entry'", "only regular files can be read");
          }
          const UniqueFd file = TRY(index->open_file(entry));
          std::string text(most, '\0');
          const ssize_t got = ::pread(file.get(), text.data(), text.size(), 0);
          if (got < 0) {
            return fail_errno("read 'entry'");
          }
          text.resize(static_cast<size_t>(got));
          return text;
        },
        [](Napi::Env js, const std::string& text) -> Napi::Value { return Napi::Buffer<char>::Copy(js, text.data(), text.size()); });
  }

  Napi::Value is_copy_of_below(const Napi::CallbackInfo& info) {
    const Napi::Env env = info.Env();
    const Shared index = built(env);
    if (index == nullptr || !info[0].IsNumber() || info[0].As<Napi::Number>().Uint32Value() >= index->entry_count()) {
      throw_type_error(env, "entry must be one of the index");
      return env.Undefined();
    }
    const uint32_t entry = info[0].As<Napi::Number>().Uint32Value();
    return run_async<bool>(
        env, Where::kTree, [index, entry] { return index->is_copy_of_below(entry); }, [](Napi::Env js, const bool& is_copy) -> Napi::Value { return Napi::Boolean::New(js, is_copy); });
  }

  // What still runs on it keeps it until it is done.
  Napi::Value close(const Napi::CallbackInfo& info) {
    index_->reset();
    return info.Env().Undefined();
  }

  std::shared_ptr<Shared> index_ = std::make_shared<Shared>();
};

}  // namespace

void add_layer_index(Napi::Env env, Napi::Object& exports) { exports.Set("LayerIndex", JsLayerIndex::define(env)); }

}  // namespace strata::addon
