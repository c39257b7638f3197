"""Calls WSGI apps, in threads.

    body        a body up to `wsgi_buffer` is read before a thread is taken; of a longer one the rest comes
                while the app reads, and a slow client then holds the thread
    response    goes back to the event loop; the thread waits only while more than `wsgi_buffer` is unsent
    client has  the response ends after its next part, and `close` is called: an endless stream would
    gone        occupy its thread for ever

Source: PEP 3333.
"""

from __future__ import annotations

import io
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from sockact.config.records import REQUEST_ID
from sockact.engines.http.call import AppCall, ClientConnection, ClientGone, is_about_client
from sockact.engines.http.environ import FileWrapper, constant, variables
from sockact.engines.http.files import send_file
from sockact.engines.http.head import Request
from sockact.engines.http.response import CONTINUE, WrongResponse, is_standard
from sockact.engines.http.threads import Threads
from sockact.system import loop_tasks
from sockact.system.forks import come_back
from sockact.system.standard_streams import Errors

WsgiApp = Callable[[dict[str, Any], Any], Any]


class WsgiRunner:
    """Makes the calls of an app.

    Args:
        app: a WSGI app.
        threads: how many threads may call it.
        buffer: bytes that are buffered for each client, in each direction.
    """

    def __init__(self, app: WsgiApp, threads: int, buffer: int) -> None:
        self.app = app
        self.threads = Threads(threads)
        self.buffer = buffer
        # Not standard output, nor a stream that the app puts into `sys`.
        self.constant = constant(Errors(), multithread=threads > 1)
        self._inbox: deque[Callable[[], None]] = deque()
        self._reading = False

    def __call__(self, connection: ClientConnection, request: Request) -> AppCall:
        """Return the call of a request."""
        return WsgiCall(self, connection, request)

    def post(self, connection: ClientConnection, step: Callable[[], None]) -> None:
        """Have a step done in the event loop; called in threads. Several wake the loop once."""
        self._inbox.append(step)
        if not self._reading:
            self._reading = True
            connection.loop.call_soon_threadsafe(self._read)

    def _read(self) -> None:
        self._reading = False  # before the inbox is read: from now on a step wakes the loop again
        while self._inbox:
            self._inbox.popleft()()


