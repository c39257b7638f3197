"""Other users of the machine: what they send, or take beforehand, neither reaches nor delays a service."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sockact.sockets.fds import Listener
from sockact.untrusted import ancillary
from tests.support.hostile import QUICK, slow_to_close
from tests.support.manager import CHECKOUT, LIMIT, Manager, listening, open_descriptors, wait_until

ROOT = os.geteuid() == 0
needs_root = pytest.mark.skipif(not ROOT, reason="only root can be somebody else")

NOBODY = {"user": 65534, "group": 65534, "extra_groups": []}

INTERVAL = 1.0
"""Seconds between two watchdog pings in these tests."""

LATE = 1.0

APP = """
async def app(scope, receive, send):
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"hi"})
"""

NEIGHBOUR = r"""
# What a user without privileges can do to sockets whose names it can see: NAME KIND SECONDS.
import os, resource, socket, struct, sys, time

names = [word.rpartition(":") for word in sys.argv[2:]]
resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
server = socket.create_server(("127.0.0.1", 0))
server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
kept = []  # nothing is closed here, where it would take time

def slow():
    sock = socket.create_connection(server.getsockname())
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 60))
    sock.setblocking(False)
    kept.append(server.accept()[0])
    try:
        while True:
            sock.send(bytes(65536))
    except BlockingIOError:
        return sock

def hidden():
    ours, theirs = socket.socketpair()
    sock = slow()
    socket.send_fds(theirs, [b"x"], [sock.fileno()])
    kept.append(theirs)
    sock.close()
    return ours

def attack(name, kind):
    sock = socket.socket(socket.AF_UNIX, int(kind))
    kept.append(sock)
    sock.settimeout(0.01)
    sock.connect(name.replace("@", "\0", 1))
    for make in (slow, hidden):
        sent = make()
        try:
            socket.send_fds(sock, [b"READY=1\nFDSTORE=1\nFDNAME=sockact.connection"], [sent.fileno()])
            sent.close()  # from here on the last copy is the other end's
        except OSError:
            kept.append(sent)
    for _ in range(100):
        sock.send(b"WATCHDOG=1\nEXTEND_TIMEOUT_USEC=" + b"9" * 400)

reached = 0
until = time.monotonic() + float(sys.argv[1])
while time.monotonic() < until and len(kept) < 4000:
    for name, _, kind in names:
        try:
            attack(name, kind)
        except PermissionError:
            continue
        except OSError:
            pass
        reached += 1
    time.sleep(0.001)
print(reached, flush=True)
os._exit(0)
"""


@pytest.fixture
def app(manager: Manager, tmp_path: Path) -> Manager:
    """Give a manager whose program finds an app."""
    (tmp_path / "app.py").write_text(APP)
    return manager


@pytest.fixture
def stack() -> Iterator[contextlib.ExitStack]:
    with contextlib.ExitStack() as stack:
        yield stack


def start(
    manager: Manager, listener: Listener, workers: int, before: tuple[str, ...] = (), **environ: str
) -> int:
    """Start the app, and return the PID of its main process."""
    command = [
        sys.executable,
        "-m",
        "sockact",
        "run",
        f"--workers={workers}",
        "--probation=0.1s",
        "app:app",
    ]
    environ = {"WATCHDOG_USEC": str(int(INTERVAL * 2_000_000)), **environ}
    pid = manager.start([*before, *command], [listener], **environ)
    manager.wait_ready()
    return pid


def sockact(*options: str) -> list[str]:
    return [sys.executable, "-m", "sockact", "run", "--probation=0.1s", *options, "app:app"]


def sockets_of(*pids: int) -> list[str]:
    """Return the names of all Unix sockets of processes, and their types. Source: proc_pid_net(5)."""
    links = [os.readlink(link) for pid in pids for link in Path(f"/proc/{pid}/fd").iterdir()]
    found: list[str] = []
    for line in Path(f"/proc/{pids[0]}/net/unix").read_text(errors="replace").splitlines()[1:]:
        _, _, _, _, kind, _, inode, *name = line.split(maxsplit=7)
        if name and f"socket:[{inode}]" in links:
            found.append(f"{name[0]}:{int(kind)}")
    return found


def served(listener: Listener) -> bool:
    assert listener.sock is not None
    with socket.create_connection(listener.sock.getsockname(), timeout=LIMIT) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        return b"200 OK" in client.makefile("rb").read()


def reload_of(pid: int, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Ask for a reload as this user, by the main PID."""
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(CHECKOUT), "MAINPID": str(pid), **environ}
    command = [sys.executable, "-m", "sockact", "reload", *arguments]
    return subprocess.run(command, env=environ, capture_output=True, text=True, timeout=LIMIT, check=False)


