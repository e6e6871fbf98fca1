// `strata-runtime archive`: one copy out of a container or into one, a look at what it has, or a change of one file. A process of its own, so that whatever a container does to it harms
// nobody else. Its contract is in docs/copy.md.
#pragma once

#include <string>

#include "runtime/container_view.h"

namespace strata::runtime {

enum class ArchiveAction { kStat, kGet, kPut, kExport, kChanges, kLayer, kList, kRead, kWrite, kMakeDirectory, kRemove, kRename };

// What stands in one line on descriptor 3.
struct ArchiveRequest {
  ArchiveAction action = ArchiveAction::kStat;
  ViewParams view;                  // all but kChanges and kLayer
  std::string path;                 // all but kExport, kChanges and kLayer
  bool follows = false;             // a link at the end of `path`: kStat, kGet
  std::string name;                 // of the first member: kGet
  bool keeps_owners = false;        // kPut
  std::vector<std::string> emptied;  // kExport
  OverlayParams layers;             // kChanges: the upper, and what is below it; kLayer: the upper
  bool details = false;             // kChanges
  std::vector<std::string> left_out;  // kLayer
  std::string to;                   // kRename
  bool creates = false;             // kWrite: where nothing is
  bool replaces = false;            // kWrite, kRename: what is there
  bool recursive = false;           // kRemove
  std::uint64_t size_bytes = 0;     // kWrite: of what comes on standard input
};
Outcome<ArchiveRequest> read_archive_request(const Json& json);

// Reads the request, answers on descriptor 3 with lines of JSON; the archive comes on standard input or goes to standard output. Returns the exit status.
int archive();

}  // namespace strata::runtime
