"""Hooks of an app, in the processes that serve it."""

from __future__ import annotations

import os
import signal

import pytest

from tests.support.commands import ask_for_reload, reload, status
from tests.support.http_client import get
from tests.support.manager import wait_until
from tests.support.noting import extend, notes, wait_noted
from tests.support.processes import serving, workers
from tests.support.service import MODES, Service, stop

ALL_POINTS = """
@hooks.on_start
def started(): note("on_start")

@hooks.on_ready
async def ready(): note("on_ready")

@hooks.on_reload(timeout=5)
def reloads(): note("on_reload")

@hooks.on_drain
async def drains(): note("on_drain")

@hooks.on_stop
def stops(): note("on_stop")

@hooks.on_exit
async def exits(): note("on_exit")
"""

START = ["on_start", "lifespan.startup.complete", "on_ready"]
END = ["on_drain", "on_stop", "lifespan.shutdown.complete", "on_exit"]
TRIED = ["on_start", "lifespan.startup.complete", "on_stop", "lifespan.shutdown.complete", "on_exit"]


def start(service: Service, hooks: str, *options: str, **environ: str) -> int:
    """Start the gate app with hooks; return the PID of the main process."""
    extend(service, hooks)
    return service.start(*options, **environ)


@MODES
def test_hooks_run_around_the_life_of_the_process_that_serves(
    service: Service, mode: tuple[str, ...]
) -> None:
    pid = serving(start(service, ALL_POINTS, *mode))
    wait_noted(service, "on_ready")

    stop(service)

    assert notes(service, pid) == [*START, *END]
    assert notes(service) == [*START, *END]


@MODES
def test_resources_are_released_after_the_last_request(service: Service, mode: tuple[str, ...]) -> None:
    start(service, ALL_POINTS, *mode)
    client = service.client()
    client.ask("/hold")
    held = service.gate.wait()

    service.manager.signal(signal.SIGTERM)
    wait_noted(service, "on_drain")
    assert notes(service)[-1] == "on_drain"
    held.release()

    assert client.read().status == 200
    assert service.manager.wait_exit() == 0
    assert notes(service)[-4:] == END


def test_a_reload_drains_the_old_worker_with_its_hooks(service: Service) -> None:
    main = start(service, ALL_POINTS, "--workers=1", "--probation=0.1s")
    old = serving(main)
    wait_noted(service, "on_ready")

    assert reload(service)[0] == 0
    wait_noted(service, "on_exit")

    assert notes(service, old) == [*START, "on_reload", *END]
    wait_until(lambda: old not in workers(main))
    assert notes(service, serving(main)) == START


def test_a_reload_in_place_tries_the_hooks_of_start_and_end_and_passes_through_all(
    service: Service,
) -> None:
    pid = start(service, ALL_POINTS)
    wait_noted(service, "on_ready")

    assert reload(service)[0] == 0
    wait_noted(service, "on_ready", 2)

    assert notes(service) == [*START, "on_reload", *TRIED, *END, *START]
    assert notes(service, pid) == [*START, "on_reload", *END, *START]


@MODES
def test_hooks_that_release_run_when_the_service_ends_by_force(
    service: Service, mode: tuple[str, ...]
) -> None:
    start(service, ALL_POINTS, *mode)
    wait_noted(service, "on_ready")
    client = service.client()
    client.ask("/hold")
    service.gate.wait()

    service.manager.signal(signal.SIGQUIT)

    assert service.manager.wait_exit() == 0
    assert notes(service)[-3:] == ["on_stop", "lifespan.shutdown.complete", "on_exit"]


@MODES
def test_hooks_that_release_run_when_a_stop_overtakes_the_start(
    service: Service, mode: tuple[str, ...]
) -> None:
    extend(service, WARM_UP + ALL_POINTS)
    environ = {"GATE": service.gate.path}
    service.manager.sockact("app:app", *mode, listeners=[service.listener], **environ)
    service.gate.wait()

    stop(service)

    assert notes(service) == ["on_drain", "on_stop", "on_exit"]


def test_a_worker_that_gets_sighup_from_others_asks_its_hooks_and_does_not_replace_itself(
    service: Service,
) -> None:
    main = start(service, ALL_POINTS, "--workers=1")
    (worker,) = workers(main)

    os.kill(worker, signal.SIGHUP)
    wait_noted(service, "on_reload")
    wait_until(lambda: service.manager.stderr().count("gen 1 is ready") == 3)  # of two processes

    assert notes(service) == [*START, "on_reload"]
    assert service.client().get().json["pid"] == worker


# Before the first request.

WARM_UP = """
@hooks.on_start
async def warm_up(): await gate("warm-up")
"""


