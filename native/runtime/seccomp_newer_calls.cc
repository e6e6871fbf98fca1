#include "runtime/seccomp_newer_calls.h"

#include <linux/audit.h>
#include <linux/seccomp.h>

#include <cerrno>
#include <cstddef>

namespace strata::runtime {
namespace {

constexpr std::uint32_t kX32 = 0x40000000;  // __X32_SYSCALL_BIT: an ABI of its own under x86-64's name, left to the filter
constexpr std::size_t kBlock = 6;

sock_filter load(std::size_t offset) { return BPF_STMT(BPF_LD | BPF_W | BPF_ABS, static_cast<std::uint32_t>(offset)); }

}  // namespace

std::vector<sock_filter> refuse_newer_calls(const std::vector<NewestCall>& newest) {
  if (newest.empty()) {
    return {};
  }
  std::vector<sock_filter> program = {load(offsetof(seccomp_data, arch))};
  for (std::size_t i = 0; i < newest.size(); ++i) {
    const auto to_filter = static_cast<std::uint32_t>((newest.size() - i - 1) * kBlock);
    const std::uint32_t end_of_numbers = newest[i].architecture == AUDIT_ARCH_X86_64 ? kX32 : UINT32_MAX;
    program.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, newest[i].architecture, 0, kBlock - 1));
    program.push_back(load(offsetof(seccomp_data, nr)));
    program.push_back(BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, end_of_numbers, 2, 0));
    program.push_back(BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, newest[i].number, 0, 1));
    program.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS));
    program.push_back(BPF_STMT(BPF_JMP | BPF_JA, to_filter));
  }
  return program;
}

}  // namespace strata::runtime
