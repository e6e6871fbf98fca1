// gzip (RFC 1952): any number of members, each with its checksum, zeros behind the last.
#pragma once

#include <memory>

#include "inflate.h"

namespace strata {

[[nodiscard]] std::unique_ptr<Inflater> make_gzip_inflater();

}  // namespace strata
