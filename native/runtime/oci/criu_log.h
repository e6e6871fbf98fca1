// Why criu did not do it: its log has the reason among thousands of lines.
#pragma once

#include <string>
#include <string_view>

namespace strata::runtime::oci {

// The last lines of the log that say "Error", without criu's clock and source lines, in one line: at most 5 of 300 bytes each. The log has names that a
// container chose: what is not printable is a '?'. Empty where nothing is said.
std::string criu_complaints(std::string_view log);

// The same of a file's last 256 KiB; empty where it cannot be read.
std::string criu_complaints_in(int directory, const std::string& name);

}  // namespace strata::runtime::oci
