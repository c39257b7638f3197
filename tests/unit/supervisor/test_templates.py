"""The supervisor's link to a template, which an app that was broken into may control."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
from collections.abc import Callable, Coroutine
from types import SimpleNamespace
from typing import Any

import pytest

from sockact.process.child_handle import ChildHandle, ChildSockets
from sockact.protocols.template_messages import MESSAGE_LIMIT, ForkAnswer, ForkRequest
from sockact.supervisor.fleet.orders import Spawn
from sockact.supervisor.templates import TemplateEvents, TemplateLink, Templates, WantedWorker
from tests.support.manager import LIMIT


class FakeChild:
    """The process of a template that exists in this test only."""

    def __init__(self, handle: Any, *, heard: Callable[[Any], None], **_: object) -> None:
        self.heard = heard
        self.signals: list[int] = []
        self.pid = -1 if handle is None else handle.pid

    def send(self, number: int) -> None:
        self.signals.append(number)


class Said:
    """A notification of the template's."""

    def __init__(self, **assignments: str) -> None:
        self.assignments = assignments

    def close(self) -> None: ...


class Bench:
    """A link with both of its ends, and what it has reported."""

    def __init__(self, known: Callable[[], list[int]] = list) -> None:
        self.closed = False
        self.forked: list[int] = []
        self.failed: list[tuple[int, str]] = []
        self.extended: list[tuple[int, float]] = []
        ours, self.theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.theirs.settimeout(LIMIT)
        events = TemplateEvents(
            on_forked=self._on_forked,
            on_failed=lambda worker, reason: self.failed.append((worker, reason)),
            on_extension=lambda generation, seconds: self.extended.append((generation, seconds)),
            on_end=lambda _: None,
            on_idle=lambda: None,
        )
        handle: Any = None
        self.link = TemplateLink(1, handle, ours, known, events, lambda _, __: None)
        self.child: Any = self.link.child

    def _on_forked(self, spawn: Spawn, handle: ChildHandle) -> None:
        self.forked.append(spawn.worker)
        handle.close()

    def want(self, worker: int) -> None:
        self.link.add(WantedWorker(Spawn(worker, 1), 0, ChildSockets(), []))

    def ready(self) -> None:
        self.child.heard(Said(READY="1"))

    def asked(self) -> int:
        """Return the worker that the template was asked for, and let its descriptors go."""
        data, descriptors, _, _ = socket.recv_fds(self.theirs, MESSAGE_LIMIT, 4)
        for fd in descriptors:
            os.close(fd)
        request = ForkRequest.from_bytes(data)
        assert request is not None
        return request.worker

    def is_asked(self) -> bool:
        self.theirs.setblocking(False)
        try:
            self.theirs.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        finally:
            self.theirs.settimeout(LIMIT)
        return True


def run(
    monkeypatch: pytest.MonkeyPatch, test: Callable[[Bench], Coroutine[Any, Any, None]], **known: Any
) -> None:
    monkeypatch.setattr("sockact.supervisor.templates.Child", FakeChild)

    async def live() -> None:
        bench = Bench(**known)
        try:
            await test(bench)
        finally:
            if not bench.closed:
                bench.link.close("the test has ended")
            bench.theirs.close()

    asyncio.run(live())


async def settled(true: Callable[[], object]) -> None:
    async with asyncio.timeout(LIMIT):
        while not true():  # noqa: ASYNC110 - what it waits for comes from a socket, in the same loop
            await asyncio.sleep(0)


def test_a_template_is_asked_when_it_is_ready_and_for_one_worker_at_a_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def test(bench: Bench) -> None:
        bench.want(1)
        bench.want(2)
        assert not bench.is_asked()
        bench.ready()
        assert bench.asked() == 1
        assert not bench.is_asked()
        bench.theirs.send(bytes(ForkAnswer(1, child.pid)))
        await settled(lambda: bench.forked == [1])
        assert bench.asked() == 2

    with subprocess.Popen(["sleep", "60"], process_group=0) as child:
        try:
            run(monkeypatch, test)
        finally:
            child.kill()


def test_a_process_that_is_no_child_of_ours_is_no_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(bench: Bench) -> None:
        bench.want(1)
        bench.ready()
        bench.asked()
        bench.theirs.send(bytes(ForkAnswer(1, os.getppid())))
        await settled(lambda: bench.failed)

        assert bench.failed[0][0] == 1
        assert "is no process that was forked for it" in bench.failed[0][1]
        assert bench.forked == []

    run(monkeypatch, test)


