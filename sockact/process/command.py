"""The command of this program, to be run again: by a trial, and by a reload in place."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from sockact.config import envfile
from sockact.errors import ReloadRefused


class Program(NamedTuple):
    """A program with its directory and environment.

    Attributes:
        argv: its command; the interpreter is named by its path, which may by then lead to another.
        directory: its working directory, by the name it was given, which may by then lead to another.
        environ: its environment, without the changes of the app.
        env_files: read anew for each process that is started; their variables are not in `environ`, so that
            one which is in none of them any more is gone.
        obstacle: the reason why it cannot be run again, if it has no command.
    """

    argv: tuple[str, ...]
    directory: str
    environ: Mapping[str, str]
    env_files: Sequence[str] = ()
    obstacle: str = "an interactive interpreter has no command that could be run again"

    @classmethod
    def of_this_process(cls, environ: Mapping[str, str]) -> Program:
        """Return the program of this process, with the environment that it has by now."""
        return cls(_COMMAND, _DIRECTORY, dict(environ))

    def require_command(self) -> None:
        """Raise ReloadRefused if there is no command that could be run again."""
        if not self.argv:
            raise ReloadRefused(self.obstacle)

    def environment(self, more: Mapping[str, str]) -> dict[str, str]:
        """Return the environment of a process that is started now, with `more` variables.

        Raises:
            SettingsError: an environment file cannot be used.
        """
        return {**self.environ, **envfile.read(self.env_files), **more}


def command(executable: str, orig_argv: Sequence[str]) -> tuple[str, ...]:
    """Return the command that starts this program again; empty for an interactive interpreter."""
    first, *rest = orig_argv or [""]
    if not isinstance(executable, str) or not os.access(executable, os.X_OK):
        executable = first  # the program has put something else there than an interpreter
    if not executable or not rest or rest == ["-"] or sys.flags.interactive:
        return ()
    return (executable, *rest)


def working_directory(environ: Mapping[str, str]) -> str:
    """Return the working directory as $PWD spells it, with its symbolic links, if that is the same."""
    name = environ.get("PWD", "")
    if os.path.isabs(name):
        with contextlib.suppress(OSError):
            if os.path.samefile(name, "."):
                return name
    try:
        return os.getcwd()
    except OSError:  # it was removed; a process that is started there fails, and says so
        return name or "."


# Read when sockact is imported: as a rule, the program changes it later.
_COMMAND = command(sys.executable, sys.orig_argv)
_DIRECTORY = working_directory(os.environ)
