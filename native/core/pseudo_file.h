// Small files of the kernel (cgroupfs, procfs, sysfs): read whole, written with one write(2), parsed without allocation.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "error.h"
#include "unique_fd.h"

namespace strata {

// Opens `name` below `directory` (AT_FDCWD for an absolute path), O_CLOEXEC, never through a symbolic link at its end.
[[nodiscard]] Result<UniqueFd> open_pseudo_file(int directory, const std::string& name, int flags);

// The whole file, trailing white space removed.
[[nodiscard]] Result<std::string> read_pseudo_file(int directory, const std::string& name);

// One write(2), for the kernel takes each write as one command. EINTR is retried.
[[nodiscard]] Status write_pseudo_file(int directory, const std::string& name, std::string_view value);

[[nodiscard]] bool pseudo_file_exists(int directory, const std::string& name);

[[nodiscard]] std::string_view trim(std::string_view text);

// Decimal; nullopt for anything else ("max", "", "12x", overflow).
[[nodiscard]] std::optional<uint64_t> parse_u64(std::string_view text);
[[nodiscard]] std::optional<int64_t> parse_i64(std::string_view text);

// Takes the next line off the front of `text`; false at the end.
bool next_line(std::string_view& text, std::string_view& line);
// Takes the next word (separated by spaces and tabs) off the front of `text`; empty at the end.
std::string_view next_word(std::string_view& text);

// The number behind `key` in a flat keyed file ("key value\n"), nullopt where the key is missing.
[[nodiscard]] std::optional<uint64_t> keyed_value(std::string_view text, std::string_view key);

}  // namespace strata
