"""Apps that do to their process what they should not: nobody loses a request by it, or the log says why."""

from __future__ import annotations

import re
import signal

import pytest

from sockact.sockets.fds import Listener
from tests.support.commands import reload
from tests.support.gate import install
from tests.support.manager import Manager
from tests.support.service import Service, break_app

ANSWERS_WHAT_IT_FINDS = """
import signal
def found():
    umask = os.umask(0o077)
    os.umask(umask)
    ignored = [each for each in [signal.SIGCHLD, signal.SIGIO] if signal.getsignal(each) is signal.SIG_IGN]
    blocked = [each.name for each in sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ()))]
    timer = max(signal.getitimer(signal.ITIMER_REAL) + signal.getitimer(signal.ITIMER_PROF))
    return f"{umask:o} {ignored} {blocked} {timer}"
VERSION = found()
"""
CHANGES_ALL_OF_IT = """
import signal
signal.signal(signal.SIGALRM, lambda *_: None)
signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
signal.signal(signal.SIGPROF, lambda *_: None)
signal.setitimer(signal.ITIMER_PROF, 0.001, 0.001)
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGVTALRM])
os.umask(0)
"""


def test_what_an_app_has_made_of_its_process_does_not_matter_to_the_new_code(service: Service) -> None:
    """Its timers end a program that has no handler for their signals yet: here that is every one."""
    install(service.directory)
    break_app(service, ANSWERS_WHAT_IT_FINDS)
    break_app(service, CHANGES_ALL_OF_IT)
    service.start()
    as_it_was = service.client().get().json["version"]
    assert as_it_was.endswith(" [] [] 0.0")

    for _ in range(3):
        assert reload(service)[0] == 0

        assert service.client().get().json["version"] == as_it_was


@pytest.mark.parametrize("options", [(), ("--workers=1",)], ids=["alone", "supervised"])
def test_an_app_that_closes_the_descriptors_of_its_service_is_told_so(
    manager: Manager, listener: Listener, service: Service, options: tuple[str, ...]
) -> None:
    install(service.directory)
    break_app(service, "os.closerange(3, 256)")

    manager.sockact("app:app", *options, listeners=[listener], GATE=service.gate.path)

    assert manager.wait_exit() == 1
    assert re.search(
        r"the app has closed descriptors of its service at its import, .*: 3, ", manager.stderr()
    )
    assert "Traceback" not in manager.stderr()


@pytest.mark.parametrize("options", [(), ("--workers=1",)], ids=["alone", "supervised"])
def test_a_stop_where_no_thread_can_be_started_lets_a_request_in_flight_end(
    service: Service, options: tuple[str, ...]
) -> None:
    """As with TasksMax=, or RLIMIT_NPROC, reached by threads that an app leaks."""
    no_more = """
import faulthandler, threading
def none_left(*_, **__):
    raise RuntimeError("can't start new thread")
threading.Thread.start = faulthandler.dump_traceback_later = none_left
"""
    install(service.directory)
    break_app(service, no_more)
    service.start(*options, FDSTORE="16")

    service.drain_and_end(signal.SIGTERM)

    assert "a fault of sockact" not in service.manager.stderr()


@pytest.mark.parametrize("options", [(), ("--workers=1",)], ids=["alone", "supervised"])
def test_a_stop_where_no_descriptor_is_left_lets_a_request_in_flight_end(
    service: Service, options: tuple[str, ...]
) -> None:
    leaks = """
import resource
inner, leaked = app, []
async def app(scope, receive, send):
    if scope.get("path") == "/leak":
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
        try:
            while True:
                leaked.append(os.open(os.devnull, os.O_RDONLY))
        except OSError:
            pass
    await inner(scope, receive, send)
"""
    install(service.directory)
    break_app(service, leaks)
    service.start(*options)
    client, other = service.client(), service.client()
    client.ask("/hold")
    held = service.gate.wait()
    other.get("/leak")

    service.manager.signal(signal.SIGTERM)
    service.manager.wait_for("STOPPING", "1")
    held.release()

    assert client.read().status == 200
    client.close()
    other.close()
    assert service.manager.wait_exit() == 0
