"""The template of a generation: a process that has imported the app, never serves, and forks the workers.

A worker is forked twice, so that its parent is the supervisor: that is a subreaper, prctl(2), and gets the
child of a process that has ended at once. From then on it is a worker like any other.

The memory of the import is shared as long as nobody writes to it. The garbage collector would, to each
object that it looks at; gc.freeze() keeps it from that.
"""

from __future__ import annotations

import contextlib
import errno
import gc
import logging
import os
import socket
import sys
from collections.abc import Sequence
from typing import NoReturn

from sockact.apps import kinds
from sockact.apps.assignment import Found
from sockact.config.settings import Settings
from sockact.errors import AppError, SockactError
from sockact.process import event_loop, unforkable
from sockact.process.launch import Process
from sockact.process.process_group import end_others
from sockact.protocols.template_messages import MESSAGE_LIMIT, ForkAnswer, ForkRequest
from sockact.system import forks, proc, signals, standard_streams
from sockact.untrusted import ancillary
from sockact.untrusted.ancillary import Received
from sockact.worker.app_engines import import_ahead

NAME = "sockact-forks"
"""The name of the process in the output of ps(1)."""

logger = logging.getLogger(__package__)


class Template:
    """The template in this process.

    Args:
        process: this process.
        chosen: the settings.
    """

    def __init__(self, process: Process, chosen: Settings) -> None:
        self._process = process
        self._settings = chosen
        self._alive, workers_alive = os.pipe()
        self._workers_alive = open(workers_alive, "wb", buffering=0)  # noqa: SIM115 - as long as the process
        self._name = proc.name_of(os.getpid())
        proc.name_this_process(NAME)

    def serve(self, found: Sequence[Found]) -> None:
        """Fork the workers that the supervisor asks for; return in each of them.

        Raises:
            AppError: the import of the apps in `found` has left what cannot be forked.
        """
        process = self._process
        assert process.sockets.forks is not None
        requests = process.sockets.forks.sock
        assert requests is not None
        self._import_engines(found)
        self._require_forkable()
        gc.collect()
        gc.freeze()
        forks.end()  # our own children are not the app's
        process.notifier.ready("forks workers")
        process.notifier.flush()
        standard_streams.flush()  # or each child would write what is in their buffers
        logger.info("gen=%d pid=%d has imported the app", process.generation, os.getpid())
        with signals.ignored():  # the supervisor ends its templates
            while not self._answer(requests):
                pass
        proc.name_this_process(self._name)
        _reseed()

    def _import_engines(self, found: Sequence[Found]) -> None:
        chosen = self._settings
        event_loop.kind(chosen.loop)
        for each in found:
            with contextlib.suppress(SockactError):  # the worker, which makes the app, says so
                kind = chosen.kind
                if kind == "auto":
                    kind = "asgi" if chosen.factory else kinds.kind_of(each.app)
                import_ahead(kind, each.listeners)

    def _require_forkable(self) -> None:
        if left := unforkable.obstacles([*self._process.private(), standard_streams.descriptor()]):
            raise AppError(
                f"preload=yes: the app's import has left what cannot be forked: {'; '.join(left)}: expected"
                f" that an on_start hook or the app's startup opens it, in each worker, or preload=no"
            )

    def _answer(self, requests: socket.socket) -> bool:
        """Carry out one request; return whether this is the worker."""
        received = ancillary.receive(requests, MESSAGE_LIMIT)
        if not received.data:
            self._outlive_requests()
        if (request := ForkRequest.from_bytes(received.data)) is None:
            ancillary.close(received.descriptors)
            return False
        try:
            _require_descriptors(received, request)
            pid, error = _fork(), ""
        except OSError as failure:
            pid, error = -1, failure.strerror or str(failure)
        if pid:
            ancillary.close(received.descriptors)
            with contextlib.suppress(OSError):  # the supervisor has ended
                requests.send(bytes(ForkAnswer(request.worker, max(pid, 0), error)))
            return False
        os.close(self._alive)
        forks.keep(self._workers_alive)
        self._process.become_worker(request, received.descriptors)
        return True

    def _outlive_requests(self) -> NoReturn:
        """Accept nothing, wait until all workers have ended, end what the import has started, and end."""
        self._process.sockets.leave()
        self._workers_alive.close()
        os.read(self._alive, 1)  # its end: no worker is left that has the other end
        end_others(os.getpgrp())
        os._exit(0)


def _require_descriptors(received: Received, request: ForkRequest) -> None:
    """Raise OSError if the kernel had no room for all descriptors of a request."""
    if len(received.descriptors) != len(request.names):
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))


def _fork() -> int:
    """Fork a process whose parent is the supervisor, in a group of its own; return its PID, and 0 in it.

    Raises:
        OSError: the kernel refuses.
    """
    reading, writing = os.pipe()
    if (between := os.fork()) == 0:
        os.close(reading)
        _fork_again(writing)
        return 0
    os.close(writing)
    with open(reading, "rb") as pipe:
        told = pipe.read()
    with contextlib.suppress(ChildProcessError):  # the app ignores SIGCHLD
        os.waitpid(between, 0)
    if not told or told.startswith(b"-"):
        number = -int(told or -errno.EIO)
        raise OSError(number, os.strerror(number))
    return int(told)


def _fork_again(writing: int) -> None:
    """Fork the worker, tell its PID, and end; return in the worker.

    Both make its process group, as shells do: neither the first process that the app starts in it, nor the
    supervisor, once it knows the PID, may be there before it.
    """
    told = -errno.EIO
    try:
        told = os.fork()
        os.setpgid(told, told)  # in the worker, for 0, its own
    except OSError as error:
        told = -(error.errno or errno.EIO)
    finally:
        if told:
            os.write(writing, b"%d" % told)
            os._exit(0)
    os.close(writing)


def _reseed() -> None:
    """Give this process random numbers of its own; `random` and OpenSSL see to that themselves."""
    if (random := sys.modules.get("numpy.random")) is not None:
        random.seed()
    if (torch := sys.modules.get("torch")) is not None:
        torch.seed()
