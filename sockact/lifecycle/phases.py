"""What a service does when: phases, events, acts, and the table that joins them.

    phase         means                                 said to the manager on entry
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
    """Where a service is, in the words of `systemctl status`."""

    ACTIVATING = "activating"
    ACTIVE = "active"
    RELOADING = "reloading"
    DEACTIVATING = "deactivating"
    INACTIVE = "inactive"
    FAILED = "failed"


class Event(enum.Enum):
    """What can happen to a service."""

    STARTED = "the start is done"
    REFUSED = "the new code was refused"
    RENEWED = "the new code serves"
    REPLACED = "the new code takes over this process"
    STOPPED = "the stop is done"
    FAILED = "a verb failed"
    STOP = "SIGTERM or SIGINT"
    RELOAD = "SIGHUP or a caller on the control socket"
    USR2 = "SIGUSR2"
    IDLE = "nothing to do"
    QUIT = "SIGQUIT"
    KILL = "a second SIGINT, or a second SIGTERM later than a moment after the first"


class Act(enum.Enum):
    """What the conductor does about it."""

    NOTHING = "nothing"
    GREET = "say READY=1"
    RELOAD = "say RELOADING=1 and try the new code"
    REMEMBER = "remember the request"
    REFUSE = "say READY=1 after a refused reload"
    STOP = "say STOPPING=1 and drain"
    QUIT = "say STOPPING=1 and end by force"
    HAMMER = "end the drain by force"
    REPLACE = "end, for the new code to take over"
    LEAVE = "end"


_P, _E, _A = Phase, Event, Act

TABLE: dict[Phase, dict[Event, tuple[Phase, Act]]] = {
    Phase.ACTIVATING: {
        _E.STARTED: (_P.ACTIVE, _A.GREET),
        _E.REFUSED: (_P.ACTIVATING, _A.NOTHING),
        _E.RENEWED: (_P.ACTIVATING, _A.NOTHING),
        _E.REPLACED: (_P.ACTIVATING, _A.NOTHING),
        _E.STOPPED: (_P.ACTIVATING, _A.NOTHING),
        _E.FAILED: (_P.FAILED, _A.LEAVE),
        _E.STOP: (_P.DEACTIVATING, _A.STOP),
        _E.RELOAD: (_P.ACTIVATING, _A.REMEMBER),
        _E.USR2: (_P.ACTIVATING, _A.NOTHING),
        _E.IDLE: (_P.ACTIVATING, _A.NOTHING),
        _E.QUIT: (_P.DEACTIVATING, _A.QUIT),
        _E.KILL: (_P.FAILED, _A.LEAVE),
    },
    Phase.ACTIVE: {
        _E.STARTED: (_P.ACTIVE, _A.NOTHING),
        _E.REFUSED: (_P.ACTIVE, _A.NOTHING),
        _E.RENEWED: (_P.ACTIVE, _A.NOTHING),
        _E.REPLACED: (_P.ACTIVE, _A.NOTHING),
        _E.STOPPED: (_P.ACTIVE, _A.NOTHING),
        _E.FAILED: (_P.FAILED, _A.LEAVE),
        _E.STOP: (_P.DEACTIVATING, _A.STOP),
        _E.RELOAD: (_P.RELOADING, _A.RELOAD),
        _E.USR2: (_P.RELOADING, _A.RELOAD),
        _E.IDLE: (_P.DEACTIVATING, _A.STOP),
        _E.QUIT: (_P.DEACTIVATING, _A.QUIT),
        _E.KILL: (_P.FAILED, _A.LEAVE),
    },
    Phase.RELOADING: {
        _E.STARTED: (_P.RELOADING, _A.NOTHING),
        _E.REFUSED: (_P.ACTIVE, _A.REFUSE),
        _E.RENEWED: (_P.ACTIVE, _A.GREET),
        _E.REPLACED: (_P.INACTIVE, _A.REPLACE),
        _E.STOPPED: (_P.RELOADING, _A.NOTHING),
        _E.FAILED: (_P.FAILED, _A.LEAVE),
        _E.STOP: (_P.DEACTIVATING, _A.STOP),
        _E.RELOAD: (_P.RELOADING, _A.REMEMBER),
        _E.USR2: (_P.RELOADING, _A.HAMMER),
        _E.IDLE: (_P.RELOADING, _A.NOTHING),
        _E.QUIT: (_P.DEACTIVATING, _A.QUIT),
        _E.KILL: (_P.FAILED, _A.LEAVE),
    },
    Phase.DEACTIVATING: {
        # What a verb reports that the stop overtook comes too late to matter.
        _E.STARTED: (_P.DEACTIVATING, _A.NOTHING),
        _E.REFUSED: (_P.DEACTIVATING, _A.NOTHING),
        _E.RENEWED: (_P.DEACTIVATING, _A.NOTHING),
        _E.REPLACED: (_P.DEACTIVATING, _A.NOTHING),
        _E.STOPPED: (_P.INACTIVE, _A.LEAVE),
        _E.FAILED: (_P.FAILED, _A.LEAVE),
        _E.STOP: (_P.DEACTIVATING, _A.NOTHING),
        _E.RELOAD: (_P.DEACTIVATING, _A.NOTHING),
        _E.USR2: (_P.DEACTIVATING, _A.HAMMER),
        _E.IDLE: (_P.DEACTIVATING, _A.NOTHING),
        _E.QUIT: (_P.DEACTIVATING, _A.HAMMER),
        _E.KILL: (_P.FAILED, _A.LEAVE),
    },
}
