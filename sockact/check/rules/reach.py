"""Rules about the files, users and programs that a unit names, where the unit is on this machine."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator

from sockact.check import importable, reachable
from sockact.check.command import EXECUTED, CommandLine
from sockact.check.rule import Complaint, Severity, rule
from sockact.check.scope import Scope
from sockact.check.unit import CheckedUnit
from sockact.systemd.unit_syntax import Assignment

FILES = (
    *("--env-file", "--config", "-c", "-C"),
    *("--certfile", "--keyfile", "--ssl-certfile", "--ssl-keyfile"),
)
"""Options of servers with a file that the service's user reads."""


@rule(Severity.ERROR, "systemd.service(5), ExecStart=")
def program_missing(unit: CheckedUnit, scope: Scope) -> Iterator[Complaint]:
    """The start, or the reload, fails with status 203/EXEC."""
    for command in _commands_here(unit, scope):
        found = reachable.located(command.path)
        if not found:
            problem = "is not executable" if os.path.exists(command.path) else "does not exist"
            yield Complaint(f"{command.path} {problem}", command.at)
        elif (script := reachable.interpreter(found)) and not reachable.located(script):
            text = (
                f"{found} names {script} in its first line, which does not exist: the environment was moved"
            )
            yield Complaint(text, command.at)


@rule(Severity.ERROR, "systemd.exec(5), ProtectHome=, DynamicUser=")
def program_out_of_reach(unit: CheckedUnit, scope: Scope) -> Iterator[Complaint]:
    """The start, or the reload, fails with status 203/EXEC."""
    for command in _commands_here(unit, scope):
        found = reachable.located(command.path)
        outside = "+" in command.prefix  # of the sandbox, and root's
        if found and not outside and (reason := reachable.executable_obstacle(unit, found)):
            yield Complaint(f"{found} cannot be executed: {reason}", command.at)


def _commands_here(unit: CheckedUnit, scope: Scope) -> Iterator[CommandLine]:
    """Yield the commands whose program is looked for on this machine."""
    if not scope.here or unit.value("Service.RootDirectory") or unit.value("Service.RootImage"):
        return
    # A unit may be meant to start only if its program is there.
    conditions = [
        at.value for at in unit.written if at.option.startswith(("Unit.Condition", "Unit.Assert"))
    ]
    named = {os.path.basename(value) for value in conditions}
    for command in unit.commands(*EXECUTED):
        is_known = command.path and not set("%$") & set(command.path)
        if is_known and "-" not in command.prefix and os.path.basename(command.path) not in named:
            yield command


def _is_roots(unit: CheckedUnit, command: CommandLine) -> bool:
    """Return whether root runs a command, outside of the sandbox or in it."""
    return "+" in command.prefix or "!" in command.prefix or unit.is_roots


@rule(Severity.ERROR, "systemd.exec(5), User=")
def root_runs_foreign_files(unit: CheckedUnit, scope: Scope) -> Iterator[Complaint]:
    """A user who may change the file becomes root with the next start or reload."""
    for command in _commands_here(unit, scope):
        if not _is_roots(unit, command):
            continue
        program = reachable.located(command.path)
        for path in filter(None, (program, reachable.interpreter(program) if program else "")):
            if reason := reachable.foreign_writer(path):
                yield Complaint(f"root runs {path}, and {reason}", command.at)
                break
        else:
            yield from _foreign_code(unit, command)


def _foreign_code(unit: CheckedUnit, command: CommandLine) -> Iterator[Complaint]:
    """Yield a complaint about the app that root's server imports."""
    for folder in importable.folders(unit, command) if unit.server and command == unit.main else ():
        if os.path.isdir(folder) and (reason := reachable.foreign_writer(folder)):
            yield Complaint(f"root imports the app from {folder}, and {reason}", command.at)
            return


@rule(Severity.ERROR, "systemd.exec(5), EnvironmentFile=, UnsetEnvironment=; ld.so(8)")
def root_is_loaded_with_foreign_files(unit: CheckedUnit, scope: Scope) -> Iterator[Complaint]:
    """A user who may change the file becomes root: by LD_PRELOAD= in it, also where root runs `env -i`."""
    unset = {word for word, _ in unit.words("Service.UnsetEnvironment")}
    as_root = [command for command in _commands_here(unit, scope) if _is_roots(unit, command)]
    if not as_root or "LD_PRELOAD" in unset:
        return
    for at in unit.every("Service.EnvironmentFile"):
        path = unit.expand(at.value).lstrip("-")
        if path.startswith("/") and "%" not in path and (reason := reachable.foreign_writer(path)):
            text = f"root runs {as_root[0].path} with the variables of {path}, and {reason}"
            yield Complaint(f"{text}: expected --env-file of sockact, or a file of root's", at)


