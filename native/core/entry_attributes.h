// The content and the attributes of one archive member, on the file that was made for it.
#pragma once

#include <ctime>
#include <string>

#include "error.h"
#include "tar_reader.h"

namespace strata {

inline timespec entry_time(const TarEntry& entry) { return {entry.mtime_sec, static_cast<long>(entry.mtime_nsec)}; }

// What a node of the entry is made with, so that its mode is right from the start where the umask lets it; set-id bits come after the owner.
inline mode_t creation_mode(const TarEntry& entry) { return entry.mode & 0777; }

[[nodiscard]] Status write_data(int fd, const TarEntry& entry, TarReader& reader);
// A directory's time is left alone: creating things in it would change it again.
[[nodiscard]] Status set_attributes(int fd, const TarEntry& entry);
// For what cannot be opened: links and device nodes.
[[nodiscard]] Status set_attributes_at(int parent, const std::string& name, const TarEntry& entry);

// Overlay's mark on a directory that hides the same one of the layers below.
[[nodiscard]] Status set_opaque(int directory, const std::string& name);

}  // namespace strata
