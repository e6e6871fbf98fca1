#include "runtime/seccomp.h"

#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <memory>
#include <vector>

#include "runtime/seccomp_newer_calls.h"

namespace strata::runtime {
namespace {

struct Named {
  const char* name;
  std::uint32_t value;
};

constexpr Named kArchitectures[] = {
    {"SCMP_ARCH_X86", SCMP_ARCH_X86},         {"SCMP_ARCH_X86_64", SCMP_ARCH_X86_64},   {"SCMP_ARCH_X32", SCMP_ARCH_X32},
    {"SCMP_ARCH_ARM", SCMP_ARCH_ARM},         {"SCMP_ARCH_AARCH64", SCMP_ARCH_AARCH64}, {"SCMP_ARCH_MIPS", SCMP_ARCH_MIPS},
    {"SCMP_ARCH_MIPS64", SCMP_ARCH_MIPS64},   {"SCMP_ARCH_MIPSEL", SCMP_ARCH_MIPSEL},   {"SCMP_ARCH_MIPSEL64", SCMP_ARCH_MIPSEL64},
    {"SCMP_ARCH_MIPS64N32", SCMP_ARCH_MIPS64N32}, {"SCMP_ARCH_MIPSEL64N32", SCMP_ARCH_MIPSEL64N32},
    {"SCMP_ARCH_PPC64LE", SCMP_ARCH_PPC64LE}, {"SCMP_ARCH_RISCV64", SCMP_ARCH_RISCV64}, {"SCMP_ARCH_S390X", SCMP_ARCH_S390X},
    {"SCMP_ARCH_S390", SCMP_ARCH_S390},       {"SCMP_ARCH_PPC", SCMP_ARCH_PPC},         {"SCMP_ARCH_PPC64", SCMP_ARCH_PPC64},
};

// System calls younger than Debian's libseccomp; since Linux 5.1 a number is the same on every architecture.
constexpr Named kNewSyscalls[] = {
    {"cachestat", 451},     {"fchmodat2", 452},    {"map_shadow_stack", 453},   {"futex_wake", 454},        {"futex_wait", 455},   {"futex_requeue", 456},
    {"statmount", 457},     {"listmount", 458},    {"lsm_get_self_attr", 459},  {"lsm_set_self_attr", 460}, {"lsm_list_modules", 461}, {"mseal", 462},
    {"setxattrat", 463},    {"getxattrat", 464},   {"listxattrat", 465},        {"removexattrat", 466},     {"open_tree_attr", 467},
};

constexpr Named kOperators[] = {
    {"SCMP_CMP_NE", SCMP_CMP_NE}, {"SCMP_CMP_LT", SCMP_CMP_LT}, {"SCMP_CMP_LE", SCMP_CMP_LE},
    {"SCMP_CMP_EQ", SCMP_CMP_EQ}, {"SCMP_CMP_GE", SCMP_CMP_GE}, {"SCMP_CMP_GT", SCMP_CMP_GT}, {"SCMP_CMP_MASKED_EQ", SCMP_CMP_MASKED_EQ},
};

constexpr Named kFilterFlags[] = {
    {"SECCOMP_FILTER_FLAG_TSYNC", SECCOMP_FILTER_FLAG_TSYNC}, {"SECCOMP_FILTER_FLAG_LOG", SECCOMP_FILTER_FLAG_LOG},
    {"SECCOMP_FILTER_FLAG_SPEC_ALLOW", SECCOMP_FILTER_FLAG_SPEC_ALLOW}, {"SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV", 1U << 5 /* Linux 5.19 */},
};

template <std::size_t Size>
const Named* find(const Named (&table)[Size], const std::string& name) {
  for (const Named& entry : table) {
    if (name == entry.name) {
      return &entry;
    }
  }
  return nullptr;
}

Outcome<std::uint32_t> read_action(const Json& action, const Json& errno_value) {
  const std::string name = TRY(action.text());
  const auto value = static_cast<std::uint16_t>(TRY(errno_value.optional_integer(0, 4095)).value_or(1 /* EPERM */));
  if (name == "SCMP_ACT_ALLOW") { return std::uint32_t{SCMP_ACT_ALLOW}; }
  if (name == "SCMP_ACT_ERRNO") { return std::uint32_t{SCMP_ACT_ERRNO(value)}; }
  if (name == "SCMP_ACT_KILL" || name == "SCMP_ACT_KILL_THREAD") { return std::uint32_t{SCMP_ACT_KILL_THREAD}; }
  if (name == "SCMP_ACT_KILL_PROCESS") { return std::uint32_t{SCMP_ACT_KILL_PROCESS}; }
  if (name == "SCMP_ACT_LOG") { return std::uint32_t{SCMP_ACT_LOG}; }
  if (name == "SCMP_ACT_TRAP") { return std::uint32_t{SCMP_ACT_TRAP}; }
  if (name == "SCMP_ACT_NOTIFY") { return std::uint32_t{SCMP_ACT_NOTIFY}; }
  if (name == "SCMP_ACT_TRACE") { return std::uint32_t{SCMP_ACT_TRACE(value)}; }
  return action.wrong("a seccomp action (SCMP_ACT_ALLOW, SCMP_ACT_ERRNO, ...), not '" + name + "'");
}

Outcome<std::vector<scmp_arg_cmp>> read_comparisons(const Json& args) {
  std::vector<scmp_arg_cmp> comparisons;
  const std::size_t size = TRY(args.array_size());
  for (std::size_t i = 0; i < size; ++i) {
    const Json entry = args.at(i);
    scmp_arg_cmp comparison{};
    comparison.arg = static_cast<unsigned int>(TRY(entry["index"].integer(0, 5)));
    const std::string name = TRY(entry["op"].text());
    const Named* const op = find(kOperators, name);
    if (op == nullptr) {
      return entry["op"].wrong("a comparison (SCMP_CMP_EQ, ...), not '" + name + "'");
    }
    comparison.op = static_cast<scmp_compare>(op->value);
    const std::uint64_t value = TRY(entry["value"].natural());
    const std::uint64_t second = entry["valueTwo"].absent() ? 0 : TRY(entry["valueTwo"].natural());
    comparison.datum_a = value;
    comparison.datum_b = second;
    comparisons.push_back(comparison);
  }
  return comparisons;
}

using Filter = std::unique_ptr<void, void (*)(void*)>;

Done failed(int result, const std::string& what) { return refuse(ErrorCode::kSeccompFailed, what, -result); }

Done add_rule(const Filter& filter, std::uint32_t action, const std::string& name, const std::vector<scmp_arg_cmp>& comparisons) {
  int number = ::seccomp_syscall_resolve_name(name.c_str());
  bool own = false;
  if (number == __NR_SCMP_ERROR) {
    const Named* const known = find(kNewSyscalls, name);
    if (known == nullptr) {
      return {};  // a profile names system calls of other kernels and architectures too
    }
    number = static_cast<int>(known->value);
    own = true;
  }
  // Two comparisons of one argument cannot be one rule for libseccomp: each becomes a rule, as runc reads such a profile.
  std::array<unsigned, 6> uses{};
  bool split = false;
  for (const scmp_arg_cmp& comparison : comparisons) {
    split = ++uses[comparison.arg] > 1 || split;
  }
  const auto add = [&](unsigned count, const scmp_arg_cmp* first) -> Done {
    const int result = ::seccomp_rule_add_array(filter.get(), action, number, count, first);
    // EDOM, EFAULT: no such call on one of the architectures. EACCES, EEXIST: says what the default or an earlier rule says.
    if (result < 0 && result != -EACCES && result != -EEXIST && !(own && (result == -EDOM || result == -EFAULT))) {
      return failed(result, "add a seccomp rule for '" + name + "'");
    }
    return {};
  };
  if (!split) {
    return add(static_cast<unsigned>(comparisons.size()), comparisons.data());
  }
  for (const scmp_arg_cmp& comparison : comparisons) {
    TRY(add(1, &comparison));
  }
  return {};
}

Done add_rules(const Filter& filter, std::uint32_t default_action, const Json& syscalls) {
  const std::size_t size = TRY(syscalls.array_size());
  for (std::size_t i = 0; i < size; ++i) {
    const Json entry = syscalls.at(i);
    const std::uint32_t action = TRY(read_action(entry["action"], entry["errnoRet"]));
    if (action == default_action) {
      continue;
    }
    const auto comparisons = TRY(read_comparisons(entry["args"]));
    for (const std::string& name : TRY(entry["names"].texts())) {
      TRY(add_rule(filter, action, name, comparisons));
    }
  }
  return {};
}

Outcome<std::vector<sock_filter>> read_program(int fd) {
  struct stat status {};
  if (::fstat(fd, &status) < 0) {
    return refuse_errno(ErrorCode::kSeccompFailed, "read the seccomp program");
  }
  const auto bytes = static_cast<std::size_t>(status.st_size);
  if (!S_ISREG(status.st_mode) || bytes == 0 || bytes % sizeof(sock_filter) != 0 || bytes / sizeof(sock_filter) > BPF_MAXINSNS) {
    return refuse(ErrorCode::kSeccompFailed, "the seccomp program is no array of 1 to 4096 instructions", 0, "compile it again with strata-runtime compile-seccomp");
  }
  std::vector<sock_filter> program(bytes / sizeof(sock_filter));
  if (::pread(fd, program.data(), bytes, 0) != static_cast<ssize_t>(bytes)) {
    return refuse_errno(ErrorCode::kSeccompFailed, "read the seccomp program");
  }
  return program;
}

// Of x32 the numbers are x86-64's with a bit that is not looked at.
Outcome<std::vector<NewestCall>> newest_calls(const Json& profile, const std::vector<std::uint32_t>& architectures) {
  std::vector<NewestCall> newest;
  const Json syscalls = profile["syscalls"];
  const std::size_t size = TRY(syscalls.array_size());
  for (const std::uint32_t architecture : architectures) {
    int greatest = -1;
    for (std::size_t i = 0; i < size; ++i) {
      const Json entry = syscalls.at(i);
      for (const std::string& name : TRY(entry["names"].texts())) {
        const int number = ::seccomp_syscall_resolve_name_arch(architecture, name.c_str());
        const Named* const known = number == __NR_SCMP_ERROR ? find(kNewSyscalls, name) : nullptr;
        greatest = std::max(greatest, known != nullptr ? static_cast<int>(known->value) : number);
      }
    }
    if (greatest >= 0 && architecture != SCMP_ARCH_X32) {
      newest.push_back({architecture, static_cast<std::uint32_t>(greatest)});
    }
  }
  return newest;
}

bool forbids_by_default(std::uint32_t action) {
  const std::uint32_t kind = action & SECCOMP_RET_ACTION_FULL;
  return kind == SECCOMP_RET_ERRNO || kind == SECCOMP_RET_TRAP || kind == SECCOMP_RET_KILL_THREAD || kind == SECCOMP_RET_KILL_PROCESS;
}

}  // namespace

Done compile_seccomp(const Json& profile, int fd) {
  TRY(profile.object());
  const std::uint32_t default_action = TRY(read_action(profile["defaultAction"], profile["defaultErrnoRet"]));
  const Filter filter(::seccomp_init(default_action), ::seccomp_release);
  if (filter == nullptr) {
    return refuse(ErrorCode::kSeccompFailed, "make a seccomp filter");
  }
  // A binary tree instead of a list: some 10 comparisons a call instead of hundreds.
  static_cast<void>(::seccomp_attr_set(filter.get(), SCMP_FLTATR_CTL_OPTIMIZE, 2));
  std::vector<std::uint32_t> architectures = {::seccomp_arch_native()};
  for (const std::string& name : TRY(profile["architectures"].texts())) {
    const Named* const architecture = find(kArchitectures, name);
    if (architecture == nullptr) {
      return profile["architectures"].wrong("architectures (SCMP_ARCH_X86_64, ...), not '" + name + "'");
    }
    if (const int result = ::seccomp_arch_add(filter.get(), architecture->value); result < 0 && result != -EEXIST) {
      return failed(result, "add the architecture '" + name + "' to the seccomp filter");
    }
    if (std::find(architectures.begin(), architectures.end(), architecture->value) == architectures.end()) {
      architectures.push_back(architecture->value);
    }
  }
  TRY(add_rules(filter, default_action, profile["syscalls"]));
  if (forbids_by_default(default_action)) {
    const std::vector<sock_filter> before = refuse_newer_calls(TRY(newest_calls(profile, architectures)));
    if (const auto bytes = static_cast<ssize_t>(before.size() * sizeof(sock_filter)); ::write(fd, before.data(), static_cast<std::size_t>(bytes)) != bytes) {
      return refuse_errno(ErrorCode::kSeccompFailed, "write the seccomp program");
    }
  }
  if (const int result = ::seccomp_export_bpf(filter.get(), fd); result < 0) {
    return failed(result, "write the seccomp program");
  }
  return {};
}

Done compile_seccomp_file(std::string_view profile, const std::string& path) {
  const JsonDocument document = TRY(JsonDocument::parse(profile));
  const std::string temporary = path + ".tmp" + std::to_string(::getpid());
  const UniqueFd file(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644));
  if (!file) {
    return refuse_errno(ErrorCode::kSeccompFailed, "make '" + temporary + "'");
  }
  auto done = compile_seccomp(document.root(), file.get());
  if (done && (::fsync(file.get()) < 0 || ::rename(temporary.c_str(), path.c_str()) < 0)) {
    done = refuse_errno(ErrorCode::kSeccompFailed, "write '" + path + "'");
  }
  if (!done) {
    ::unlink(temporary.c_str());
  }
  return done;
}

