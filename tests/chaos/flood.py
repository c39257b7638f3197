"""Floods a socket in a machine: `flood.py SECONDS PATTERN...`, as whoever runs it.

Each pattern names sockets by a glob. To a datagram socket it sends notifications, to a stream socket it
connects, and sends lines that are no requests. What it may not do, or what does not fit, it leaves.
"""

import glob
import os
import socket
import sys
import time

DATAGRAMS = (
    b"STATUS=flood",
    b"WATCHDOG=1",
    b"READY=1",
    b"X_SOCKACT_NONSENSE=1",
    b"STOPPING=1",
    b"\xff" * 900,
)
LINES = (b"", b"reload\n", b"{}\n", b'{"verb": 1}\n', b"\xff" * 3000, b"[" * 2000 + b"\n")
HELD = 60
"""Connections that are kept open at a time."""


def send(path, data):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sock:
        sock.sendto(data, path)


def connect(path, data, held):
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    held.append(sock)
    sock.connect(path)
    sock.send(data)


def main(seconds, patterns):
    deadline, held, sent, rounds = time.monotonic() + seconds, [], 0, 0
    while time.monotonic() < deadline:
        rounds += 1
        paths = [path for pattern in patterns for path in glob.glob(pattern, recursive=True)]
        for path in paths:
            for data, line in zip(DATAGRAMS, LINES, strict=True):
                try:
                    send(path, data)
                    sent += 1
                except OSError:
                    try:
                        connect(path, line, held)
                        sent += 1
                    except OSError:
                        pass
        while len(held) > HELD:
            held.pop(0).close()
        time.sleep(0.001)
    print(f"{os.geteuid()}: {sent} sent in {rounds} rounds to {len(paths)}")


if __name__ == "__main__":
    main(float(sys.argv[1]), sys.argv[2:])