WITHOUT_FOLDERS = (
    "unshare",
    "--mount",
    "sh",
    "-c",
    'for at in /tmp /var/tmp /dev/shm; do mount -B $at $at; mount -o remount,bind,ro $at; done; exec "$@"',
    "sh",
)
"""Starts a program where no folder can be made for its sockets."""


def may_mount() -> bool:
    done = subprocess.run([*WITHOUT_FOLDERS, "touch", "/tmp/x"], capture_output=True, check=False)
    return b"Read-only" in done.stderr


PLACES = {
    "runtime directory": {"RUNTIME_DIRECTORY": "yes"},
    "temporary folder": {},
    "abstract": {"before": WITHOUT_FOLDERS},
}


@needs_root
@pytest.mark.parametrize("workers", [0, 1], ids=["alone", "supervised"])
@pytest.mark.parametrize("place", PLACES)
def test_a_user_of_the_machine_does_not_make_the_watchdog_ping_late(
    app: Manager, listener: Listener, tmp_path: Path, workers: int, place: str
) -> None:
    environ = dict(PLACES[place])
    before: tuple[str, ...] = environ.pop("before", ())  # type: ignore[assignment,arg-type]
    if before and not may_mount():
        pytest.skip("no mounts in a namespace of its own here")
    if environ:
        environ["RUNTIME_DIRECTORY"] = str(tmp_path)
    pid = start(app, listener, workers, before, **environ)
    visible = sockets_of(pid)
    assert visible
    command = ["/usr/bin/python3", "-c", NEIGHBOUR, "5", *visible]
    with (
        subprocess.Popen(command, text=True, stdout=subprocess.PIPE, cwd="/", **NOBODY) as neighbour,
        contextlib.ExitStack() as stack,
    ):
        stack.callback(neighbour.kill)
        while neighbour.poll() is None:
            app.wait_for("WATCHDOG", "1", timeout=INTERVAL + LATE)
        stack.pop_all()
        assert neighbour.stdout is not None
        reached = int(neighbour.stdout.read())

    app.wait_for("WATCHDOG", "1", timeout=INTERVAL + LATE)
    assert served(listener)
    done = reload_of(pid, **environ)
    assert (done.returncode, done.stdout) == (0, "gen 2 is ready\n"), done.stderr + app.stderr()
    assert (reached > 0) == (place == "abstract"), (
        "what nobody can reach was reached, or what can be was not"
    )


@needs_root
def test_a_name_that_is_taken_beforehand_keeps_nobody_from_reloading(
    app: Manager, listener: Listener, tmp_path: Path
) -> None:
    if not may_mount():
        pytest.skip("no mounts in a namespace of its own here")
    os.mkfifo(tmp_path / "go")
    waits = ("sh", "-c", 'read _ < go; exec "$@"', "sh")
    pid = app.start([*waits, *WITHOUT_FOLDERS, *sockact("--workers=1")], [listener])
    with socket.socket(socket.AF_UNIX) as squatter:
        squatter.bind(f"\0sockact.{pid}")
        squatter.listen()
        (tmp_path / "go").write_text("\n")
        app.wait_ready()

        done = reload_of(pid)

    assert (done.returncode, done.stdout) == (0, "gen 2 is ready\n"), done.stderr


