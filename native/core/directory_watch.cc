#include "directory_watch.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/fanotify.h>
#include <unistd.h>

#include <array>
#include <climits>
#include <cstring>
#include <vector>

namespace strata {

namespace {

constexpr uint64_t kChanges = FAN_MODIFY | FAN_ATTRIB | FAN_CREATE | FAN_DELETE | FAN_MOVED_FROM | FAN_MOVED_TO | FAN_ONDIR;
// So long events are left to gather: what a busy host writes elsewhere costs a few looks a second, each of no more than the kernel queues.
constexpr int kGatherMs = 50;
constexpr int kGatherBusyMs = 250;
constexpr size_t kBusyEvents = 4096;
constexpr size_t kMostKnown = 16384;

// The kernel's path of a descriptor; empty where there is none.
std::string path_of(int fd) {
  std::array<char, PATH_MAX> target{};
  const ssize_t length = ::readlink(("/proc/self/fd/" + std::to_string(fd)).c_str(), target.data(), target.size());
  return length <= 0 || static_cast<size_t>(length) == target.size() ? std::string() : std::string(target.data(), static_cast<size_t>(length));
}

bool waits_for(int fd, int timeout_ms) {
  pollfd one{.fd = fd, .events = POLLIN, .revents = 0};
  return ::poll(&one, 1, timeout_ms) > 0;
}

}  // namespace

Result<DirectoryWatch> DirectoryWatch::open(const std::string& path) {
  UniqueFd root(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!root) {
    return fail_errno("open '" + path + "'");
  }
  UniqueFd group(::fanotify_init(FAN_CLASS_NOTIF | FAN_REPORT_DFID_NAME | FAN_NONBLOCK | FAN_CLOEXEC, O_RDONLY));
  if (!group || ::fanotify_mark(group.get(), FAN_MARK_ADD | FAN_MARK_FILESYSTEM, kChanges, root.get(), nullptr) < 0) {
    return fail_errno("watch '" + path + "'");
  }
  UniqueFd cancelled(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!cancelled) {
    return fail_errno("make 'eventfd'");
  }
  std::string named = path_of(root.get());
  return DirectoryWatch(std::move(named), std::move(root), std::move(group), std::move(cancelled));
}

void DirectoryWatch::cancel() const {
  const uint64_t one = 1;
  static_cast<void>(::write(cancelled_.get(), &one, sizeof one) < 0);
}

// A directory that is gone by now, or cannot be named: it might have been one of ours.
bool DirectoryWatch::is_below(const char* handle, size_t size) {
  const std::string key(handle, size);
  if (const auto found = known_.find(key); found != known_.end()) {
    return found->second;
  }
  std::vector<char> copy(handle, handle + size);
  const UniqueFd directory(::open_by_handle_at(root_.get(), reinterpret_cast<file_handle*>(copy.data()), O_PATH | O_CLOEXEC));
  const std::string path = directory ? path_of(directory.get()) : std::string();
  // What is gone is not kept: its handle may be given again.
  if (path.empty() || path.ends_with(" (deleted)")) {
    return path.starts_with(path_);
  }
  const bool is_ours = path.starts_with(path_) && (path.size() == path_.size() || path[path_.size()] == '/');
  if (known_.size() >= kMostKnown) {
    known_.clear();
  }
  known_.emplace(key, is_ours);
  return is_ours;
}

bool DirectoryWatch::concerns(std::span<const char> events) {
  while (events.size() >= sizeof(fanotify_event_metadata)) {
    fanotify_event_metadata event;
    std::memcpy(&event, events.data(), sizeof event);
    if (event.event_len < sizeof event || event.event_len > events.size()) {
      return true;
    }
    if ((event.mask & FAN_Q_OVERFLOW) != 0) {
      return true;
    }
    // Where a directory goes, those below it go along.
    if ((event.mask & FAN_ONDIR) != 0 && (event.mask & (FAN_MOVED_FROM | FAN_MOVED_TO)) != 0) {
      known_.clear();
    }
    const std::span<const char> information = events.subspan(event.metadata_len, event.event_len - event.metadata_len);
    fanotify_event_info_fid fid;
    constexpr size_t kHandle = offsetof(fanotify_event_info_fid, handle);
    file_handle head;
    if (information.size() >= kHandle + sizeof head) {
      std::memcpy(&fid, information.data(), kHandle);
      std::memcpy(&head, information.data() + kHandle, sizeof head);
      if (information.size() >= kHandle + sizeof head + head.handle_bytes && is_below(information.data() + kHandle, sizeof head + head.handle_bytes)) {
        return true;
      }
    }
    events = events.subspan(event.event_len);
  }
  return false;
}

Result<bool> DirectoryWatch::wait() {
  std::vector<char> buffer(256 << 10);
  for (;;) {
    pollfd both[] = {{.fd = group_.get(), .events = POLLIN, .revents = 0}, {.fd = cancelled_.get(), .events = POLLIN, .revents = 0}};
    if (::poll(both, 2, -1) < 0 && errno != EINTR) {
      return fail_errno("wait for 'events'");
    }
    if (both[1].revents != 0) {
      return false;
    }
    size_t read_events = 0;
    for (;;) {
      const ssize_t count = ::read(group_.get(), buffer.data(), buffer.size());
      if (count < 0 && errno != EAGAIN && errno != EINTR) {
        return fail_errno("read 'events'");
      }
      if (count <= 0) {
        break;
      }
      if (concerns({buffer.data(), static_cast<size_t>(count)})) {
        return true;
      }
      read_events += static_cast<size_t>(count) / sizeof(fanotify_event_metadata);
      if (read_events > 4 * kBusyEvents) {
        break;  // there is always more: it goes on after a rest
      }
    }
    if (waits_for(cancelled_.get(), read_events > kBusyEvents ? kGatherBusyMs : kGatherMs)) {
      return false;
    }
  }
}

}  // namespace strata
