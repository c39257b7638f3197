"""Apps that do to the tasks of their loop what they should not: those of the server go on."""

from __future__ import annotations

import signal

from tests.support.commands import reload
from tests.support.gate import install
from tests.support.service import MODES, Service, break_app

CANCELS = """
import asyncio
served = app
def cancel_all():
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    return others
"""
AT_ITS_SHUTDOWN = (
    CANCELS
    + """
async def app(scope, receive, send):
    if scope["type"] != "lifespan":
        return await served(scope, receive, send)
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await asyncio.gather(*cancel_all(), return_exceptions=True)
    await send({"type": "lifespan.shutdown.complete"})
"""
)
IN_A_REQUEST = (
    CANCELS
    + """
async def app(scope, receive, send):
    if scope.get("path") == "/cancel":
        cancel_all()
    await served(scope, receive, send)
"""
)


@MODES
def test_an_app_that_cancels_all_tasks_at_its_shutdown_ends_in_good_order(
    service: Service, mode: tuple[str, ...]
) -> None:
    install(service.directory)
    break_app(service, AT_ITS_SHUTDOWN)
    service.start(*mode)
    kept = service.client()
    assert kept.get().status == 200

    assert reload(service)[0] == 0

    assert kept.get().status == 200
    service.drain_and_end(signal.SIGTERM)
    assert "fault" not in service.manager.stderr()


@MODES
def test_an_app_that_cancels_all_tasks_in_a_request_loses_none_of_its_server(
    service: Service, mode: tuple[str, ...]
) -> None:
    install(service.directory)
    break_app(service, IN_A_REQUEST)
    service.start(*mode)
    client = service.client()
    assert client.get("/cancel").status == 200

    assert reload(service)[0] == 0

    assert client.get("/cancel").status == 200
    client.close()
    service.drain_and_end(signal.SIGTERM)
    assert "fault" not in service.manager.stderr()


WITH_A_FACTORY = """
import asyncio
def factory(loop, work):
    return asyncio.Task(work, loop=loop)
served = app
async def app(scope, receive, send):
    asyncio.get_running_loop().set_task_factory(factory)
    await served(scope, receive, send)
"""
"""As asyncio.eager_task_factory of Python 3.13, it takes no option that uvloop 0.23 gives it."""


@MODES
def test_an_app_whose_task_factory_fails_is_served_and_the_log_says_so(
    service: Service, mode: tuple[str, ...]
) -> None:
    install(service.directory)
    break_app(service, WITH_A_FACTORY)
    service.start(*mode, "--loop=uvloop")
    kept = service.client()
    for _ in range(3):
        assert kept.get().status == 200

    assert reload(service)[0] == 0

    assert kept.get().status == 200
    service.drain_and_end(signal.SIGTERM)
    said = service.manager.stderr()
    assert said.count("the app's task factory fails, and is not used for requests: TypeError: ") == 2
    assert "Traceback" not in said


FILLS_THE_THREADS = """
import asyncio, threading
threads, served = threading.Event(), app
async def app(scope, receive, send):
    if scope["type"] != "lifespan":
        return await served(scope, receive, send)
    await receive()
    for _ in range(64):
        asyncio.get_running_loop().run_in_executor(None, threads.wait)
    await send({"type": "lifespan.startup.complete"})
    await receive()
    threads.set()
    await send({"type": "lifespan.shutdown.complete"})
"""


@MODES
def test_an_app_whose_calls_hold_all_threads_of_its_loop_holds_up_no_reload_and_no_stop(
    service: Service, mode: tuple[str, ...]
) -> None:
    """As calls of a database that hangs do."""
    install(service.directory)
    break_app(service, FILLS_THE_THREADS)
    service.start(*mode, FDSTORE="32")
    kept = service.client()
    assert kept.get().status == 200

    assert reload(service)[0] == 0

    assert kept.get().status == 200
    service.drain_and_end(signal.SIGTERM)