@pytest.mark.parametrize("workers", [0, 1], ids=["alone", "supervised"])
def test_thousands_of_idle_callers_cost_little_and_a_reload_gets_through(
    app: Manager, listener: Listener, tmp_path: Path, workers: int
) -> None:
    pid = start(app, listener, workers, RUNTIME_DIRECTORY=str(tmp_path))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, hard), hard))
    most = 0
    with contextlib.ExitStack() as stack:
        stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        before = open_descriptors(pid)
        for number in range(3000):
            caller = stack.enter_context(socket.socket(socket.AF_UNIX))
            caller.connect(f"{tmp_path}/sockact.sock")
            if number % 50 == 0:
                most = max(most, open_descriptors(pid))

        done = reload_of(pid, RUNTIME_DIRECTORY=str(tmp_path))

    assert (done.returncode, done.stdout) == (0, "gen 2 is ready\n"), done.stderr
    assert most < before + 500


def test_a_caller_that_says_nothing_is_told_what_was_expected_when_others_come(
    app: Manager, listener: Listener, tmp_path: Path
) -> None:
    start(app, listener, 1, RUNTIME_DIRECTORY=str(tmp_path))
    with contextlib.ExitStack() as stack:
        callers = [stack.enter_context(socket.socket(socket.AF_UNIX)) for _ in range(20)]
        for caller in callers:
            caller.settimeout(LIMIT)
            caller.connect(f"{tmp_path}/sockact.sock")

        assert b"others call" in callers[0].makefile("rb").read()
        callers[-1].sendall(b'{"verb": "status"}\n')
        assert b'"ok": true' in callers[-1].makefile("rb").read()


# Where the control socket is, and whose.


def test_two_services_that_share_a_runtime_directory_are_told_apart(
    app: Manager, listener: Listener, tmp_path: Path
) -> None:
    with contextlib.ExitStack() as stack:
        second = Manager(tmp_path / "second.log")
        stack.callback(second.close)
        other = listening()
        stack.callback(other.close)
        one = start(app, listener, 1, RUNTIME_DIRECTORY=str(tmp_path))
        two = start(second, other, 1, RUNTIME_DIRECTORY=str(tmp_path))

        unnamed = reload_of(0, RUNTIME_DIRECTORY=str(tmp_path), MAINPID="")
        done = reload_of(two, RUNTIME_DIRECTORY=str(tmp_path))
        second.wait_for("STATUS", "gen 2: ")

        assert "several services answer for this RUNTIME_DIRECTORY" in unnamed.stderr
        assert (done.returncode, done.stdout) == (0, "gen 2 is ready\n"), done.stderr
        app.catch_up()
        assert app.said("READY") == ["1"]
        assert reload_of(one, RUNTIME_DIRECTORY=str(tmp_path)).returncode == 0
        second.catch_up()
        assert second.said("READY") == ["1", "1"]


def test_a_service_without_a_control_socket_is_not_mistaken_for_one_that_has_one(
    app: Manager, listener: Listener, tmp_path: Path
) -> None:
    start(app, listener, 1, RUNTIME_DIRECTORY=str(tmp_path))

    with subprocess.Popen(["sleep", "600"]) as other, contextlib.ExitStack() as stack:
        stack.callback(other.kill)
        for arguments in ((), (f"--control={tmp_path}/sockact.sock",)):
            done = reload_of(other.pid, *arguments, RUNTIME_DIRECTORY=str(tmp_path))

            assert done.returncode == 69
            assert f"expected {other.pid}" in done.stderr
    app.catch_up()
    assert app.said("READY") == ["1"]