namespace {

// The child of an exec holds the program until it has loaded it, and a container with CAP_SYS_PTRACE can open what it holds anew, for
// writing: what is handed on is a copy that nobody can change.
Outcome<UniqueFd> sealed_copy(int program) {
  const std::vector<sock_filter> instructions = TRY(read_program(program));
  UniqueFd copy(::memfd_create("seccomp", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  const std::size_t bytes = instructions.size() * sizeof(sock_filter);
  if (!copy || ::write(copy.get(), instructions.data(), bytes) != static_cast<ssize_t>(bytes) ||
      ::fcntl(copy.get(), F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) < 0) {
    return refuse_errno(ErrorCode::kSeccompFailed, "copy the seccomp program");
  }
  return copy;
}

}  // namespace

Outcome<UniqueFd> compile_seccomp_apart(const Json& profile) {
  UniqueFd program(::memfd_create("seccomp", MFD_CLOEXEC));
  UniqueFd report(::memfd_create("seccomp-error", MFD_CLOEXEC));
  if (!program || !report) {
    return refuse_errno(ErrorCode::kSeccompFailed, "make a memory file");
  }
  const pid_t child = ::fork();
  if (child < 0) {
    return refuse_errno(ErrorCode::kSeccompFailed, "fork the seccomp compiler");
  }
  if (child == 0) {
    const auto done = compile_seccomp(profile, program.get());
    if (!done) {
      const std::string& what = done.error().error.what;
      best_effort(::write(report.get(), what.data(), what.size()));
    }
    ::_exit(done ? 0 : done.error().code == ErrorCode::kInvalidRequest ? 2 : 1);
  }
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
    return sealed_copy(program.get());
  }
  std::array<char, 512> text{};
  const ssize_t count = ::pread(report.get(), text.data(), text.size(), 0);
  return refuse(WIFEXITED(status) && WEXITSTATUS(status) == 2 ? ErrorCode::kInvalidRequest : ErrorCode::kSeccompFailed,
                count > 0 ? std::string(text.data(), static_cast<std::size_t>(count)) : "the seccomp compiler ended early");
}

Outcome<UniqueFd> open_seccomp_program(const std::string& path) {
  UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!file) {
    return refuse_errno(ErrorCode::kSeccompFailed, "open the seccomp program '" + path + "'", "", path);
  }
  return sealed_copy(file.get());
}

