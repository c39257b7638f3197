"""`sockact activate`: programs of any make get their sockets as from systemd, and are kept."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sockact.probe.background import BackgroundProbe
from tests.support.activated import PYTHON, Activated
from tests.support.gate import Gate, install
from tests.support.http_client import Client
from tests.support.manager import CHECKOUT, LIMIT, wait_ended, wait_until

ANY = "--listen=127.0.0.1:0"

SEEN = """
import json, os, socket, sys
from systemd import daemon
names = daemon.listen_fds_with_names()
sockets = [socket.socket(fileno=fd) for fd in names]
seen = {
    "pid": os.getpid(),
    "names": list(names.values()),
    "kinds": [each.type.name for each in sockets],
    "blocking": [os.get_blocking(fd) for fd in names],
    "pidfd": str(os.fstat(os.pidfd_open(os.getpid())).st_ino),
    "environ": {name: os.environ.get(name) for name in ("LISTEN_PID", "LISTEN_PIDFDID", "FDSTORE")},
    "input": sys.stdin.read(),
    "more": sorted(set(map(int, os.listdir("/proc/self/fd"))) - {0, 1, 2}),
}
with open("seen.json.new", "w") as file:
    json.dump(seen, file)
os.rename("seen.json.new", "seen.json")
"""
"""Uses libsystemd alone."""

NOTIFY = "from systemd import daemon; daemon.notify('READY=1'); "
PAUSE = "signal.pause()"


def seen(activated: Activated) -> Any:
    return json.loads((activated.folder / "seen.json").read_text())


def test_a_program_gets_its_sockets_as_libsystemd_expects_them(activated: Activated) -> None:
    addresses = ("web=127.0.0.1:0", "log=udp:127.0.0.1:0", "own=unix:a socket", "8.x=[::1]:0")
    listen = [f"--listen={address}" for address in addresses]

    activated.start("activate", *listen, "--no-restart", program=[*PYTHON, SEEN])

    assert activated.wait_exit() == 0, activated.log()
    found = seen(activated)
    assert found["names"] == ["web", "log", "own", "8.x"]
    assert found["kinds"] == ["SOCK_STREAM", "SOCK_DGRAM", "SOCK_STREAM", "SOCK_STREAM"]
    assert found["blocking"] == [True] * 4
    assert found["environ"]["LISTEN_PID"] == str(found["pid"])
    assert found["environ"]["LISTEN_PIDFDID"] in (found["pidfd"], None)  # None before Linux 6.9
    assert found["environ"]["FDSTORE"] == "512"
    assert found["input"] == ""


def test_each_program_gets_blocking_sockets_whatever_the_one_before_has_made_of_them(
    activated: Activated,
) -> None:
    changes = "import os; from systemd import daemon; daemon.notify(f'STATUS={os.get_blocking(3)}'); "
    activated.start("activate", ANY, program=[*PYTHON, f"{changes} os.set_blocking(3, False)"])

    for _ in range(2):
        activated.started()
        assert activated.wait_line(r"activate: pid \d+ says STATUS=(\w+)")[1] == "True"


def test_a_shell_that_executes_the_program_passes_them_on(activated: Activated) -> None:
    program = ["/bin/sh", "-c", 'cd . && exec "$@"', "sh", *PYTHON, SEEN]

    activated.start("activate", ANY, "--no-restart", program=program)

    assert activated.wait_exit() == 0
    assert seen(activated)["names"] == ["listen"]


def test_it_passes_nothing_of_its_own_manager_on(activated: Activated) -> None:
    environ = {
        "LISTEN_PID": "1",
        "LISTEN_FDS": "7",
        "LISTEN_PIDFDID": "1",
        "FDSTORE": "3",
        "WATCHDOG_USEC": "1",
    }

    activated.start("activate", ANY, "--no-restart", program=[*PYTHON, SEEN], **environ)

    assert activated.wait_exit() == 0
    assert seen(activated)["names"] == ["listen"]
    assert seen(activated)["environ"]["FDSTORE"] == "512"


@pytest.mark.parametrize(
    ("end", "status", "words"),
    [
        ("sys.exit(0)", 0, "exited with status 0"),
        ("sys.exit(3)", 3, "exited with status 3"),
        ("import os; os.kill(os.getpid(), 9)", 137, "was killed by SIGKILL"),
    ],
)
def test_it_ends_with_the_status_of_the_program(
    activated: Activated, end: str, status: int, words: str
) -> None:
    activated.start("activate", ANY, "--no-restart", program=[*PYTHON, f"import sys; {end}"])

    assert activated.wait_exit() == status
    activated.wait_line(rf"activate: pid \d+ {words}")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
def test_a_stop_is_the_programs(activated: Activated, number: signal.Signals) -> None:
    stop = f"import signal, sys; signal.signal({int(number)}, lambda *_: sys.exit(7)); {NOTIFY} {PAUSE}"
    activated.start("activate", ANY, program=[*PYTHON, stop])
    activated.wait_line(r"activate: pid \d+ says READY=1")

    activated.signal(number)

    assert activated.wait_exit() == 7


def test_a_program_that_does_not_stop_is_killed(activated: Activated) -> None:
    stays = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {NOTIFY} {PAUSE}"
    activated.start("activate", ANY, "--stop-timeout=100ms", program=[*PYTHON, stays])
    activated.wait_line(r"activate: pid \d+ says READY=1")

    activated.signal(signal.SIGTERM)

    assert activated.wait_exit() == 137
    activated.wait_line(r"activate: pid \d+ has not ended in 0.1 s: SIGKILL")


def test_it_is_started_again_when_it_has_ended_and_later_each_time(activated: Activated) -> None:
    activated.start("activate", ANY, program=["false"])

    for words in ("now", "in 0.1 s", "in 0.2 s"):
        activated.started()
        activated.wait_line(r"activate: pid \d+ exited with status 1")
        activated.wait_line(f"activate: starts it again {words}")


REPORTS = """
import signal, sys
from systemd import daemon
seen = set()
def heard(number, frame):
    seen.add(number)
    daemon.notify(f"STATUS=heard {signal.Signals(number).name}")
    if {signal.SIGTERM, signal.SIGURG} <= seen:
        sys.exit(0)
