"""The command `sockact`: `run` or check an app, `reload` a service, show its `status`.

Only the command that was asked for imports what it needs: `reload` is run by systemd on every
`systemctl reload`, and may be terminated there at any moment.
"""

from __future__ import annotations

import argparse
import io
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NoReturn

from sockact.config import settings, values
from sockact.errors import SockactError, UnavailableError, UsageError
from sockact.process import refused_places, without_ssl
from sockact.system import signals
from sockact.untrusted.text import visible

if TYPE_CHECKING:
    from sockact.systemd.systemctl import Located

STATUS_TIMEOUT = "30s"
RELOAD_TIMEOUT = "1h"
"""No service says how long its reload may take, which has to drain, perhaps; systemd has its own limit."""


def _formatter(prog: str) -> argparse.HelpFormatter:
    # Told a width, argparse does not import shutil to find it out, and with it all that unpacks archives.
    # A parser makes formatters for its own use, so that every process would keep these libraries.
    columns = os.environ.get("COLUMNS", "")
    return argparse.HelpFormatter(prog, width=int(columns) if columns.isdecimal() else 100)


class _Parser(argparse.ArgumentParser):
    def __init__(self, **options: Any) -> None:
        super().__init__(formatter_class=_formatter, **options)

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(UsageError.exit_status, f"{self.prog}: error: {message}\n")


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command; ends in SystemExit with one of the exit statuses in `sockact.errors`."""
    words, program = _cut(sys.argv[1:] if argv is None else argv)
    arguments = vars(_parser().parse_args(words))
    try:
        if arguments["command"] is run:
            arguments["program"] = program
        elif program:
            raise UsageError(f"-- {' '.join(program)}: only `sockact run` takes a program")
        sys.exit(arguments.pop("command")(**arguments))
    except SockactError as error:
        print(visible(f"sockact: {error}"), file=sys.stderr)
        sys.exit(error.exit_status)


def run(app: Sequence[str], program: Sequence[str], **given: Any) -> int:
    """Serve apps, each `module:attribute`, or keep workers that run a program."""
    refused_places.require_own_process()
    signals.remember()
    given = {name: value for name, value in given.items() if value is not None}
    if bool(app) == bool(program):
        raise UsageError("expected either MODULE:ATTRIBUTE or -- PROGRAM ARGUMENT...")
    target = _target(app) if app else None
    without_ssl.before_asyncio(program, given, os.environ)
    from sockact import roles

    roles.run(target, program, given)
    return 0


def _target(apps: Sequence[str]) -> object:
    """Return what `sockact.serve` would be given: one app, or a mapping from names to apps."""
    if len(apps) == 1 and "=" not in apps[0]:
        return apps[0]
    target: dict[str, str] = {}
    for word in apps:
        name, equals, app = word.partition("=")
        if not (name and equals and app) or name in target:
            raise UsageError(f"{word!r}: expected NAME=MODULE:ATTRIBUTE, each once")
        target[name] = app
    return target


def reload(unit: str | None, control: str | None, timeout: str | None, *, user: bool) -> int:
    """Reload a service, and wait for the result: a unit's, or for `ExecReload=` that of this process."""
    if unit is None:
        # `systemctl stop` terminates a reload under way: dying of it would make the stop a failure. The
        # unit has SIGTERM blocked until here.
        signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
        from sockact.cli.survivors import MainProcess
        from sockact.process.unapplied import settings_in

        main_pid = _main_pid(os.environ)
        main_process = MainProcess(main_pid)
        # Only systemd says MAINPID, to a process of the unit: what else is set is then the unit's.
        known = {"manager": True, "environ": settings_in(os.environ)} if main_pid else {}
        try:
            answer = _ask("reload", os.environ, control, timeout or RELOAD_TIMEOUT, known)
        except UnavailableError:
            if main_process.has_ended():
                main_process.wait_for_the_others()
            raise
    else:
        environ = _located(unit, user=user).environ
        answer = _ask("reload", environ, control, timeout or RELOAD_TIMEOUT)
    print(visible(answer["text"]), file=sys.stdout if answer["ok"] else sys.stderr)
    return 0 if answer["ok"] else 1


def check_app(app: Sequence[str], **given: Any) -> int:
    """Import and start apps in a child without sockets, and say whether they would serve."""
    target = _target(app)
    from sockact.cli import check_app

    references = list(target.values()) if isinstance(target, dict) else app
    given = {name: value for name, value in given.items() if value is not None}
    print(visible(check_app.check(app, references, given)))
    return 0


