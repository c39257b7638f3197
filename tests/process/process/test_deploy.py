"""The parts of a deploy: environment files, releases behind a link, and a PID file."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from sockact.sockets.fds import Listener
from tests.support.commands import SOCKACT, reload
from tests.support.gate import install
from tests.support.http_client import get
from tests.support.manager import CHECKOUT, LIMIT, Manager, wait_until
from tests.support.processes import workers
from tests.support.service import Service, break_app, stop

ALONE = ("--workers=0",)
SUPERVISED = ("--workers=1", "--probation=0.1s")
both = pytest.mark.parametrize("options", [ALONE, SUPERVISED], ids=["alone", "supervised"])

ENVIRONMENT = """
served = http
async def http(scope, receive, send):
    if scope["path"] != "/environ":
        return await served(scope, receive, send)
    body = json.dumps(dict(os.environ)).encode()
    length = str(len(body)).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", length)]})
    await send({"type": "http.response.body", "body": body})
"""


def environment(service: Service) -> dict[str, str]:
    with service.client() as client:
        found: dict[str, str] = client.get("/environ").json
        return found


@both
def test_environment_files_are_read_anew_at_each_reload(service: Service, options: tuple[str, ...]) -> None:
    install(service.directory)
    break_app(service, ENVIRONMENT)
    first, second = service.directory / "first.env", service.directory / "second.env"
    first.write_text("GONE=soon\nOF_THE_UNIT='from the file'\nBOTH=first\n")
    second.write_text("BOTH=second\n")
    # Relative: counted from where the service was started, as are the paths of its command.
    service.start(*options, "--env-file=first.env", f"--env-file=-{second}", OF_THE_UNIT="its own")
    before = environment(service)
    first.write_text("NEW='one more'\n")
    second.unlink()

    assert reload(service) == (0, "gen 2 is ready\n")

    assert (before["GONE"], before["OF_THE_UNIT"], before["BOTH"]) == ("soon", "from the file", "second")
    wait_until(lambda: "GONE" not in environment(service))  # the old worker may accept for another moment
    after = environment(service)
    assert (after["NEW"], after["OF_THE_UNIT"]) == ("one more", "its own")
    assert "BOTH" not in after


@both
def test_a_broken_environment_file_refuses_the_reload(service: Service, options: tuple[str, ...]) -> None:
    install(service.directory)
    break_app(service, ENVIRONMENT)
    file = service.directory / "app.env"
    file.write_text("MARK=old\n")
    service.start(*options, f"--env-file={file}")
    file.write_text("MARK='half wri")

    status, text = reload(service)

    assert status == 1
    assert f"{file}, line 1: the value of MARK has no end" in text
    assert environment(service)["MARK"] == "old"
    file.write_text("MARK='half written no more'\n")
    assert reload(service)[0] == 0
    wait_until(lambda: environment(service)["MARK"] == "half written no more")


@both
def test_a_broken_environment_file_fails_the_start(
    service: Service, options: tuple[str, ...], manager: Manager
) -> None:
    install(service.directory)
    manager.sockact("app:app", *options, "--env-file=app.env", listeners=[service.listener])

    manager.wait_for("STATUS", "env_file='app.env': No such file or directory")
    assert manager.wait_exit() == 78


def test_a_worker_that_takes_a_dead_ones_place_reads_the_files_too(service: Service) -> None:
    install(service.directory)
    break_app(service, ENVIRONMENT)
    file = service.directory / "app.env"
    file.write_text("MARK=old\n")
    pid = service.start(*SUPERVISED, f"--env-file={file}")
    file.write_text("MARK=new\n")

    os.kill(workers(pid)[0], signal.SIGKILL)

    assert environment(service)["MARK"] == "new"


def test_a_supervised_program_has_the_variables_before_its_first_line(
    manager: Manager, listener: Listener, tmp_path: Path
) -> None:
    install(tmp_path)
    text = "import os, sockact, app\napp.VERSION = MARK\nsockact.serve(app.app, env_file=['app.env'])\n"
    (tmp_path / "main.py").write_text(text.replace("MARK", "os.environ.get('MARK', 'unset')"))
    (tmp_path / "app.env").write_text("MARK=set\n")
    environ = {"PYTHONPATH": str(CHECKOUT), "SOCKACT_CONTROL": "none", "SOCKACT_WORKERS": "1"}

    manager.start([sys.executable, "main.py"], [listener], **environ)
    manager.wait_ready()

    assert json.loads(get(listener).text)["version"] == "set"


LAZY = """
gated = http
async def http(scope, receive, send):
    global VERSION
    if scope["path"] == "/hold":
        await gate("lazy")
        from library import lazy
        VERSION = f"{VERSION} with {lazy.VERSION}"
        scope = {**scope, "path": "/"}
    await gated(scope, receive, send)
