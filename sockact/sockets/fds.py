"""Both ends of sd_listen_fds(3): `adopt` takes listeners; `spawn` and `replace` pass them on.

The protocol consists of the environment of a process and its descriptors from 3 upwards:

    LISTEN_PID=42             the process that the descriptors are for; others must not touch them
    LISTEN_FDS=2              the number of descriptors, here 3 and 4
    LISTEN_FDNAMES=web:admin  one name for each, in the same order; names need not be unique
    LISTEN_PIDFDID=7121       inode of that process's pidfd; set by systemd 259 and later

Rule of this file: descriptors that this process does not own stay open on every path, also after errors.
"""

from __future__ import annotations

import contextlib
import enum
import fcntl
import os
import signal
import socket
import stat
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, NoReturn

from systemd import daemon

from sockact.errors import ActivationError
from sockact.untrusted.number import decimal

FIRST = 3
"""SD_LISTEN_FDS_START: the first passed descriptor."""

UNNAMED = "unknown"
"""The name that sd_listen_fds_with_names(3) gives to a descriptor without one."""

RESERVED = "sockact."
"""The prefix of the names under which sockact passes descriptors to itself."""

HEALTH = "health"
AGENT = "agent"
METRICS = "metrics"
ANSWERED = (HEALTH, AGENT, METRICS)
"""The names of the listening stream sockets on which sockact itself answers."""

STANDARD_INPUT = "stdin"
"""The name of a socket that was passed as standard input; inetd passes no name."""

VARIABLES = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PIDFDID")


class Kind(enum.Enum):
    """The kinds of passed descriptors, in the words of systemd.socket(5)."""

    STREAM = "stream socket"
    DATAGRAM = "datagram socket"
    SEQPACKET = "sequential-packet socket"
    OTHER_SOCKET = "socket of another type"
    FIFO = "FIFO"
    MESSAGE_QUEUE = "POSIX message queue"
    OTHER = "file or device"


_SOCKET_KINDS: dict[int, Kind] = {
    socket.SOCK_STREAM: Kind.STREAM,
    socket.SOCK_DGRAM: Kind.DATAGRAM,
    socket.SOCK_SEQPACKET: Kind.SEQPACKET,
}


class Listener(NamedTuple):
    """One descriptor that a service manager passed, or that sockact bound in its place.

    Attributes:
        name: its `FileDescriptorName=`; not a key, since all sockets of a unit share it.
        fd: the descriptor, close-on-exec.
        kind: the kind of descriptor.
        sock: the socket object that owns `fd`; None for a descriptor that is not a socket.
        listening: whether it is a socket in the listening state, on which accept(2) works.
    """

    name: str
    fd: int
    kind: Kind
    sock: socket.socket | None = None
    listening: bool = False

    @classmethod
    def of(cls, sock: socket.socket, name: str) -> Listener:
        """Return the listener for an open socket, and take ownership of the socket."""
        kind = _SOCKET_KINDS.get(sock.type, Kind.OTHER_SOCKET)
        listening = bool(daemon.is_socket(sock.fileno(), listening=1))
        return cls(name=name, fd=sock.fileno(), kind=kind, sock=sock, listening=listening)

    @property
    def connected(self) -> bool:
        """Return whether it is a connection to one client, as with `Accept=yes`."""
        if self.sock is None or self.listening:
            return False
        try:
            self.sock.getpeername()
        except OSError:
            return False
        return True

    @property
    def address(self) -> str:
        """Its address in the form of `ListenStream=`: `127.0.0.1:80`, `[::1]:80`, `/run/x`, `@x`."""
        return "" if self.sock is None else written(self.sock.family, self.sock.getsockname())

    @property
    def is_internet(self) -> bool:
        """Return whether its address has a port."""
        return self.sock is not None and self.sock.family in (socket.AF_INET, socket.AF_INET6)

    def close(self) -> None:
        """Close the descriptor. The manager's copy and the connections queued in it are not affected."""
        if self.sock is None:
            os.close(self.fd)
        else:
            self.sock.close()


def belongs_to(connection: socket.socket, listener: Listener, *, exactly: bool) -> bool:
    """Tell whether a connection was accepted on this listener, by its local address.

    Args:
        connection: the connection.
        listener: the listener.
        exactly: whether a listener on all addresses is excluded.
    """
    if listener.sock is None or connection.family != listener.sock.family:
        return False
    try:
        local, bound = connection.getsockname(), listener.sock.getsockname()
    except OSError:
        return False
    if local == bound or connection.family == socket.AF_UNIX or exactly:
        return bool(local == bound)
    return bool(local[1] == bound[1] and bound[0] in ("0.0.0.0", "::"))


