"""Where the control socket of a service is: `open_server` binds it, `find` finds it.

    $RUNTIME_DIRECTORY/sockact-PID-RANDOM/control    in the service's own folder, see `folder`
    $RUNTIME_DIRECTORY/sockact.sock                  a link to that: who knows the directory finds it
    @sockact.PID, @sockact.PID.RANDOM                abstract, where no folder can be made

Who looks for it knows the main process, and believes nobody else.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import socket
from collections.abc import Iterator, Mapping, Sequence

from sockact.errors import UnavailableError
from sockact.protocols.control import connect, peer
from sockact.sockets.listen import listen_unix
from sockact.system import private_folder, proc

FILE_NAME = "control"

LINK = "sockact.sock"
"""Also where the socket itself was before there were folders."""

PATIENCE = 5.0
"""Seconds to wait for room in the queue of a control socket."""

logger = logging.getLogger(__package__)


def open_server(choice: str) -> socket.socket | None:
    """Bind the control socket of this process; without one, the service serves all the same.

    Args:
        choice: the setting `control`: a path, `auto` or `none`.
    """
    if choice == "none":
        return None
    try:
        return _open_own() if choice == "auto" else listen_unix(choice, mode=0o600)
    except (OSError, UnavailableError) as error:
        logger.warning("no control socket, so no `sockact reload`: %s", error)
        return None


def _open_own() -> socket.socket:
    path = private_folder.OWN.new(FILE_NAME)
    if path is not None:
        server = listen_unix(path, mode=0o600)
        _link(path)
        return server
    name = f"@sockact.{os.getpid()}"
    try:
        return listen_unix(name)
    except UnavailableError:  # anyone may have taken it
        return listen_unix(f"{name}.{os.urandom(8).hex()}")


def _link(path: str) -> None:
    """Let a link in the runtime directory lead to the socket, if no other service has one there."""
    runtime = _runtime(os.environ)
    if not runtime:
        return
    link = f"{runtime}/{LINK}"
    with contextlib.suppress(OSError):
        if os.path.lexists(link) and _listener(link) is None:
            os.unlink(link)
        os.symlink(os.path.relpath(path, runtime), link)


def close() -> None:
    """Remove the folder of this process, and the link to it."""
    private_folder.OWN.remove()
    runtime = _runtime(os.environ)
    link = f"{runtime}/{LINK}"
    with contextlib.suppress(OSError):
        if runtime and os.path.islink(link) and not os.path.exists(link):
            os.unlink(link)


def _runtime(environ: Mapping[str, str]) -> str:
    return environ.get("RUNTIME_DIRECTORY", "").split(":")[0]


def find(
    choice: str, environ: Mapping[str, str], pid: int, patience: float | None
) -> tuple[socket.socket, str]:
    """Find the control socket of a service.

    Args:
        choice: its setting `control`, but for `none`.
        environ: RUNTIME_DIRECTORY in it is the service's.
        pid: its main process; 0 if that is not known.
        patience: how many seconds it may take until a call is taken; None for `control.CONTACT`.

    Returns:
        A connection to it, and its address. It is the one that was looked at: another one to the same
        address might lead to somebody else.

    Raises:
        UnavailableError: nobody is there, or somebody else.
    """
    strangers: list[UnavailableError] = []
    answering: dict[int, tuple[socket.socket, str]] = {}
    with contextlib.ExitStack() as opened:
        for where in _candidates(environ, pid) if choice == "auto" else [choice]:
            try:
                sock = opened.enter_context(connect(where, patience))
            except UnavailableError as error:
                strangers.append(error)
                continue
            listener = peer(sock)[0]
            if pid and listener and not _is_of(listener, pid):
                text = f"the control socket {where} belongs to pid {listener}, expected {pid}"
                strangers.insert(0, UnavailableError(text))
            else:
                answering.setdefault(listener, (sock, where))
        sock, where = _chosen(answering, pid, strangers)
        return sock.dup(), where


def _chosen(
    answering: Mapping[int, tuple[socket.socket, str]], pid: int, strangers: Sequence[UnavailableError]
) -> tuple[socket.socket, str]:
    """Return who of those that answer is the service, by their PIDs; 0 is one of another PID namespace."""
    if pid and pid in answering:
        return answering[pid]
    if len(answering) > 1:
        pids = ", ".join(str(each) for each in sorted(answering))
        raise UnavailableError(f"several services answer for this RUNTIME_DIRECTORY: MAINPID may be {pids}")
    for found in answering.values():
        return found
    raise strangers[0] if strangers else UnavailableError(f"no control socket of pid {pid} is found")


def _candidates(environ: Mapping[str, str], pid: int) -> Iterator[str]:
    for path in private_folder.found(environ, pid):
        yield f"{path}/{FILE_NAME}"
    if runtime := _runtime(environ):
        yield f"{runtime}/{LINK}"
    if pid:
        yield from _abstract(pid)


def _abstract(pid: int) -> Iterator[str]:
    """Find the abstract names that may be a service's. Source: proc_pid_net(5), unix."""
    name = re.compile(rf"@sockact\.{pid}(\.[0-9a-f]{{16}})?")
    with contextlib.suppress(OSError), open("/proc/net/unix") as file:
        for line in file:
            if match := name.fullmatch(line.rstrip().rpartition(" ")[2]):
                yield match[0]


def _listener(where: str) -> int | None:
    """Return the PID of the process that listens there; None for nobody, 0 in another PID namespace."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(PATIENCE)
        try:
            sock.connect("\0" + where[1:] if where.startswith("@") else where)
            return peer(sock)[0]
        except OSError:
            return None


def _is_of(pid: int, main: int) -> bool:
    """Tell whether a process is the main process, or its descendant, as behind a shell or an init."""
    if main == 1:
        return pid == 1  # of whom all others descend
    for _ in range(16):
        if pid in (main, 0, 1):
            break
        stat = proc.stat(pid)
        if stat is None:
            return False
        pid = int(stat[1])
    return pid == main
