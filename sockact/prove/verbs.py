"""The changes that a service is put through, as commands of systemctl."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum

from sockact.errors import UsageError
from sockact.probe.action import RunAction
from sockact.systemd.systemctl import Described


class Verb(Enum):
    """A change of a service."""

    RELOAD = "reload"
    RESTART = "restart"
    STOP = "stop and start"


# Whatever becomes of the stop, the service shall not stay stopped.
STOP = 'systemctl {0} stop -- "$1"; status=$?; systemctl {0} start -- "$1" || status=$?; exit $status'


def actions(verbs: Sequence[Verb], service: Described) -> tuple[RunAction, ...]:
    """Return the commands for changes of a service.

    Raises:
        UsageError: it cannot be reloaded.
    """
    if Verb.RELOAD in verbs and service.properties["CanReload"] != "yes":
        if len(verbs) == 1:
            raise UsageError(
                f"{service.unit} has no ExecReload=, and cannot be reloaded: expected --restart"
            )
        verbs = [verb for verb in verbs if verb is not Verb.RELOAD]
    options = ("--no-ask-password", service.scope)
    return tuple(_action(verb, options, service.unit) for verb in verbs)


def _action(verb: Verb, options: Sequence[str], unit: str) -> RunAction:
    if verb is Verb.STOP:
        return RunAction(verb.value, ("/bin/sh", "-c", STOP.format(" ".join(options)), "sh", unit))
    return RunAction(verb.value, ("systemctl", *options, verb.value, "--", unit))