def test_the_process_of_another_worker_is_no_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    with subprocess.Popen(["sleep", "60"]) as other:

        async def test(bench: Bench) -> None:
            bench.want(1)
            bench.ready()
            bench.asked()
            bench.theirs.send(bytes(ForkAnswer(1, other.pid)))
            await settled(lambda: bench.failed)

            assert bench.forked == []
            assert other.poll() is None

        run(monkeypatch, test, known=lambda: [other.pid])
        other.kill()


def test_another_template_is_no_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sockact.supervisor.templates.Child", FakeChild)
    ends: list[socket.socket] = []
    failed: list[str] = []
    forked: list[int] = []

    async def test(first: int) -> None:
        def start(generation: int, theirs: socket.socket) -> Any:
            ends.append(theirs.dup())
            return SimpleNamespace(pid=first if generation == 1 else -generation)

        events = TemplateEvents(
            on_forked=lambda spawn, handle: (forked.append(spawn.worker), handle.close()),  # type: ignore[arg-type, func-returns-value]
            on_failed=lambda _, reason: failed.append(reason),
            on_extension=lambda _, __: None,
            on_end=lambda _: None,
            on_idle=lambda: None,
        )
        templates = Templates(start, list, events)
        for generation in (1, 2):
            templates.fork(WantedWorker(Spawn(generation, generation), 0, ChildSockets(), []))
        link: Any = templates._links[2]
        link.child.heard(Said(READY="1"))
        ends[1].send(bytes(ForkAnswer(2, first)))
        await settled(lambda: failed or forked)
        for each in templates._links.values():
            each.close("the test has ended")

    with subprocess.Popen(["sleep", "60"], process_group=0) as other:
        try:
            asyncio.run(test(other.pid))
            assert other.poll() is None
        finally:
            other.kill()
            for end in ends:
                end.close()

    assert "is no process that was forked for it" in failed[0]
    assert forked == []


@pytest.mark.parametrize(
    "data",
    [b"nonsense", bytes(ForkAnswer(2, 4711)), b"\xff" * MESSAGE_LIMIT],
    ids=["nonsense", "another worker", "bytes"],
)
def test_a_template_that_answers_something_else_is_killed(
    monkeypatch: pytest.MonkeyPatch, data: bytes
) -> None:
    async def test(bench: Bench) -> None:
        bench.want(1)
        bench.ready()
        bench.asked()
        bench.theirs.send(data)
        await settled(lambda: bench.child.signals)

        assert bench.child.signals == [9]

    run(monkeypatch, test)


def test_a_template_that_answers_unasked_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(bench: Bench) -> None:
        bench.theirs.send(bytes(ForkAnswer(1, os.getpid())))
        await settled(lambda: bench.child.signals)

    run(monkeypatch, test)


def test_the_kernels_refusal_is_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(bench: Bench) -> None:
        bench.want(1)
        bench.ready()
        bench.asked()
        bench.theirs.send(bytes(ForkAnswer(1, error="Cannot allocate memory")))
        await settled(lambda: bench.failed)

        assert bench.failed == [(1, "no process can be started: Cannot allocate memory")]

    run(monkeypatch, test)


def test_a_worker_that_is_not_wanted_any_more_is_not_forked(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(bench: Bench) -> None:
        bench.want(1)
        bench.want(2)
        bench.link.cancel(1)
        await settled(lambda: bench.failed)
        assert bench.failed == [(1, "was not started")]
        bench.ready()
        assert bench.asked() == 2

    run(monkeypatch, test)


def test_a_template_whose_worker_is_not_wanted_while_it_forks_is_killed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def test(bench: Bench) -> None:
        bench.want(1)
        bench.ready()
        bench.link.cancel(1)

        assert bench.child.signals == [9]

    run(monkeypatch, test)


def test_when_it_ends_all_workers_that_wait_fail_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(bench: Bench) -> None:
        bench.want(1)
        bench.ready()
        bench.want(2)
        bench.closed = True
        bench.link.close("broken")
        await settled(lambda: len(bench.failed) == 2)

        assert bench.failed == [(1, "broken"), (2, "broken")]

    run(monkeypatch, test)


def test_more_time_is_for_all_workers_of_its_generation(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(bench: Bench) -> None:
        bench.child.heard(Said(EXTEND_TIMEOUT_USEC="5000000"))

        assert bench.extended == [(1, 5.0)]

    run(monkeypatch, test)
