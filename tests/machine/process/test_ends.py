"""An app that does not let its process end, on real systemd: nobody waits for long."""

from __future__ import annotations

import time

import pytest

from tests.support.machine.machine import Machine
from tests.support.machine.service import get, install, processes, reload, wait_until

SHUTDOWN = 5.0
"""The shutdown_timeout of the unit as it is shipped."""

HOLDERS = {
    "thread": "import threading, time; threading.Thread(target=lambda: time.sleep(900)).start()",
    "child": "import multiprocessing, time; "
    "multiprocessing.get_context('fork').Process(target=time.sleep, args=(900,), daemon=True).start()",
    "exit handler": "import atexit, time; atexit.register(lambda: time.sleep(900))",
}


@pytest.mark.parametrize("holder", HOLDERS)
def test_a_newcomer_is_answered_soon_whatever_holds_the_process_that_is_to_end(
    app: Machine, holder: str
) -> None:
    install(app, 1, HOLDERS[holder])
    app.run("systemctl", "start", "app.socket")
    began = time.monotonic()
    assert get(app)["version"] == "1"
    start = time.monotonic() - began
    first = processes(app)

    began = time.monotonic()
    app.run("systemctl", "restart", "app.service")
    get(app)
    restart = time.monotonic() - began
    wait_until(lambda: not processes(app) & first)
    before = processes(app)
    install(app, 2, HOLDERS[holder])
    began = time.monotonic()
    reload(app)
    answer = get(app)
    reloaded = time.monotonic() - began
    wait_until(lambda: len(processes(app) & before) == 1)  # the supervisor
    gone = time.monotonic() - began
    began = time.monotonic()
    app.run("systemctl", "stop", "app.service")
    stop = time.monotonic() - began

    assert answer["version"] == "2"
    assert max(restart, reloaded, stop) < SHUTDOWN + 2 + start  # on a machine that is busy otherwise
    assert gone < reloaded + SHUTDOWN + 2
    assert app.show("app.service", "Result")["Result"] == "success"
    print(f"{app.name}: {holder}: {restart=:.1f} {reloaded=:.1f} {gone=:.1f} {stop=:.1f} s")
