"""Signals keep their meaning for a service, whatever its app has done to them."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from tests.support.commands import reload
from tests.support.gate import install
from tests.support.manager import wait_until
from tests.support.processes import serving, wait_gone
from tests.support.service import MODES, Service, wait_said
from tests.support.taking import PATIENT, WAYS, start_taking

REQUEST = "scope.get('path') == '/take'"

EVERY_WAY = pytest.mark.parametrize("way", WAYS.values(), ids=list(WAYS))

SOME = ("add_signal_handler, loop.stop", "signal.signal, sys.exit", "signal.signal, ignored", "blocked")
SOME_WAYS = pytest.mark.parametrize("way", [WAYS[name] for name in SOME], ids=SOME)


@MODES
@EVERY_WAY
def test_a_stop_drains_whatever_the_app_has_done_to_sigterm(
    service: Service, mode: tuple[str, ...], way: str
) -> None:
    start_taking(service, way, *mode)

    service.drain_and_end()


@EVERY_WAY
def test_a_reload_drains_the_old_worker_whatever_its_app_has_done_to_sigterm(
    service: Service, way: str
) -> None:
    old = serving(start_taking(service, way, "--workers=1"))
    client = service.client()
    client.ask("/hold")
    held = service.gate.wait()
    install(service.directory, "2")

    assert reload(service)[0] == 0
    with service.client() as newcomer:
        assert newcomer.get().json["version"] == "2"
    held.release()

    assert client.read().status == 200
    client.close()
    wait_gone(old)


@EVERY_WAY
def test_what_a_request_does_to_sigterm_is_put_right_before_the_stop(service: Service, way: str) -> None:
    start_taking(service, way, place=REQUEST)
    service.client().get("/take")
    wait_said(service, "sockact.worker WARNING: ")

    service.drain_and_end()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@SOME_WAYS
def test_a_worker_that_is_signalled_by_others_drains_all_the_same(
    service: Service, way: str, number: signal.Signals
) -> None:
    worker = serving(start_taking(service, way, "--workers=1", number=number.name))
    client = service.client()
    client.ask("/hold")
    held = service.gate.wait()
    os.kill(worker, number)
    wait_said(service, f"pid={worker} sockact.lifecycle INFO: phase=deactivating")
    held.release()

    assert client.read().status == 200
    client.close()
    wait_gone(worker)


@SOME_WAYS
def test_sigint_drains_whatever_the_app_has_done_to_it(service: Service, way: str) -> None:
    start_taking(service, way, number="SIGINT")

    service.drain_and_end(signal.SIGINT)


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGUSR2])
@SOME_WAYS
def test_a_signal_that_reloads_reloads_whatever_the_app_has_done_to_it(
    service: Service, way: str, number: signal.Signals
) -> None:
    start_taking(service, way, number=number.name)
    install(service.directory, "2")

    service.manager.signal(number)

    service.manager.wait_for("RELOADING", "1")
    service.manager.wait_ready()
    assert service.client().get().json["version"] == "2"


@SOME_WAYS
def test_sigquit_ends_without_waiting_whatever_the_app_has_done_to_it(service: Service, way: str) -> None:
    start_taking(service, way, number="SIGQUIT")
    service.client().ask("/hold")
    service.gate.wait()

    service.manager.signal(signal.SIGQUIT)

    assert service.manager.wait_exit() == 0


HOOKED = """
@sockact.hooks.before_signal(signal.SIGUSR1)
def hooked():
    with open("hooked", "a") as file:
        file.write("called\\n")
