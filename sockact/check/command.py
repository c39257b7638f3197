"""The command line of an `Exec...=`: its prefixes, the wrappers in it, and the server that they start."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from os.path import basename

from sockact.check.servers import SERVERS, ServerFacts
from sockact.systemd import unit_syntax
from sockact.systemd.unit_syntax import Assignment

EXECUTED = (
    *("ExecCondition", "ExecStartPre", "ExecStart", "ExecStartPost", "ExecReload", "ExecReloadPost"),
    *("ExecStop", "ExecStopPost"),
)
"""The options of a service that have a command line."""
SHELLS = ("sh", "bash", "dash", "zsh", "ash", "ksh")
PYTHON = re.compile(r"(python|pypy)[\d.]*")
RUNNERS = {
    ("bundle", "exec"): False,
    ("poetry", "run"): False,
    ("pipenv", "run"): False,
    ("uv", "run"): True,
}
"""Commands that start another one, and whether they stay as its parent."""
STAYING = ("sudo", "su", "runuser", "script", "timeout", "dbus-run-session", "xvfb-run")
PASSING = ("env", "nice", "ionice", "setpriv", "chrt", "nohup", "stdbuf", "exec", "numactl", "taskset")


@dataclass(frozen=True, slots=True)
class CommandLine:
    """A command line.

    Attributes:
        at: the assignment that has it.
        prefix: the characters before its path, as `+` or `-`.
        words: its words, the path first.
        inner: the command that wrappers start in the end.
        stays: the wrapper that stays as the parent of that command; empty if there is none.
        script: the text that a shell runs; None if there is no shell.
    """

    at: Assignment
    prefix: str
    words: Sequence[str]
    inner: Sequence[str]
    stays: str = ""
    script: str | None = None

    @property
    def path(self) -> str:
        """The program that systemd starts."""
        return self.words[0] if self.words else ""

    @property
    def facts(self) -> ServerFacts | None:
        """The server that it runs; None if it is none that is known."""
        name = module_of(self.inner) or (basename(self.inner[0]) if self.inner else "")
        return None if name == "sockact" and "run" not in self.inner else SERVERS.get(name)

    def option(self, *names: str) -> str | None:
        """Return the value of an option of the server; '' if it has none, None if it is missing."""
        for number, word in enumerate(self.inner):
            for name in names:
                if word == name:
                    following = self.inner[number + 1 : number + 2]
                    return following[0] if following and not following[0].startswith("-") else ""
                if name.startswith("--") and word.startswith(f"{name}="):
                    return word.partition("=")[2]
        return None


def read(at: Assignment, expand: Callable[[str], str]) -> CommandLine:
    """Return the command line in an assignment; `expand` resolves the specifiers in a word."""
    match = re.match(r"[-@:+!|]*", at.value)
    prefix = match[0] if match else ""
    # In this order, so that the name of a unit may have spaces.
    words = [expand(word) for word in unit_syntax.words(at.value[len(prefix) :])]
    if "@" in prefix:
        del words[1:2]  # the name under which it runs
    inner, stays, script = _unwrapped(words)
    return CommandLine(at, prefix, words, inner, stays, script)


def module_of(words: Sequence[str]) -> str:
    """Return the package of `python -m package.module`; '' if that is not the command."""
    if words and PYTHON.fullmatch(basename(words[0])) and "-m" in words[:-1]:
        return words[words.index("-m") + 1].partition(".")[0]
    return ""


def _unwrapped(words: Sequence[str]) -> tuple[Sequence[str], str, str | None]:
    stays, script = "", None
    for _ in range(8):  # of a command that wraps itself
        name = basename(words[0]) if words else ""
        if name in SHELLS and any(re.fullmatch(r"-[a-z]*c", word) for word in words[1:-1]):
            script = next(words[n + 1] for n, w in enumerate(words[:-1]) if re.fullmatch(r"-[a-z]*c", w))
            last = _last_command(script)
            stays = stays or ("" if last[:1] == ["exec"] else name)
            words = last
        elif (pair := (name, *words[1:2])) in RUNNERS:
            stays = stays or (name if RUNNERS[pair[0], pair[1]] else "")
            words = _without_options(words[2:])
        elif name in STAYING or name in PASSING:
            stays = stays or (name if name in STAYING else "")
            words = _without_options(words[1:])
        else:
            break
    return words, stays, script


def _without_options(words: Sequence[str]) -> Sequence[str]:
    """Leave out the options and variables of a wrapper; the number of `timeout`, the user of `sudo` too."""
    rest = list(words)
    while rest and (rest[0].startswith("-") or "=" in rest[0] or re.fullmatch(r"[\d.]+[smhd]?", rest[0])):
        word = rest.pop(0)
        if word in ("-u", "-g", "--user", "-n", "-c") and rest:
            rest.pop(0)
    return rest


def _last_command(script: str) -> list[str]:
    """Return the last command of a shell script, which is the one that lasts."""
    lexer = shlex.shlex(script, posix=True, punctuation_chars="();&|<>\n")
    lexer.whitespace = " \t"
    lexer.whitespace_split = True
    try:
        tokens = list(lexer)
    except ValueError:
        return []
    commands: list[list[str]] = [[]]
    for token in tokens:
        if re.fullmatch(r"[;&|\n]+", token):
            commands.append([])
        else:
            commands[-1].append(token)
    full = [command for command in commands if command]
    return next((each for each in reversed(full) if _is_server(each)), full[-1] if full else [])


def _is_server(words: Sequence[str]) -> bool:
    return any(basename(word) in SERVERS for word in words) or bool(module_of(words))