def test_a_service_behind_a_shell_is_found_by_the_shells_pid(
    app: Manager, listener: Listener, tmp_path: Path
) -> None:
    command = ["sh", "-c", '"$@"; exit $?', "sh", *sockact("--workers=1", "--listen=unix:web.sock")]
    pid = app.start(command, RUNTIME_DIRECTORY=str(tmp_path))
    wait_until(lambda: os.path.exists(tmp_path / "sockact.sock"))

    done = wait_until(lambda: (done := reload_of(pid, RUNTIME_DIRECTORY=str(tmp_path))).stdout and done)

    assert (done.returncode, done.stdout) == (0, "gen 2 is ready\n"), done.stderr
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        os.kill(int(child), signal.SIGTERM)
    app.wait_exit()


def test_a_socket_whose_name_is_no_text_disturbs_no_search_for_a_service() -> None:
    with (
        subprocess.Popen(["sleep", "600"]) as other,
        socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock,
        contextlib.ExitStack() as stack,
    ):
        stack.callback(other.kill)
        sock.bind(b"\0 \xff\xfe")

        done = reload_of(other.pid)

        assert (done.returncode, done.stdout) == (69, "")
        assert done.stderr.startswith("sockact: ")


def test_a_service_whose_process_has_a_name_that_is_no_text_is_found(
    app: Manager, listener: Listener
) -> None:
    with open("app.py", "a") as file:
        file.write("open('/proc/self/comm', 'wb').write(b'\\xff\\xfe')\n")
    pid = start(app, listener, 0)

    done = reload_of(pid)

    assert (done.returncode, done.stdout) == (0, "gen 2 is ready\n"), done.stderr


def test_a_control_socket_of_before_there_were_folders_is_found(
    app: Manager, listener: Listener, tmp_path: Path
) -> None:
    pid = app.start(sockact("--workers=1", f"--control={tmp_path}/sockact.sock"), [listener])
    app.wait_ready()

    done = reload_of(pid, RUNTIME_DIRECTORY=str(tmp_path))

    assert (done.returncode, done.stdout) == (0, "gen 2 is ready\n"), done.stderr


@needs_root
def test_a_service_that_sees_another_tmp_is_found_from_outside(app: Manager, listener: Listener) -> None:
    if not may_mount():
        pytest.skip("no mounts in a namespace of its own here")
    # The checkout stays where it is, as it may be in /tmp.
    mounts = 'exec 9<"$0"; mount -t tmpfs none /tmp; mkdir -p "$0"; mount -c --bind /proc/self/fd/9 "$0"'
    private = ("unshare", "--mount", "sh", "-ec", f'{mounts}; cd /; exec "$@"', str(CHECKOUT))
    options = ("--workers=1", "--probation=0.1s", f"--chdir={CHECKOUT}/tests/apps", "load_app:app")
    pid = app.start([*private, sys.executable, "-m", "sockact", "run", *options], [listener])
    app.wait_ready()

    done = reload_of(pid)

    assert (done.returncode, done.stdout) == (0, "gen 2 is ready\n"), done.stderr


@needs_root
def test_a_folder_that_another_user_has_made_is_not_believed(
    app: Manager, listener: Listener, tmp_path: Path
) -> None:
    pid = app.start(sockact("--workers=1", "--control=none"), [listener])
    app.wait_ready()
    planted = Path(f"/tmp/sockact-{pid}-abcdef")
    planted.mkdir(mode=0o700)
    try:
        with socket.socket(socket.AF_UNIX) as trap:
            trap.bind(f"{planted}/control")
            trap.listen()
            os.chown(planted, 65534, 65534)

            done = reload_of(pid)

            trap.setblocking(False)
            with pytest.raises(BlockingIOError):
                trap.accept()
    finally:
        shutil.rmtree(planted)
    assert done.returncode == 69


# What becomes of the folder.


def folders(place: Path, pid: int) -> list[Path]:
    return list(place.glob(f"sockact-{pid}-*"))


