# Third-party libraries of core, static, so that nothing is asked of the machine at run time. Only what is used is linked:
# the runtime touches none of them, the addon all (sha256 from libcrypto is 25 KB).
find_library(STRATA_LIBZ NAMES libz.a REQUIRED)
find_library(STRATA_LIBZSTD NAMES libzstd.a REQUIRED)
find_library(STRATA_LIBLZMA NAMES liblzma.a REQUIRED)
find_library(STRATA_LIBCRYPTO NAMES libcrypto.a REQUIRED)
find_path(STRATA_ZLIB_INCLUDE NAMES zlib.h REQUIRED)
find_path(STRATA_ZSTD_INCLUDE NAMES zstd.h REQUIRED)
find_path(STRATA_LZMA_INCLUDE NAMES lzma.h REQUIRED)
find_path(STRATA_OPENSSL_INCLUDE NAMES openssl/sha.h REQUIRED)
target_include_directories(strata_core SYSTEM PRIVATE ${STRATA_ZLIB_INCLUDE} ${STRATA_ZSTD_INCLUDE} ${STRATA_LZMA_INCLUDE} ${STRATA_OPENSSL_INCLUDE})
target_link_libraries(strata_core PUBLIC ${STRATA_LIBZ} ${STRATA_LIBZSTD} ${STRATA_LIBLZMA} ${STRATA_LIBCRYPTO})
# The one that Debian has as a shared library alone: the addon brings it along, beside itself.
find_library(STRATA_LIBISAL NAMES isal REQUIRED)
find_path(STRATA_ISAL_INCLUDE NAMES isa-l/igzip_lib.h REQUIRED)