for number in (signal.SIGHUP, signal.SIGUSR2, signal.SIGURG, signal.SIGTERM):
    signal.signal(number, heard)
daemon.notify("READY=1")
while True:
    signal.pause()
"""


def test_usr1_restarts_and_other_signals_are_the_programs(activated: Activated) -> None:
    activated.start("activate", ANY, program=[*PYTHON, REPORTS])
    first = activated.started()
    activated.wait_line(rf"activate: pid {first} says READY=1")

    for number in (signal.SIGHUP, signal.SIGUSR2):
        activated.signal(number)
        activated.wait_line(rf"activate: pid {first} says STATUS=heard {number.name}")
    activated.signal(signal.SIGUSR1)

    activated.wait_line(r"activate: SIGUSR1: restarts the program")
    assert activated.started() != first  # it ends when it has got both signals of a restart


@pytest.mark.skipif(not shutil.which("systemd-notify"), reason="systemd-notify is missing")
def test_systemd_notify_is_heard_from_a_shell_script_and_goes_on(activated: Activated) -> None:
    script = "systemd-notify --ready --status=\"$(printf 'of \\033[31m a script')\" && exit 4"
    activated.start("activate", ANY, "--no-restart", program=["sh", "-c", script])

    assert activated.wait_exit() == 4  # it waits until it is heard: BARRIER=1 of sd_notify(3)
    activated.wait_line(r"activate: pid \d+ says READY=1 STATUS=of .* a script")
    assert "\033" not in activated.log()


STORES = """
import os, sys
from systemd import daemon
for fd, name in daemon.listen_fds_with_names().items():
    if name == "state":
        daemon.notify("STATUS=found " + os.pread(fd, 100, 0).decode())
        sys.exit(0)
fd = os.memfd_create("state")
os.write(fd, b"what the first has left")
daemon.notify("FDSTORE=1\\nFDNAME=state", fds=[fd])
"""


def test_what_a_program_stores_the_next_one_gets(activated: Activated) -> None:
    activated.start("activate", ANY, program=[*PYTHON, STORES])

    activated.wait_line(r"activate: pid \d+ stores 1 as state, 1 in all")
    activated.wait_line(r"activate: pid \d+ started, with 1 from the store: .*")
    activated.wait_line(r"activate: pid \d+ says STATUS=found what the first has left")


MOVES = """
import os, signal, sys
from systemd import daemon
import time
child = os.fork()
if child == 0:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(5))
    while os.getppid() == int(os.environ["LISTEN_PID"]):
        time.sleep(0.01)
    daemon.notify("READY=1")
    while True:
        signal.pause()