@pytest.mark.parametrize("workers", [0, 1], ids=["alone", "supervised"])
@pytest.mark.parametrize("temporary", [False, True], ids=["runtime directory", "temporary"])
def test_the_folder_outlives_reloads_and_is_gone_with_the_service(
    app: Manager, listener: Listener, tmp_path: Path, workers: int, temporary: bool
) -> None:
    place = Path("/tmp") if temporary else tmp_path
    environ = {} if temporary else {"RUNTIME_DIRECTORY": str(tmp_path)}
    pid = start(app, listener, workers, **environ)
    (before,) = folders(place, pid)
    for _ in range(2):
        assert reload_of(pid, **environ).returncode == 0

    assert folders(place, pid) == [before]
    wait_until(lambda: len(list(before.iterdir())) == 1 + workers)  # old workers have ended
    app.signal(signal.SIGTERM)
    assert app.wait_exit() == 0
    assert folders(place, pid) == []
    assert not os.path.lexists(tmp_path / "sockact.sock")


@pytest.mark.parametrize("end", ["killed", "failed"])
def test_the_folder_is_gone_after_a_service_that_fails_or_is_ended_at_once(
    app: Manager, listener: Listener, tmp_path: Path, stack: contextlib.ExitStack, end: str
) -> None:
    if end == "failed":
        (tmp_path / "app.py").write_text("x = (")
        pid = app.start(sockact("--workers=1"), [listener])
    else:
        pid = start(app, listener, 1, SOCKACT_LINGER="20s")
        assert listener.sock is not None
        client = stack.enter_context(socket.create_connection(listener.sock.getsockname()))
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert client.recv(1)
        client.sendall(b"GET")
        app.signal(signal.SIGINT)
        app.wait_for("STOPPING", "1")
        app.signal(signal.SIGINT)

    assert app.wait_exit() != 0
    assert folders(Path("/tmp"), pid) == []


def test_a_child_that_the_app_forks_does_not_take_the_folder_with_it(
    app: Manager, listener: Listener, tmp_path: Path
) -> None:
    fork = (
        "import atexit, os\nif os.fork() == 0:\n    atexit._run_exitfuncs()\n    os._exit(0)\nos.wait()\n"
    )
    (tmp_path / "app.py").write_text(fork + APP)
    pid = start(app, listener, 0)

    assert reload_of(pid).returncode == 0


def test_what_a_killed_service_has_left_behind_the_next_one_removes(
    app: Manager, listener: Listener, tmp_path: Path
) -> None:
    pid = start(app, listener, 0)
    (left,) = folders(Path("/tmp"), pid)
    app.signal(signal.SIGKILL)
    app.wait_exit()
    assert left.exists()

    second = start(app, listener, 0)

    assert not left.exists()
    assert folders(Path("/tmp"), second)


# What a worker sends.

HOSTILE_PROGRAM = r"""
import os, socket, time

voice = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
voice.connect(os.environ["NOTIFY_SOCKET"].replace("@", "\0"))
for _ in range(30):
    for text in (b"X=1", b"FDSTORE=1", b"FDSTORE=1\nFDNAME=sockact.connection"):
        socket.send_fds(voice, [b"EXTEND_TIMEOUT_USEC=" + b"9" * 400 + b"\n" + text], [0] * 200)
    voice.send(b"EXTEND_TIMEOUT_USEC=" + "٣".encode() * 100)
voice.send(b"READY=1")
time.sleep(600)
"""


def test_a_worker_whose_datagrams_make_no_sense_costs_its_supervisor_nothing(
    app: Manager, listener: Listener, tmp_path: Path
) -> None:
    (tmp_path / "hostile.py").write_text(HOSTILE_PROGRAM)
    command = [
        sys.executable,
        "-m",
        "sockact",
        "run",
        "--probation=0.1s",
        "--",
        sys.executable,
        "hostile.py",
    ]
    pid = app.start(command, [listener], SOCKACT_WORKERS="1")
    app.wait_ready()

    wait_until(lambda: open_descriptors(pid) < 50)
    assert "Traceback" not in app.stderr()
    assert "OverflowError" not in app.stderr()