Outcome<UniqueFd> load_seccomp(int program, unsigned flags, bool notifies) {
  std::vector<sock_filter> instructions = TRY(read_program(program));
  sock_fprog fprog{static_cast<unsigned short>(instructions.size()), instructions.data()};
  const long result = ::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags | (notifies ? SECCOMP_FILTER_FLAG_NEW_LISTENER : 0U), &fprog);
  if (result < 0) {
    return refuse_errno(ErrorCode::kSeccompFailed, "load the seccomp program", errno == EINVAL ? "the kernel lacks seccomp filters or a flag, or the program is damaged" : "");
  }
  return UniqueFd(notifies ? static_cast<int>(result) : -1);
}

Outcome<SeccompExtras> read_seccomp_extras(const Json& profile) {
  SeccompExtras extras;
  for (const std::string& name : TRY(profile["flags"].texts())) {
    const Named* const flag = find(kFilterFlags, name);
    if (flag == nullptr) {
      return profile["flags"].wrong("flags (SECCOMP_FILTER_FLAG_LOG, ...), not '" + name + "'");
    }
    extras.flags |= flag->value;
  }
  extras.listener_path = TRY(profile["listenerPath"].text_or(""));
  extras.listener_metadata = TRY(profile["listenerMetadata"].text_or(""));
  const Json syscalls = profile["syscalls"];
  for (std::size_t i = 0, size = TRY(syscalls.array_size()); i < size; ++i) {
    const Json entry = syscalls.at(i);
    extras.notifies = extras.notifies || TRY(entry["action"].text()) == "SCMP_ACT_NOTIFY";
  }
  if (extras.notifies && extras.listener_path.empty()) {
    return profile["listenerPath"].wrong("the socket that gets the notifications of SCMP_ACT_NOTIFY");
  }
  return extras;
}

}  // namespace strata::runtime
