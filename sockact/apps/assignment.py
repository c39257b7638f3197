"""Assigns apps to listeners.

`serve(app)` serves one app on all listeners; `serve({"web": app, "admin": other})` serves each app on the
listeners whose `FileDescriptorName=` is its key. All sockets of a unit share that name, so a key may also
be the address of a single socket, which has precedence over the name. A key without a socket is an error,
and so is a socket without an app, unless the setting `unused` says otherwise; the error names both sides.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from sockact.apps import kinds, loader
from sockact.config.settings import Settings
from sockact.errors import ActivationError, UsageError
from sockact.sockets.fds import ANSWERED, Kind, Listener

_ANSWERED = ", for sockact itself answers on such: expected another name for the app's"


class Mount(NamedTuple):
    """An app with its listeners.

    Attributes:
        app: the result of `loader.make`.
        kind: the name of its kind, as in `kinds.TABLE`.
        listeners: all of one kind; empty in a trial.
    """

    app: Callable[..., Any]
    kind: str
    listeners: Sequence[Listener]

    @property
    def engine(self) -> kinds.EngineType:
        """The engine that serves it."""
        return kinds.engine_for(self.kind, self.listeners)


def assign(
    target: object, listeners: Sequence[Listener], unused: str
) -> list[tuple[object, list[Listener]]]:
    """Return each app, not yet loaded, with its listeners; an app with two names is one app.

    Args:
        target: an app, or a mapping from names and addresses to apps.
        listeners: the passed or bound sockets.
        unused: the setting for listeners without an app; only `error` is handled here.

    Raises:
        UsageError: the mapping is empty, or its keys are not names.
        ActivationError: a name has no listener, or a listener has no app.
    """
    if not isinstance(target, Mapping):
        return [(target, list(listeners))]
    if not target or not all(isinstance(name, str) and name for name in target):
        raise UsageError(f"serve({target!r}): expected apps by the names of their sockets")
    keys = [_key_of(listener, target) for listener in listeners]
    missing = [name for name in target if name not in keys]
    left = [listener for listener, key in zip(listeners, keys, strict=True) if not key]
    if missing or (left and unused == "error"):
        raise ActivationError(_mismatch(target, listeners, missing, left))
    assigned: list[tuple[object, list[Listener]]] = []
    for app in distinct(target):
        names = {name for name, other in target.items() if _same(app, other)}
        own = [listener for listener, key in zip(listeners, keys, strict=True) if key in names]
        assigned.append((app, own))
    return assigned


def _key_of(listener: Listener, target: Mapping[str, object]) -> str:
    """Return the key of the app for a listener: its address, or else its name; "" if there is no app."""
    address = listener.address
    port = address[address.rfind(":") :] if listener.is_internet else ""  # `:8000`, as `listen` has it
    return next((key for key in (address, port, listener.name) if key and key in target), "")


def distinct(target: object) -> list[object]:
    """Return the apps of a target, each once."""
    apps: list[object] = []
    for app in target.values() if isinstance(target, Mapping) else [target]:
        if not any(_same(app, other) for other in apps):
            apps.append(app)
    return apps


class Found(NamedTuple):
    """An imported app, or its factory, with its listeners.

    Attributes:
        name: the app as the user gave it, for errors.
        app: the result of `loader.find`.
        listeners: where it will be served; empty in a trial.
    """

    name: object
    app: Any
    listeners: Sequence[Listener]


def find(target: object, listeners: Sequence[Listener] | None, unused: str) -> list[Found]:
    """Import the apps of a target, or their factories; outside the event loop.

    Args:
        target: an app, or a mapping from names to apps.
        listeners: the passed or bound sockets; None in a trial.
        unused: the setting for listeners without an app.

    Raises:
        UsageError, ActivationError: as `assign`.
        AppError: an app cannot be imported.
    """
    if listeners is None:
        assigned: list[tuple[object, list[Listener]]] = [(app, []) for app in distinct(target)]
    else:
        assigned = assign(target, listeners, unused)
    return [Found(app, loader.find(app), own) for app, own in assigned]


def mount(found: Sequence[Found], settings: Settings) -> list[Mount]:
    """Call factories, and find out the kind of each app; inside the event loop that serves them.

    Args:
        found: apps or factories.
        settings: has `kind` and `factory`.

    Raises:
        ActivationError: an app cannot be served on its listeners.
        AppError: a factory fails, or the kind of an app is not known.
    """
    mounts: list[Mount] = []
    for each in found:
        app = loader.make(each.name, each.app, factory=settings.factory)
        kind = kinds.kind_of(app) if settings.kind == "auto" else settings.kind
        kinds.require_served_on(kind, each.listeners)
        mounts += [Mount(app, kind, own) for own in _by_kind(each.listeners)]
    return mounts


def _same(one: object, other: object) -> bool:
    return one is other or (isinstance(one, str) and one == other)


def _by_kind(listeners: Sequence[Listener]) -> list[list[Listener]]:
    """Separate datagram sockets from the others: no engine serves both."""
    datagrams = [listener for listener in listeners if listener.kind is Kind.DATAGRAM]
    others = [listener for listener in listeners if listener.kind is not Kind.DATAGRAM]
    return [each for each in (others, datagrams) if each] or [[]]


def _mismatch(
    target: Mapping[str, object],
    listeners: Sequence[Listener],
    missing: Sequence[str],
    left: Sequence[Listener],
) -> str:
    wrong = [f"no socket is called {name}{_ANSWERED if name in ANSWERED else ''}" for name in missing]
    wrong += [f"no app is for {listener.name}={listener.address}" for listener in left]
    passed = ", ".join(f"{listener.name}={listener.address}" for listener in listeners) or "none"
    return f"{'; '.join(wrong)}: sockets are {passed}, apps are for {', '.join(target)}"