HOSTILE_APP = (
    r"""
import gc, os, socket, threading
from sockact.handover.transfer import CONNECTION
from sockact.protocols.notify import Notifier

def give():
    (voice,) = [each for each in gc.get_objects() if isinstance(each, Notifier)]
    null = os.open("/dev/null", os.O_RDONLY)
    alike = socket.create_server(("127.0.0.1", 0))
    for fd in (null, alike.fileno()):
        for _ in range(12):
            voice.store([fd] * 200, CONNECTION, must=True)
    voice._tell("X_DONE", "1")

if os.environ.get("HOSTILE"):
    threading.Timer(0.2, give).start()
"""
    + APP
)


def test_what_is_no_connection_does_not_reach_the_next_release(
    app: Manager, listener: Listener, tmp_path: Path
) -> None:
    (tmp_path / "app.py").write_text(HOSTILE_APP)
    (tmp_path / "environment").write_text("HOSTILE=1\n")
    environ = {"RUNTIME_DIRECTORY": str(tmp_path), "SOCKACT_ENV_FILE": str(tmp_path / "environment")}
    pid = start(app, listener, 1, **environ)
    wait_until(lambda: "hands over a descriptor that is no connection" in app.stderr())
    (tmp_path / "environment").write_text("")
    assert reload_of(pid, **environ).returncode == 0

    assert served(listener)
    wait_until(lambda: len(children(pid)) == 1)
    assert open_descriptors(children(pid)[0]) < 50
    assert open_descriptors(pid) < 50


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


# What a client sends.


@pytest.mark.parametrize("workers", [0, 1], ids=["alone", "supervised"])
def test_health_checks_are_answered_while_others_only_connect(
    app: Manager, listener: Listener, workers: int
) -> None:
    health = listening(name="health")
    assert health.sock is not None
    with contextlib.ExitStack() as stack:
        stack.callback(health.close)
        app.start(sockact(f"--workers={workers}"), [listener, health])
        app.wait_ready()
        idle = [
            stack.enter_context(socket.create_connection(health.sock.getsockname())) for _ in range(200)
        ]
        for client in idle:
            client.settimeout(LIMIT)

        for _ in range(5):
            assert served(health)
        assert idle[0].recv(1) == b""  # it was there for longest
        assert idle[-1].recv(1) == b""  # its time is over


def unix_listener(path: Path, kind: int = socket.SOCK_STREAM) -> Listener:
    sock = socket.socket(socket.AF_UNIX, kind)
    sock.bind(str(path))
    path.chmod(0o666)  # as SocketMode= by default
    if kind == socket.SOCK_STREAM:
        sock.listen(100)
    return Listener.of(sock, "web")


HANDLERS = {
    "http": APP,
    "stream": """
async def app(reader, writer):
    while line := await reader.readline():
        writer.write(line)
""",
    "datagram": """
async def app(data, address, reply):
    reply(data)
""",
}


OLD_KERNEL = "import sockact.untrusted.ancillary; sockact.untrusted.ancillary.SO_PASSRIGHTS = 9999\n"
"""Makes what Linux before 6.16 makes of an unknown option of a socket."""

with socket.socket(socket.AF_UNIX) as unconnected:
    needs_refusal = pytest.mark.skipif(
        not ancillary.can_refuse(unconnected), reason="Linux before 6.16 cannot refuse descriptors"
    )