def status(unit: str | None, control: str | None, timeout: str | None, *, user: bool, form: str) -> int:
    """Show a service and its workers: a unit's, or the one to which this process belongs."""
    import json

    from sockact.cli import prometheus, unit_drift
    from sockact.protocols import overview
    from sockact.sockets import unix_path

    located = None if unit is None else _located(unit, user=user)
    environ = os.environ if located is None else located.environ
    answer = _ask("status", environ, control, timeout or STATUS_TIMEOUT)
    if not answer["ok"]:
        raise UnavailableError(answer["text"])
    service = answer["service"]
    if form == "json":
        print(json.dumps(service).replace("\x7f", r"\u007f"))  # else in ASCII that can be printed
    elif form == "prometheus":
        print(prometheus.render(service))
    else:
        known = located and unit_drift.differences(located.unit, service["sockets"], located.scope)
        differences = [*(known or ()), *unix_path.unreachable(service["sockets"], service["pid"])]
        print(overview.render(service), *map(visible, differences), sep="\n")
    return 0


def _ask(
    verb: str,
    environ: Mapping[str, str],
    path: str | None,
    timeout: str,
    more: Mapping[str, Any] = MappingProxyType({}),
) -> dict[str, Any]:
    """Ask a unit's service, or else the one to which this process belongs; at `path`, if that is named."""
    from sockact.protocols import control, control_address

    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a terminal may lack what a service says
    for number in (signal.SIGINT, signal.SIGPIPE):
        signal.signal(number, signal.SIG_DFL)  # who does not want the answer any more wants no traceback
    try:
        patience = values.seconds_or_none(timeout)
    except ValueError as error:
        raise UsageError(f"--timeout={timeout}: {error}, or none") from None
    choice = environ.get("SOCKACT_CONTROL", "auto") if path is None else path
    main_pid = _main_pid(environ)
    if choice == "auto" and not main_pid and not environ.get("RUNTIME_DIRECTORY"):
        raise UsageError(f"RUNTIME_DIRECTORY and MAINPID are unset: no service to {verb} is named by them")
    if choice == "none":
        raise UsageError(f"SOCKACT_CONTROL={choice}: this service has no control socket")
    sock, where = control_address.find(choice, environ, main_pid, patience)
    with sock:
        return control.ask(sock, verb, where, patience=patience, **more)


def _main_pid(environ: Mapping[str, str]) -> int:
    return int(text) if (text := environ.get("MAINPID", "")).isdecimal() else 0


def _located(unit: str, *, user: bool) -> Located:
    from sockact.systemd import systemctl

    return systemctl.locate(unit, os.environ, user=user)


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
    _add_check(commands.add_parser("check-app", help="try an app", description=check_app.__doc__))
    command = commands.add_parser("reload", help="reload a service", description=reload.__doc__)
    command.set_defaults(command=reload)
    _add_service(command)
    _add_status(commands.add_parser("status", help="show a service", description=status.__doc__))
    return parser


def _add_status(command: argparse.ArgumentParser) -> None:
    command.set_defaults(command=status, form="text")
    _add_service(command)
    form = command.add_mutually_exclusive_group()
    programs = "for programs; see `sockact.protocols.overview`"
    form.add_argument("--json", action="store_const", dest="form", const="json", help=programs)
    prometheus = "for Prometheus; see `sockact.cli.prometheus`"
    form.add_argument(
        "--prometheus", action="store_const", dest="form", const="prometheus", help=prometheus
    )


def _add_service(command: argparse.ArgumentParser) -> None:
    command.add_argument("unit", metavar="UNIT", nargs="?", help="a service of systemd: app.service")
    command.add_argument("--user", action="store_true", help="ask the user's manager, not the system's")
    command.add_argument("--control", metavar="PATH", help="where its control socket is")
    limit = f"how long to wait for the answer, or none [{STATUS_TIMEOUT}; a reload {RELOAD_TIMEOUT}]"
    command.add_argument("--timeout", metavar="TIME", help=limit)


def _add_check(command: argparse.ArgumentParser) -> None:
    command.set_defaults(command=check_app)
    _add_apps(command, "+")
    _add_settings(command)


def _add_run(command: argparse.ArgumentParser) -> None:
    command.set_defaults(command=run)
    _add_apps(command, "*")
    _add_settings(command)


def _add_apps(command: argparse.ArgumentParser, number: str) -> None:
    help_text = "an app; or several, each for the sockets called NAME"
    command.add_argument("app", metavar="[NAME=]MODULE:ATTRIBUTE", nargs=number, help=help_text)


def _add_settings(command: argparse.ArgumentParser) -> None:
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