def adopt(*, standard_input: bool = False) -> list[Listener]:
    """Take over the descriptors that the service manager passed to this process.

    Args:
        standard_input: whether to adopt standard input if nothing else was passed and it is a socket with
            an address: `StandardInput=socket` in systemd.exec(5), or inetd. Standard streams that are the
            same socket are then replaced by /dev/null.

    Returns:
        One `Listener` for each descriptor, in the manager's order, close-on-exec, in the blocking mode they
        came in; empty if nothing was passed to *this* process. The caller closes them. The LISTEN_*
        variables are removed, also from `os.environ` and also after an error, so that no child takes them
        for its own.

    Raises:
        ActivationError: a variable is malformed, names and descriptors differ in number, or a
            descriptor is not open. All descriptors stay open.

    Source: sd_listen_fds_with_names(3).
    """
    try:
        if not declared(os.environ, os.getpid(), _is_open):
            return _standard_input() if standard_input and "LISTEN_PID" not in os.environ else []
        try:
            names = daemon.listen_fds_with_names(unset_environment=False)
        except OSError as error:
            raise ActivationError(f"the passed descriptors cannot be taken over: {error}") from error
        return [describe(fd, name) for fd, name in sorted(names.items())]
    finally:
        # libsystemd unsets them in the C environment only, and LISTEN_PIDFDID not before version 259;
        # os.environ writes through, so this clears both.
        for variable in VARIABLES:
            os.environ.pop(variable, None)


def shut_in(environ: Mapping[str, str], pid: int) -> None:
    """Make the passed descriptors close-on-exec even before `adopt`.

    Only if a descriptor of sockact's own is among them: otherwise this program may just be about to execute
    another one, which adopts them.
    """
    if environ.get("LISTEN_PID") == str(pid) and RESERVED in environ.get("LISTEN_FDNAMES", ""):
        with contextlib.suppress(ActivationError):  # `adopt` raises it again
            for fd in range(FIRST, FIRST + len(declared(environ, pid, _is_open))):
                os.set_inheritable(fd, False)


def declared(environ: Mapping[str, str], pid: int, is_open: Callable[[int], bool]) -> list[str]:
    """Check the variables about the descriptors that were passed to the process `pid`.

    libsystemd checks the same, but reports EINVAL or EBADF only. This says what was found.

    Returns:
        The names of the descriptors from `FIRST` on; empty if nothing was passed to `pid`.

    Raises:
        ActivationError: as `adopt`.
    """
    if "LISTEN_PID" not in environ or "LISTEN_FDS" not in environ:
        return []
    if _number(environ, "LISTEN_PID") != pid:
        return []
    count = _number(environ, "LISTEN_FDS")
    for fd in range(FIRST, FIRST + count):
        if not is_open(fd):
            raise ActivationError(
                f"LISTEN_FDS={count} means descriptors {FIRST} to {FIRST + count - 1}, but {fd} is not open"
            )
    text = environ.get("LISTEN_FDNAMES")
    if count and text is not None and not text.isprintable():  # nor is it, if it was no UTF-8
        raise ActivationError(f"LISTEN_FDNAMES={text!r}: expected names of printable characters")
    names = [UNNAMED] * count if text is None else text.split(":")
    if count and len(names) != count:
        raise ActivationError(f"LISTEN_FDNAMES has {len(names)} names for LISTEN_FDS={count} descriptors")
    return names if count else []


def meant_for_another(environ: Mapping[str, str], pid: int) -> str | None:
    """Return LISTEN_PID if it names another process than `pid`, as behind a wrapper without exec."""
    owner = environ.get("LISTEN_PID")
    return owner if owner is not None and owner != str(pid) else None


def spawn(
    argv: Sequence[str],
    listeners: Sequence[Listener],
    environ: Mapping[str, str],
    *,
    inherited: Sequence[int] = (),
    directory: str = ".",
    most: int | None = None,
    blocked: Iterable[signal.Signals] = (),
    standard_input: int | None = None,
) -> int:
    """Start a program as a service manager does, with `listeners` passed by LISTEN_FDS.

    LISTEN_PID must be the new process's own PID, which is not known before it exists: a shell exports its
    `$$`, and exec keeps it. posix_spawn, not fork: this process may have threads.

    Args:
        argv: the program and its arguments; looked up in PATH.
        listeners: the listeners to pass; they stay open here.
        environ: the program's environment; LISTEN_* in it are replaced or removed.
        inherited: more descriptors for it, which LISTEN_FDS does not count.
        directory: its working directory.
        most: its soft limit of open descriptors; None for this process's.
        blocked: signals that are blocked when the program starts, so that it can install handlers first.
        standard_input: its standard input; None for this process's.

    Returns:
        Its PID, which is also its process group. The caller reaps it.
    """
    passed = [*(listener.fd for listener in listeners), *inherited]
    limit = "" if most is None else f"ulimit -S -n {most} || exit; "
    script = limit + 'cd -- "$1" || exit; shift; export LISTEN_PID=$$; exec "$@"'
    copies: list[int] = []
    try:
        # Copies above the target range, so that no dup2 overwrites a descriptor still to be copied. One by
        # one: if a copy fails, those before it are closed.
        for fd in passed:
            copies.append(fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, FIRST + len(passed)))  # noqa: PERF401
        actions = [] if standard_input is None else [(os.POSIX_SPAWN_DUP2, standard_input, 0)]
        actions += [(os.POSIX_SPAWN_DUP2, copy, FIRST + index) for index, copy in enumerate(copies)]
        return os.posix_spawn(
            "/bin/sh",
            ["sh", "-c", script, "sh", directory, *argv],
            announcement(listeners, environ),
            file_actions=actions,
            setpgroup=0,
            setsigmask=list(blocked),
            # Python ignores SIGPIPE and SIGXFSZ, and what is ignored is inherited.
            setsigdef=[signal.SIGPIPE, signal.SIGXFSZ],
        )
    finally:
        for copy in copies:
            os.close(copy)


