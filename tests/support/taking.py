"""The gate app, which does something of its own to a signal."""

from __future__ import annotations

from tests.support.gate import install
from tests.support.service import Service, break_app

PATIENT = ("--drain-timeout=60s", "--probation=0.1s")
"""So that nothing but a drain lets a process end within the time that a test waits."""

TAKING = """
import asyncio, faulthandler, signal, sys, threading
import sockact

def theirs(*_):
    with open("theirs", "a") as file:
        file.write("called\\n")

def ends(*_):
    sys.exit(0)

def take():
    number = signal.{number}
    loop = asyncio.get_running_loop()
    {way}

served = app

async def app(scope, receive, send):
    if {place}:
        take()
    await served(scope, receive, send)
"""

STARTUP = "scope['type'] == 'lifespan'"

WAYS = {
    "add_signal_handler": "loop.add_signal_handler(number, theirs)",
    "add_signal_handler, loop.stop": "loop.add_signal_handler(number, loop.stop)",
    "add_signal_handler, sys.exit": "loop.add_signal_handler(number, sys.exit)",
    "remove_signal_handler": "loop.remove_signal_handler(number)",
    "signal.signal, sys.exit": "signal.signal(number, ends)",
    "signal.signal, ignored": "signal.signal(number, signal.SIG_IGN)",
    "signal.signal, default": "signal.signal(number, signal.SIG_DFL)",
    "blocked": "signal.pthread_sigmask(signal.SIG_BLOCK, {number})",
    "waited for": "signal.pthread_sigmask(signal.SIG_BLOCK, {number});"
    " threading.Thread(target=signal.sigwait, args=({number},), daemon=True).start()",
    "wakeup descriptor": "signal.set_wakeup_fd(-1)",
    "faulthandler": "faulthandler.register(number, chain=False)",
}


def start_taking(
    service: Service, way: str, *options: str, number: str = "SIGTERM", place: str = STARTUP, more: str = ""
) -> int:
    """Start the gate app with something done to a signal; return the PID of the main process."""
    install(service.directory)
    break_app(service, TAKING.replace("{way}", way).replace("{place}", place).replace("{number}", "{}"))
    app = service.directory / "app.py"
    app.write_text(
        app.read_text().replace("signal.{}", f"signal.{number}").replace("{}", "{number}") + more
    )
    return service.start(*PATIENT, *options)