@MODES
def test_on_start_warms_up_before_anything_is_accepted(service: Service, mode: tuple[str, ...]) -> None:
    extend(service, WARM_UP)
    environ = {"GATE": service.gate.path, "RUNTIME_DIRECTORY": str(service.directory)}
    service.manager.sockact("app:app", *mode, listeners=[service.listener], **environ)
    client = service.client()
    client.ask()

    held = service.gate.wait()
    assert (held.where, service.manager.said("READY")) == ("warm-up", [])
    held.release()

    assert client.read().status == 200
    service.manager.wait_ready()


FAILS_TO_START = """
@hooks.on_start
def cold(): raise ValueError("too cold")

@hooks.on_exit
def exits(): note("on_exit")
"""

HANGS_AT_START = """
@hooks.on_start(timeout=0.1)
def cold(): threading.Event().wait()
"""


@MODES
@pytest.mark.parametrize(
    ("hooks", "reason"),
    [
        (FAILS_TO_START, "on_start hook app.cold failed: ValueError: too cold"),
        (HANGS_AT_START, "on_start hook app.cold failed: it did not end within 0.1 s"),
    ],
    ids=["raises", "hangs"],
)
def test_a_hook_of_the_start_that_fails_makes_the_start_fail(
    service: Service, mode: tuple[str, ...], hooks: str, reason: str
) -> None:
    extend(service, hooks)
    service.manager.sockact("app:app", *mode, listeners=[service.listener])

    service.manager.wait_for("STATUS", reason)
    assert service.manager.wait_exit() == 1
    assert "READY" not in str(service.manager.said("READY"))
    assert notes(service) == (["on_exit"] if hooks == FAILS_TO_START else [])


@MODES
def test_a_hook_of_the_start_that_fails_makes_the_reload_fail(
    service: Service, mode: tuple[str, ...]
) -> None:
    start(service, "", *mode)
    extend(service, FAILS_TO_START, "2")

    outcome, text = reload(service)

    assert (outcome, text) == (
        1,
        "reload failed: on_start hook app.cold failed: ValueError: too cold\n",
    )
    assert service.client().get().json["version"] == "1"


# What fails or hangs.

BROKEN = """
for register in (hooks.on_ready, hooks.on_drain, hooks.on_stop, hooks.on_exit):
    name = register._name

    @register
    def raises(name=name): raise ValueError(name)

    @register(timeout=0.1)
    async def hangs(): await asyncio.Event().wait()

    @register(timeout=0.1)
    def blocks(): threading.Event().wait()

    @register
    def runs(name=name): note(name)
"""


@MODES
def test_hooks_that_fail_or_hang_stop_neither_the_others_nor_the_stop(
    service: Service, mode: tuple[str, ...]
) -> None:
    start(service, BROKEN, *mode)
    wait_noted(service, "on_ready")
    wait_until(lambda: "on_ready hook app.blocks failed" in status(service)["status"])
    client = service.client()
    client.ask("/hold")
    held = service.gate.wait()

    service.manager.signal(signal.SIGTERM)
    wait_noted(service, "on_drain")
    held.release()

    assert client.read().status == 200
    assert service.manager.wait_exit() == 0
    assert [text for text in notes(service) if text.startswith("on_")] == [
        "on_ready",
        "on_drain",
        "on_stop",
        "on_exit",
    ]
    log = service.manager.stderr()
    (summary,) = [line for line in log.splitlines() if "ends; failed hooks: " in line]
    for point in ("on_ready", "on_drain", "on_stop", "on_exit"):
        for failure in (
            f"{point} hook app.raises failed: ValueError: {point}",
            f"{point} hook app.hangs failed: it did not end within 0.1 s",
            f"{point} hook app.blocks failed: it did not end within 0.1 s",
        ):
            assert failure in summary
            assert log.count(failure) == 2
    assert log.count("Traceback") == 4
    for point in ("on_drain", "on_stop", "on_exit"):
        assert any(f"{point} hook app." in text for text in service.manager.said("STATUS"))


HANGS_LONG = """
@hooks.on_drain
def blocks_drain(): threading.Event().wait()

@hooks.on_stop
async def hangs_at_stop():
    while True:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            pass

@hooks.on_stop
def stops(): note("on_stop")
"""


@MODES
def test_hooks_have_one_deadline_that_of_the_drain_and_then_that_of_the_shutdown(
    service: Service, mode: tuple[str, ...]
) -> None:
    start(service, HANGS_LONG, *mode, "--linger=0", "--drain-timeout=0.2s", "--shutdown-timeout=0.2s")

    stop(service)

    log = service.manager.stderr()
    assert "drain timeout after 0.2 s: aborting 1 background task" in log
    assert "on_drain hook app.blocks_drain " in log
    assert "on_stop hook app.hangs_at_stop failed: it did not end within 0.1 s" in log
    assert notes(service)[-2:] == ["on_stop", "lifespan.shutdown.complete"]


