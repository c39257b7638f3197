"""Slow clients: `crowd.py HOST PORT NUMBER SECONDS` sends the head of a request byte by byte on each."""

import socket
import sys
import time

HEAD = b"GET / HTTP/1.1\r\nHost: slow\r\nX-Slow: " + b"s" * 4000
PAUSE = 0.25


def main(host, port, number, seconds):
    crowd = [socket.socket() for _ in range(number)]
    for sock in crowd:
        sock.setblocking(False)
        sock.connect_ex((host, port))
    deadline, at = time.monotonic() + seconds, 0
    while time.monotonic() < deadline:
        for sock in crowd:
            try:
                sock.send(HEAD[at : at + 1])
            except OSError:  # not connected yet, or closed as too slow
                continue
        at += 1
        time.sleep(PAUSE)
    for sock in crowd:
        sock.close()


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:4]), float(sys.argv[4]))
