"""The private folder of a service, whose sockets only its own user and root can reach.

    RUNTIME_DIRECTORY/sockact-PID-RANDOM/control    the control socket
                                         n1         the notify socket of the first child

It has the mode 0700. Without a runtime directory it is made in the first of `places` that allows it. Its
name has the main process's PID, as its own PID namespace counts; `found` finds the folder by it.

Rejected: abstract names, which every process of the network namespace can see (/proc/net/unix), connect to,
and take beforehand. They are used only if no folder can be made.

It is locked as long as its process lives, so that systemd-tmpfiles(8) keeps it. The folder of a killed
process is removed by the next process of the same user.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import stat
from collections.abc import Iterator, Mapping

from sockact.system import proc

TEMPORARY = ("/tmp", "/var/tmp", "/dev/shm")  # the folder in them is ours alone, see `_make`

PATH_LIMIT = 107
"""Most bytes of a socket's path: sun_path in unix(7), without the zero at its end."""

NAME_LIMIT = 8
"""Most bytes of the name of a socket in the folder."""

_NAME = re.compile(r"sockact-(\d+)-[0-9a-f]{6}")
_UNKNOWN = 65534
"""The user ID shown for owners that this user namespace does not map: user_namespaces(7)."""


def places(environ: Mapping[str, str], uid: int) -> list[str]:
    """Return the directories in which the folder of a process may be, the best first.

    The runtime directory of a user is among them only if the process belongs to the user's session: it is
    removed with the last session.
    """
    runtime = environ.get("RUNTIME_DIRECTORY", "").split(":")[0]
    session = f"/run/user/{uid}"
    of_session = session if environ.get("XDG_RUNTIME_DIR") == session else ""
    return [os.path.abspath(place) for place in (runtime, of_session, *TEMPORARY) if place]


