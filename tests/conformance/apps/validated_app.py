"""WSGI behaviours by their names: /validated/NAME with `wsgiref.validate` in between, /plain/NAME without.

The validator raises AssertionError where the server, or the app, does what PEP 3333 does not allow. It
hides from the server that an app returns a list or a wrapped file, which are sent in other ways.
"""

from __future__ import annotations

import io
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from wsgiref.validate import validator

TEXT = [("Content-Type", "text/plain")]
LONG = b"0123456789" * 30_000
"""Longer than `wsgi_buffer`."""

closed: list[str] = []
"""The paths whose responses have been closed."""


def returned_list(environ: Any, start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", TEXT)
    return [b"one, ", b"two"]


def one_part(environ: Any, start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", TEXT)
    return [b"hello"]


def with_length(environ: Any, start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", [*TEXT, ("Content-Length", "5")])
    return [b"he", b"llo"]


def generator(environ: Any, start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", TEXT)
    for number in range(100):
        yield b"%d\n" % number


def generator_with_length(environ: Any, start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", [*TEXT, ("Content-Length", f"{len(LONG)}")])
    for begin in range(0, len(LONG), 1000):
        yield LONG[begin : begin + 1000]


def empty_parts(environ: Any, start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", TEXT)
    yield b""
    yield b"after nothing"
    yield b""


def late_start(environ: Any, start_response: Any) -> Iterable[bytes]:
    yield b""  # which PEP 3333 allows, and the validator does not
    start_response("200 OK", TEXT)
    yield b"late"


def iterator(environ: Any, start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", TEXT)
    return iter([b"a", b"b", b"c"])


def long_list(environ: Any, start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", TEXT)
    return [LONG]


def written(environ: Any, start_response: Any) -> Iterable[bytes]:
    write = start_response("200 OK", TEXT)
    write(b"written, ")
    write(b"")
    return [b"returned"]


def only_written(environ: Any, start_response: Any) -> Iterable[bytes]:
    write = start_response("200 OK", TEXT)
    write(LONG)
    return []


def empty(environ: Any, start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", TEXT)
    return []


def empty_with_length(environ: Any, start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", [*TEXT, ("Content-Length", "0")])
    return []


def replaced(environ: Any, start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", [*TEXT, ("X-First", "yes")])
    try:
        raise ValueError
    except ValueError:
        start_response("503 Sorry", TEXT, sys.exc_info())
    return [b"sorry"]


def replaced_in_time(environ: Any, start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", [*TEXT, ("Content-Length", "100")])
    yield b""
    try:
        raise ValueError
    except ValueError:
        start_response("503 Sorry", [*TEXT, ("Content-Length", "5")], sys.exc_info())
    yield b"sorry"


def no_content(environ: Any, start_response: Any) -> Iterable[bytes]:
    start_response("204 No Content", [])
    return []


def not_modified(environ: Any, start_response: Any) -> Iterable[bytes]:
    start_response("304 Not Modified", [("ETag", '"1"')])
    return []


def own_reason(environ: Any, start_response: Any) -> Iterable[bytes]:
    start_response("404 Nowhere at all", TEXT)
    return [b"nothing here"]


def cookies(environ: Any, start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", [*TEXT, ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")])
    return [b"two cookies"]


def latin_1(environ: Any, start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", [*TEXT, ("X-Name", "w\u00f6rld")])
    return [b"a name"]


def closes(environ: Any, start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", TEXT)
    return Closing(environ["PATH_INFO"])


class Closing:
    """A response that notes its end."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._parts = iter([b"to be ", b"closed"])

    def __iter__(self) -> Iterator[bytes]:
        return self._parts

    def close(self) -> None:
        closed.append(self._path)


def what_was_closed(environ: Any, start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", TEXT)
    return [f"{len(closed)}".encode()]


def file(environ: Any, start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", [*TEXT, ("Content-Length", f"{len(LONG)}")])
    content = tempfile.TemporaryFile()  # noqa: SIM115 - the server closes it
    content.write(LONG)
    content.seek(0)
    return environ["wsgi.file_wrapper"](content, 4096)


def file_in_memory(environ: Any, start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", TEXT)
    return environ["wsgi.file_wrapper"](io.BytesIO(LONG))


def read_all(environ: Any, start_response: Any) -> Iterable[bytes]:
    length = int(environ.get("CONTENT_LENGTH") or -1)
    body = environ["wsgi.input"].read(length) if length else b""
    start_response("200 OK", TEXT)
    return [f"{environ['REQUEST_METHOD']} {len(body)} ".encode(), body[-10:]]


def read_in_parts(environ: Any, start_response: Any) -> Iterable[bytes]:
    size = 0
    while part := environ["wsgi.input"].read(7000):
        size += len(part)
    start_response("200 OK", TEXT)
    return [f"{size}".encode()]


def read_lines(environ: Any, start_response: Any) -> Iterable[bytes]:
    source = environ["wsgi.input"]
    found = [source.readline(), source.readline(3), *source.readlines(), source.read(10)]
    start_response("200 OK", TEXT)
    return [b"|".join(found)]


def read_by_iteration(environ: Any, start_response: Any) -> Iterable[bytes]:
    lines = list(environ["wsgi.input"])
    start_response("200 OK", TEXT)
    return [f"{len(lines)} lines".encode()]


def reads_nothing(environ: Any, start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", TEXT)
    return [b"not read"]


def read_while_written(environ: Any, start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", TEXT)
    yield b"begun, "
    size = 0
    while part := environ["wsgi.input"].read(7000):
        size += len(part)
    yield f"{size}".encode()


def errors(environ: Any, start_response: Any) -> Iterable[bytes]:
    environ["wsgi.errors"].write("an app's line\n")
    environ["wsgi.errors"].writelines(["another line\n"])
    environ["wsgi.errors"].flush()
    start_response("200 OK", TEXT)
    return [b"said"]


def names(environ: Any, start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", TEXT)
    wanted = ("SCRIPT_NAME", "QUERY_STRING", "SERVER_PROTOCOL", "HTTP_X_LIST", "CONTENT_TYPE")
    return [repr([environ.get(name) for name in wanted]).encode()]


def wrong(environ: Any, start_response: Any) -> Iterable[bytes]:
    """Start with a field that the validator does not let through."""
    start_response("200 OK", [*TEXT, ("Status", "200")])
    return [b"never"]


BEHAVIOURS: dict[str, Callable[[Any, Any], Any]] = {
    each.__name__: each
    for each in (
        *(returned_list, one_part, with_length, generator, generator_with_length, empty_parts),
        *(late_start, iterator, long_list, written, only_written, empty, empty_with_length),
        *(replaced, replaced_in_time, no_content, not_modified, own_reason, cookies, latin_1),
        *(closes, what_was_closed, file, file_in_memory, errors, names, wrong),
        *(read_all, read_in_parts, read_lines, read_by_iteration, reads_nothing, read_while_written),
    )
}


def app(environ: Any, start_response: Any) -> Any:
    _, how, name = environ["PATH_INFO"].split("/")
    called = BEHAVIOURS[name]
    return (validator(called) if how == "validated" else called)(environ, start_response)
