"""The facts about this process that the process which started it has put into the environment."""

from __future__ import annotations

from collections.abc import MutableMapping, Sequence
from typing import NamedTuple

from sockact.protocols.environment import (
    ACTIVATED,
    CHILDREN,
    GENERATION,
    OWN,
    REMARK,
    SUPERVISED,
    TEMPLATE,
    TRIAL,
    WORKER,
)
from sockact.untrusted.number import decimal


class ProcessIdentity(NamedTuple):
    """The facts about one process.

    Attributes:
        trial: it tries new code: it starts the app and does not serve it.
        supervised: it is a worker of a supervisor, or their template.
        template: it forks workers.
        own: the program that it supervises has called `sockact.serve`.
        generation: the number of its code, from 1.
        children: the children of the program that it has replaced.
        activated: True if sockets were passed to the service; None if it has to find out.
        unapplied: the changes that the reload which has started it did not apply.
        worker: its number among the workers of its supervisor; None if it is no worker, or not told.
    """

    trial: bool
    supervised: bool
    template: bool
    own: bool
    generation: int
    children: Sequence[int]
    activated: bool | None
    unapplied: str
    worker: int | None

    @classmethod
    def taken_from(cls, environ: MutableMapping[str, str]) -> ProcessIdentity:
        """Return the facts in an environment, and remove them from it: they are not for children."""
        generation = decimal(environ.pop(GENERATION, None))
        children = environ.pop(CHILDREN, "").split(",")
        activated = environ.pop(ACTIVATED, "")
        return cls(
            trial=environ.pop(TRIAL, None) is not None,
            supervised=environ.pop(SUPERVISED, None) is not None,
            template=environ.pop(TEMPLATE, None) is not None,
            own=environ.pop(OWN, None) is not None,
            generation=1 if generation is None else generation,
            children=[pid for each in children if (pid := decimal(each, digits=9)) is not None],
            activated=activated == "1" if activated else None,
            unapplied=environ.pop(REMARK, ""),
            worker=decimal(environ.pop(WORKER, None)),
        )
