"""`python -m tests.conformance.page` runs the tests beside it, and writes docs/conformance.md.

The page has what has passed, and is left alone if something fails.
"""

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from collections.abc import Iterable

import pytest

from tests.conformance.conftest import PASSED
from tests.support.manager import CHECKOUT

PAGE = CHECKOUT / "docs/conformance.md"

HEAD = """# Conformance

<!-- Written by `.venv/bin/python -m tests.conformance.page`; do not edit it. -->

Programs that others wrote, most of them for other servers, ask sockact's HTTP engine here. The tests are in
[tests/conformance](../tests/conformance); `./tests/run tests/conformance` installs what they need and runs
them. A case that fails is a test that fails: the table has only what passes.

- **Autobahn's WebSocket cases** run against an echo. NON-STRICT conforms, too: text that is not UTF-8 is
  refused at the end of its message rather than at the first wrong byte. Of the cases of compression, these
  are the shortest; `--all-rounds` runs all 216. With reloads inside, the connection moves to another engine
  after the handshake, between messages and inside them, so that each case sees a move.
- **wsgiref.validate** stands between engine and app, over TCP and a Unix socket, and complains of all that
  PEP 3333 does not allow.
- **Frameworks** get the same requests, on connections that are kept: forms, JSON, errors, streams, uploads,
  downloads, escapes, and a WebSocket where they have some. In a reload no request fails, and no connection
  ends.
- **curl, wget, ab and httperf** ask an ASGI app and a WSGI app. httperf sends five requests at a time.
- **slowhttptest** opens 200 connections to a WSGI app with two threads; others are answered meanwhile.
- **nginx and HAProxy** reach the service by TCP and by a Unix socket, on connections that they keep.

| program | version | number of requests or cases |
|---|---|---|
"""


class Lines:
    """Collects what tests have passed; a plugin of pytest."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, str], Counter[tuple[str, str]]] = defaultdict(Counter)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take the lines of a test that has passed."""
        if report.when != "call" or not report.passed:
            return
        for name, (suite, version, cases, count, result) in report.user_properties:
            if name == PASSED:
                self._counts[suite, version][cases, result] += count

    def rows(self) -> Iterable[str]:
        """Return the rows of the table."""
        for (suite, version), counts in sorted(self._counts.items(), key=lambda each: each[0][0].lower()):
            cases = [
                f"{what}: {count:,}" + (f" ({result})" if result else "")
                for (what, result), count in counts.items()
            ]
            yield f"| {suite} | {version} | {'; '.join(cases)} |\n"


def main() -> int:
    """Run the tests, and write the page if all of them pass; return the exit status."""
    lines = Lines()
    status = pytest.main(["--require-machine", "--quiet", *sys.argv[1:], "tests/conformance"], [lines])
    if status == 0:
        PAGE.write_text(HEAD + "".join(lines.rows()))
    return int(status)


if __name__ == "__main__":
    sys.exit(main())
