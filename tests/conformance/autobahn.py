"""Runs Autobahn's WebSocket cases: `python -m tests.conformance.autobahn URL CASE...` prints JSON.

In a process of its own: kosoku replaces `binascii.b2a_hex`, and puts modules called `autobahn` and
`pkg_resources` in front of others.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Sequence

from kosoku import FailureError, run_fuzzingclient

AT_A_TIME = 4
"""Cases; some of them do nothing but wait for seconds."""


async def verdicts(url: str, cases: Sequence[str]) -> list[tuple[str, str, str, str]]:
    """Return of each case the number, the two verdicts, and what they stand on."""
    try:
        results = await run_fuzzingclient(url, cases, concurrency=AT_A_TIME)
    except FailureError as error:
        results = error.results
    return [
        (each.case_id, each.behavior.value, each.behavior_close.value, f"{each.result} {each.result_close}")
        for each in results
    ]


if __name__ == "__main__":
    print(json.dumps(asyncio.run(verdicts(sys.argv[1], sys.argv[2:]))), flush=True)
    os._exit(0)  # one of kosoku's own threads sometimes aborts the process at the end of Python