"""


def release(service: Service, version: str) -> Path:
    """Make a release of the app, with a module that it imports when a request asks for it."""
    folder = service.directory / "releases" / version
    (folder / "library").mkdir(parents=True)
    install(folder, version)
    (folder / "app.py").write_text((folder / "app.py").read_text() + LAZY + "import library\n")
    (folder / "library" / "__init__.py").touch()
    (folder / "library" / "lazy.py").write_text(f"VERSION = {version!r}\n")
    return folder


def switch(service: Service, version: str) -> Path:
    """Point the link `current` to a release, in one step."""
    new = service.directory / "new"
    new.symlink_to(f"releases/{version}")
    new.rename(service.directory / "current")
    return service.directory / "current"


@pytest.mark.parametrize("place", ["chdir", "search path"])
@both
def test_a_draining_worker_imports_from_its_own_release(
    service: Service, options: tuple[str, ...], place: str
) -> None:
    """The search path stands for a virtual environment in the release, which has the link's name too."""
    release(service, "1")
    release(service, "2")
    current = switch(service, "1")
    if place == "chdir":
        service.start(*options, f"--chdir={current}")
    else:
        (service.directory / "app.py").symlink_to(current / "app.py")
        service.start(*options, PYTHONPATH=f"{CHECKOUT}:{current}")
    client = service.client()
    client.ask("/hold")
    held = service.gate.wait()
    switch(service, "2")
    with subprocess.Popen([*SOCKACT, "reload"], env=caller(service)) as reloading:
        wait_draining(service, options)
        held.release()

        assert client.read().json["version"] == "1 with 1"
        assert reloading.wait(LIMIT) == 0

    wait_until(lambda: json.loads(get(service.listener).text)["version"] == "2")


def test_a_program_imports_from_its_own_release_what_it_has_not_imported_yet(
    service: Service, manager: Manager
) -> None:
    """It has loaded a package by the link's name, before it called serve."""
    release(service, "1")
    release(service, "2")
    current = switch(service, "1")
    main = service.directory / "main.py"
    main.write_text("import sockact, app\nsockact.serve(app.app, probation=0.1)\n")
    environ = {**caller(service), "PYTHONPATH": f"{CHECKOUT}:{current}", "GATE": service.gate.path}
    environ["SOCKACT_WORKERS"] = "1"
    manager.start([sys.executable, str(main)], [service.listener], **environ)
    manager.wait_ready()
    client = service.client()
    client.ask("/hold")
    held = service.gate.wait()
    switch(service, "2")
    assert reload(service)[0] == 0
    held.release()

    assert client.read().json["version"] == "1 with 1"


def caller(service: Service) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "RUNTIME_DIRECTORY": str(service.directory)}


def wait_draining(service: Service, options: tuple[str, ...]) -> None:
    if options is ALONE:
        service.manager.wait_for("STATUS", "gen 1: reloading, draining")
    else:
        service.manager.wait_for("RELOADING", "1")
        service.manager.wait_for("READY", "1")


# The PID file.


def pid_in(file: Path) -> int:
    return int(file.read_text())


@both
def test_the_pid_file_has_the_main_pid_from_start_to_stop(
    service: Service, options: tuple[str, ...]
) -> None:
    file = service.directory / "pid"
    pid = service.start(*options, "--pid-file=pid", f"--chdir={service.directory}")
    assert file.read_text() == f"{pid}\n"
    assert file.stat().st_mode & 0o777 == 0o644
    inode = file.stat().st_ino

    assert reload(service)[0] == 0

    assert pid_in(file) == pid
    assert (file.stat().st_ino != inode) == (options is ALONE)  # written anew by the new code, whole
    assert [path.name for path in service.directory.glob("pid*")] == ["pid"]
    stop(service)
    assert not file.exists()


def test_the_pid_file_is_there_all_the_time(service: Service) -> None:
    file = service.directory / "pid"
    pid = service.start(*ALONE, "--pid-file=pid")
    with subprocess.Popen([*SOCKACT, "reload"], env=caller(service)) as reloading:
        while reloading.poll() is None:
            assert pid_in(file) == pid
    assert reloading.returncode == 0


@both
def test_a_pid_file_that_belongs_to_another_by_now_is_left_alone(
    service: Service, options: tuple[str, ...]
) -> None:
    file = service.directory / "pid"
    service.start(*options, f"--pid-file={file}")
    file.write_text("1\n")

    stop(service)

    assert pid_in(file) == 1


@both
def test_a_pid_file_that_cannot_be_written_fails_the_start(
    service: Service, options: tuple[str, ...], manager: Manager
) -> None:
    install(service.directory)
    manager.sockact("app:app", *options, "--pid-file=missing/pid", listeners=[service.listener])

    manager.wait_for("STATUS", "pid_file='missing/pid' cannot be written: No such file or directory")
    assert manager.wait_exit() == 78


@pytest.mark.parametrize("end", ["fails", "at once"])
@both
def test_a_service_that_ends_otherwise_removes_its_pid_file_too(
    service: Service, options: tuple[str, ...], end: str, manager: Manager
) -> None:
    install(service.directory)
    if end == "fails":
        break_app(service, "async def app(*_): raise RuntimeError('no database')")
        manager.sockact(
            "app:app", *options, "--lifespan=on", "--pid-file=pid", listeners=[service.listener]
        )
        assert manager.wait_exit() == 1
    else:
        service.start(*options, "--pid-file=pid")
        service.client().ask("/hold")
        service.gate.wait()
        manager.signal(signal.SIGINT)
        manager.wait_for("STOPPING", "1")
        manager.signal(signal.SIGINT)
        assert manager.wait_exit() == 128 + signal.SIGINT
    assert not (service.directory / "pid").exists()


def test_a_program_that_serves_has_one_pid_file(
    manager: Manager, listener: Listener, tmp_path: Path
) -> None:
    install(tmp_path)
    (tmp_path / "main.py").write_text("import sockact, app\nsockact.serve(app.app, pid_file='pid')\n")
    environ = {"PYTHONPATH": str(CHECKOUT), "SOCKACT_CONTROL": "none", "SOCKACT_WORKERS": "1"}
    pid = manager.start([sys.executable, "main.py"], [listener], **environ)
    manager.wait_ready()

    assert pid_in(tmp_path / "pid") == pid
    manager.signal(signal.SIGTERM)
    assert manager.wait_exit() == 0
    assert not (tmp_path / "pid").exists()
