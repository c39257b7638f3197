"""The command `sockact`: `run` an app, `reload` a service.

Only the command that was asked for imports what it needs: `reload` is run by systemd on every
`systemctl reload`, and may be terminated there at any moment.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from sockact import settings, signals
from sockact.errors import SockactError, UsageError


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(UsageError.exit_status, f"{self.prog}: error: {message}\n")


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command; ends in SystemExit with one of the exit statuses in `sockact.errors`."""
    words, program = _cut(sys.argv[1:] if argv is None else argv)
    arguments = vars(_parser().parse_args(words))
    if arguments["command"] is run:
        arguments["program"] = program
    try:
        sys.exit(arguments.pop("command")(**arguments))
    except SockactError as error:
        print(f"sockact: {error}", file=sys.stderr)
        sys.exit(error.exit_status)


def run(app: str | None, program: Sequence[str], **given: Any) -> int:
    """Serve the app `module:attribute`, or keep workers that run a program."""
    signals.block()
    given = {name: value for name, value in given.items() if value is not None}
    if (app is None) == (not program):
        raise UsageError("expected either MODULE:ATTRIBUTE or -- PROGRAM ARGUMENT...")
    from sockact import roles

    roles.run(app, program, given)
    return 0


def reload(environ: Mapping[str, str] = os.environ) -> int:
    """Reload the service to which this process belongs, and wait for the result; for `ExecReload=`."""
    # `systemctl stop` terminates a reload under way: dying of it would make the stop a failure.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    from sockact import control

    choice = environ.get("SOCKACT_CONTROL", "auto")
    main_pid = environ.get("MAINPID", "")
    if choice == "auto" and not main_pid.isdecimal() and not environ.get("RUNTIME_DIRECTORY"):
        raise UsageError("RUNTIME_DIRECTORY and MAINPID are unset: `sockact reload` is for ExecReload=")
    where = control.address(choice, environ, int(main_pid or 0))
    if where is None:
        raise UsageError(f"SOCKACT_CONTROL={choice}: this service cannot be told to reload")
    # A path belongs to the service; an abstract address can be taken by anyone who is faster.
    owner = int(main_pid) if choice == "auto" and where.startswith("@") else None
    done, text = control.request("reload", where, owner=owner)
    print(text, file=sys.stdout if done else sys.stderr)
    return 0 if done else 1


def _cut(words: Sequence[str]) -> tuple[Sequence[str], Sequence[str]]:
    """Cut off the program after `--`, whose words are none of ours."""
    if "--" not in words:
        return words, ()
    end = list(words).index("--")
    return words[:end], words[end + 1 :]


def _parser() -> argparse.ArgumentParser:
    import sockact

    parser = _Parser(prog="sockact", description="Serve Python apps on sockets that systemd passes.")
    parser.add_argument("--version", action="version", version=f"sockact {sockact.__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=_Parser)
    _add_run(commands.add_parser("run", help="serve an app", description=run.__doc__))
    command = commands.add_parser("reload", help="reload this service", description=reload.__doc__)
    command.set_defaults(command=reload)
    return parser


def _add_run(command: argparse.ArgumentParser) -> None:
    command.set_defaults(command=run)
    command.add_argument("app", metavar="MODULE:ATTRIBUTE", nargs="?", help="an ASGI or WSGI app")
    for name, field in settings.FIELDS.items():
        meaning = f"{field.metadata['help']} [{_shown(field.default)}]"
        options: dict[str, Any] = {"dest": name, "help": meaning}
        option = "--" + name.replace("_", "-")
        if isinstance(field.default, bool):
            command.add_argument(option, action=argparse.BooleanOptionalAction, default=None, **options)
        elif isinstance(field.default, tuple):
            command.add_argument(option, action="append", metavar=field.metadata["metavar"], **options)
        else:
            command.add_argument(option, metavar=field.metadata["metavar"], **options)


def _shown(default: object) -> str:
    if isinstance(default, bool):
        return "yes" if default else "no"
    if isinstance(default, tuple):
        return " ".join(default)
    return f"{default:g} s" if isinstance(default, float) else str(default)
