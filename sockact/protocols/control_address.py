"""The address of a service's control socket: `open_server` binds it, `find` finds it.

    $RUNTIME_DIRECTORY/sockact-PID-RANDOM/control    in the service's own folder, see `private_folder`
    $RUNTIME_DIRECTORY/sockact.sock                  a link to that, for callers that know the directory
    @sockact.PID, @sockact.PID.RANDOM                abstract, where no folder can be made

A caller knows the main process, and trusts no other.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import socket
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence

from sockact.errors import UnavailableError
from sockact.protocols import control
from sockact.sockets.listen import listen_unix
from sockact.sockets.peer import peer_of
from sockact.system import private_folder, proc

FILE_NAME = "control"

LINK = "sockact.sock"
"""The address of the socket itself before there were folders."""

CONNECT_TIMEOUT = 5.0
"""Seconds to wait for room in the queue of a control socket."""

MAX_CANDIDATES = 32
"""Addresses that are tried at most: the service's user can put any number into its runtime directory."""

logger = logging.getLogger(__package__)


def open_server(choice: str) -> socket.socket | None:
    """Bind the control socket of this process; if that fails, the service serves without one.

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
    """Make a link to the socket in the runtime directory, if no other service has one there."""
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
        patience: the seconds until a connection must be accepted; None for `control.CONNECT_TIMEOUT`.
            Several addresses share them: root must not be held up for each that the service's user makes.

    Returns:
        A connection to it, and its address. It is the connection whose peer was checked: another one to
        the same address might lead to another process.

    Raises:
        UnavailableError: no process is there, or another one.
    """
    failures: list[UnavailableError] = []
    answering: dict[int, tuple[socket.socket, str]] = {}
    candidates = _distinct(_candidates(environ, pid)) if choice == "auto" else [choice]
    deadline = time.monotonic() + (control.CONNECT_TIMEOUT if patience is None else patience)
    with contextlib.ExitStack() as opened:
        for number, where in enumerate(candidates):
            try:
                share = max(deadline - time.monotonic(), 0) / (len(candidates) - number)
                sock = opened.enter_context(control.connect(where, round(share, 2)))
                listener = _checked(sock, where, pid)
                answering.setdefault(listener, (sock, where))
                if pid and listener == pid:
                    break  # its patience with a caller that says nothing is limited, too
            except UnavailableError as error:
                failures.append(error)
        sock, where = _chosen(answering, pid, failures)
        return sock.dup(), where


def exists(environ: Mapping[str, str], pid: int) -> bool:
    """Tell whether a service has a control socket, as far as this user can see; see `find`."""
    return any(where.startswith("@") or os.path.lexists(where) for where in _candidates(environ, pid))


def elsewhere(known: Iterable[int]) -> dict[int, str]:
    """Return the control sockets in this network namespace by main process, without the known ones."""
    name = re.compile(r"(?:/.*/sockact-(\d+)-[0-9a-f]{6}/control|@sockact\.(\d+)(?:\.[0-9a-f]{16})?)")
    found = {int(match[1] or match[2]): match[0] for match in _bound(name)}
    for pid in known:
        found.pop(pid, None)
    return found


def _checked(sock: socket.socket, where: str, pid: int) -> int:
    """Return the PID of the process that listens; raises UnavailableError if it is not of the service."""
    listener = _pid_behind(sock)
    if pid and listener and not _is_of(listener, pid):
        raise _StrangerError(f"the control socket {where} belongs to pid {listener}, expected {pid}")
    return listener


class _StrangerError(UnavailableError):
    """Another process has the control socket: the failure to report, if there are several."""


def _chosen(
    answering: Mapping[int, tuple[socket.socket, str]], pid: int, failures: Sequence[UnavailableError]
) -> tuple[socket.socket, str]:
    """Return the one that is the service, by their PIDs; 0 is one of another PID namespace."""
    if pid and pid in answering:
        return answering[pid]
    if len(answering) > 1:
        pids = ", ".join(str(each) for each in sorted(answering))
        raise UnavailableError(f"several services answer for this RUNTIME_DIRECTORY: MAINPID may be {pids}")
    for found in answering.values():
        return found
    strangers = [each for each in reversed(failures) if isinstance(each, _StrangerError)]
    missing = UnavailableError(f"no control socket of pid {pid} is found")
    raise next(iter((*strangers, *failures)), missing)


def _candidates(environ: Mapping[str, str], pid: int) -> Iterator[str]:
    for path in private_folder.found(environ, pid):
        yield f"{path}/{FILE_NAME}"
    if runtime := _runtime(environ):
        yield f"{runtime}/{LINK}"
    if pid:
        yield from _abstract(pid)


def _distinct(candidates: Iterable[str]) -> list[str]:
    """Return the first addresses, each once: a path below /proc/PID/root is often a known one."""
    found: dict[object, str] = {}
    for where in candidates:
        key: object = where
        if not where.startswith("@"):
            with contextlib.suppress(OSError):
                status = os.stat(where)
                key = status.st_dev, status.st_ino
        found.setdefault(key, where)
        if len(found) == MAX_CANDIDATES:
            break
    return list(found.values())


def _abstract(pid: int) -> Iterator[str]:
    """Find the abstract names that a service may have."""
    for match in _bound(re.compile(rf"@sockact\.{pid}(\.[0-9a-f]{{16}})?")):
        yield match[0]


def _bound(name: re.Pattern[str]) -> Iterator[re.Match[str]]:
    """Find Unix sockets of this network namespace by their names. Source: proc_pid_net(5), unix.

    Anybody may have bound one to any bytes.
    """
    with contextlib.suppress(OSError), open("/proc/net/unix", errors="replace") as file:
        for line in file:
            if match := name.fullmatch(line.rstrip().rpartition(" ")[2]):
                yield match


def _listener(where: str) -> int | None:
    """Return the PID of the process that listens there; None for none, 0 in another PID namespace."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(CONNECT_TIMEOUT)
        try:
            sock.connect("\0" + where[1:] if where.startswith("@") else where)
            return _pid_behind(sock)
        except OSError:
            return None


def _pid_behind(sock: socket.socket) -> int:
    peer = peer_of(sock)
    return 0 if peer is None else peer.pid


def _is_of(pid: int, main: int) -> bool:
    """Return whether a process is the main process, or its descendant, as behind a shell or an init."""
    if main == 1:
        return pid == 1  # all others descend from it
    for _ in range(16):
        if pid in (main, 0, 1):
            break
        stat = proc.stat(pid)
        if stat is None:
            return False
        pid = int(stat[1])
    return pid == main