"""


@MODES
@pytest.mark.parametrize("way", [WAYS["add_signal_handler"], "signal.signal(number, theirs)"])
def test_a_signal_for_the_app_reaches_its_hooks_and_its_handler(
    service: Service, mode: tuple[str, ...], way: str
) -> None:
    start_taking(service, way, *mode, number="SIGUSR1", more=HOOKED)

    service.manager.signal(signal.SIGUSR1)

    for noted in ("hooked", "theirs"):
        wait_until((service.directory / noted).exists)


@MODES
def test_a_callback_of_the_loop_is_called_beside_the_drain_also_when_it_was_ordered(
    service: Service, mode: tuple[str, ...]
) -> None:
    start_taking(service, WAYS["add_signal_handler"], *mode)

    service.drain_and_end()

    assert (service.directory / "theirs").read_text() == "called\n"


@MODES
@pytest.mark.parametrize(
    ("way", "said"),
    [
        ("add_signal_handler", "SIGTERM: loop.add_signal_handler(app.theirs): "),
        ("remove_signal_handler", "SIGTERM: loop.remove_signal_handler: "),
        ("signal.signal, sys.exit", "SIGTERM: signal.signal(app.ends): "),
        ("signal.signal, ignored", "SIGTERM: signal.signal(signal.SIG_IGN): "),
        ("signal.signal, default", "SIGTERM: signal.signal(signal.SIG_DFL): "),
        ("blocked", "SIGTERM: blocked by the app"),
        ("wakeup descriptor", "signal.set_wakeup_fd was called by the app"),
        ("faulthandler", "SIGTERM: faulthandler.register: "),
    ],
)
def test_what_an_app_has_done_to_a_signal_is_said_once_before_it_is_ready(
    service: Service, mode: tuple[str, ...], way: str, said: str
) -> None:
    start_taking(service, WAYS[way], *mode)
    for _ in range(3):
        service.client().get("/")
    service.drain_and_end()

    log = service.manager.stderr()
    assert log.count(f"sockact.worker WARNING: {said}") == 1
    assert log.index(said) < log.index("gen 1 is ready")


@MODES
def test_a_handler_that_was_installed_before_the_app_is_served_is_said(
    service: Service, mode: tuple[str, ...]
) -> None:
    start_taking(service, "pass", *mode, more="\nsignal.signal(signal.SIGTERM, ends)\n")

    wait_said(service, "SIGTERM: signal.signal(app.ends): it is not called while sockact serves; ")
    service.drain_and_end()


PROGRAM = """
import signal, sys
import sockact
from app import app

def ends(*_):
    sys.exit(3)

signal.signal(signal.SIGTERM, ends)
sockact.serve(app, drain_timeout=60)
"""


@pytest.mark.parametrize("workers", ["0", "1"])
def test_a_handler_of_a_program_is_said_and_does_not_end_its_service(
    service: Service, workers: str
) -> None:
    install(service.directory)
    Path(service.directory / "program.py").write_text(PROGRAM)
    environ = {"GATE": service.gate.path, "SOCKACT_WORKERS": workers, "RUNTIME_DIRECTORY": "."}
    service.manager.start([sys.executable, "program.py"], [service.listener], **environ)
    service.manager.wait_ready()

    wait_said(service, "SIGTERM: signal.signal(__main__.ends): it is not called while sockact serves; ")
    service.drain_and_end()


@MODES
def test_an_app_that_takes_no_signal_reads_nothing_about_them(
    service: Service, mode: tuple[str, ...]
) -> None:
    install(service.directory)
    service.start(*PATIENT, *mode)
    service.client().get()
    service.drain_and_end()

    assert "ownsignals" not in service.manager.stderr()


@pytest.mark.parametrize("point", ["on_start", "on_ready"])
def test_what_a_hook_does_to_sigterm_is_put_right(service: Service, point: str) -> None:
    hook = f"\n@sockact.hooks.{point}\nasync def hook():\n    signal.signal(signal.SIGTERM, ends)\n"
    start_taking(service, "pass", more=hook)

    wait_said(service, "SIGTERM: signal.signal(app.ends): ")
    service.drain_and_end()


def test_an_app_that_stops_the_loop_drains_and_ends(service: Service) -> None:
    start_taking(service, "loop.stop()", place=REQUEST)
    client, other = service.client(), service.client()
    client.ask("/hold")
    held = service.gate.wait()

    assert other.get("/take").status == 200
    other.close()
    service.manager.wait_for("STOPPING", "1")
    held.release()

    assert client.read().status == 200
    client.close()
    assert service.manager.wait_exit() == 0
