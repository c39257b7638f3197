"""`units/settle` runs a command once what is deployed has settled; its `sleep` is ours, and a gate."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from tests.support.gate import Gate
from tests.support.manager import CHECKOUT, LIMIT, wait_until

SETTLE = str(CHECKOUT / "units" / "settle")
AT_GATE = """#!/usr/bin/python3
import os, socket, sys
with socket.socket(socket.AF_UNIX) as sock:
    sock.connect(os.environ["GATE"])
    sock.sendall(" ".join([os.path.basename(sys.argv[0]), *sys.argv[1:]]).encode() + b"\\n")
    sys.exit(sock.recv(1) == b"")
"""


@pytest.fixture
def deployed(tmp_path: Path) -> Path:
    """Give a folder with two releases, and a link to the first one."""
    for release in ("1", "2"):
        folder = tmp_path / "srv" / release
        (folder / "library" / "__pycache__").mkdir(parents=True)
        (folder / "library" / "code.py").write_text("x = 1\n")
        (folder / "app.py").write_text("import library.code\n")
    (tmp_path / "srv" / "current").symlink_to("1")
    return tmp_path / "srv"


@pytest.fixture
def settling(tmp_path: Path, gate: Gate, deployed: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Give a settle under way, which calls `deploy app`."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("sleep", "deploy"):
        (programs / name).write_text(AT_GATE)
        (programs / name).chmod(0o755)
    with running(tmp_path, gate) as process:
        yield process


@contextlib.contextmanager
def running(folder: Path, gate: Gate) -> Iterator[subprocess.Popen[bytes]]:
    """Run it until the end of the block."""
    paths = (f"{folder}/srv/current", f"{folder}/srv/missing")
    command = [SETTLE, "2", f"{folder}/seen", *paths, "--", "deploy", "app"]
    environ = {"PATH": f"{folder}/bin:{os.environ['PATH']}", "GATE": gate.path}
    with subprocess.Popen(command, env=environ) as process:
        try:
            yield process
        finally:
            process.kill()


def go_on(gate: Gate, expected: str) -> None:
    """Release settle from where it is expected to wait."""
    held = gate.wait()
    assert held.where == expected
    held.release()


def test_the_command_runs_once_when_nothing_has_changed_for_so_long(
    settling: subprocess.Popen[bytes], gate: Gate
) -> None:
    go_on(gate, "sleep 2")
    go_on(gate, "deploy app")

    assert settling.wait(LIMIT) == 0


def grow(srv: Path) -> None:
    with (srv / "1" / "app.py").open("a") as file:
        file.write("#")


def add(srv: Path) -> None:
    (srv / "1" / "library" / "new.py").touch()


def remove(srv: Path) -> None:
    (srv / "1" / "library" / "code.py").unlink()


def replace(srv: Path) -> None:
    new = srv / "1" / "new"
    new.write_text("x = 2\n")
    new.rename(srv / "1" / "library" / "code.py")


def write_without_trace(srv: Path) -> None:
    code = srv / "1" / "library" / "code.py"
    before = code.stat()
    code.write_text("x = 2\n")
    os.utime(code, ns=(before.st_atime_ns, before.st_mtime_ns))


def switch(srv: Path) -> None:
    (srv / "new").symlink_to("2")
    (srv / "new").rename(srv / "current")


def appear(srv: Path) -> None:
    (srv / "missing").touch()


CHANGES = (grow, add, remove, replace, write_without_trace, switch, appear)


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_holds_the_command_back(
    settling: subprocess.Popen[bytes], gate: Gate, deployed: Path, change: Callable[[Path], None]
) -> None:
    held = gate.wait()
    change(deployed)
    held.release()

    go_on(gate, "sleep 2")
    go_on(gate, "deploy app")
    assert settling.wait(LIMIT) == 0


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_while_the_command_runs_is_not_lost(
    settling: subprocess.Popen[bytes], gate: Gate, deployed: Path, change: Callable[[Path], None]
) -> None:
    go_on(gate, "sleep 2")
    held = gate.wait()
    change(deployed)
    held.close()  # it fails: this was half of a release

    go_on(gate, "sleep 2")
    go_on(gate, "deploy app")
    assert settling.wait(LIMIT) == 0


def test_a_failed_command_is_reported(settling: subprocess.Popen[bytes], gate: Gate) -> None:
    go_on(gate, "sleep 2")
    gate.wait().close()

    assert settling.wait(LIMIT) == 1


def test_what_has_been_deployed_already_is_not_deployed_again(
    settling: subprocess.Popen[bytes], gate: Gate, deployed: Path, tmp_path: Path
) -> None:
    go_on(gate, "sleep 2")
    go_on(gate, "deploy app")
    assert settling.wait(LIMIT) == 0
    with running(tmp_path, gate) as again:
        go_on(gate, "sleep 2")
        assert again.wait(LIMIT) == 0
    switch(deployed)
    with running(tmp_path, gate) as broken:
        go_on(gate, "sleep 2")
        gate.wait().close()
        assert broken.wait(LIMIT) == 1
    with running(tmp_path, gate) as once_more:
        go_on(gate, "sleep 2")
        go_on(gate, "deploy app")
        assert once_more.wait(LIMIT) == 0


def test_what_python_compiles_is_no_change(
    settling: subprocess.Popen[bytes], gate: Gate, deployed: Path
) -> None:
    held = gate.wait()
    (deployed / "1" / "library" / "__pycache__" / "code.pyc").touch()
    held.release()
    held = gate.wait()
    assert held.where == "deploy app"
    (deployed / "1" / "__pycache__").mkdir()
    held.release()

    assert settling.wait(LIMIT) == 0


@pytest.mark.parametrize(
    "words",
    [(), ("2",), ("soon", "r", "/x", "--", "true"), ("2", "r", "--", "true", "x"), ("2", "r", "/x", "--")],
)
def test_a_command_line_that_makes_no_sense_is_refused(words: Sequence[str]) -> None:
    done = subprocess.run([SETTLE, *words], capture_output=True, text=True, timeout=LIMIT, check=False)

    assert (done.returncode, done.stderr) == (
        64,
        "usage: settle SECONDS RECORD PATH... -- COMMAND [ARGUMENT...]\n",
    )


def lead_to(target: str) -> Callable[[Path], None]:
    """Return what lets the link lead there."""

    def change(srv: Path) -> None:
        (srv / "new").symlink_to(target)
        (srv / "new").rename(srv / "current")

    return change


def fifo(srv: Path) -> None:
    os.mkfifo(srv / "fifo")
    lead_to("fifo")(srv)


def unix_socket(srv: Path) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(srv / "socket"))
    lead_to("socket")(srv)


def circle(srv: Path) -> None:
    (srv / "other").symlink_to("current")
    lead_to("other")(srv)


def many_files(srv: Path) -> None:
    for number in range(ENTRIES + 1):
        (srv / "1" / f"{number}").touch()


def many_folders(srv: Path) -> None:
    for number in range(ENTRIES + 1):
        (srv / "1" / f"{number}").mkdir()


def deep_folders(srv: Path) -> None:
    folder = srv / "1"
    for _ in range(ENTRIES + 1):
        folder /= "a"
        folder.mkdir()


def long_names(srv: Path) -> None:
    folder = srv / "1"
    for _ in range(10):
        folder /= "a" * 250
    folder.mkdir(parents=True)
    for number in range(ENTRIES - 20):
        (folder / f"{number}").touch()


def escapes(srv: Path) -> None:
    os.mkfifo(srv / "\x1b[31m")
    lead_to("\x1b[31m")(srv)


ENTRIES = 40
NO_RELEASE = [
    (lead_to("/"), "leads to /, which contains it"),
    (lead_to("."), "which contains it"),
    (lead_to("../.."), "which contains it"),
    (lead_to("/proc"), "leads to /proc, on another filesystem"),
    (lead_to("/proc/self/stat"), "on another filesystem"),
    (lead_to("/dev/null"), "found a character special file at /dev/null, expected a folder or a file"),
    (lead_to("current"), "a loop of symbolic links"),
    (circle, "a loop of symbolic links"),
    (fifo, "found a fifo at"),
    (escapes, r"found a fifo at \$'.*\\E\[31m'"),
    (unix_socket, "found a socket at"),
    (many_files, "more than 40 files and folders"),
    (many_folders, "more than 40 files and folders"),
    (deep_folders, "more than 40 files and folders"),
    (long_names, "names of more than 512 bytes each"),
]


def settle_once(srv: Path, tmp_path: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    """Start settle for a short time; the command leaves a file `reloaded`."""
    command = [SETTLE, "0.05", f"{tmp_path}/seen", f"{srv}/current", "--", "touch", f"{tmp_path}/reloaded"]
    return subprocess.run(
        command, env={**os.environ, **environ}, capture_output=True, text=True, timeout=LIMIT, check=False
    )


@pytest.mark.parametrize(("change", "reason"), NO_RELEASE)
def test_what_cannot_be_a_release_is_refused_and_nothing_is_run(
    deployed: Path, tmp_path: Path, change: Callable[[Path], None], reason: str
) -> None:
    change(deployed)
    refused = settle_once(deployed, tmp_path, SETTLE_ENTRIES=str(ENTRIES))

    assert refused.returncode == 65
    assert re.search(f"^settle: refused: .*{reason}", refused.stderr), refused.stderr
    assert refused.stderr.rstrip("\n").isprintable()
    assert not (tmp_path / "reloaded").exists()
    assert not (tmp_path / "seen").exists()

    lead_to("2")(deployed)
    good = settle_once(deployed, tmp_path, SETTLE_ENTRIES=str(ENTRIES))

    assert (good.returncode, good.stderr) == (0, "")
    assert (tmp_path / "reloaded").exists()


def test_a_look_that_takes_too_long_is_ended_and_refused(deployed: Path, tmp_path: Path) -> None:
    slow = tmp_path / "bin" / "find"
    slow.parent.mkdir()
    slow.write_text(f"#!/bin/sh\necho $$ >>{tmp_path}/started\nexec sleep 600\n")
    slow.chmod(0o755)

    refused = settle_once(
        deployed, tmp_path, SETTLE_SECONDS="1", PATH=f"{slow.parent}:{os.environ['PATH']}"
    )

    assert refused.returncode == 65
    assert "cannot be read within 1 s" in refused.stderr
    assert not (tmp_path / "reloaded").exists()
    for pid in (tmp_path / "started").read_text().split():
        wait_until(lambda pid=pid: not Path("/proc", pid).exists())  # type: ignore[misc]


@pytest.mark.parametrize("variable", ["SETTLE_ENTRIES", "SETTLE_SECONDS"])
def test_a_limit_that_is_no_number_is_refused(deployed: Path, tmp_path: Path, variable: str) -> None:
    assert settle_once(deployed, tmp_path, **{variable: "x[$(touch reloaded)]"}).returncode == 64
    assert not (tmp_path / "reloaded").exists()


def test_it_leaves_no_file_behind(deployed: Path, tmp_path: Path) -> None:
    (tmp_path / "tmp").mkdir()
    settle_once(deployed, tmp_path, TMPDIR=str(tmp_path / "tmp"))

    assert list((tmp_path / "tmp").iterdir()) == []