class WsgiCall(AppCall):
    """A request to a WSGI app. What `_call` calls runs in a thread, all else in the event loop."""

    broken = False
    _called = False
    _changed: threading.Condition | None = None  # from when the thread and the loop may wait for each other
    _queue: deque[Callable[[], None]] | None = None  # what waits for the client to read
    _queued = 0  # bytes of the response that are not sent
    _handed_over = 0.0  # when it has begun to wait for a thread, by the monotonic clock
    _waited = 0.0  # how long it has waited

    def __init__(self, runner: WsgiRunner, connection: ClientConnection, request: Request) -> None:
        super().__init__(connection, request)
        self._runner = runner
        self._body = bytearray()
        self._more = request.length != 0  # of the body is to come
        self._patient = request.expects

    # In the event loop.

    def start(self) -> None:
        """Call the app, as soon as its body has been read or is too long for that."""
        self.connection.shared.running.add(self)
        length = self.request.length
        if not self._more or (length is not None and length > self._runner.buffer):
            self._hand_over()
        elif self._patient:
            self.ask_for_body()

    def ask_for_body(self) -> None:
        """Send 100 Continue, if the client waits for it."""
        if self._patient and not self.response.begun and not self.gone:
            self._patient = False
            self.connection.send(CONTINUE)

    @property
    def full(self) -> bool:
        """Return whether no more of the body is read until the app has taken some."""
        return len(self._body) > self._runner.buffer

    @property
    def patient(self) -> bool:
        """Return whether the client waits for 100 Continue, and may not send its body."""
        return self._patient

    def on_body(self, part: bytes) -> None:
        """Keep a part of the body."""
        self._patient = False
        if self._changed is None:
            self._body += part
            if self.full:
                self._hand_over()
        else:
            with self._changed:
                self._body += part
                self._changed.notify_all()

    def on_body_end(self) -> None:
        """Note that the body is complete."""
        self._patient = False
        if self._changed is None:
            self._more = False
            self._hand_over()
        else:
            with self._changed:
                self._more = False
                self._changed.notify_all()

    def on_ended(self) -> None:
        """Go on: the client may still read."""

    def on_gone(self) -> None:
        """Tell the thread that the client has gone."""
        self.gone = True
        if not self._called:
            self.connection.shared.ended(self)
        self._release()

    def on_writable(self) -> None:
        """Send more of the response."""
        queue = self._queue
        while queue and not self.connection.paused:
            self._do(queue.popleft())

    def _hand_over(self) -> None:
        if self._called or self.gone:
            return
        self._called = True
        if self._more:
            self._changed = threading.Condition()
        self._handed_over = time.monotonic()
        try:
            self._runner.threads.run(self._call)
        except RuntimeError as error:
            self.fail(error, "no thread is to be had")
            self.connection.shared.ended(self)

    def _in_order(self, step: Callable[[], None]) -> None:
        """Do a step of the response, when those before it are done and the client reads."""
        if not self._queue and not self.connection.paused:
            self._do(step)
            return
        if self._queue is None:
            self._queue = deque()
        self._queue.append(step)

    def _do(self, step: Callable[[], None]) -> None:
        if self.over or self.connection.transport.is_closing():
            return
        try:
            step()
        except Exception as error:  # noqa: BLE001 - of what the app sends
            self._break(error)

    def _break(self, error: BaseException) -> None:
        self.broken = True
        self._release()
        self.fail(error, "the app has failed")

    def _release(self) -> None:
        """Wake the thread up, if it waits for the client."""
        if self._changed is not None:
            with self._changed:
                self._changed.notify_all()

    def _send_whole(self, head: Any, body: bytes) -> None:
        status, fields = head
        self.send_whole(status, fields, body)

    def _send_part(self, head: Any, part: bytes) -> None:
        data = self.response.part(part) if head is None else self.send_head(head[0], head[1], part)
        self.connection.send(data)
        assert self._changed is not None
        with self._changed:
            self._queued -= len(part)
            self._changed.notify_all()

    def _send_end(self, head: Any) -> None:
        if head is not None:
            self._send_whole(head, b"")
        elif not self.response.complete:
            self.connection.send(self.response.end())
            self.connection.on_complete(self)

    def _send_file(self, head: Any, wrapper: FileWrapper, size: int) -> None:
        loop_tasks.begin(self._sending(head, wrapper, size))

    async def _sending(self, head: Any, wrapper: FileWrapper, size: int) -> None:
        status, fields = head
        given = next((value for name, value in fields if name.lower() == b"content-length"), None)
        if given is None:
            fields = [*fields, (b"content-length", b"%d" % size)]
        elif given.isdigit():
            size = min(size, int(given))
        try:
            self.connection.send(self.send_head(status, fields))
            await send_file(self, wrapper.file, size)
            if not self.gone:
                self._send_end(None)
        except (WrongResponse, OSError) as error:
            self._break(error)
        finally:
            self._runner.threads.run(partial(self._close_file, wrapper))

    def _done(self, error: BaseException | None) -> None:
        """Note that the thread is free; `error` is what it ended with."""
        self._note_end()
        if error is None or self.broken:
            return
        if not self.gone:
            self._in_order(partial(self._break, error))
        elif not is_about_client(error):
            self._break(error)

    def _done_whole(self, head: Any, body: bytes) -> None:
        """Note that the thread is free, and send what it has left."""
        self._note_end()
        self._in_order(partial(self._send_whole, head, body))

    def _note_end(self) -> None:
        shared = self.connection.shared
        shared.statistics.waited(self._waited)
        shared.ended(self)

    # In the thread.

    def _call(self) -> None:
        self._waited = time.monotonic() - self._handed_over
        error: BaseException | None = None
        if self.request.id:
            REQUEST_ID.set(self.request.id)  # in a context of its own; see `Threads`
        start = _StartResponse(self)
        try:
            parts = self._runner.app(self._environ(), start)
            come_back()
            if self._respond(parts, start):
                return
        except BaseException as caught:  # noqa: BLE001 - whatever it is, the thread goes on
            come_back(caught)
            error = caught
        self._runner.post(self.connection, partial(self._done, error))

    def _respond(self, parts: Any, start: _StartResponse) -> bool:
        """Send the response; return whether that goes on, or has ended, without this thread."""
        if type(parts) in (list, tuple) and not start.begun:
            body = parts[0] if len(parts) == 1 else b"".join(parts)
            self._runner.post(self.connection, partial(self._done_whole, start.take(), body))
            return True
        if type(parts) is FileWrapper and not start.begun and (size := parts.size()) is not None:
            self._post(partial(self._send_file, start.take(), parts, size))
            return True
        try:
            self._send_all(iter(parts), start)
        finally:
            if (close := getattr(parts, "close", None)) is not None:
                close()
        return False

    def _send_all(self, parts: Iterator[Any], start: _StartResponse) -> None:
        begun = False
        while not (begun and self.over):  # never before the first: a generator may do all its work for that
            begun = True
            try:
                part = next(parts)
            except StopIteration:
                break
            come_back()
            if part:
                self.write(start.take(), part)
                if self.request.method == "HEAD":
                    break  # no client waits for the rest, which may have no end
        come_back()
        if not self.over:
            head = start.take()
            self._post(partial(self._send_end, head))

    @property
    def over(self) -> bool:
        """Return whether nothing more can be sent."""
        return self.gone or self.broken

    def write(self, head: Any, part: bytes) -> None:
        """Send a part; wait while too much is unsent."""
        if not isinstance(part, bytes):
            raise TypeError(f"the app has returned a part of type {type(part).__name__}: expected bytes")
        if self._changed is None:
            self._changed = threading.Condition()
        with self._changed:
            self._queued += len(part)
        self._post(partial(self._send_part, head, part))
        with self._changed:
            while self._queued > self._runner.buffer and not self.over:
                self._changed.wait()

    def _post(self, step: Callable[[], None]) -> None:
        self._runner.post(self.connection, partial(self._in_order, step))

    def _close_file(self, wrapper: FileWrapper) -> None:
        """Close a file that was sent."""
        REQUEST_ID.set(self.request.id)
        error: BaseException | None = None
        try:
            if (close := getattr(wrapper, "close", None)) is not None:
                close()
        except BaseException as caught:  # noqa: BLE001 - whatever it is, the thread goes on
            error = caught
        self._runner.post(self.connection, partial(self._done, error))

    def read(self) -> bytes:
        """Wait for a part of the body, and return it; empty at its end."""
        changed = self._changed
        assert changed is not None
        if self._patient:
            self._runner.post(self.connection, self.ask_for_body)
        with changed:
            while not self._body and self._more and not self.gone:
                changed.wait()
            if self._more and self.gone:
                gone = ClientGone("the client has gone")  # by which it is known as no fault of the app
                raise ConnectionResetError("the client has gone before the end of its body") from gone
            part = bytes(self._body)
            self._body.clear()
        self._runner.post(self.connection, self.connection.body_taken)
        return part

    def _environ(self) -> dict[str, Any]:
        environ = self._runner.constant | variables(self)
        if self._more:
            environ["wsgi.input"] = io.BufferedReader(_Input(self))
            return environ
        environ["wsgi.input"] = io.BytesIO(self._body)
        if self.request.length is None:  # many apps read no body without it
            environ.pop("HTTP_TRANSFER_ENCODING", None)
            environ["CONTENT_LENGTH"] = str(len(self._body))
        return environ


