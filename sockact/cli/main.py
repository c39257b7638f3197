"""The command `sockact`: `run` or check an app, `reload` a service, show its `status`.

Only the chosen command imports what it needs: `reload` is run by systemd on every `systemctl reload`,
and may be terminated there at any moment.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sockact.cli import arguments
from sockact.cli.arguments import RELOAD_TIMEOUT, STATUS_TIMEOUT, CommandParser, Commands
from sockact.errors import SockactError, UnavailableError, UsageError
from sockact.process import refused_places, without_ssl
from sockact.system import signals
from sockact.untrusted.text import visible

if TYPE_CHECKING:
    from sockact.systemd.systemctl import Located


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command; ends in SystemExit with one of the exit statuses in `sockact.errors`."""
    words, program = arguments.split_program(sys.argv[1:] if argv is None else argv)
    options = vars(_parser().parse_args(words))
    try:
        if options["command"] is run:
            options["program"] = program
        elif program:
            raise UsageError(f"-- {' '.join(program)}: only `sockact run` takes a program")
        sys.exit(options.pop("command")(**options))
    except SockactError as error:
        print(visible(f"sockact: {error}"), file=sys.stderr)
        sys.exit(error.exit_status)


def _parser() -> CommandParser:
    return arguments.parser(Commands(run, check_app, reload, status))


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
    """Return the argument for `sockact.serve`: one app, or a mapping from names to apps."""
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
    """Reload a service, and wait for the result: a unit's, or in `ExecReload=` the one of this process."""
    if unit is None:
        # `systemctl stop` terminates a reload under way: dying of it would make the stop a failure. The
        # unit has SIGTERM blocked until here.
        signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
        answer = _reload_own(control, timeout or RELOAD_TIMEOUT)
    else:
        from sockact.cli import service_call

        environ = _located(unit, user=user).environ
        answer = service_call.ask("reload", environ, control, timeout or RELOAD_TIMEOUT)
    print(visible(answer["text"]), file=sys.stdout if answer["ok"] else sys.stderr)
    return 0 if answer["ok"] else 1


def _reload_own(control: str | None, timeout: str) -> dict[str, Any]:
    from sockact.cli import service_call
    from sockact.cli.survivors import MainProcess
    from sockact.process.unapplied import settings_in

    main_pid = service_call.main_pid()
    main_process = MainProcess(main_pid)
    # Only systemd sets MAINPID, for a process of the unit: the other variables are then the unit's.
    known = {"manager": True, "environ": settings_in(os.environ)} if main_pid else {}
    try:
        return service_call.ask("reload", os.environ, control, timeout, known)
    except UnavailableError:
        if main_process.has_ended():
            main_process.wait_for_the_others()
        raise


def check_app(app: Sequence[str], **given: Any) -> int:
    """Import and start apps in a child without sockets, and tell whether they would serve."""
    target = _target(app)
    from sockact.cli import check_app

    references = list(target.values()) if isinstance(target, dict) else app
    given = {name: value for name, value in given.items() if value is not None}
    print(visible(check_app.check(app, references, given)))
    return 0


def status(unit: str | None, control: str | None, timeout: str | None, *, user: bool, form: str) -> int:
    """Show a service and its workers: a unit's, or the one to which this process belongs."""
    import json

    from sockact.cli import prometheus, service_call, unit_drift
    from sockact.protocols import overview
    from sockact.sockets import unix_path

    located = None if unit is None else _located(unit, user=user)
    environ = os.environ if located is None else located.environ
    answer = service_call.ask("status", environ, control, timeout or STATUS_TIMEOUT)
    if not answer["ok"]:
        raise UnavailableError(answer["text"])
    service = answer["service"]
    if form == "json":
        print(json.dumps(service).replace("\x7f", r"\u007f"))  # all else is printable ASCII
    elif form == "prometheus":
        print(prometheus.render(service))
    else:
        known = located and unit_drift.differences(located.unit, service["sockets"], located.scope)
        differences = [*(known or ()), *unix_path.unreachable(service["sockets"], service["pid"])]
        print(overview.render(service), *map(visible, differences), sep="\n")
    return 0


def _located(unit: str, *, user: bool) -> Located:
    from sockact.systemd import systemctl

    return systemctl.locate(unit, os.environ, user=user)
