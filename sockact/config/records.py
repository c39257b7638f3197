"""The facts of a log record beside its text: fields in the journal, keys of a JSON line.

A record is about a request if it is written while that is handled, by whatever code: a context variable
tells, which tasks inherit, and threads that are started with a copy of the context.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from enum import StrEnum
from typing import Any

REQUEST_ID: ContextVar[str] = ContextVar("sockact.request_id", default="")
"""The id of the request that is handled; empty outside, and without the setting `request_id`."""

ATTRIBUTE = "sockact_request_id"
"""Name of the id in records of the app's loggers, `-` outside of requests.

Not `request_id`: apps pass that in `extra`, and logging raises KeyError for an attribute that exists.
"""

_FACTS = "sockact_facts"
_process: dict[str, object] = {}


class RecordKind(StrEnum):
    """The kinds of records that operators search for, by their MESSAGE_ID.

    An id never changes its meaning. Source: systemd.journal-fields(7); units/sockact.catalog explains each.
    """

    READY = "0a6115024a434d1e9bdaabe0cc7491f7"
    START_FAILED = "5c851d13b9cd44d5b831be576dbebf97"
    RELOAD_REFUSED = "460e42fd39bd499a8937ea9342581c4d"
    WORKER_STARTED = "b1ba0e0bbf53486a8a5cc5ac34d80c6c"
    WORKER_FAILED = "702ede7827b84eabb8d9720d37ea7953"
    WORKER_KILLED = "34c2d8d5f28046a5aa73aa00f0bb6603"
    DRAIN_ABORTED = "4185502266324f58a3432ab7dafd6231"
    CONNECTION_ABORTED = "0361fa0ac2624ca0ae73dfa0eee8eea3"
    REQUEST_FAILED = "7a65af8523864a75a32091fdcd4976ef"
    REQUEST = "280485299ed8423da3ee8970d41cf55d"


def about(kind: RecordKind | None = None, **facts: object) -> dict[str, Any]:
    """Return the `extra` of a record of this kind; each fact is a text, a number or a truth value."""
    known = {name: value for name, value in facts.items() if value is not None}
    return {_FACTS: known if kind is None else {"message_id": kind.value, **known}}


def identify(*, generation: int, worker: int | None) -> None:
    """Add the numbers of this process to all records that it writes from now on."""
    _process["generation"] = generation
    if worker is not None:
        _process["worker"] = worker


@contextlib.contextmanager
def in_request(request_id: str) -> Iterator[None]:
    """Have the records in the body be about a request; for code that does not run in its context."""
    token = REQUEST_ID.set(request_id)
    try:
        yield
    finally:
        REQUEST_ID.reset(token)


def facts_of(record: logging.LogRecord) -> dict[str, object]:
    """Return what is known of a record beside its text, its level and its logger."""
    facts = dict(_process)
    # By its attribute if another thread writes the record than the one that has made it (QueueListener).
    request_id = REQUEST_ID.get() or str(getattr(record, ATTRIBUTE, "-"))
    if request_id != "-":
        facts["request_id"] = request_id
    given = getattr(record, _FACTS, None)
    return facts | dict(given) if isinstance(given, Mapping) else facts


def add_request_id() -> None:
    """Add the id of the request to all records of this process from now on, those of the app's loggers too.

    By the factory that makes all records: the app's handlers and formatters stay as they are. A filter
    would not do: that of a logger is not asked for records of the loggers below it. A factory that the app
    sets later takes the place of this one, unless it calls the one before it, as Python's cookbook says.
    """
    make = logging.getLogRecordFactory()

    def made(*arguments: Any, **keywords: Any) -> logging.LogRecord:
        record = make(*arguments, **keywords)
        record.__dict__.setdefault(ATTRIBUTE, REQUEST_ID.get() or "-")
        return record

    logging.setLogRecordFactory(made)
