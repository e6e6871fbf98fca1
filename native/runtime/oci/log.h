// What the command line says of itself: a line on stderr for people, a line in --log's file for the engine, which shows its "msg".
#pragma once

#include <string>

#include "core/unique_fd.h"
#include "runtime/failure.h"

namespace strata::runtime::oci {

// "what: reason (hint)", also of a failure that another stage rendered.
std::string sentence_of(const Failure& failure);

class Log {
 public:
  // `path` empty: stderr alone. A file that cannot be opened is said on stderr; nothing fails for it.
  void open(const std::string& path, bool json, bool debug);
  void error(const std::string& message);
  void warning(const std::string& message);
  void debug(const std::string& message);

 private:
  void write(const char* level, const std::string& message);
  UniqueFd file_;
  bool json_ = false, debug_ = false;
};

}  // namespace strata::runtime::oci
