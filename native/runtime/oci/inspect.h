// state, list, ps, events: what there is to read about containers.
#pragma once

#include "runtime/oci/container.h"
#include "runtime/oci/context.h"

namespace strata::runtime::oci {

Outcome<std::string> state_text(const Container& container);
// `format`: "table", "json"; `quiet`: ids alone.
Outcome<std::string> list_text(const Context& context, const std::string& format, bool quiet);
// `arguments` are ps(1)'s own, for the table.
Outcome<std::string> ps_text(const Container& container, const std::string& format, const std::vector<std::string>& arguments);
// One line of JSON in the known runtime's form.
Outcome<std::string> stats_text(const Container& container);
// Prints stats every `interval_s` seconds (once where `once`) and a line for every out-of-memory kill, until the container ends.
Done print_events(const Container& container, int interval_ms, bool once);

}  // namespace strata::runtime::oci
