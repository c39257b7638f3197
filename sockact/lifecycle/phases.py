"""The lifecycle of a service: its phases, events and acts, and the table that joins them.

    phase         means                                 sent to the manager on entry
    activating    the app starts                        -
    active        requests are answered                 READY=1
    reloading     new code is tried, then takes over    RELOADING=1, where it is waited for
    deactivating  drain                                 STOPPING=1
    inactive      ended in good order, or replaced      -
    failed        ended by an error                     -

Rule of this file: what happens next stands in `TABLE`, every cell of it, and nowhere else.
"""

from __future__ import annotations

import enum


class Phase(enum.Enum):
    """A phase of a service, in the words of `systemctl status`."""

    ACTIVATING = "activating"
    ACTIVE = "active"
    RELOADING = "reloading"
    DEACTIVATING = "deactivating"
    INACTIVE = "inactive"
    FAILED = "failed"


class Event(enum.Enum):
    """An event in the life of a service."""

    STARTED = "the start is done"
    REFUSED = "the new code was refused"
    RENEWED = "the new code serves"
    REPLACED = "the new code takes over this process"
    STOPPED = "the stop is done"
    FAILED = "an error"
    STOP = "SIGTERM or SIGINT"
    RELOAD = "SIGHUP or a caller on the control socket"
    USR2 = "SIGUSR2"
    IDLE = "nothing to do"
    QUIT = "SIGQUIT"
    KILL = "a second SIGINT, or a second SIGTERM later than a moment after the first"


class Act(enum.Enum):
    """An act of the conductor that follows an event."""

    DO_NOTHING = "nothing"
    SAY_READY = "say READY=1"
    BEGIN_RELOAD = "say RELOADING=1 and try the new code"
    REMEMBER_RELOAD = "remember the request"
    REFUSE_RELOAD = "say READY=1 after a refused reload"
    BEGIN_STOP = "say STOPPING=1 and drain"
    BEGIN_ABORT = "say STOPPING=1 and abort what is in flight"
    ABORT = "end the drain, and abort what is left"
    HAND_OVER = "end, for the new code to take over"
    END = "end"


_P, _E, _A = Phase, Event, Act

TABLE: dict[Phase, dict[Event, tuple[Phase, Act]]] = {
    Phase.ACTIVATING: {
        _E.STARTED: (_P.ACTIVE, _A.SAY_READY),
        _E.REFUSED: (_P.ACTIVATING, _A.DO_NOTHING),
        _E.RENEWED: (_P.ACTIVATING, _A.DO_NOTHING),
        _E.REPLACED: (_P.ACTIVATING, _A.DO_NOTHING),
        _E.STOPPED: (_P.ACTIVATING, _A.DO_NOTHING),
        _E.FAILED: (_P.FAILED, _A.END),
        _E.STOP: (_P.DEACTIVATING, _A.BEGIN_STOP),
        _E.RELOAD: (_P.ACTIVATING, _A.REMEMBER_RELOAD),
        _E.USR2: (_P.ACTIVATING, _A.DO_NOTHING),
        _E.IDLE: (_P.ACTIVATING, _A.DO_NOTHING),
        _E.QUIT: (_P.DEACTIVATING, _A.BEGIN_ABORT),
        _E.KILL: (_P.FAILED, _A.END),
    },
    Phase.ACTIVE: {
        _E.STARTED: (_P.ACTIVE, _A.DO_NOTHING),
        _E.REFUSED: (_P.ACTIVE, _A.DO_NOTHING),
        _E.RENEWED: (_P.ACTIVE, _A.DO_NOTHING),
        _E.REPLACED: (_P.ACTIVE, _A.DO_NOTHING),
        _E.STOPPED: (_P.ACTIVE, _A.DO_NOTHING),
        _E.FAILED: (_P.FAILED, _A.END),
        _E.STOP: (_P.DEACTIVATING, _A.BEGIN_STOP),
        _E.RELOAD: (_P.RELOADING, _A.BEGIN_RELOAD),
        _E.USR2: (_P.RELOADING, _A.BEGIN_RELOAD),
        _E.IDLE: (_P.DEACTIVATING, _A.BEGIN_STOP),
        _E.QUIT: (_P.DEACTIVATING, _A.BEGIN_ABORT),
        _E.KILL: (_P.FAILED, _A.END),
    },
    Phase.RELOADING: {
        _E.STARTED: (_P.RELOADING, _A.DO_NOTHING),
        _E.REFUSED: (_P.ACTIVE, _A.REFUSE_RELOAD),
        _E.RENEWED: (_P.ACTIVE, _A.SAY_READY),
        _E.REPLACED: (_P.INACTIVE, _A.HAND_OVER),
        _E.STOPPED: (_P.RELOADING, _A.DO_NOTHING),
        _E.FAILED: (_P.FAILED, _A.END),
        _E.STOP: (_P.DEACTIVATING, _A.BEGIN_STOP),
        _E.RELOAD: (_P.RELOADING, _A.REMEMBER_RELOAD),
        _E.USR2: (_P.RELOADING, _A.ABORT),
        _E.IDLE: (_P.RELOADING, _A.DO_NOTHING),
        _E.QUIT: (_P.DEACTIVATING, _A.BEGIN_ABORT),
        _E.KILL: (_P.FAILED, _A.END),
    },
    Phase.DEACTIVATING: {
        # The result of a verb that the stop has overtaken comes too late to matter.
        _E.STARTED: (_P.DEACTIVATING, _A.DO_NOTHING),
        _E.REFUSED: (_P.DEACTIVATING, _A.DO_NOTHING),
        _E.RENEWED: (_P.DEACTIVATING, _A.DO_NOTHING),
        _E.REPLACED: (_P.DEACTIVATING, _A.DO_NOTHING),
        _E.STOPPED: (_P.INACTIVE, _A.END),
        _E.FAILED: (_P.FAILED, _A.END),
        _E.STOP: (_P.DEACTIVATING, _A.DO_NOTHING),
        _E.RELOAD: (_P.DEACTIVATING, _A.DO_NOTHING),
        _E.USR2: (_P.DEACTIVATING, _A.ABORT),
        _E.IDLE: (_P.DEACTIVATING, _A.DO_NOTHING),
        _E.QUIT: (_P.DEACTIVATING, _A.ABORT),
        _E.KILL: (_P.FAILED, _A.END),
    },
}
