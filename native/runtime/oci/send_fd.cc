#include "runtime/oci/send_fd.h"

#include <sys/socket.h>

#include <cstring>
#include <string>

namespace strata::runtime::oci {

Status send_fd(int socket, std::string_view text, int fd) {
  std::string content(text);
  iovec part{content.data(), content.size()};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))]{};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  cmsghdr* const header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof(int));
  std::memcpy(CMSG_DATA(header), &fd, sizeof fd);
  if (::sendmsg(socket, &message, MSG_NOSIGNAL) < 0) {
    return fail_errno("send 'descriptor'");
  }
  return {};
}

}  // namespace strata::runtime::oci
