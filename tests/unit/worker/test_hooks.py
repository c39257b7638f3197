"""Hooks: what they may be, and how they run: in order, each within its time, whatever they do."""

from __future__ import annotations

import asyncio
import functools
import signal
import sys
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from typing import Any

import pytest

from sockact import hooks
from sockact.errors import AppError, HookTimeout, ReloadRefused, UsageError
from sockact.hooks import DRAIN, READY, START, Registry, after, before
from sockact.lifecycle.tasks import Background
from sockact.worker.hook_runner import HookRunner
from sockact.worker.signal_hooks import SignalHooks
from tests.support.in_process import until
from tests.support.manager import LIMIT

SOON = 0.02
"""Seconds that a hook gets in tests in which it does not end."""


class World:
    """A registry of its own, and what its hooks have done."""

    def __init__(self, without: tuple[str, ...] = ()) -> None:
        self.done: list[str] = []
        self.told: list[str] = []
        self.registry = Registry()
        self.runner = HookRunner(self.registry, without, self.told.append)
        self.never = threading.Event()

    def add(self, point: str, function: Callable[[], object], timeout: float = LIMIT) -> None:
        self.registry.add(point, function, timeout)

    def note(self, text: str) -> Callable[[], None]:
        """Return a hook that notes a word."""
        return functools.partial(self.done.append, text)

    def blocks(self) -> None:
        """A hook that blocks its thread."""
        self.never.wait()
        self.done.append("blocked")

    async def hangs(self) -> None:
        """A hook that waits for ever."""
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            self.done.append("cleaned up")


@pytest.fixture
def world() -> Iterator[World]:
    world = World()
    yield world
    world.never.set()


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> Registry:
    """Give the registry that the decorators fill."""
    monkeypatch.setattr(hooks, "REGISTRY", Registry())
    return hooks.REGISTRY


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(work, LIMIT))


def fails() -> None:
    raise ValueError("no luck")


# What is registered.


@pytest.mark.parametrize("name", ["on_start", "on_ready", "on_reload", "on_drain", "on_stop", "on_exit"])
def test_a_hook_is_registered_bare_or_with_a_timeout_and_stays_what_it_was(
    registry: Registry, name: str
) -> None:
    decorate = getattr(hooks, name)

    @decorate
    def one() -> None: ...

    @decorate(timeout=5)
    async def two() -> None: ...

    assert [(hook.function, hook.timeout) for hook in registry.at(name)] == [(one, 30.0), (two, 5.0)]
    assert registry.at(name)[0].name == f"{__name__}.{one.__qualname__}"


@pytest.mark.parametrize("name", ["HUP", "INT", "TERM", "USR1", "USR2", "TSTP"])
def test_six_signals_have_hooks_before_and_after(registry: Registry, name: str) -> None:
    number = signal.Signals[f"SIG{name}"]

    @hooks.before_signal(number)
    def one() -> None: ...

    @hooks.after_signal(int(number), timeout=3)
    def two() -> None: ...

    assert [hook.function for hook in registry.at(before(number))] == [one]
    assert [(hook.function, hook.timeout) for hook in registry.at(after(number))] == [(two, 3.0)]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGQUIT, 77, "SIGTERM", fails])
