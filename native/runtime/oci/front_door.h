// The command line that container engines know: runc's, by command, option and message.
#pragma once

#include <string>
#include <vector>

namespace strata::runtime::oci {

// Whether these arguments are of this command line (else they are of the supervisor's).
bool is_oci_command(const std::vector<std::string>& arguments);
// The exit status.
int run_oci_command(const std::vector<std::string>& arguments, char* const* argv);

}  // namespace strata::runtime::oci
