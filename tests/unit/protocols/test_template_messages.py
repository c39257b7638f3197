"""Both ends of what a supervisor and a template tell each other."""

from __future__ import annotations

import pytest

from sockact.protocols.template_messages import MESSAGE_LIMIT, ForkAnswer, ForkRequest


@pytest.mark.parametrize(
    "request_",
    [
        ForkRequest(7, 30_000_000, ("sockact.lifeline", "sockact.load.3"), "/run/my app/n7"),
        ForkRequest(1, 0, ("sockact.lifeline",), "@sockact/1 2"),
    ],
)
def test_a_request_arrives_as_it_was_sent(request_: ForkRequest) -> None:
    assert ForkRequest.from_bytes(bytes(request_)) == request_


@pytest.mark.parametrize("answer", [ForkAnswer(7, 4711), ForkAnswer(7, error="Cannot allocate memory")])
def test_an_answer_arrives_as_it_was_sent(answer: ForkAnswer) -> None:
    assert ForkAnswer.from_bytes(bytes(answer)) == answer


@pytest.mark.parametrize(
    "data",
    [b"", b"FORK", b"FORK 1", b"FORK x 0 /run/n", b"FORK 1 -1 /run/n", b"SPAWN 1 0 /run/n", b"\xff\0"],
)
def test_a_malformed_request_is_none(data: bytes) -> None:
    assert ForkRequest.from_bytes(data) is None


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"FORKED",
        b"FORKED 1",
        b"FORKED 1 0",
        b"FORKED 1 -5",
        b"FORKED 1 99999999999",
        b"DONE 1 5",
        b"\xff",
    ],
)
def test_a_malformed_answer_is_none(data: bytes) -> None:
    assert ForkAnswer.from_bytes(data) is None


def test_a_long_reason_is_cut() -> None:
    assert len(bytes(ForkAnswer(1, error="x" * 10_000))) < MESSAGE_LIMIT