@rule(Severity.ERROR, "systemd.exec(5), EnvironmentFile=")
def environment_file_missing(unit: CheckedUnit, scope: Scope) -> Iterator[Complaint]:
    """The start fails before the program is executed."""
    for at in unit.every("Service.EnvironmentFile") if scope.here else ():
        path = unit.expand(at.value)
        if path.startswith("/") and not set("*?[%") & set(path) and not os.path.exists(path):
            yield Complaint(f"{path} does not exist: expected the file, or -{path}", at)


@rule(Severity.ERROR, "systemd.exec(5), User=, SupplementaryGroups=")
def file_unreadable(unit: CheckedUnit, scope: Scope) -> Iterator[Complaint]:
    """The server cannot read its settings, and fails to start."""
    main, server = unit.main, unit.server
    if not scope.here or main is None or server is None:
        return
    for name in FILES:
        path = (main.option(name) or "").lstrip("-")
        if path.startswith("/") and "%" not in path and os.path.exists(path):
            if reason := reachable.obstacle(unit, path):
                text = f"{name}: {reason}: expected one of its groups, or a credential"
                yield Complaint(text, main.at)


@rule(Severity.WARNING, "systemd.exec(5), EnvironmentFile=")
def environment_file_open(unit: CheckedUnit, scope: Scope) -> Iterator[Complaint]:
    """Every user of the machine can read the passwords in it."""
    for at in unit.every("Service.EnvironmentFile") if scope.here else ():
        path = unit.expand(at.value).lstrip("-")
        text = reachable.text_of(path) if path.startswith("/") else None
        if text and _is_open(path) and re.search("PASSWORD|SECRET|TOKEN", text, re.IGNORECASE):
            yield Complaint(f"everybody may read {path}: expected mode 0600; systemd reads it as root", at)


def _is_open(path: str) -> bool:
    try:
        return bool(os.stat(path).st_mode & stat.S_IROTH)
    except OSError:
        return False


@rule(Severity.ERROR, "systemd.exec(5), WorkingDirectory=")
def working_directory_missing(unit: CheckedUnit, scope: Scope) -> Iterator[Complaint]:
    """The start fails with status 200/CHDIR."""
    at = unit.last("Service.WorkingDirectory")
    if at and scope.here and at.value.startswith("/") and "%" not in (path := unit.expand(at.value)):
        if not os.path.isdir(path) and not _is_made(unit, path):
            yield Complaint(f"{path} does not exist", at)
        elif reason := reachable.obstacle(unit, path, 1):
            yield Complaint(f"{path} cannot be entered: {reason}", at)


def _is_made(unit: CheckedUnit, path: str) -> bool:
    """Return whether systemd makes a folder, or an image has it."""
    made = any(unit.every(f"Service.{name}Directory") for name in ("Runtime", "State", "Cache", "Logs"))
    inside = any(unit.value(f"Service.{name}") for name in ("RootDirectory", "RootImage", "BindPaths"))
    return inside or (made and path.startswith(("/run/", "/var/")))


@rule(Severity.ERROR, "systemd.exec(5), LoadCredential=")
def credential_missing(unit: CheckedUnit, scope: Scope) -> Iterator[Complaint]:
    """The start fails with status 243/CREDENTIALS."""
    for at in unit.every("Service.LoadCredential") if scope.here else ():
        path = unit.expand(at.value).partition(":")[2]
        if path.startswith("/") and "%" not in path and not os.path.exists(path):
            yield Complaint(f"{path} does not exist", at)


@rule(Severity.ERROR, "systemd.exec(5), User=, Group=")
def user_missing(unit: CheckedUnit, scope: Scope) -> Iterator[Complaint]:
    """The start fails with status 217/USER, or 216/GROUP."""
    if scope.here:
        for option in ("Service.User", "Service.Group", "Service.SupplementaryGroups"):
            yield from (found for name, at in unit.words(option) if (found := _missing(unit, name, at)))


def _missing(unit: CheckedUnit, name: str, at: Assignment) -> Complaint | None:
    is_user = at.option == "Service.User"
    made = unit.is_true("Service.DynamicUser") and at.option != "Service.SupplementaryGroups"
    if made or "%" in name or name.isdecimal():
        return None
    if (reachable.user_named if is_user else reachable.group_named)(name):
        return None
    kind = "user" if is_user else "group"
    return Complaint(f"there is no {kind} {name}", at)


@rule(Severity.ERROR, "systemd.service(5), ExecStart=")
def app_not_importable(unit: CheckedUnit, scope: Scope) -> Iterator[Complaint]:
    """The service fails at each start, and clients wait. The app is read here, and not run."""
    main = unit.main
    if scope.here and main and unit.server and (reason := importable.problem(unit, main)):
        yield Complaint(reason, main.at)