class _Input(io.RawIOBase):
    """A body that is read while it comes."""

    def __init__(self, call: WsgiCall) -> None:
        self._app_call = call
        self._part = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._part:
            self._part = memoryview(self._app_call.read())
        size = min(len(buffer), len(self._part))
        buffer[:size] = self._part[:size]
        self._part = self._part[size:]
        return size


class _StartResponse:
    """The app's `start_response`; nothing is sent before the first part of the body."""

    __slots__ = ("_app_call", "_head", "_reason", "begun")

    def __init__(self, call: WsgiCall) -> None:
        self.begun = False
        self._app_call = call
        self._reason = b""
        self._head: tuple[int, list[tuple[bytes, bytes]]] | None = None

    def __call__(self, status: str, headers: Any, exc_info: Any = None) -> Callable[[bytes], Any]:
        if exc_info and self.begun:
            raise exc_info[1].with_traceback(exc_info[2])
        if (self._head is not None or self.begun) and not exc_info:
            raise RuntimeError("the app has called start_response a second time, without exc_info")
        fields = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
        code, reason = int(status[:3]), status[4:].encode("latin-1")
        self._head = code, fields
        self._reason = b"" if is_standard(code, reason) else reason
        return self._write

    def take(self) -> Any:
        """Return status and header fields the first time; None from then on."""
        if self.begun:
            return None
        if self._head is None:
            raise RuntimeError("the app has not called start_response")
        self.begun = True
        self._app_call.response.reason = self._reason
        return self._head

    def _write(self, part: bytes) -> None:
        if self._app_call.over:
            raise ClientGone("the client has gone")
        self._app_call.write(self.take(), part)
