"""Words and values in unit files: a program gets exactly those that were meant, on each systemd."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence

from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from sockact.units import syntax
from tests.support.machine.machine import Machine

UNIT = "sockact-words.service"
FILE = f"/run/systemd/system/{UNIT}"
PROGRAM = """
import json, os, sys
print(json.dumps({"words": [os.fsencode(word).hex() for word in sys.argv[1:]],
                  "variables": {name: os.fsencode(value).hex() for name, value in os.environ.items()}}),
      file=open("/run/words.json", "w"))
"""
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30)
# These are what a unit file has a meaning for.
PICKED = st.text(st.sampled_from("%$\\\"'; \t\n#={}-@+!:*~`nNpi/äß\u2028\x7f"), max_size=12)
WORDS = st.lists(TEXT | PICKED, min_size=1, max_size=60)
VARIABLES = st.lists(
    (TEXT | PICKED)
    .filter(lambda text: not any(ord(char) < 32 and char not in "\t\n" for char in text))
    .filter(lambda text: "\x7f" not in text),
    max_size=40,
)
MEANT = [
    *(
        ";",
        "\\;",
        "&&",
        "#",
        "%",
        "%%",
        "%n",
        "$",
        "$$",
        "$HOME",
        "${HOME}",
        "${",
        "\\",
        "\\\\",
        '"',
        "'",
        "=",
        "",
    ),
    *(
        " ",
        "  a  ",
        "a b",
        "\ta",
        "a\nb",
        "-",
        "--",
        "@x",
        "!x",
        "*",
        "~",
        "ünïcödé",
        "\u200f",
        "\x1b[0m",
        "100 %",
    ),
]


def of_unit(machine: Machine, words: Sequence[str], values: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return what a program gets as arguments, and as values of variables, of a unit that means these."""
    lines = [f"Environment={syntax.assignment(f'V{n}', value)}" for n, value in enumerate(values)]
    command = syntax.command(["/usr/bin/python3", "/run/words.py", *words])
    machine.write("/run/words.py", PROGRAM)
    machine.write(FILE, "\n".join(["[Service]", "Type=oneshot", *lines, f"ExecStart={command}", ""]))
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "start", UNIT)
    found = json.loads(machine.read("/run/words.json"))
    got = [found["variables"][f"V{n}"] for n in range(len(values))]
    return [decoded(each) for each in found["words"]], [decoded(each) for each in got]


def decoded(text: str) -> str:
    return os.fsdecode(bytes.fromhex(text))


@settings(
    max_examples=12,
    deadline=None,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@example(MEANT, [each for each in MEANT if "\x1b" not in each])
@given(WORDS, VARIABLES)
def test_a_program_gets_the_words_and_variables_that_were_meant(
    machine: Machine, words: list[str], values: list[str]
) -> None:
    try:
        assert of_unit(machine, words, values) == (words, values)
    finally:
        machine.run("rm", "-f", FILE, "/run/words.json")


def test_a_path_is_the_one_that_was_meant(machine: Machine) -> None:
    path = '/run/my shop 100% $HOME "it\'s" ünïcödé'
    unit = FILE.replace(".service", ".socket")
    lines = [f"ListenStream={syntax.text(path, 'path')}", "Accept=no", ""]
    machine.write(FILE, "[Service]\nExecStart=/bin/true\n")
    machine.write(unit, "\n".join(["[Socket]", *lines]))
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "start", "sockact-words.socket")

    try:
        machine.run("test", "-S", path)
    finally:
        machine.run("systemctl", "stop", "sockact-words.socket")
        machine.run("rm", "-f", path, FILE, unit)