daemon.notify("MAINPID=1")
daemon.notify(f"MAINPID={child}")
os._exit(0)
"""


def test_the_main_process_may_move(activated: Activated) -> None:
    activated.start("activate", ANY, program=[*PYTHON, MOVES])
    first = activated.started()
    activated.wait_line(r"activate: MAINPID=1 is ignored: no process of the program")
    activated.wait_line(r"activate: pid \d+ says READY=1")
    with contextlib.suppress(ProcessLookupError):
        wait_ended(first)

    activated.signal(signal.SIGTERM)

    assert activated.wait_exit() == 5, activated.log()
    assert "exited with status 0" not in activated.log()


def test_a_program_gets_sigterm_when_the_parent_is_killed(activated: Activated) -> None:
    activated.start("activate", ANY, program=[*PYTHON, f"import signal; {NOTIFY} {PAUSE}"])
    pid = activated.started()
    activated.wait_line(r"activate: pid \d+ says READY=1")

    activated.signal(signal.SIGKILL)

    with contextlib.suppress(ProcessLookupError):
        wait_ended(pid)


def test_what_a_program_leaves_in_its_process_group_is_ended(activated: Activated) -> None:
    leaves = "import subprocess; print(subprocess.Popen(['sleep', '3600']).pid, file=open('pid', 'w'))"
    activated.start("activate", ANY, "--no-restart", program=[*PYTHON, leaves])

    assert activated.wait_exit() == 0
    assert not Path("/proc", (activated.folder / "pid").read_text().strip()).exists()


def test_the_file_of_a_unix_socket_is_removed(activated: Activated) -> None:
    activated.start(
        "activate", "--listen=unix:web.sock", "--no-restart", program=["test", "-S", "web.sock"]
    )

    assert activated.wait_exit() == 0
    assert not (activated.folder / "web.sock").exists()


def test_the_file_of_another_socket_is_not(activated: Activated) -> None:
    replace = ["sh", "-c", "rm web.sock; touch web.sock"]
    activated.start("activate", "--listen=unix:web.sock", "--no-restart", program=replace)

    assert activated.wait_exit() == 0
    assert (activated.folder / "web.sock").exists()


@pytest.mark.parametrize("what", ["file", "folder"])
def test_a_change_restarts_the_program_again_and_again(activated: Activated, what: str) -> None:
    source = activated.folder / "ü ber.txt"
    source.touch()
    watched = source.name if what == "file" else "."
    activated.start(
        "activate", ANY, f"--watch={watched}", program=[*PYTHON, f"import signal; {NOTIFY} {PAUSE}"]
    )
    activated.wait_line(r"activate: pid \d+ says READY=1")

    for text in ("one", "two"):
        new = activated.folder.parent / "new"
        new.write_text(text)
        new.rename(source)  # as editors do

        activated.wait_line(r"activate: change of ü ber.txt: restarts the program")
        activated.wait_line(r"activate: pid \d+ was killed by SIGTERM")
        activated.wait_line(r"activate: pid \d+ says READY=1")


EXHAUSTED = """
class DefaultFilter: ...
async def awatch(*paths, **options):
    raise OSError("OS file watch limit reached")
    yield
