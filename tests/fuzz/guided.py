"""Fuzzes one target with atheris, guided by the coverage of the code: `python -m tests.fuzz.guided NAME`.

The process ends with 0 after `--seconds`, with another status at the first fault, whose input is then a
file.

Source: https://github.com/google/atheris, https://llvm.org/docs/LibFuzzer.html
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # imported only where atheris can instrument what it imports
    from tests.fuzz.inputs import Fuzzed

INSTALLED = importlib.util.find_spec("atheris") is not None


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.guided", description="Fuzz with atheris.")
    parser.add_argument("name", metavar="NAME", help="a target")
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument(
        "--found", metavar="FOLDER", type=Path, default=Path("."), help="for inputs that fail"
    )
    arguments = parser.parse_args()
    import atheris

    with atheris.instrument_imports(include=["sockact"]):
        from tests.fuzz import inputs
        from tests.fuzz.oracle import examine

        fuzzed = inputs.Fuzzed.of(arguments.name)
    with tempfile.TemporaryDirectory() as folder:
        options = _options(fuzzed, Path(folder), arguments.seconds, arguments.found)
        atheris.Setup(
            [sys.argv[0], *options, f"-max_len={inputs.MOST}"], lambda data: examine(fuzzed.target, data)
        )
        atheris.Fuzz()  # ends the process


def _options(fuzzed: Fuzzed, folder: Path, seconds: int, found: Path) -> list[str]:
    """Return the options of libFuzzer, and its corpora: one that may grow, and ours."""
    words, grown = folder / "dictionary", folder / "corpus"
    words.write_text("".join(f'"{_escaped(word)}"\n' for word in fuzzed.dictionary))
    grown.mkdir()
    return [
        *(str(grown), str(fuzzed.folder), f"-dict={words}", f"-max_total_time={seconds}"),
        *("-timeout=60", "-rss_limit_mb=2048", "-verbosity=0", "-print_final_stats=1"),
        f"-artifact_prefix={found}/{fuzzed.name}-",
    ]


def _escaped(word: bytes) -> str:
    return "".join(f"\\x{byte:02x}" for byte in word)


if __name__ == "__main__":
    os.environ.setdefault("PYTHONHASHSEED", "0")
    main()
