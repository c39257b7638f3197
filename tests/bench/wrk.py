"""Load by wrk: one thread, and 32 connections that ask again as soon as they are answered."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

CONNECTIONS = 32

UPLOAD = """
wrk.method = "POST"
wrk.body = string.rep("x", {size})
wrk.headers["Content-Type"] = "application/octet-stream"
"""
"""A script for wrk: each request has a body."""

# `delay` is called before each request of a connection. What is due is random, for a fixed interval would
# meet the timers of a server always at the same place.
PACED = """
local ffi = require("ffi")
ffi.cdef("typedef struct {{ long s; long ns; }} moment; int clock_gettime(int, moment *);")
local found, due = ffi.new("moment"), nil
function delay()
  ffi.C.clock_gettime(1, found)
  local now = tonumber(found.s) + tonumber(found.ns) / 1e9
  due = (due or now) - math.log(1 - math.random()) / {rate}
  return math.max(0, (due - now) * 1000)
end
"""
"""A script for wrk: all connections together ask at a rate, at random moments (a Poisson process)."""

UNITS = {"us": 0.001, "ms": 1.0, "s": 1000.0, "m": 60_000.0}


@dataclass(frozen=True, slots=True)
class Load:
    """The result of a run.

    Attributes:
        rate: responses a second.
        p99: milliseconds that 99 of 100 requests did not exceed.
        count: how many responses there were.
        errors: failed connections, timeouts, and responses that are not 2xx or 3xx.
    """

    rate: float
    p99: float
    count: int
    errors: int


def version() -> str | None:
    """Return the version of wrk; None if it is not installed."""
    if shutil.which("wrk") is None:
        return None
    out = subprocess.run(["wrk", "-v"], capture_output=True, text=True, check=False)
    return (out.stdout + out.stderr).split()[1]


def load(url: str, seconds: int, script: Path | None = None, prefix: Sequence[str] = ()) -> Load:
    """Load a server for a while; `prefix` is the command that runs wrk elsewhere."""
    scripted = [] if script is None else ["-s", str(script)]
    command = [*prefix, "wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--latency", *scripted, url]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    p99 = re.search(r"\s99%\s+([\d.]+)([a-z]+)", out)
    assert p99 is not None, out
    socket_errors = re.search(r"Socket errors: (.*)", out)
    errors = sum(map(int, re.findall(r"\d+", socket_errors[1]))) if socket_errors else 0
    if wrong := re.search(r"Non-2xx or 3xx responses: (\d+)", out):
        errors += int(wrong[1])
    rate, count = _number(r"Requests/sec:\s+([\d.]+)", out), _number(r"(\d+) requests in", out)
    return Load(rate, float(p99[1]) * UNITS[p99[2]], int(count), errors)


def _number(pattern: str, text: str) -> float:
    found = re.search(pattern, text)
    assert found is not None, text
    return float(found[1])
