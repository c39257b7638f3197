"""A client that keeps its connection: `python -m tests.bench.client PORT BEGIN SECONDS INTERVAL`.

It asks at fixed moments, or late if the response before was, and writes a line of JSON for each request:
when it was due and how long after that it was answered, both in seconds, and by which process. For a
request without a whole answer the process is null; then, and only then, it connects anew.
"""

from __future__ import annotations

import contextlib
import json
import sys
import time

from tests.support.http_client import Client


def main() -> None:
    port = int(sys.argv[1])
    begin, seconds, interval = (float(each) for each in sys.argv[2:])
    with contextlib.ExitStack() as opened:
        client: Client | None = None
        for number in range(round(seconds / interval)):
            due = number * interval
            time.sleep(max(begin + due - time.monotonic(), 0))
            connects, pid = client is None, None
            try:
                if client is None:
                    client = opened.enter_context(Client(("127.0.0.1", port)))
                answer = client.get()
                pid = answer.json["pid"]
                client = None if answer.closes else client
            except (OSError, AssertionError, ValueError):  # none, or not a whole one
                client = None
            print(json.dumps([due, time.monotonic() - begin - due, pid, connects]))


if __name__ == "__main__":
    main()