def test_the_service_answers_while_a_hook_blocks(service: Service) -> None:
    source = """
@hooks.on_ready
def asks(): asyncio.run(gate("on_ready"))
"""
    start(service, source)
    held = service.gate.wait()

    assert held.where == "on_ready"
    assert service.client().get().status == 200


# Before a reload.

REFUSES = """
@hooks.on_reload
def reloads():
    note("on_reload")
    if os.path.exists("busy"):
        raise RuntimeError("not now")
"""


@MODES
def test_a_hook_can_refuse_a_reload_and_the_next_one_can_pass(
    service: Service, mode: tuple[str, ...]
) -> None:
    main = start(service, REFUSES, *mode)
    before = serving(main)
    (service.directory / "busy").touch()
    extend(service, REFUSES, "2")

    outcome, text = reload(service)

    assert outcome == 1
    assert text == "reload failed: on_reload hook app.reloads failed: RuntimeError: not now\n"
    assert service.client().get().json["version"] == "1"
    assert notes(service, before)[-1] == "on_reload"
    assert notes(service).count("lifespan.startup.complete") == 1  # nobody has tried the new code
    assert "not now" in status(service)["status"]

    (service.directory / "busy").unlink()
    assert reload(service)[0] == 0
    wait_until(lambda: service.client().get().json["version"] == "2")


@MODES
def test_a_hook_that_hangs_refuses_the_reload(service: Service, mode: tuple[str, ...]) -> None:
    source = """
@hooks.on_reload(timeout=0.1)
def reloads(): threading.Event().wait()
"""
    start(service, source, *mode)

    outcome, text = reload(service)

    assert outcome == 1
    assert "on_reload hook app.reloads failed: it did not end within 0.1 s" in text
    assert service.client().get().status == 200


def test_each_worker_is_asked_before_a_reload(service: Service) -> None:
    main = start(service, ALL_POINTS, "--workers=2", "--probation=0.1s")
    before = workers(main)
    assert len(before) == 2

    assert reload(service)[0] == 0

    assert [notes(service, worker).count("on_reload") for worker in before] == [1, 1]
    assert notes(service).count("on_reload") == 2


@MODES
def test_a_stop_does_not_wait_for_the_question(service: Service, mode: tuple[str, ...]) -> None:
    source = """
@hooks.on_reload
async def reloads(): await gate("on_reload")
"""
    start(service, source, *mode)
    with ask_for_reload(service) as caller:
        service.gate.wait()

        stop(service)

        assert "the service was stopped" in caller.communicate()[1]


# Signals.

AROUND = """
def watch(number):
    @hooks.before_signal(number)
    def before(): note(f"before {number.name}")

    @hooks.after_signal(number)
    async def after(): note(f"after {number.name}")

for number in hooks.SIGNALS:
    watch(number)
"""


@MODES
@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGTSTP])
def test_signals_that_mean_nothing_reach_the_hooks_of_each_process_that_serves(
    service: Service, mode: tuple[str, ...], number: signal.Signals
) -> None:
    main = start(service, AROUND, *mode)
    pid = serving(main)

    service.manager.signal(number)

    wait_noted(service, f"after {number.name}")
    assert notes(service, pid)[-2:] == [f"before {number.name}", f"after {number.name}"]
    assert "has no meaning here" not in service.manager.stderr()
    assert service.client().get().json["pid"] == pid


@MODES
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_signals_of_a_stop_have_hooks_before_and_after_the_drain_begins(
    service: Service, mode: tuple[str, ...], number: signal.Signals
) -> None:
    source = """
@hooks.after_signal(signal.SIGTERM)
@hooks.after_signal(signal.SIGINT)
async def after():
    await sockact.draining.wait()
    note("draining")

@hooks.before_signal(signal.SIGTERM)
@hooks.before_signal(signal.SIGINT)
def before(): note("draining" if sockact.draining else "not yet")
"""
    start(service, source, *mode)

    service.manager.signal(number)

    # What a supervisor's workers get is SIGTERM, from it, whatever it got.
    assert service.manager.wait_exit() == 0
    assert notes(service)[-3:-1] == ["not yet", "draining"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_workers_of_a_supervisor_get_its_own_signals_and_not_those_that_it_got(
    service: Service, number: signal.Signals
) -> None:
    main = start(service, AROUND, "--workers=1", "--probation=0.1s")
    pid = serving(main)
    service.manager.signal(signal.SIGUSR2)
    service.manager.wait_for("RELOADING", "1")
    service.manager.wait_ready()

    service.manager.signal(number)

    assert service.manager.wait_exit() == 0
    around = [f"{when} {name}" for name in ("SIGHUP", "SIGTERM") for when in ("before", "after")]
    assert [text for text in notes(service, pid) if " SIG" in text] == around


@MODES
@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGUSR2])
def test_the_signals_of_a_reload_have_hooks(
    service: Service, mode: tuple[str, ...], number: signal.Signals
) -> None:
    """A supervisor's workers are told by SIGHUP, whatever it got."""
    main = start(service, AROUND, *mode)
    pid = serving(main)
    seen = signal.SIGHUP if mode else number

    service.manager.signal(number)
    service.manager.wait_for("RELOADING", "1")
    service.manager.wait_ready()

    wait_noted(service, f"after {seen.name}")
    around = [text for text in notes(service, pid) if text.endswith(seen.name)]
    assert around == [f"before {seen.name}", f"after {seen.name}"]


