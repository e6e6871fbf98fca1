#include "runtime/oci/options.h"

#include <algorithm>

namespace strata::runtime::oci {

Done Options::take(const std::vector<Option>& known, const std::vector<std::string>& arguments, std::size_t& at) {
  const std::string& word = arguments[at];
  const std::size_t equals = word.find('=');
  const std::string name = word.substr(word.starts_with("--") ? 2 : 1, equals == std::string::npos ? equals : equals - (word.starts_with("--") ? 2 : 1));
  // Go's flag packages, which the known command line comes from, take one dash or two before a long name.
  const auto option = std::find_if(known.begin(), known.end(), [&](const Option& candidate) {
    return name == candidate.name || (name.size() == 1 && candidate.letter != 0 && name.front() == candidate.letter);
  });
  if (option == known.end()) {
    return refuse(ErrorCode::kInvalidRequest, "flag provided but not defined: " + word);
  }
  std::vector<std::string>& values = values_[option->name];
  if (equals != std::string::npos) {
    const std::string value = word.substr(equals + 1);
    if (!option->takes_value && value != "true" && value != "1") {
      values_.erase(option->name);
      return {};
    }
    values.push_back(value);
  } else if (!option->takes_value) {
    values.emplace_back("true");
  } else if (at + 1 < arguments.size()) {
    values.push_back(arguments[++at]);
  } else {
    return refuse(ErrorCode::kInvalidRequest, "flag needs an argument: " + word);
  }
  return {};
}

Outcome<Options> Options::parse(const std::vector<Option>& known, const std::vector<std::string>& arguments, std::size_t operands_before_end) {
  Options options;
  for (std::size_t at = 0; at < arguments.size(); ++at) {
    const std::string& word = arguments[at];
    if (options.operands_.size() >= operands_before_end) {
      options.operands_.push_back(word);
    } else if (word == "--") {
      options.operands_.insert(options.operands_.end(), arguments.begin() + static_cast<std::ptrdiff_t>(at) + 1, arguments.end());
      break;
    } else if (word.size() > 1 && word.front() == '-') {
      TRY(options.take(known, arguments, at));
    } else {
      options.operands_.push_back(word);
    }
  }
  return options;
}

std::string Options::value(const std::string& name) const {
  const auto found = values_.find(name);
  return found == values_.end() || found->second.empty() ? std::string() : found->second.back();
}

std::vector<std::string> Options::values(const std::string& name) const {
  const auto found = values_.find(name);
  return found == values_.end() ? std::vector<std::string>() : found->second;
}

}  // namespace strata::runtime::oci
