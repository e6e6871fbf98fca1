#include "runtime/command.h"

#include <sys/stat.h>
#include <unistd.h>

namespace strata::runtime {

std::vector<char*> pointers(const std::vector<std::string>& texts) {
  std::vector<char*> list;
  list.reserve(texts.size() + 1);
  for (const std::string& text : texts) {
    list.push_back(const_cast<char*>(text.c_str()));
  }
  list.push_back(nullptr);
  return list;
}

bool is_directory(const std::string& path) {
  struct stat status {};
  return ::stat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode);
}

Failure not_started(const std::string& command, int reason) {
  if (reason == ENOENT || reason == ENOTDIR) {
    if (::access(command.c_str(), F_OK) == 0) {
      return Failure(ErrorCode::kCommandNotFound, Error{ENOENT, "start '" + command + "'", "the file is there, but the interpreter or loader that it names is not in the image"}, command);
    }
    return Failure(ErrorCode::kCommandNotFound, Error{ENOENT, "start '" + command + "'", "no such file in the container"}, command);
  }
  std::string hint;
  if (reason == EACCES) {
    hint = is_directory(command) ? "it is a directory" : "it lacks the execute permission for this user, or lies on a noexec mount";
  } else if (reason == ENOEXEC) {
    hint = "no program for this machine: another architecture, or a script without #!";
  }
  return Failure(ErrorCode::kCommandNotExecutable, Error{reason, "start '" + command + "'", hint}, command);
}

// Engines look for these words to tell exit status 127 from others.
Failure not_in_path(const std::string& command, const std::string& path) {
  return Failure(ErrorCode::kCommandNotFound, Error{ENOENT, "exec '" + command + "': executable file not found in $PATH", "PATH is " + path}, command);
}

Failure execute_command(const std::vector<std::string>& args, const std::vector<std::string>& environment) {
  const std::vector<char*> arguments = pointers(args);
  const std::vector<char*> entries = pointers(environment);
  const std::string& command = args.front();
  if (command.find('/') != std::string::npos) {
    ::execve(command.c_str(), arguments.data(), entries.data());
    return not_started(command, errno);
  }
  std::string path = value_of(environment, "PATH");
  std::string refused;
  int refusal = 0;
  while (true) {
    const std::size_t colon = path.find(':');
    const std::string folder = path.substr(0, colon);
    const std::string candidate = (folder.empty() ? "." : folder) + "/" + command;
    ::execve(candidate.c_str(), arguments.data(), entries.data());
    // As a shell: go on after what is not there, remember what is there but cannot be run.
    if (errno != ENOENT && errno != ENOTDIR && refusal == 0) {
      if (const int reason = errno; reason != EACCES || !is_directory(candidate)) {
        refusal = reason;
        refused = candidate;
      }
    } else if (errno == ENOENT && refusal == 0 && ::access(candidate.c_str(), F_OK) == 0) {
      return not_started(candidate, ENOENT);
    }
    if (colon == std::string::npos) {
      break;
    }
    path = path.substr(colon + 1);
  }
  if (refusal != 0) {
    return not_started(refused, refusal);
  }
  return not_in_path(command, value_of(environment, "PATH"));
}

}  // namespace strata::runtime