@MODES
def test_a_hook_that_hangs_does_not_keep_a_stop_back_for_long(
    service: Service, mode: tuple[str, ...]
) -> None:
    source = """
@hooks.before_signal(signal.SIGTERM)
def hangs(): threading.Event().wait()
"""
    start(service, source, *mode, "--shutdown-timeout=0.2s", "--linger=0")

    stop(service)

    assert "before SIGTERM hook app.hangs failed: it did not end within 0.2 s" in service.manager.stderr()


def test_who_is_in_a_hurry_does_not_wait_for_the_hooks_of_a_signal(service: Service) -> None:
    source = """
@hooks.before_signal(signal.SIGINT)
async def hangs(): await gate("before")
"""
    start(service, source, "--shutdown-timeout=60s")

    service.manager.signal(signal.SIGINT)
    service.gate.wait()
    service.manager.signal(signal.SIGINT)

    assert service.manager.wait_exit() == 128 + signal.SIGINT


def test_signals_that_come_while_a_hook_runs_are_not_lost(service: Service) -> None:
    source = """
@hooks.before_signal(signal.SIGUSR1)
async def waits(): await gate("before")

@hooks.after_signal(signal.SIGTSTP)
def stopped(): note("SIGTSTP")
"""
    start(service, source)

    service.manager.signal(signal.SIGUSR1)
    held = service.gate.wait()
    service.manager.signal(signal.SIGTSTP)
    wait_noted(service, "SIGTSTP")
    service.manager.signal(signal.SIGTERM)
    service.manager.wait_for("STOPPING", "1")
    held.release()

    assert service.manager.wait_exit() == 0


# Frameworks.

FLASK = """
import os, flask, sockact
app = flask.Flask(__name__)

@sockact.hooks.on_start
def opens(): app.config["store"] = "open"

@sockact.hooks.on_exit
def closes(): open("noted", "a").write(f"closed {os.getpid()}\\n")

@app.get("/")
def index(): return app.config["store"]
"""

DJANGO = """
from django.conf import settings
from django.core.wsgi import get_wsgi_application
settings.configure(ROOT_URLCONF="views", ALLOWED_HOSTS=["*"], SECRET_KEY="x", MIDDLEWARE=[])
app = get_wsgi_application()
"""

VIEWS = """
import sockact
from django.http import HttpResponse
from django.urls import path

@sockact.hooks.on_reload
def reloads(): raise RuntimeError("not now")

urlpatterns = [path("", lambda request: HttpResponse("open"))]
"""


@MODES
def test_a_flask_app_has_hooks(service: Service, mode: tuple[str, ...]) -> None:
    (service.directory / "app.py").write_text(FLASK)
    service.start(*mode)

    assert get(service.listener).text == "open"
    stop(service)
    assert notes(service) == ["closed"]


@MODES
def test_a_hook_in_a_module_that_django_imports_for_the_first_request_counts_from_then_on(
    service: Service, mode: tuple[str, ...]
) -> None:
    (service.directory / "app.py").write_text(DJANGO)
    (service.directory / "views.py").write_text(VIEWS)
    service.start(*mode)

    assert get(service.listener).text == "open"
    outcome, text = reload(service)

    assert outcome == 1
    assert "on_reload hook views.reloads failed: RuntimeError: not now" in text


def test_what_fails_in_the_new_workers_of_a_reload_stays_in_the_status(service: Service) -> None:
    start(service, "", "--workers=2", "--probation=0.1s")
    extend(service, "\n@hooks.on_ready\ndef fills(): raise ValueError('no cache')\n")

    assert reload(service)[0] == 0

    assert "on_ready hook app.fills failed: ValueError: no cache" in status(service)["status"]
    extend(service, "")
    assert reload(service)[0] == 0
    assert "no cache" not in status(service)["status"]
    stop(service)
