#include "runtime/oci/criu.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <linux/mount.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstring>
#include <utility>

#include "runtime/channel.h"
#include "runtime/environment.h"
#include "runtime/init.h"
#include "runtime/launch.h"
#include "runtime/sandbox.h"

namespace strata::runtime::oci {
namespace {

constexpr char kPath[] = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
constexpr int kSocketFd = 3, kImagesFd = 4, kWorkFd = 5;
constexpr int kOutOfTheWay = 64;  // above what is given a number

bool is_program(const std::string& path) {
  struct stat status {};
  return ::stat(path.c_str(), &status) == 0 && S_ISREG(status.st_mode) && ::access(path.c_str(), X_OK) == 0;
}

Done mount_root(const CriuChild& child) {
  if (::unshare(CLONE_NEWNS) < 0) {
    return refuse_errno(ErrorCode::kNamespaceFailed, "make a mount namespace for criu");
  }
  TRY(set_own_propagation(MS_SLAVE | MS_REC));
  if (::syscall(SYS_mount, child.root.c_str(), child.root_place.c_str(), nullptr, MS_BIND | MS_REC, nullptr) < 0) {
    return refuse_errno(ErrorCode::kMountFailed, "mount the root file system for criu", "", child.root);
  }
  return {};
}

// 0, 1, 2 as they are, then the socket, the directories and what is passed.
Done arrange_descriptors(const CriuChild& child, const std::array<int, 3>& first) {
  std::vector<int> sources(first.begin(), first.end());
  sources.insert(sources.end(), child.passed.begin(), child.passed.end());
  for (int& source : sources) {
    source = ::fcntl(source, F_DUPFD_CLOEXEC, kOutOfTheWay);
    if (source < 0) {
      return refuse_errno(ErrorCode::kInternal, "pass descriptors to criu");
    }
  }
  for (std::size_t i = 0; i < sources.size(); ++i) {
    if (::dup2(sources[i], kSocketFd + static_cast<int>(i)) < 0) {
      return refuse_errno(ErrorCode::kInternal, "pass descriptors to criu");
    }
  }
  return {};
}

Outcome<UniqueFd> open_directory(const std::string& path) {
  UniqueFd directory(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!directory) {
    return refuse_errno(ErrorCode::kInvalidRequest, "open the directory '" + path + "'", "", path);
  }
  return directory;
}

// criu opens the directories by the pid of who made its socket, and makes mounts in them: both have to be of its own mount namespace.
[[noreturn]] void run_criu(const CriuChild& child, Channel said, bool in_unified) {
  const auto run = [&]() -> Done {
    reset_signals();
    if (child.dies_with_parent) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    } else {
      ::setsid();  // a Ctrl-C for this process would leave what criu works on half done
    }
    said = Channel(UniqueFd(::fcntl(said.fd(), F_DUPFD_CLOEXEC, kOutOfTheWay)));
    if (child.cgroup != nullptr) {
      TRY(classify(child.cgroup->add_process(0, in_unified), ErrorCode::kCgroupFailed));
    }
    if (!child.root.empty()) {
      TRY(mount_root(child));
    }
    const UniqueFd images = TRY(open_directory(child.images));
    const UniqueFd work = TRY(open_directory(child.work.empty() ? child.images : child.work));
    int ends[2];
    if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0) {
      return refuse_errno(ErrorCode::kInternal, "make a socket pair");
    }
    TRY(said.send(MessageKind::kReady, {}, {ends[0]}));
    TRY(arrange_descriptors(child, {ends[1], images.get(), work.get()}));
    ::syscall(SYS_close_range, static_cast<unsigned>(kFirstPassedFd + static_cast<int>(child.passed.size())), ~0U, static_cast<unsigned>(CLOSE_RANGE_CLOEXEC));
    ::execl(child.program.c_str(), "criu", "swrk", "3", static_cast<char*>(nullptr));
    return refuse_errno(ErrorCode::kKernelFeatureMissing, "execute '" + child.program + "'", "", child.program);
  };
  const Done done = run();
  give_up(said, done.error());
}

std::unexpected<Failure> no_answer() { return refuse(ErrorCode::kInternal, "criu ended without an answer"); }

// The rights of a message that has come.
UniqueFd descriptor_of(msghdr& header) {
  UniqueFd first;
  for (cmsghdr* part = CMSG_FIRSTHDR(&header); part != nullptr; part = CMSG_NXTHDR(&header, part)) {
    if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS) {
      continue;
    }
    for (std::size_t at = 0; at + sizeof(int) <= part->cmsg_len - CMSG_LEN(0); at += sizeof(int)) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(part) + at, sizeof fd);
      UniqueFd taken(fd);
      if (!first) {
        first = std::move(taken);
      }
    }
  }
  return first;
}

}  // namespace

