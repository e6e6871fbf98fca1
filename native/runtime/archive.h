// `strata-runtime archive`: one copy out of a container or into one, or a look at what it has. A process of its own, so that whatever a container does to it harms
// nobody else. Its contract is in docs/copy.md.
#pragma once

#include <string>

#include "runtime/container_view.h"

namespace strata::runtime {

enum class ArchiveAction { kStat, kGet, kPut, kExport, kChanges };

// What stands in one line on descriptor 3.
struct ArchiveRequest {
  ArchiveAction action = ArchiveAction::kStat;
  ViewParams view;                  // all but kChanges
  std::string path;                 // kStat, kGet, kPut
  bool follows = false;             // a link at the end of `path`: kStat, kGet
  std::string name;                 // of the first member: kGet
  bool keeps_owners = false;        // kPut
  std::vector<std::string> emptied;  // kExport
  OverlayParams layers;             // kChanges: the upper, and what is below it
};
Outcome<ArchiveRequest> read_archive_request(const Json& json);

// Reads the request, answers on descriptor 3 with lines of JSON; the archive comes on standard input or goes to standard output. Returns the exit status.
int archive();

}  // namespace strata::runtime
