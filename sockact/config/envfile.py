r"""Environment files, in the syntax of systemd's `EnvironmentFile=`, but read again for each worker.

    # a comment, also with ;
    NAME=value with blanks           blanks around the value do not count; \ keeps the next character
    NAME='as it is'                  may span several lines
    NAME="with \" \\ \$ \` escaped"  may span several lines
    NAME=one \
    line                             a backslash at the end of a line continues it

Nothing is expanded. systemd ignores, with a warning, a line that is no assignment and a quote that is never
closed. Here both are errors: a file that is still being written must not be taken for a complete one. The
encoding is UTF-8, and values that execve(2) cannot pass on are errors, too. Rule of this file: settings are
never read from it, since only the workers would obey them, and not their supervisor.

Source: systemd.exec(5), EnvironmentFile=; src/basic/env-file.c for what that leaves open.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from sockact.errors import SettingsError
from sockact.untrusted import files

MAX_ASSIGNMENT_BYTES = 128 * 1024 - 1
"""Most bytes of `NAME=value` that execve(2) passes on: MAX_ARG_STRLEN."""

RESERVED = re.compile(r"SOCKACT_|LISTEN_(PID|FDS|FDNAMES|PIDFDID)$|NOTIFY_SOCKET$|WATCHDOG_(PID|USEC)$")
"""Variables by which systemd or sockact tells a process about itself."""

_BLANK = re.compile(r"[ \t\r]*(?:[#;][^\n]*)?(?:\n|\Z)")
_NAME = re.compile(r"[ \t]*([A-Za-z_][A-Za-z0-9_]*)[ \t]*=")
_QUOTED = re.compile(r"""[ \t\r]*(?:'([^']*)'|"((?:[^"\\]|\\.)*)")""", re.DOTALL)
# Blanks count inside a value, and so does a quote after the value's first character.
_PLAIN = re.compile(r"[ \t\r]*((?![\s'\"])(?:\\.|[^\\\s]|[ \t\r]+(?=[^\s]))+)", re.DOTALL)
_END = re.compile(r"[ \t\r]*(?:\n|\Z)")


def read(paths: Sequence[str]) -> dict[str, str]:
    """Read environment files; if a name occurs twice, the last value counts.

    Args:
        paths: paths of the files; a file whose path begins with `-` may be missing, as with systemd.

    Raises:
        SettingsError: a file cannot be read or parsed; says where.
    """
    found: dict[str, str] = {}
    for path in paths:
        name = path.removeprefix("-")
        try:
            text = files.read(name).decode()
        except FileNotFoundError as error:
            if name == path:
                raise SettingsError(f"env_file={path!r}: {error.strerror}") from error
            continue
        except OSError as error:
            raise SettingsError(f"env_file={path!r}: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise SettingsError(f"env_file={path!r}: expected UTF-8: {error}") from error
        found |= parse(text, name)
    return found


def parse(text: str, where: str) -> dict[str, str]:
    """Return the variables in the text of an environment file; `where` is its name, for errors."""
    found: dict[str, str] = {}
    at = 0
    while at < len(text):
        if blank := _BLANK.match(text, at):
            at = blank.end()
            continue
        begun = at
        name = _NAME.match(text, at)
        if name is None:
            raise _fault(where, text, begun, "expected NAME=value or a comment")
        if RESERVED.match(name[1]):
            fault = f"{name[1]} is not the app's variable: expected it in the unit"
            raise _fault(where, text, begun, fault)
        value, at = _value(text, name.end())
        if value is None or "\0" in value:
            raise _fault(where, text, begun, f"the value of {name[1]} has no end, or a NUL in it")
        if len(f"{name[1]}={value}".encode()) > MAX_ASSIGNMENT_BYTES:
            raise _fault(where, text, begun, f"{name[1]} has more than {MAX_ASSIGNMENT_BYTES:,} bytes")
        found[name[1]] = value
    return found


def _fault(where: str, text: str, at: int, what: str) -> SettingsError:
    return SettingsError(f"{where}, line {text.count(chr(10), 0, at) + 1}: {what}")


def _value(text: str, at: int) -> tuple[str | None, int]:
    """Return the value that begins at `at` and where the next line begins; None if it has no end."""
    parts: list[str] = []
    while quoted := _QUOTED.match(text, at):
        parts.append(quoted[1] if quoted[1] is not None else _unescaped(quoted[2], '\\\\([\\\\"`$])'))
        at = quoted.end()
    if plain := _PLAIN.match(text, at):
        parts.append(_unescaped(plain[1], r"\\(.)"))
        at = plain.end()
    end = _END.match(text, at)
    return (None, at) if end is None else ("".join(parts), end.end())


def _unescaped(text: str, escape: str) -> str:
    # A backslash at the end of a line is removed too. In one pass: nothing may be unescaped twice.
    return re.sub(rf"\\\n|{escape}", lambda match: match[1] or "", text, flags=re.DOTALL)