class Folder:
    """The folder of this process; made when it is first needed, and removed when it is empty."""

    def __init__(self) -> None:
        self._path = ""
        self._pid = 0
        self._lock = -1
        self._count = 0

    def fileno(self) -> int:
        """Return the descriptor that locks the folder; negative if there is none."""
        return self._lock if self._pid else -1

    def new(self, name: str) -> str | None:
        """Return a path for a socket that no other user can reach; None if no folder can be made."""
        if not (self._is_there() or self._make()):
            return None
        return f"{self._path}/{name}"

    def new_numbered(self, name: str) -> str | None:
        """Return a path for one of several sockets."""
        self._count += 1
        return self.new(f"{name}{self._count}")

    def adopt(self, path: str) -> None:
        """Keep the folder of a socket that this process was passed by its former program."""
        path = os.path.dirname(path)
        match = _NAME.fullmatch(os.path.basename(path))
        if match and int(match[1]) == os.getpid() and is_private(path, {os.geteuid()}):
            self._keep(path)

    def give_back(self, path: str) -> None:
        """Remove a socket, and the folder if it is empty then."""
        with contextlib.suppress(OSError):
            os.unlink(path)
        if self._pid == os.getpid() and os.path.dirname(path) == self._path:
            self._remove_if_empty()

    def remove(self) -> None:
        """Remove the folder with its content; does nothing in a forked child, whose parent needs it."""
        if self._pid == os.getpid():
            _empty(self._path)
            self._remove_if_empty()

    def _remove_if_empty(self) -> None:
        try:
            os.rmdir(self._path)
        except FileNotFoundError:
            pass
        except OSError:
            return
        self._path, self._pid = "", 0
        with contextlib.suppress(OSError):  # an app may have closed it
            os.close(self._lock)

    def _is_there(self) -> bool:
        """Tell whether this process has a folder; a forked child has none, and it may have been removed."""
        if self._pid != os.getpid():
            return False
        try:
            return os.path.samestat(os.lstat(self._path), os.fstat(self._lock))
        except OSError:
            os.close(self._lock)
            self._pid = 0
            return False

    def _make(self) -> bool:
        for place in places(os.environ, os.geteuid()):
            path = f"{place}/sockact-{os.getpid()}-{os.urandom(3).hex()}"
            if len(os.fsencode(path)) + 1 + NAME_LIMIT > PATH_LIMIT or not _is_safe(place):
                continue
            try:
                os.mkdir(path, 0o700)
                os.chmod(path, 0o700)  # a umask or a default ACL may have changed it
                self._keep(path)
            except OSError:
                continue
            _remove_stale(place)
            return True
        return False

    def _keep(self, path: str) -> None:
        self._lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(self._lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        self._path, self._pid = path, os.getpid()


OWN = Folder()


def found(environ: Mapping[str, str], pid: int) -> Iterator[str]:
    """Yield the folders that may be a service's, those that have its PID in their names first.

    Args:
        environ: has the service's RUNTIME_DIRECTORY.
        pid: its main process; 0 if unknown. A folder in the runtime directory may have another PID in its
            name: the main process may be a shell or an init, and the service its child.
    """
    inside, users = _of_process(pid)
    runtime = environ.get("RUNTIME_DIRECTORY", "").split(":")[0]
    names = {pid, inside} if pid else None
    # Also through the main process's root directory, since a sandbox may give it another /tmp.
    roots = ("", f"/proc/{pid}/root") if pid else ("",)
    for root in roots:
        if runtime:
            yield from _private_in(root + os.path.abspath(runtime), names, users)
        for user in users if pid else ():
            yield from _private_in(f"{root}/run/user/{user}", names, users)
        for place in TEMPORARY if pid else ():
            yield from _private_in(root + place, names, users)
    for root in roots if runtime and pid else ():
        yield from _private_in(root + os.path.abspath(runtime), None, users)


def is_private(path: str, users: set[int]) -> bool:
    """Tell whether a path is a folder, not a link to one, that only one of these users can enter."""
    try:
        status = os.lstat(path)
    except OSError:
        return False
    mode = stat.S_IMODE(status.st_mode)
    return stat.S_ISDIR(status.st_mode) and mode & 0o777 == 0o700 and status.st_uid in users


def _private_in(place: str, pids: set[int] | None, users: set[int]) -> Iterator[str]:
    """Yield the folders in a place that belong to one of these users and one of these processes."""
    for match in _entries(place):
        path = f"{place}/{match[0]}"
        if (pids is None or int(match[1]) in pids) and is_private(path, users):
            yield path


def _entries(place: str) -> list[re.Match[str]]:
    try:
        return [match for name in os.listdir(place) if (match := _NAME.fullmatch(name))]
    except OSError:
        return []


def _of_process(pid: int) -> tuple[int, set[int]]:
    """Return the PID of a process in its own namespace, and the users that may own its folder.

    Source: proc_pid_status(5), NSpid and Uid. Root is among them: the app may have changed its user since.
    """
    users = {0, os.geteuid()}
    try:
        with open(f"/proc/{pid}/status", errors="replace") as file:  # the name may be any bytes
            status = dict(line.rstrip().split(":", 1) for line in file if ":" in line)
    except OSError:
        return pid, users
    inside = int(status.get("NSpid", f"{pid}").split()[-1])
    return inside, users | {int(user) for user in status.get("Uid", "").split()}


def _is_safe(place: str) -> bool:
    """Tell whether no other user can rename our folder in a place: it is ours, or root's, or sticky."""
    try:
        status = os.stat(place)
    except OSError:
        return False
    if status.st_mode & 0o022 and not status.st_mode & stat.S_ISVTX:
        return False
    return status.st_uid in (0, os.geteuid(), _UNKNOWN)


def _remove_stale(place: str) -> None:
    """Remove the folders of killed processes of this user."""
    for match in _entries(place):
        path = f"{place}/{match[0]}"
        if is_private(path, {os.geteuid()}) and not proc.lives(int(match[1])) and _is_unlocked(path):
            _empty(path)
            with contextlib.suppress(OSError):
                os.rmdir(path)


def _is_unlocked(path: str) -> bool:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(fd)
    return True


def _empty(path: str) -> None:
    """Remove the sockets in a folder."""
    with contextlib.suppress(OSError):
        for name in os.listdir(path):
            if stat.S_ISSOCK(os.lstat(f"{path}/{name}").st_mode):
                os.unlink(f"{path}/{name}")
