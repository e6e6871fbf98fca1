#include "runtime/channel.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <array>
#include <cstring>
#include <memory>

#include "runtime/json.h"

namespace strata::runtime {

Outcome<std::pair<Channel, Channel>> Channel::make_pair() {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0) {
    return refuse_errno(ErrorCode::kInternal, "make a socket pair");
  }
  return std::pair(Channel(UniqueFd(ends[0])), Channel(UniqueFd(ends[1])));
}

Done Channel::send(MessageKind kind, std::string_view text, const std::vector<int>& fds) const {
  text = text.substr(0, kMaxText);
  auto kind_byte = static_cast<std::uint8_t>(kind);
  std::array<iovec, 2> parts = {{{&kind_byte, 1}, {const_cast<char*>(text.data()), text.size()}}};
  msghdr message{};
  message.msg_iov = parts.data();
  message.msg_iovlen = parts.size();
  // cmsghdr's alignment comes from the allocator.
  std::vector<char> control;
  if (!fds.empty()) {
    control.resize(CMSG_SPACE(fds.size() * sizeof(int)));
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(fds.size() * sizeof(int));
    std::memcpy(CMSG_DATA(header), fds.data(), fds.size() * sizeof(int));
  }
  ssize_t sent = 0;
  do {
    sent = ::sendmsg(socket_.get(), &message, MSG_NOSIGNAL);
  } while (sent < 0 && errno == EINTR);
  if (sent < 0) {
    return refuse_errno(ErrorCode::kInternal, "send to the other stage");
  }
  return {};
}

Outcome<std::optional<Message>> Channel::receive(bool wait) const {
  std::string buffer(kMaxText + 1, '\0');
  std::vector<char> control(CMSG_SPACE(kMaxFds * sizeof(int)));
  iovec part{buffer.data(), buffer.size()};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  header.msg_control = control.data();
  header.msg_controllen = control.size();
  ssize_t count = 0;
  do {
    count = ::recvmsg(socket_.get(), &header, MSG_CMSG_CLOEXEC | (wait ? 0 : MSG_DONTWAIT));
  } while (count < 0 && errno == EINTR);
  if (count < 0 && errno != ECONNRESET) {
    return refuse_errno(ErrorCode::kInternal, "receive from the other stage");
  }
  if (count <= 0) {
    return std::optional<Message>();
  }
  Message message;
  for (cmsghdr* item = CMSG_FIRSTHDR(&header); item != nullptr; item = CMSG_NXTHDR(&header, item)) {
    if (item->cmsg_level == SOL_SOCKET && item->cmsg_type == SCM_RIGHTS) {
      const std::size_t number = (item->cmsg_len - CMSG_LEN(0)) / sizeof(int);
      for (std::size_t i = 0; i < number; ++i) {
        int fd = -1;
        std::memcpy(&fd, CMSG_DATA(item) + i * sizeof(int), sizeof fd);
        message.fds.emplace_back(fd);
      }
    }
  }
  if ((header.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0) {
    return refuse(ErrorCode::kInternal, "receive from the other stage: the message does not fit");
  }
  message.kind = static_cast<MessageKind>(buffer[0]);
  message.text.assign(buffer, 1, static_cast<std::size_t>(count) - 1);
  return std::optional(std::move(message));
}

Outcome<Message> Channel::expect(MessageKind kind) const {
  std::optional<Message> message = TRY(receive());
  if (!message) {
    return refuse(ErrorCode::kInternal, "the other stage ended");
  }
  if (message->kind != kind) {
    return refuse(ErrorCode::kInternal, "unexpected message " + std::to_string(static_cast<int>(message->kind)) + " from the other stage");
  }
  return std::move(*message);
}

Outcome<std::vector<UniqueFd>> Channel::reserve(std::size_t count) const {
  std::vector<UniqueFd> places;
  while (places.size() < count) {
    places.emplace_back(::fcntl(socket_.get(), F_DUPFD_CLOEXEC, 3));
    if (!places.back()) {
      return refuse_errno(ErrorCode::kInternal, "hold places for descriptors");
    }
  }
  return places;
}

std::string encode_failure(const Failure& failure) { return std::string(1, static_cast<char>(failure.code)) + to_json(failure); }

Failure cause_of(const Channel& channel, Failure own) {
  // The end of file comes after the messages, a reset before them.
  for (int ends = 0; ends < 2;) {
    const auto message = channel.receive(false);
    if (!message) {
      break;  // nothing is there to be read
    }
    ends += *message ? 0 : 1;
    if (*message && (*message)->kind == MessageKind::kFailed) {
      return decode_failure(**message);
    }
  }
  return own;
}

Failure decode_failure(const Message& message) {
  const unsigned number = message.text.empty() ? ~0U : static_cast<unsigned char>(message.text.front());
  const auto document = JsonDocument::parse(std::string_view(message.text).substr(message.text.empty() ? 0 : 1));
  if (number > static_cast<unsigned>(ErrorCode::kInternal) || !document || !document->root().object()) {
    return Failure(Error{EPROTO, "understand why the other stage failed", ""});
  }
  Failure failure(static_cast<ErrorCode>(number), Error{0, document->root()["message"].text_or("").value_or(""), ""});
  failure.rendered = message.text.substr(1);
  return failure;
}

}  // namespace strata::runtime