"""


def test_it_ends_with_its_program_if_the_kernel_watches_no_more_files(activated: Activated) -> None:
    instead = activated.folder.parent / "instead"
    instead.mkdir()
    (instead / "watchfiles.py").write_text(EXHAUSTED)

    activated.start("activate", ANY, "--watch=.", program=["sleep", "3600"], PYTHONPATH=str(instead))

    assert activated.wait_exit() == 69
    activated.wait_line(r"activate: pid \d+ was killed by SIGTERM")
    activated.wait_line("sockact: files cannot be watched: OS file watch limit reached")


def test_no_connection_is_lost_over_restarts_of_sockact_run(activated: Activated) -> None:
    install(activated.folder)
    run = [sys.executable, "-m", "sockact", "run", "--workers=2", "--probation=0", "app:app"]
    activated.start("activate", ANY, program=run)
    host, port = activated.address()
    activated.wait_line(r"activate: pid \d+ says READY=1.*")

    url = f"http://{host}:{port}"
    with BackgroundProbe(url, ["persistent:4@20"]) as kept, BackgroundProbe(url, ["one-shot:2@20"]) as new:
        for _ in range(3):
            activated.signal(signal.SIGUSR1)
            activated.wait_line(r"activate: pid \d+ says READY=1.*")
        reports = [kept.report(), new.report()]

    assert [report["lost"] for report in reports] == [0, 0], reports
    assert reports[0]["total"]["connections"] == 4
    activated.signal(signal.SIGTERM)
    assert activated.wait_exit() == 0


def test_a_connection_goes_on_in_the_next_program(activated: Activated) -> None:
    install(activated.folder)
    run = [sys.executable, "-m", "sockact", "run", "--workers=1", "--probation=0", "app:app"]
    activated.start("activate", ANY, program=run)
    where = activated.address()
    first = activated.started()
    activated.wait_line(r"activate: pid \d+ says READY=1.*")
    with Client(where) as client:
        before = client.get()
        activated.signal(signal.SIGUSR1)
        assert activated.started() != first
        after = client.get()

    assert not before.closes
    assert after.json["pid"] != before.json["pid"]


@pytest.mark.parametrize("role", ["--workers=0", "--workers=1"])
def test_a_stop_that_replaces_a_restart_serves_what_was_kept_for_it(
    activated: Activated, role: str
) -> None:
    install(activated.folder)
    gate = Gate(activated.folder)
    run = [sys.executable, "-m", "sockact", "run", role, "--probation=0", "app:app"]
    activated.start("activate", ANY, program=run, GATE=gate.path)
    where = activated.address()
    activated.wait_line(r"activate: pid \d+ says READY=1.*")
    with Client(where) as kept, Client(where) as busy, contextlib.closing(gate):
        kept.get()
        busy.ask("/hold")
        held = gate.wait()
        activated.signal(signal.SIGUSR1)
        activated.wait_line(r"activate: pid \d+ says STATUS=.*draining.*")
        kept.ask()

        activated.signal(signal.SIGTERM)

        assert kept.read().status == 200
        held.release()
        assert busy.read().status == 200
    assert activated.wait_exit() == 0


RELOADS = """
import signal
from systemd import daemon
signal.signal(signal.SIGHUP, lambda *_: daemon.notify("STATUS=reloads"))
daemon.notify("READY=1")
while True:
    signal.pause()
"""


def test_it_ends_when_its_terminal_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "log"
    ours, theirs = os.openpty()
    # Executed by setsid(1), since it leads no process group.
    command = ["setsid", "--ctty", sys.executable, "-m", "sockact", "activate", ANY, "--", *PYTHON, RELOADS]
    environ = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    with path.open("w") as log, subprocess.Popen(command, stdin=theirs, stderr=log, env=environ) as process:
        os.close(theirs)
        wait_until(lambda: "says READY=1" in path.read_text())
        process.send_signal(signal.SIGHUP)
        wait_until(lambda: "says STATUS=reloads" in path.read_text())

        os.close(ours)

        try:
            assert process.wait(LIMIT) == 128 + signal.SIGTERM
        finally:
            process.terminate()  # or `with` would wait for it


def test_an_idle_exit_is_followed_by_a_start(activated: Activated) -> None:
    activated.start("activate", ANY, program=["true"])

    assert activated.started() != activated.started()


@pytest.mark.parametrize(
    ("words", "program", "status", "text"),
    [
        ((ANY,), (), 64, "expected -- PROGRAM ARGUMENT... at the end"),
        ((ANY,), ("no-such-program",), 64, "no-such-program: expected a program that can be executed"),
        ((), ("true",), 64, "the following arguments are required: --listen/-l"),
        (("--listen=nonsense",), ("true",), 78, "listen='nonsense': expected host:port"),
        (("--listen=wëb=80",), ("true",), 78, "listen='wëb=80': expected host:port"),
        (
            (ANY, "--watch=missing"),
            ("true",),
            64,
            "missing: expected a file or a folder to watch, found none",
        ),
        ((ANY, "--include=*.py"), ("true",), 64, "--include=*.py: expected --watch=PATH too"),
        ((ANY, "--stop-timeout=soon"), ("true",), 64, "--stop-timeout=soon: expected a time span"),
        ((ANY, "--store=-1"), ("true",), 64, "--store=-1: expected a whole number"),
    ],
)
def test_a_wrong_command_line_is_refused(
    activated: Activated, words: tuple[str, ...], program: tuple[str, ...], status: int, text: str
) -> None:
    activated.start("activate", *words, program=program)

    assert activated.wait_exit() == status
    assert text in activated.log()


def test_an_address_in_use_is_unavailable(activated: Activated) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        activated.start("activate", f"--listen={address}", program=["true"])

        assert activated.wait_exit() == 69
    assert f"cannot listen on {address}: another process listens there" in activated.log()
