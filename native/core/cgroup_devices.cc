#include "cgroup_devices.h"

#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cstring>

namespace strata {

namespace {

using Rule = CgroupResources::DeviceRule;

std::string device_number(const std::optional<int64_t>& number) { return number && *number >= 0 ? std::to_string(*number) : "*"; }

bool any_number(const Rule& rule) { return !(rule.major && *rule.major >= 0) && !(rule.minor && *rule.minor >= 0); }

int32_t access_bits(const std::string& access) {
  int32_t bits = 0;
  for (const char letter : access.empty() ? std::string("rwm") : access) {
    bits |= letter == 'r' ? BPF_DEVCG_ACC_READ : letter == 'w' ? BPF_DEVCG_ACC_WRITE : letter == 'm' ? BPF_DEVCG_ACC_MKNOD : 0;
  }
  return bits;
}

bpf_insn instruction(int code, int destination, int source, int16_t offset, int32_t immediate) {
  bpf_insn result{};
  result.code = static_cast<uint8_t>(code);
  result.dst_reg = static_cast<uint8_t>(destination & 0xf);
  result.src_reg = static_cast<uint8_t>(source & 0xf);
  result.off = offset;
  result.imm = immediate;
  return result;
}

// Registers of the program: what is asked for, and which of its access bits no rule has decided yet.
constexpr int kType = BPF_REG_2;
constexpr int kUndecided = BPF_REG_3;
constexpr int kMajor = BPF_REG_4;
constexpr int kMinor = BPF_REG_5;
constexpr int kScratch = BPF_REG_6;

void emit_return(std::vector<bpf_insn>& program, int32_t value) {
  program.push_back(instruction(BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_0, 0, 0, value));
  program.push_back(instruction(BPF_JMP | BPF_EXIT, 0, 0, 0, 0));
}

void emit_rule(std::vector<bpf_insn>& program, const Rule& rule) {
  std::vector<size_t> to_end;
  const auto unless_equal = [&](int reg, int64_t value) {
    to_end.push_back(program.size());
    program.push_back(instruction(BPF_JMP | BPF_JNE | BPF_K, reg, 0, 0, static_cast<int32_t>(value)));
  };
  if (rule.type != 'a') {
    unless_equal(kType, rule.type == 'b' ? BPF_DEVCG_DEV_BLOCK : BPF_DEVCG_DEV_CHAR);
  }
  if (rule.major && *rule.major >= 0) {
    unless_equal(kMajor, *rule.major);
  }
  if (rule.minor && *rule.minor >= 0) {
    unless_equal(kMinor, *rule.minor);
  }
  const int32_t bits = access_bits(rule.access);
  if (rule.allow) {
    program.push_back(instruction(BPF_ALU64 | BPF_AND | BPF_K, kUndecided, 0, 0, ~bits));
    to_end.push_back(program.size());
    program.push_back(instruction(BPF_JMP | BPF_JNE | BPF_K, kUndecided, 0, 0, 0));
    emit_return(program, 1);
  } else {
    program.push_back(instruction(BPF_ALU64 | BPF_MOV | BPF_X, kScratch, kUndecided, 0, 0));
    program.push_back(instruction(BPF_ALU64 | BPF_AND | BPF_K, kScratch, 0, 0, bits));
    to_end.push_back(program.size());
    program.push_back(instruction(BPF_JMP | BPF_JEQ | BPF_K, kScratch, 0, 0, 0));
    emit_return(program, 0);
  }
  for (const size_t jump : to_end) {
    program[jump].off = static_cast<int16_t>(program.size() - jump - 1);
  }
}

int bpf(bpf_cmd command, bpf_attr& attributes) { return static_cast<int>(::syscall(SYS_bpf, command, &attributes, sizeof attributes)); }

std::vector<uint32_t> attached_programs(int directory) {
  std::array<uint32_t, 64> ids{};
  bpf_attr attributes{};
  attributes.query.target_fd = static_cast<uint32_t>(directory);
  attributes.query.attach_type = BPF_CGROUP_DEVICE;
  attributes.query.prog_cnt = ids.size();
  attributes.query.prog_ids = reinterpret_cast<uint64_t>(ids.data());
  if (bpf(BPF_PROG_QUERY, attributes) != 0) {
    return {};
  }
  return {ids.begin(), ids.begin() + attributes.query.prog_cnt};
}

void detach_program(int directory, uint32_t id) {
  bpf_attr by_id{};
  by_id.prog_id = id;
  const UniqueFd program(bpf(BPF_PROG_GET_FD_BY_ID, by_id));
  if (program) {
    bpf_attr attributes{};
    attributes.target_fd = static_cast<uint32_t>(directory);
    attributes.attach_bpf_fd = static_cast<uint32_t>(program.get());
    attributes.attach_type = BPF_CGROUP_DEVICE;
    bpf(BPF_PROG_DETACH, attributes);
  }
}

}  // namespace

std::vector<DeviceCommand> v1_device_commands(const std::vector<Rule>& rules) {
  std::vector<DeviceCommand> commands{{false, "a"}};
  for (const Rule& rule : rules) {
    if (rule.type == 'a' && any_number(rule) && access_bits(rule.access) == access_bits("rwm")) {
      if (commands.size() > 1 || rule.allow) {
        commands.push_back({rule.allow, "a"});
      }
      continue;
    }
    // The kernel takes "a" as "everything" whatever follows it, so it is spelled out.
    for (const char type : rule.type == 'a' ? std::string("bc") : std::string(1, rule.type)) {
      commands.push_back({rule.allow, std::string(1, type) + " " + device_number(rule.major) + ":" + device_number(rule.minor) + " " +
                                          (rule.access.empty() ? "rwm" : rule.access)});
    }
  }
  return commands;
}

std::vector<bpf_insn> compile_device_program(const std::vector<Rule>& rules) {
  std::vector<bpf_insn> program;
  // struct bpf_cgroup_dev_ctx { u32 access_type (access << 16 | type), major, minor }
  program.push_back(instruction(BPF_LDX | BPF_MEM | BPF_W, kType, BPF_REG_1, 0, 0));
  program.push_back(instruction(BPF_ALU64 | BPF_MOV | BPF_X, kUndecided, kType, 0, 0));
  program.push_back(instruction(BPF_ALU64 | BPF_AND | BPF_K, kType, 0, 0, 0xffff));
  program.push_back(instruction(BPF_ALU64 | BPF_RSH | BPF_K, kUndecided, 0, 0, 16));
  program.push_back(instruction(BPF_LDX | BPF_MEM | BPF_W, kMajor, BPF_REG_1, 4, 0));
  program.push_back(instruction(BPF_LDX | BPF_MEM | BPF_W, kMinor, BPF_REG_1, 8, 0));
  for (size_t i = rules.size(); i-- > 0;) {
    const Rule& rule = rules[i];
    if (rule.type == 'a' && any_number(rule) && access_bits(rule.access) == access_bits("rwm")) {
      // Decides everything: what stands before it can never be reached, and the verifier refuses unreachable code.
      emit_return(program, rule.allow ? 1 : 0);
      return program;
    }
    emit_rule(program, rule);
  }
  emit_return(program, 0);
  return program;
}

Status attach_device_program(int directory, const std::vector<bpf_insn>& program) {
  // bpf(2) takes no O_PATH descriptor.
  const UniqueFd cgroup(::openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!cgroup) {
    return fail_errno("open 'cgroup directory'");
  }
  std::array<char, 4096> log{};
  bpf_attr load{};
  load.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE;
  load.insns = reinterpret_cast<uint64_t>(program.data());
  load.insn_cnt = static_cast<uint32_t>(program.size());
  load.license = reinterpret_cast<uint64_t>("Apache-2.0");
  std::memcpy(load.prog_name, "strata_devices", sizeof "strata_devices");
  UniqueFd loaded(bpf(BPF_PROG_LOAD, load));
  if (!loaded && errno != EPERM) {
    // Once more for the verifier's words.
    load.log_level = 1;
    load.log_buf = reinterpret_cast<uint64_t>(log.data());
    load.log_size = static_cast<uint32_t>(log.size());
    loaded = UniqueFd(bpf(BPF_PROG_LOAD, load));
  }
  if (!loaded) {
    return fail_errno("load 'device program'", std::string(log.data(), ::strnlen(log.data(), 512)));
  }
  const std::vector<uint32_t> before = attached_programs(cgroup.get());
  bpf_attr attach{};
  attach.target_fd = static_cast<uint32_t>(cgroup.get());
  attach.attach_bpf_fd = static_cast<uint32_t>(loaded.get());
  attach.attach_type = BPF_CGROUP_DEVICE;
  attach.attach_flags = BPF_F_ALLOW_MULTI;
  if (bpf(BPF_PROG_ATTACH, attach) != 0) {
    return fail_errno("attach 'device program'");
  }
  // All attached programs must agree, so there is no moment without rules.
  for (const uint32_t id : before) {
    detach_program(cgroup.get(), id);
  }
  return {};
}

}  // namespace strata
