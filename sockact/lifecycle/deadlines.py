"""The constants that chain the deadlines of a service: each party ends before the next one would end it.

    bounded                            seconds                                  enforced by
    open connections in a drain        linger                                   engine: `Connection: close`
    drain                              drain_timeout                            lifecycle.drain: aborts
    drain, if the loop hangs           drain_timeout + DRAIN_LEEWAY             process.ending: exits
    on_stop hooks, the app's           shutdown_timeout for each                worker.hook_runner, engine:
      shutdown, on_exit hooks                                                     cancel
    the same, if the loop hangs        each + SHUTDOWN_LEEWAY                   process.ending: exits
    end of the loop and of Python      shutdown_timeout                         process.ending: exits
    end of a worker that said so       shutdown_timeout + LEEWAY there          supervisor.main: SIGKILL
    stop of a worker                   stop_timeout + shutdown_timeout          supervisor.fleet: SIGKILL
                                         + KILL_MARGIN
    start of a trial                   start_timeout + KILL_MARGIN              worker.trial: SIGKILL
    end of a trial                     end_timeout + KILL_MARGIN                worker.trial: SIGKILL
    stop of a service                  stop_timeout + shutdown_timeout          lifecycle.announcer: extends
                                         + SERVICE_MARGIN                         no more
    start, reload, stop of a service   EXTENSION since the last extension       systemd: SIGKILL

`stop_timeout` is `drain_delay`, `drain_timeout` and `end_timeout`, which is three times `shutdown_timeout`.
With `drain_timeout=none` the rows that contain it have no limit; `worker_watchdog` then bounds a loop that
hangs.
"""

from __future__ import annotations

DRAIN_LEEWAY = 3.0
"""Seconds beyond the drain timeout until a hanging event loop ends the process: aborting takes a moment."""

SHUTDOWN_LEEWAY = 2.0
"""Seconds beyond `shutdown_timeout` until a step of the app's shutdown that hangs in the loop does so."""

KILL_MARGIN = 5.0
"""Seconds beyond a limit of a process of ours until it is killed: it ends itself, and says why, before."""

SERVICE_MARGIN = 5.0
"""Seconds beyond the stop of its workers for which a service asks, to see to what they leave behind."""

EXTENSION = 10.0
"""Seconds asked for by one EXTEND_TIMEOUT_USEC. The running loop sends them, so a loop that hangs asks for
nothing, and the manager's own timeout ends it."""
