"""receive_fd.py KIND SOCKET: takes descriptors that the runtime sends to SOCKET, which Node cannot, and says what they are.

pidfd    prints the pid that the descriptor stands for
console  prints what is written to the terminal until it hangs up
seccomp  prints the container's state, then answers each notification: mkdir fails with ENOSPC for /dev/x1, all else goes on
"""

import array
import fcntl
import json
import os
import select
import socket
import struct
import sys

kind, path = sys.argv[1:]
listener = socket.socket(socket.AF_UNIX)
listener.bind(path + ".new")
listener.listen()
os.rename(path + ".new", path)  # who sees the name can connect


def receive():
    connection, _ = listener.accept()
    text, ancillary, _, _ = connection.recvmsg(1 << 20, socket.CMSG_SPACE(4))
    descriptors = array.array("i")
    descriptors.frombytes(ancillary[0][2])
    return text.decode(), descriptors[0]


def say(*words):
    print(*words, flush=True)


text, fd = receive()
if kind == "pidfd":
    for line in open(f"/proc/self/fdinfo/{fd}"):
        if line.startswith("Pid:"):
            say(line.split()[1])
elif kind == "console":
    say(text)
    try:
        while piece := os.read(fd, 4096):
            sys.stdout.write(piece.decode().replace("\r", ""))
            sys.stdout.flush()
    except OSError:  # EIO: the last one who had it open is gone
        pass
elif kind == "seccomp":
    RECEIVE, SEND, CONTINUE = 0xC0502100, 0xC0182101, 1
    state = json.loads(text)
    say(json.dumps(state))
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    poll.register(listener, select.POLLIN)
    while True:
        for ready, events in poll.poll():
            if ready == listener.fileno():
                text, more = receive()
                say(text)
                poll.register(more, select.POLLIN)
            elif events & select.POLLIN:
                notification = bytearray(80)
                try:
                    fcntl.ioctl(ready, RECEIVE, notification)
                    (number, pid) = struct.unpack_from("=QI", notification)
                    arguments = struct.unpack_from("=6Q", notification, 32)
                    name = b""
                    with open(f"/proc/{pid}/mem", "rb", 0) as memory:
                        memory.seek(arguments[0])
                        name = memory.read(16).split(b"\0")[0]
                    refused = name == b"/dev/x1"
                    say("mkdir", name.decode())
                    answer = struct.pack("=QqiI", number, 0, -28 if refused else 0, 0 if refused else CONTINUE)
                    fcntl.ioctl(ready, SEND, bytearray(answer))
                except OSError:
                    pass  # the caller is gone
            else:
                poll.unregister(ready)