def test_other_signals_have_none(registry: Registry, number: Any) -> None:
    with pytest.raises(
        UsageError, match="expected one of SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2, SIGTSTP"
    ):
        hooks.before_signal(number)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x: x, r"on_stop: .*<lambda>\(x\): missing a required argument: 'x': expected none"),
        ("app.close", "on_stop: 'app.close': expected a callable without arguments"),
    ],
)
def test_what_cannot_be_called_without_arguments_is_refused(
    registry: Registry, function: Any, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        hooks.on_stop(function)


@pytest.mark.parametrize("timeout", [0, -1, "30", None, True, float("nan")])
def test_a_timeout_is_a_number_of_seconds(registry: Registry, timeout: Any) -> None:
    with pytest.raises(UsageError, match=r"on_stop: timeout=.*: expected seconds, more than 0"):
        hooks.on_stop(timeout=timeout)(fails)


def test_who_watches_is_told_of_hooks_that_are_there_and_of_those_that_come(world: World) -> None:
    told: list[str] = []
    world.add(START, fails)

    world.registry.watch(told.append)
    world.add(READY, fails)

    assert told == [START, READY]


# How they run.


class CalledAsync:
    def __init__(self, world: World) -> None:
        self._world = world

    async def __call__(self) -> None:
        self._world.done.append(threading.current_thread().name)


def test_hooks_run_in_the_order_of_their_registration_async_ones_in_the_loop(world: World) -> None:
    def sync() -> None:
        world.done.append(threading.current_thread().name)

    async def in_loop() -> None:
        await asyncio.sleep(0)
        world.done.append(threading.current_thread().name)

    def returns_awaitable() -> Awaitable[None]:
        return in_loop()

    for each in (sync, in_loop, functools.partial(in_loop), CalledAsync(world), returns_awaitable):
        world.add(DRAIN, each)

    run(world.runner.run(DRAIN))

    assert world.done == ["hook", *["MainThread"] * 4]


def test_the_loop_goes_on_while_a_hook_blocks_its_thread(world: World) -> None:
    async def scene() -> None:
        asyncio.get_running_loop().call_later(SOON, world.never.set)
        await world.runner.run(DRAIN)

    world.add(DRAIN, world.blocks)

    asyncio.run(scene())

    assert world.done == ["blocked"]


async def exits() -> None:
    sys.exit(3)


async def cancels() -> None:
    raise asyncio.CancelledError


def stops_iteration() -> None:
    raise StopIteration(7)


@pytest.mark.parametrize(
    ("function", "what"),
    [
        (fails, "ValueError: no luck"),
        (exits, "SystemExit: 3"),
        (functools.partial(sys.exit, 4), "SystemExit: 4"),
        (cancels, "CancelledError: "),
        (stops_iteration, "StopIteration: 7"),
    ],
)
def test_a_hook_that_raises_is_reported_and_the_next_one_runs(
    world: World, function: Callable[[], object], what: str
) -> None:
    world.add(DRAIN, function)
    world.add(DRAIN, world.note("next"))

    run(world.runner.run(DRAIN))

    assert world.done == ["next"]
    (text,) = world.runner.failures
    assert text.startswith("on_drain hook ")
    assert text.endswith(f" failed: {what}")
    assert world.told == [text]
    assert world.runner.complaint() == f"; {text}"


@pytest.mark.parametrize("name", ["blocks", "hangs"])
def test_a_hook_that_does_not_end_has_its_time_and_then_the_next_one_runs(world: World, name: str) -> None:
    world.add(DRAIN, getattr(world, name), SOON)
    world.add(DRAIN, world.note("next"))

    run(world.runner.run(DRAIN))

    assert world.done == (["next"] if name == "blocks" else ["cleaned up", "next"])
    assert world.runner.failures[0].endswith(f"{name} failed: it did not end within 0.02 s")


def test_a_hook_leaves_time_to_those_after_it(world: World) -> None:
    """Its own timeout is far beyond what all of them have together."""
    world.add(DRAIN, world.hangs)
    world.add(DRAIN, world.note("next"))

    run(world.runner.run(DRAIN, 2 * SOON))

    assert world.done == ["cleaned up", "next"]
    assert "hangs failed: it did not end within 0.0" in world.runner.failures[0]


def test_a_hook_that_does_not_let_itself_be_cancelled_is_left_behind(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sockact.worker.hook_runner.CLEANUP_TIMEOUT", SOON)

    async def stays() -> None:
        while not world.never.is_set():
            try:
                await asyncio.sleep(SOON)
            except asyncio.CancelledError:
                world.done.append("stays")

    async def scene() -> None:
        await world.runner.run(DRAIN, SOON)
        assert world.runner.stuck
        world.never.set()
        await until(lambda: not world.runner.stuck)

    world.add(DRAIN, stays)

    asyncio.run(scene())

    assert world.done == ["stays"]


def test_a_cancelled_run_tells_what_was_cut_short(world: World) -> None:
    async def scene() -> None:
        background = Background()
        background.start(world.runner.run(DRAIN))
        await asyncio.sleep(0)
        await background.abort()

    world.add(DRAIN, world.hangs)
    world.add(DRAIN, world.note("next"))

    asyncio.run(scene())

    assert world.done == ["cleaned up"]
    assert world.told[0].endswith("hangs was cut short, 1 after it did not run")


def test_a_point_that_is_reached_twice_runs_once_though_the_first_wait_was_cancelled(
    world: World,
) -> None:
    goes_on = asyncio.Event()

    async def slow() -> None:
        world.done.append("begun")
        await goes_on.wait()
        world.done.append("ended")

    async def scene() -> None:
        first = asyncio.create_task(world.runner.run_once(DRAIN, LIMIT))
        await until(lambda: bool(world.done))
        first.cancel()
        asyncio.get_running_loop().call_soon(goes_on.set)
        await world.runner.run_once(DRAIN, LIMIT)

    world.add(DRAIN, slow)

    asyncio.run(scene())

    assert world.done == ["begun", "ended"]


def test_points_that_a_process_is_without_have_no_hooks() -> None:
    world = World(without=(READY,))
    world.add(READY, fails)

    asyncio.run(world.runner.run(READY))

    assert world.runner.hooks(READY) == []
    assert world.runner.failures == []


@pytest.mark.parametrize("refusal", [AppError, ReloadRefused])
def test_where_hooks_are_required_the_first_that_fails_is_the_last(
    world: World, refusal: type[AppError | ReloadRefused]
) -> None:
    world.add(START, world.note("first"))
    world.add(START, world.hangs, SOON)
    world.add(START, world.note("never"))

    with pytest.raises(refusal, match=r"on_start hook .*hangs failed: it did not end within") as caught:
        asyncio.run(world.runner.require(START, LIMIT, refusal))

    assert isinstance(caught.value.__cause__, HookTimeout)
    assert world.done == ["first", "cleaned up"]


# Around signals.

TERM = signal.SIGTERM


def deliver(world: World, scene: Callable[[Callable[[], None], Background], Awaitable[None]]) -> None:
    """Run a scene that can let SIGTERM come."""

    async def play() -> None:
        background = Background()
        around = SignalHooks(world.runner, background, {TERM: LIMIT}, LIMIT)
        await scene(lambda: around.deliver(TERM, world.note("effect")), background)
        async with asyncio.timeout(LIMIT):
            await background.wait()

    asyncio.run(play())


def test_hooks_run_before_and_after_the_effect_of_a_signal(world: World) -> None:
    async def scene(come: Callable[[], None], _: Background) -> None:
        come()

    world.add(before(TERM), world.note("before"))
    world.add(before(TERM), fails)
    world.add(after(TERM), world.note("after"))

    deliver(world, scene)

    assert world.done == ["before", "effect", "after"]


def test_a_signal_without_hooks_takes_effect_at_once(world: World) -> None:
    async def scene(come: Callable[[], None], background: Background) -> None:
        come()
        assert world.done == ["effect"]
        assert not background

    deliver(world, scene)


def test_a_signal_that_comes_again_does_not_wait_for_the_hooks(world: World) -> None:
    async def scene(come: Callable[[], None], _: Background) -> None:
        come()
        await asyncio.sleep(0)
        come()

    world.add(before(TERM), world.hangs)
    world.add(after(TERM), world.note("after"))

    deliver(world, scene)

    assert [word for word in world.done if word != "cleaned up"] == ["effect", "effect", "after"]


@pytest.mark.parametrize("begun", [False, True])
def test_a_signal_takes_effect_though_the_drain_timeout_ends_its_hooks(world: World, begun: bool) -> None:
    async def scene(come: Callable[[], None], background: Background) -> None:
        come()
        if begun:
            await asyncio.sleep(0)
        await background.abort()

    world.add(before(TERM), world.hangs)

    deliver(world, scene)

    assert "effect" in world.done
