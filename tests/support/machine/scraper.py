"""A scraper of metrics, run from outside in a machine's network: `with scraping(machine) as scraper`."""

from __future__ import annotations

import ast
import contextlib
import itertools
import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence

from tests.support.machine.machine import Machine
from tests.support.machine.service import LIMIT

PORT = 9100
PAUSE = 0.2
PROGRAM = """
import http.client, sys, time, urllib.request
url, pause = sys.argv[1], float(sys.argv[2])
while True:
    began = time.monotonic()
    try:
        with urllib.request.urlopen(url, timeout=60) as answer:
            print(repr(answer.read().decode()), flush=True)
    except (OSError, http.client.HTTPException) as error:
        print(repr(error).encode(), flush=True)
    time.sleep(max(pause - (time.monotonic() - began), 0))
"""

_COUNTED = re.compile(r"^(\w+(?:_total|_bucket|_count|_sum)(?:\{.*\})?) (\S+)$", re.MULTILINE)


class Scraper:
    """The texts that were scraped, and the errors of other scrapes; more come until `stop`."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self._changed = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self.texts: list[str] = []
        self.failures: list[bytes] = []
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:  # at once: a full pipe would hold the scraper up
            if not line.endswith("\n"):
                break  # it was stopped amid a text
            found = ast.literal_eval(line)
            with self._changed:
                (self.texts if isinstance(found, str) else self.failures).append(found)
                self._changed.notify_all()

    def wait(self) -> str:
        """Wait for a text that was asked for later than this call, and return it."""
        with self._changed:
            count = len(self.texts) + 2  # the next one may be under way
            assert self._changed.wait_for(lambda: len(self.texts) >= count, LIMIT), self.failures
            return self.texts[-1]

    def stop(self) -> list[str]:
        """Stop, and return all texts."""
        self._process.terminate()
        self._reader.join(LIMIT)
        return self.texts


@contextlib.contextmanager
def scraping(machine: Machine, *, pause: float = PAUSE) -> Iterator[Scraper]:
    """Scrape during the body, one text after the other."""
    url = f"http://127.0.0.1:{PORT}/metrics"
    command = machine.network(sys.executable, "-c", PROGRAM, url, str(pause))
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        scraper = Scraper(process)
        try:
            scraper.wait()
            yield scraper
        finally:
            process.kill()


def counters(text: str) -> dict[str, float]:
    """Return all numbers of a text that must not step back, by their names with labels."""
    return {name: float(value) for name, value in _COUNTED.findall(text)}


def steps_back(texts: Sequence[str]) -> list[str]:
    """Return each number that is smaller than in the text before, or has gone, in words."""
    found = []
    every = [counters(text) for text in texts]
    for place, (before, after) in enumerate(itertools.pairwise(every), 1):
        for name, value in before.items():
            if (now := after.get(name)) is None or now < value:
                found.append(f"text {place}: {json.dumps(name)} from {value} to {now}")
    return found
