"""Calls of an app that change signals on the loop that serves, with either kind of loop."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Awaitable, Callable, Iterator

import pytest
import uvloop

from sockact.system.signals import HANDLED, EarlySignals
from sockact.worker.own_signals import GuardedLoop, OwnSignals, guarded, name_of
from tests.support.in_process import until

KINDS = [uvloop.Loop, asyncio.SelectorEventLoop]


class World:
    """A process whose signals are kept, and what came of them."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.own = OwnSignals(lambda _, effect: effect(), lambda: self.done.append("ended"))

    def handlers(self) -> dict[signal.Signals, Callable[[], None]]:
        def effect(number: signal.Signals) -> Callable[[], None]:
            return lambda: self.done.append(number.name)

        return {
            number: lambda number=number: self.own.deliver(number, effect(number))  # type: ignore[misc]
            for number in HANDLED
        }


@pytest.fixture(autouse=True)
def early() -> Iterator[EarlySignals]:
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    early = EarlySignals()
    yield early
    early.restore()
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)


@pytest.fixture(params=KINDS, ids=["uvloop", "asyncio"])
def run(request: pytest.FixtureRequest, early: EarlySignals) -> Callable[..., World]:
    """Give the function that plays a scene while signals are kept."""

    def run(scene: Callable[[World], Awaitable[None]]) -> World:
        world = World()

        async def play() -> None:
            loop = asyncio.get_running_loop()
            with early.handed_over(loop, world.handlers()), world.own.kept():
                await scene(world)

        with asyncio.Runner(loop_factory=guarded(request.param)) as runner:
            runner.run(play())
        return world

    return run


def raises(number: int) -> None:
    signal.raise_signal(number)


def test_a_signal_comes_through_after_a_look_whatever_was_done_to_it(run) -> None:
    def ends(*_: object) -> None:
        raise SystemExit

    async def scene(world: World) -> None:
        signal.signal(signal.SIGTERM, ends)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2])
        signal.set_wakeup_fd(-1)
        world.own.look()
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR2):
            raises(number)
        await until(lambda: len(world.done) == 3)

    assert sorted(run(scene).done) == ["SIGHUP", "SIGTERM", "SIGUSR2"]


def test_what_came_while_the_loop_could_not_be_woken_comes_with_the_look(run) -> None:
    async def scene(world: World) -> None:
        loop = asyncio.get_running_loop()
        signal.set_wakeup_fd(-1)
        if isinstance(loop, uvloop.Loop):  # asyncio's knows of no other way than the descriptor
            raises(signal.SIGTERM)
        world.own.look()
        if not isinstance(loop, uvloop.Loop):
            raises(signal.SIGTERM)
        await until(lambda: world.done == ["SIGTERM"])

    run(scene)


def test_callbacks_of_the_loop_come_and_go_beside_what_a_signal_does(run) -> None:
    async def scene(world: World) -> None:
        loop = asyncio.get_running_loop()
        assert not loop.remove_signal_handler(signal.SIGTERM)
        loop.add_signal_handler(signal.SIGTERM, world.done.append, "theirs")
        raises(signal.SIGTERM)
        await until(lambda: world.done == ["SIGTERM", "theirs"])
        assert loop.remove_signal_handler(signal.SIGTERM)
        raises(signal.SIGTERM)
        await until(lambda: world.done == ["SIGTERM", "theirs", "SIGTERM"])

    run(scene)


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt, ValueError])
def test_a_callback_that_fails_ends_nothing(run, error: type[BaseException]) -> None:
    def fails() -> None:
        raise error

    async def scene(world: World) -> None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, fails)
        raises(signal.SIGTERM)
        await until(lambda: world.done == ["SIGTERM"])
        await asyncio.sleep(0)

    run(scene)


def test_the_loop_refuses_what_it_refuses_elsewhere(run) -> None:
    async def handler() -> None: ...

    async def scene(_: World) -> None:
        loop = asyncio.get_running_loop()
        with pytest.raises(TypeError):
            loop.add_signal_handler(signal.SIGTERM, handler)
        failed: list[BaseException] = []

        def add() -> None:
            try:
                loop.add_signal_handler(signal.SIGTERM, print)
            except (ValueError, RuntimeError) as error:
                failed.append(error)

        thread = threading.Thread(target=add)
        thread.start()
        thread.join()
        assert len(failed) == 1
        with pytest.raises(ValueError, match=r"out of range|invalid signal"):
            loop.add_signal_handler(0, print)

    run(scene)


def test_a_signal_that_is_not_ours_is_the_loops_own(run) -> None:
    async def scene(world: World) -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGWINCH, world.done.append, "theirs")
        raises(signal.SIGWINCH)
        await until(lambda: world.done == ["theirs"])
        assert loop.remove_signal_handler(signal.SIGWINCH)

    run(scene)


def test_a_stop_of_the_loop_is_a_wish_to_end_but_beside_a_signal_nothing_more(run) -> None:
    async def scene(world: World) -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGHUP, loop.stop)
        raises(signal.SIGHUP)
        await until(lambda: world.done == ["SIGHUP"])
        await asyncio.sleep(0)
        loop.stop()
        assert world.done == ["SIGHUP", "ended"]

    run(scene)


def test_a_handler_for_a_signal_without_a_meaning_is_called_beside_the_hooks(run) -> None:
    async def scene(world: World) -> None:
        signal.signal(signal.SIGUSR1, lambda number, _: world.done.append(f"theirs {number:d}"))
        world.own.look()
        raises(signal.SIGUSR1)
        await until(lambda: world.done == ["SIGUSR1", f"theirs {signal.SIGUSR1:d}"])

    run(scene)


def test_nothing_is_kept_afterwards(run) -> None:
    world = run(lambda _: asyncio.sleep(0))
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    world.own.look()

    assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN


def test_a_guarded_loop_without_a_guard_is_a_loop_like_any_other() -> None:
    for kind in KINDS:
        loop = guarded(kind)()
        assert isinstance(loop, GuardedLoop)
        loop.call_soon(loop.stop)
        loop.run_forever()
        loop.close()


def test_handlers_of_others_are_those_that_were_not_inherited(early: EarlySignals) -> None:
    def theirs(*_: object) -> None: ...

    early.restore()
    before = signal.signal(signal.SIGINT, theirs)
    early = EarlySignals()
    try:
        signal.signal(signal.SIGHUP, theirs)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        found = early.others()
        assert found == {
            signal.SIGINT: theirs,
            signal.SIGHUP: theirs,
            signal.SIGTERM: signal.SIG_IGN,
        }
    finally:
        early.restore()
        signal.signal(signal.SIGINT, before)


class Called:
    """A handler that is an object."""

    def __call__(self, *_: object) -> None: ...

    def __repr__(self) -> str:
        return "<a handler>"


@pytest.mark.parametrize(
    ("handler", "name"),
    [
        (raises, f"{__name__}.raises"),
        (signal.SIG_DFL, "signal.SIG_DFL"),
        (Called(), "<a handler>"),
        (None, "a handler that Python does not know"),
        (World().handlers, f"{__name__}.World.handlers"),
    ],
)
def test_a_handler_is_called_what_it_is_called_in_its_source(handler: object, name: str) -> None:
    assert name_of(handler) == name
