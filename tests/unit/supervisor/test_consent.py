"""The consent that a supervisor asks of its workers before a reload."""

from __future__ import annotations

import asyncio

import pytest

from sockact.errors import ReloadRefused
from sockact.protocols.worker_messages import WorkerMessage
from sockact.supervisor.consent import Consent
from tests.support.manager import LIMIT


def obtain(
    *answers: tuple[int, str | None], wanting: tuple[int, ...] = (1, 2), limit: float = LIMIT
) -> list[int]:
    """Have workers answer one after the other, None for a worker that ends; return who was asked."""
    asked: list[int] = []

    async def scene() -> None:
        consent = Consent(asked.append)
        for worker in wanting:
            consent.heard(worker, WorkerMessage(asks_before_reload=True))
        obtaining = asyncio.create_task(consent.obtain([1, 2, 3], limit))
        await asyncio.sleep(0)
        for worker, text in answers:
            assert not obtaining.done()
            consent.forget(worker) if text is None else consent.heard(worker, WorkerMessage(consent=text))
            for _ in range(3):
                await asyncio.sleep(0)
        await obtaining

    asyncio.run(scene())
    return asked


def test_nobody_is_asked_who_has_not_said_so() -> None:
    assert obtain(wanting=()) == []
    assert obtain((2, ""), wanting=(2, 7)) == [2]


def test_a_reload_begins_when_all_have_consented() -> None:
    assert obtain((2, ""), (1, "")) == [1, 2]


def test_one_refusal_is_enough() -> None:
    with pytest.raises(ReloadRefused, match="not now"):
        obtain((2, ""), (1, "not now"))
    with pytest.raises(ReloadRefused, match="not now"):
        obtain((2, "not now"))


def test_a_worker_that_ends_is_not_waited_for() -> None:
    assert obtain((1, None), (2, "")) == [1, 2]


def test_a_worker_that_says_nothing_does_not_prevent_the_reload() -> None:
    assert obtain((1, ""), limit=0.01) == [1, 2]


def test_an_answer_that_nobody_waits_for_means_nothing() -> None:
    async def scene() -> None:
        consent = Consent(lambda _: None)
        consent.heard(1, WorkerMessage(asks_before_reload=True))
        consent.heard(1, WorkerMessage(consent="no"))
        obtaining = asyncio.create_task(consent.obtain([1], LIMIT))
        await asyncio.sleep(0)
        assert not obtaining.done()
        consent.heard(1, WorkerMessage(consent=""))
        await obtaining

    asyncio.run(scene())