Outcome<std::string> find_criu(const std::string& given) {
  const auto missing = [](const std::string& what, const std::string& hint) {
    return refuse(ErrorCode::kKernelFeatureMissing, "checkpoint and restore are not available: " + what, 0, hint);
  };
  if (given.find('/') != std::string::npos) {
    return is_program(given) ? Outcome<std::string>(given) : missing("'" + given + "' is no program", "--criu names criu's");
  }
  const std::string name = given.empty() ? "criu" : given;
  const std::string own_path = value_of(own_environment(), "PATH");
  for (std::string_view rest = own_path.empty() ? std::string_view(kPath) : std::string_view(own_path);;) {
    const std::size_t colon = rest.find(':');
    const std::string candidate = std::string(rest.substr(0, colon)) + "/" + name;
    if (candidate.front() == '/' && candidate != "/" + name && is_program(candidate)) {
      return candidate;
    }
    if (colon == std::string_view::npos) {
      return missing("there is no program '" + name + "' in PATH", "install the package criu, or name the program by --criu");
    }
    rest.remove_prefix(colon + 1);
  }
}

Criu::Criu(Criu&& other) noexcept : socket_(std::move(other.socket_)), pid_(std::exchange(other.pid_, -1)) {}

// Without its socket it stops what it does and undoes it.
Criu::~Criu() {
  socket_.reset();
  if (pid_ > 0) {
    wait();
  }
}

int Criu::wait() {
  int status = 0;
  while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
  }
  pid_ = -1;
  return status;
}

Outcome<Criu> Criu::start(const CriuChild& child) {
  auto [channel, said] = TRY(Channel::make_pair());
  Cgroup none = Cgroup::none();
  UniqueFd handle;
  bool in_unified = false;
  const pid_t pid = TRY(clone_child(0, child.cgroup == nullptr ? none : *child.cgroup, handle, in_unified));
  if (pid == 0) {
    channel.close();
    run_criu(child, std::move(said), in_unified);
  }
  said.close();
  Criu criu(UniqueFd(), pid);
  for (;;) {
    std::optional<Message> message = TRY(channel.receive());
    if (message && message->kind == MessageKind::kReady && message->fds.size() == 1) {
      criu.socket_ = std::move(message->fds[0]);
    } else if (message && message->kind == MessageKind::kFailed) {
      return std::unexpected(decode_failure(*message));
    } else if (!message && criu.socket_) {
      return criu;  // the end of file is the execve's
    } else {
      return refuse(ErrorCode::kInternal, "criu's process ended before it was criu", 0, "the container's memory or pids limit may be too low to start in");
    }
  }
}

Done Criu::send(const std::string& message) const {
  if (::send(socket_.get(), message.data(), message.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(message.size())) {
    return errno == EPIPE ? no_answer() : refuse_errno(ErrorCode::kInternal, "send to criu");
  }
  return {};
}

Outcome<CriuAnswer> Criu::receive(UniqueFd& fd) const {
  std::array<char, 64 << 10> buffer;
  alignas(cmsghdr) std::array<char, CMSG_SPACE(16 * sizeof(int))> control;
  iovec part{buffer.data(), buffer.size()};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  header.msg_control = control.data();
  header.msg_controllen = control.size();
  ssize_t got = 0;
  do {
    got = ::recvmsg(socket_.get(), &header, MSG_CMSG_CLOEXEC);
  } while (got < 0 && errno == EINTR);
  if (got == 0 || (got < 0 && errno == ECONNRESET)) {
    return no_answer();
  }
  if (got < 0) {
    return refuse_errno(ErrorCode::kInternal, "receive from criu");
  }
  fd = descriptor_of(header);
  if ((header.msg_flags & MSG_TRUNC) != 0) {
    return refuse(ErrorCode::kInternal, "criu's answer is larger than any of its protocol", EMSGSIZE);
  }
  return decode_answer({buffer.data(), static_cast<std::size_t>(got)});
}

Outcome<CriuAnswer> Criu::work(CriuType type, CriuOptions options, const Notified& notified) {
  options.images_fd = kImagesFd;
  options.work_fd = kWorkFd;
  TRY(send(encode_request(type, options)));
  for (;;) {
    UniqueFd fd;
    CriuAnswer answer = TRY(receive(fd));
    if (answer.type == static_cast<std::uint64_t>(CriuType::kNotify) && answer.success) {
      const Done done = notified(answer, std::move(fd));
      if (!done) {
        static_cast<void>(send(encode_notified(false)));
        return std::unexpected(done.error());
      }
      TRY(send(encode_notified(true)));
      continue;
    }
    if (!answer.success) {
      return refuse(ErrorCode::kInternal, answer.message.empty() ? "criu did not say why" : answer.message, answer.reason);
    }
    socket_.reset();
    const int status = wait();
    if (status != 0) {
      return refuse(ErrorCode::kInternal, "criu ended with status " + std::to_string(WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status)));
    }
    return answer;
  }
}

}  // namespace strata::runtime::oci
