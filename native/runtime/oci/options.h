// Flags in the manner of the command line that engines know: --name value, --name=value, -n value, booleans with or without =true.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "runtime/failure.h"

namespace strata::runtime::oci {

struct Option {
  const char* name;
  char letter = 0;
  bool takes_value = true;
};

class Options {
 public:
  // `operands_end_options`: nothing behind the first operand is an option (global options before a command, a command behind exec's container).
  // `operands` of them are taken before that rule holds.
  static Outcome<Options> parse(const std::vector<Option>& known, const std::vector<std::string>& arguments, std::size_t operands_before_end = ~std::size_t{0});

  [[nodiscard]] bool has(const std::string& name) const { return values_.contains(name); }
  // The last value given; empty where there is none.
  [[nodiscard]] std::string value(const std::string& name) const;
  [[nodiscard]] std::vector<std::string> values(const std::string& name) const;
  [[nodiscard]] const std::vector<std::string>& operands() const { return operands_; }

 private:
  Done take(const std::vector<Option>& known, const std::vector<std::string>& arguments, std::size_t& at);
  std::map<std::string, std::vector<std::string>> values_;
  std::vector<std::string> operands_;
};

}  // namespace strata::runtime::oci