@pytest.mark.parametrize("kind", ["http", "stream", "datagram"])
@pytest.mark.parametrize("kernel", [pytest.param("", marks=needs_refusal), OLD_KERNEL], ids=["new", "old"])
@pytest.mark.parametrize("early", [False, True], ids=["later", "before the start"])
def test_descriptors_that_a_client_sends_hold_no_other_client_up(
    app: Manager, tmp_path: Path, kind: str, kernel: str, early: bool
) -> None:
    (tmp_path / "app.py").write_text(kernel + HANDLERS[kind])
    of = socket.SOCK_DGRAM if kind == "datagram" else socket.SOCK_STREAM
    with contextlib.ExitStack() as stack:
        listener = unix_listener(tmp_path / "web.sock", of)
        stack.callback(listener.close)

        def attack() -> None:
            client = stack.enter_context(socket.socket(socket.AF_UNIX, of))
            client.connect(str(tmp_path / "web.sock"))
            slow = stack.enter_context(slow_to_close())
            try:
                socket.send_fds(client, [b"GET / HTTP/1.1\r\n"], [slow.fileno()])
            except PermissionError:
                return
            slow.close()  # the last one is on its way

        if early:
            attack()
        app.start(sockact("--workers=0"), [listener])
        app.wait_ready()
        if not early:
            app.signal(signal.SIGSTOP)
            attack()
            app.signal(signal.SIGCONT)
        client = stack.enter_context(socket.socket(socket.AF_UNIX, of))
        client.settimeout(QUICK)
        client.bind("")
        client.connect(str(tmp_path / "web.sock"))
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert client.recv(100)


@pytest.mark.parametrize("kernel", [pytest.param("", marks=needs_refusal), OLD_KERNEL], ids=["new", "old"])
def test_descriptors_that_nobody_has_read_when_a_connection_ends_hold_no_other_client_up(
    app: Manager, tmp_path: Path, kernel: str
) -> None:
    (tmp_path / "app.py").write_text(
        f"{kernel}import pathlib, asyncio\n"
        "async def app(reader, writer):\n"
        "    if await reader.readline() == b'pause\\n':\n"
        "        writer.transport.pause_reading()\n"
        "        writer.write(b'paused')\n"
        "        while not pathlib.Path('sent').exists():\n"
        "            await asyncio.sleep(0.02)\n"
        "    writer.write(b'end')\n"
    )
    with contextlib.ExitStack() as stack:
        listener = unix_listener(tmp_path / "web.sock")
        stack.callback(listener.close)
        app.start(sockact("--workers=0", "--kind=stream"), [listener])
        app.wait_ready()
        attacker = stack.enter_context(socket.socket(socket.AF_UNIX))
        attacker.connect(str(tmp_path / "web.sock"))
        attacker.settimeout(LIMIT)
        attacker.sendall(b"pause\n")
        assert attacker.recv(6) == b"paused"
        slow = stack.enter_context(slow_to_close())
        with contextlib.suppress(PermissionError):
            socket.send_fds(attacker, [b"x"], [slow.fileno()])
        slow.close()  # the last one is on its way
        (tmp_path / "sent").touch()
        assert attacker.recv(3) == b"end"

        client = stack.enter_context(socket.socket(socket.AF_UNIX))
        client.settimeout(QUICK)
        client.connect(str(tmp_path / "web.sock"))
        client.sendall(b"hello\n")

        assert client.recv(3) == b"end"


def test_a_handler_that_has_the_connection_itself_can_receive_descriptors(
    app: Manager, tmp_path: Path
) -> None:
    (tmp_path / "app.py").write_text(
        "import os, socket\n"
        "def app(connection: socket.socket):\n"
        "    _, (fd,), _, _ = socket.recv_fds(connection, 1, 1)\n"
        "    os.write(fd, b'received')\n"
    )
    listener = unix_listener(tmp_path / "web.sock")
    ours, theirs = os.pipe()
    app.start(sockact("--workers=1", "--kind=socket"), [listener])
    app.wait_ready()
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(tmp_path / "web.sock"))
        socket.send_fds(client, [b"x"], [theirs])

        assert os.read(ours, 100) == b"received"
    os.close(ours)
    os.close(theirs)
    listener.close()
