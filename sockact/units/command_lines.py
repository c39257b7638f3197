"""The command line of another server, without the programs and the shell around it."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence

from sockact.errors import UsageError
from sockact.units import syntax
from sockact.units.carried_over import CarriedOver
from sockact.units.own_options import KNOWN
from sockact.units.server_options import OptionReader
from sockact.units.servers import OtherServer

_RUNNERS = {"poetry": 2, "uv": 2, "pipenv": 2, "pdm": 2, "exec": 1, "nohup": 1, "env": 1}
"""Programs that run the server, and how many words they have: `poetry run`."""
_SHELLS = ("sh", "bash", "dash")
_ASSIGNMENT = re.compile(r"([A-Za-z_]\w*)=(.*)", re.DOTALL)
_DEFAULTED = re.compile(r"\$\{(\w+):?-([^{}]*)\}")


def read(words: Sequence[str], found: CarriedOver, variables: Mapping[str, str]) -> None:
    """Read a command line into `found`.

    Args:
        words: the command, without quotes.
        found: has the folder in which it runs, and the addresses of its socket units, which win over
            those of the command.
        variables: its environment, as far as it is known.

    Raises:
        UsageError: it is not the command of a known server, or names no app that could be served.
    """
    known = dict(variables)
    words = _unwrapped([each for word in words for each in _words(word, known, found)], found, known)
    server, rest = _server(words, found)
    found.server = server.name
    if server.name == "gunicorn":
        rest = [*syntax.split(known.get("GUNICORN_CMD_ARGS", "")), *rest]
    if "WEB_CONCURRENCY" in known and server.name in ("gunicorn", "uvicorn"):
        found.given["workers"] = known["WEB_CONCURRENCY"]
    found.given |= dict(server.defaults)
    OptionReader(server, found).read(rest)


def _words(word: str, variables: Mapping[str, str], found: CarriedOver) -> list[str]:
    """Return a word with its variables replaced; one that is only a variable becomes several."""
    name = word.removeprefix("$")
    if word.startswith("$") and name in variables:
        return variables[name].split()
    return [_expanded(word, variables, found)]


def _expanded(word: str, variables: Mapping[str, str], found: CarriedOver) -> str:
    def default(match: re.Match[str]) -> str:
        if match[1] in variables:
            return variables[match[1]]
        found.notes.append(f"{match[0]}: taken for {match[2]}")
        return match[2]

    return syntax.expanded(_DEFAULTED.sub(default, word), variables)


def _unwrapped(words: list[str], found: CarriedOver, variables: dict[str, str]) -> list[str]:
    """Return the command without programs that run it, and variables set before it."""
    while words:
        program = os.path.basename(words[0])
        if match := _ASSIGNMENT.fullmatch(words[0]):
            variables[match[1]] = match[2]
            found.environment.append((match[1], match[2]))
            words = words[1:]
        elif program in _SHELLS and len(words) > 2 and re.fullmatch(r"-\w*c", words[1]):
            inner = words[2].split("&&")
            _enter(inner[:-1], found)
            words = [_expanded(each, variables, found) for each in syntax.split(inner[-1])]
        elif program in _RUNNERS and not (_RUNNERS[program] == 2 and words[1:2] != ["run"]):
            words = words[_RUNNERS[program] :]
        else:
            break
    return words


def _enter(commands: Sequence[str], found: CarriedOver) -> None:
    """Take the folder of a `cd` before the server's command; other commands are listed."""
    for each in commands:
        match syntax.split(each):
            case ["cd", folder]:
                found.folder = found.path(folder)
            case _:
                found.left.append(f"{each.strip()}: only the last command is read")


def _server(words: Sequence[str], found: CarriedOver) -> tuple[OtherServer, Sequence[str]]:
    program = os.path.basename(words[0]) if words else ""
    binary, rest = (words[0] if words else ""), words[1:]
    if re.fullmatch(r"python[\d.]*", program) and rest[:1] == ["-m"] and len(rest) > 1:
        program, rest = rest[1], rest[2:]
    if program not in KNOWN:
        shown = " ".join(words) or "no command"
        raise UsageError(f"{shown}: expected a command of {', '.join(KNOWN)}")
    if program == "sockact" and rest[:1] == ["run"]:
        rest = rest[1:]
    if binary.startswith("/") and os.path.basename(os.path.dirname(binary)) == "bin":
        prefix = os.path.dirname(os.path.dirname(binary))
        found.venv = "" if prefix in ("/usr", "/usr/local", "") else prefix
    return KNOWN[program], rest
