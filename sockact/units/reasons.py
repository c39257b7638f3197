"""The reasons for options of a service and its sockets, as the unit files tell them; most were measured."""

from __future__ import annotations

REQUIRES = "Without Requires= a restart of the socket would leave the service without one."
NO_LIMIT = """With the default limit, five fast failures would end the service for good, and its socket:
connections are refused. Without it a broken release is tried again every RestartSec=, and clients wait
meanwhile."""
TYPE = (
    "Not notify-reload: systemd before 253 does not know it, and no version lets it report a failed reload."
)
RELOAD = """Returns when the new code is ready, and fails if it does not start. (kill -HUP would do
neither.)
A stop sends SIGTERM to it as well; it is blocked until Python handles it, so that it is no failure."""
UNSET = """For the commands of root below: a program that is loaded with these runs what they name, before
it could ignore them. So a file of another user may be an EnvironmentFile= of this unit. An app that needs
one of them gets it by --env-file."""
STOP = """Tells the main process by a signal, which has no other meaning, that a restart stops it, and not
a stop: its workers then go on until the next process has workers of its own. Not if the socket is
restarted as well: they would keep its port. Only root can ask systemd which it is (its bus does not know
dynamic users), so root asks, with the system's own programs. The app's environment is not used, since its
PATH= may name folders of others. Without this line each restart drains as a stop does. Where the process
itself drains (KillMode=mixed), a stop may replace the restart meanwhile: a second signal takes it back."""
STATUS = """After a stop for good, ends what the app has forgotten. Workers have drained by then, but for
those that go on (75, EX_TEMPFAIL): a stop in the middle of a start or of a restart leaves them; they
drain when systemd closes its store. A process that forks faster than it is killed is ended by cgroup.kill
(Linux 5.14): last, since this command and those after it end by that, too (seen with systemd 257)."""
RUNTIME = """For the control socket that ExecReload= uses. A listening socket must not be in here: systemd
removes the directory with everything in it at each stop."""
CACHE = """For temporary files: systemd before 257 removes the service's private /tmp at a restart, with
workers still there."""
STATE = "For data that the app keeps; $STATE_DIRECTORY tells the app where it is."
START = """Time for the app's startup (sockact's own limit, --start-timeout, is {start} s); also that of a
reload."""
STOP_LIMIT = """Longer than the service's own limits: {drain} of --drain-timeout, and {end} s of
--shutdown-timeout each for on_stop, the app's shutdown, on_exit, the hooks of SIGTERM and the process's
end; 2 s for processes that workers leave."""
WATCHDOG = "Restarts an app whose event loop hangs; the log then has the stack of every thread."
KILL = """SIGTERM for the main process only, which drains and lets its workers drain. Not control-group:
SIGTERM would go to the app's own child processes too, and each request that waits for one would fail at
every stop (8 of 8 seen). Not mixed: with the main process, a restart would end the workers that serve
until others do; so would the death of the main process. Child processes outside of a worker's process
group live on over restarts; a stop ends them, see ExecStopPost=. With --workers=0 use KillMode=mixed:
nobody else serves meanwhile."""
KILL_ALONE = """SIGTERM for the main process only, which drains. Not control-group: SIGTERM would go to
the app's own child processes too, and each request that waits for one would fail at every stop (8 of 8
seen). Not process, as with workers: with --workers=0 nobody else serves meanwhile."""
NONBLOCKING = """Else systemd would make the socket blocking for each process that it starts, also for the
workers that serve."""
OOM = "A child process of the app that runs out of memory does not end the service."
KEPT = """For connections that outlive the process that accepted them, and for workers that outlive the
main process: four descriptors each."""
KEPT_BOTH = (
    """systemd before 254 does not tell the service how many it stores: both lines have the same number."""
)

BACKLOG = """The default is the kernel's maximum, net.core.somaxconn. New connections wait in this queue
during a restart: do not lower it. (Nor set ReusePort=: each such socket has its own queue, and
connections in the queue of a closed one are reset.)"""
TRIGGER = """With the default, 20 starts within two seconds end the socket for good, and reset the
connections in its queue: a few stops in a row cause so many starts while a client waits. Not without any
limit: systemd would try to start a service whose Condition...= fails again and again, without a pause."""
INHERITED = """Accepted connections inherit all of these. A client that has gone is noticed after three
minutes, not two hours."""
FREE_BIND = "At boot the machine may not have the address yet."
EVERYBODY = """Everybody on this machine may connect. For a proxy alone: SocketGroup= with its group,
SocketMode=0660."""
AFTER_PORTS = """A child process of systemd sets the group, and has copies of all listening sockets
meanwhile: a port that is opened again just then, in a restart of both, fails ("Address already in use";
252, 257)."""
KILL_USERS = """SIGTERM for the main process only, which drains and lets its workers drain. Not
control-group: SIGTERM would go to the app's own child processes too, and each request that waits for one
would fail at every stop (8 of 8 seen). Not process, as under the system's manager: nobody would end what
the app has forgotten after a stop."""
EXIT = "If the main process dies, its workers drain before the next one starts."