def replace(argv: Sequence[str], listeners: Sequence[Listener], environ: Mapping[str, str]) -> NoReturn:
    """Execute another program in this process: the PID stays, and `listeners` are passed by LISTEN_FDS.

    Descriptors below `FIRST + len(listeners)` are overwritten: none of them may be in use any more.

    Raises:
        OSError: the program cannot be executed; all descriptors are as they were before.
    """
    high = FIRST + len(listeners)
    copies = [fcntl.fcntl(listener.fd, fcntl.F_DUPFD_CLOEXEC, high) for listener in listeners]
    targets = range(FIRST, high)
    # Kept for the case of failure: its error message must not go to a descriptor that is now a client's.
    before = {fd: fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, high) for fd in targets if _is_open(fd)}
    try:
        for target, copy in zip(targets, copies, strict=True):
            os.dup2(copy, target, inheritable=True)
        environ = {**announcement(listeners, environ), "LISTEN_PID": str(os.getpid())}
        os.execvpe(argv[0], list(argv), environ)
    except OSError:
        for target in targets:
            if target in before:
                os.dup2(before[target], target, inheritable=False)
            else:
                os.close(target)
        raise


def announcement(listeners: Sequence[Listener], environ: Mapping[str, str]) -> dict[str, str]:
    """Return a copy of `environ` in which LISTEN_FDS and LISTEN_FDNAMES announce `listeners`."""
    result = {key: value for key, value in environ.items() if key not in VARIABLES}
    if listeners:
        result["LISTEN_FDS"] = str(len(listeners))
        result["LISTEN_FDNAMES"] = ":".join(listener.name for listener in listeners)
    return result


def _standard_input() -> list[Listener]:
    """Return standard input if it is a bound socket, unlike that of a shell behind sshd(8)."""
    try:
        sock = socket.socket(fileno=os.dup(0))
    except OSError:
        return []
    if not sock.getsockname():
        sock.close()
        return []
    same = os.fstat(sock.fileno())
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        if _is_open(fd) and os.path.samestat(os.fstat(fd), same):
            os.dup2(null, fd)
    os.close(null)
    return [Listener.of(sock, STANDARD_INPUT)]


def describe(fd: int, name: str) -> Listener:
    """Return the listener for an open descriptor of any kind, and take ownership of it."""
    if stat.S_ISSOCK(os.fstat(fd).st_mode):
        # Not socket.fromfd: it makes a copy and loses the protocol, and with it TCP_NODELAY.
        return Listener.of(socket.socket(fileno=fd), name)
    if daemon.is_fifo(fd):
        return Listener(name, fd, Kind.FIFO)
    return Listener(name, fd, Kind.MESSAGE_QUEUE if daemon.is_mq(fd) else Kind.OTHER)


def _number(environ: Mapping[str, str], variable: str) -> int:
    number = decimal(environ[variable])
    if number is None or environ[variable] != str(number):  # libsystemd takes 010 for 8
        raise ActivationError(f"{variable}={environ[variable]!r}: expected a decimal number")
    return number


def _is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


def written(family: int, name: Any) -> str:
    """Return the address of a socket in the form of `ListenStream=`."""
    if family == socket.AF_INET:
        return f"{name[0]}:{name[1]}"
    if family == socket.AF_INET6:
        return f"[{name[0]}]:{name[1]}"
    if isinstance(name, bytes):
        return "@" + name[1:].decode(errors="backslashreplace")
    if family == socket.AF_VSOCK:
        host = "" if name[0] == socket.VMADDR_CID_ANY else name[0]
        return f"vsock:{host}:{name[1]}"
    return str(name)
